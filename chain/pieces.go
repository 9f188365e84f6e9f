package chain

import (
	"runtime"
	"slices"

	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// What grows with layers, snapshots or jobs is done in pieces, of which each has the plan lock for itself: everybody else
// waits for one piece at most. What pieces need to stay as it is between them is kept by the structure lock, which the caller
// holds: the tree but for new heads, the lists of all layers but heads, and the sealed part of every erase job.

// look runs fn under the structure lock, where it takes the plan lock for pieces, of a pool that takes changes.
func (lt *layerTree) look(fn func() error) error {
	lt.structure.Lock()
	defer lt.structure.Unlock()
	lt.mu.Lock()
	err := lt.writable()
	lt.mu.Unlock()
	if err != nil {
		return err
	}
	return fn()
}

// inPieces calls next until it returns false, under the plan lock, which it gives up after every pieceLen calls.
func (lt *layerTree) inPieces(next func() (more bool)) { lt.inPiecesOf(pieceLen, next) }

// inPiecesOf is inPieces for calls of some steps: it gives the lock up after every n of them.
func (lt *layerTree) inPiecesOf(n int, next func() (more bool)) {
	for more := true; more; {
		more = lt.piece(n, next)
		if more {
			runtime.Gosched() // who waits for the lock has it next
		}
	}
}

func (lt *layerTree) piece(n int, next func() (more bool)) bool {
	lt.mu.Lock()
	defer lt.mu.Unlock()
	for range n {
		lt.mu.step(1)
		lt.pieced++
		if !next() {
			return false
		}
	}
	return true
}

// eachLayer calls fn for layers in pieces.
func (lt *layerTree) eachLayer(ls []*layer, fn func(*layer)) {
	i := 0
	lt.inPieces(func() bool {
		if i == len(ls) {
			return false
		}
		fn(ls[i])
		i++
		return true
	})
}

// eachRow calls fn for the numbers from 0 to n in pieces.
func (lt *layerTree) eachRow(n int, fn func(i int)) {
	i := 0
	lt.inPieces(func() bool {
		if i < n {
			fn(i)
			i++
		}
		return i < n
	})
}

// layersOf are the layers of a volume.
func (lt *layerTree) layersOf(vol Ino) []*layer {
	lt.mu.Lock()
	defer lt.mu.Unlock()
	return slices.Clone(lt.ofVolume(vol))
}

// descend calls see for layers and all below them, each once and parents first, in pieces. below tells whether to go
// below a layer. Where one of tops is below another one, it may come before that.
func (lt *layerTree) descend(tops []*layer, see func(*layer) (below bool)) {
	type place struct {
		l    *layer
		next int // of its children
	}
	seen := map[*layer]bool{}
	var stack []place
	lt.inPieces(func() bool {
		var l *layer
		for l == nil {
			switch n := len(stack) - 1; {
			case n < 0 && len(tops) == 0:
				return false
			case n < 0:
				l, tops = tops[0], tops[1:]
			case stack[n].next == len(stack[n].l.children):
				stack = stack[:n]
			default:
				l = stack[n].l.children[stack[n].next]
				stack[n].next++
			}
		}
		if !seen[l] {
			if seen[l] = true; see(l) {
				stack = append(stack, place{l, 0})
			}
		}
		return true
	})
}

// weighed is what weighLost found last.
type weighed struct {
	from, to LayerID
	edits    uint64
	n        int64
}

// weighLost is how many blocks with births in (from, to] a layer has lost.
func (lt *layerTree) weighLost(l *layer, from, to LayerID) (int64, error) {
	lt.mu.Lock()
	head, here, edits := l.head, l.lostHere, l.lost.Edits
	lt.mu.Unlock()
	switch w := l.weighed; {
	case l.parent != nil && l.parent.id == to && l.parent.floor() == from:
		return here, nil
	case w.to != 0 && w.from == from && w.to == to && w.edits == edits:
		return w.n, nil
	}
	lt.weighs++
	n, err := lt.weighList(l, head, omap.Key{Hi: uint64(from) + 1}, omap.Key{Hi: uint64(to) + 1})
	if err == nil {
		l.weighed = weighed{from, to, edits, n}
	}
	return n, err
}

func (lt *layerTree) weighList(l *layer, head bool, from, to omap.Key) (n int64, err error) {
	if n, err = lt.weighTrees(l, from, to); err != nil {
		return 0, err
	}
	add := func(k omap.Key, e runs.Entry) bool {
		if k.Less(to) {
			n += e.Blocks()
		}
		return k.Less(to)
	}
	if !head {
		l.lost.AscendMemory(from, add)
		return n, nil
	}
	lt.eachFresh(l, from, add)
	if z := l.lost.Frozen; z != nil {
		z.Ascend(from, add)
	}
	return n, nil
}

// weighTrees is how many blocks of the keys [from, to) a layer has lost, of those that are on the device.
func (lt *layerTree) weighTrees(l *layer, from, to omap.Key) (n int64, err error) {
	for _, t := range l.lost.Trees {
		w, err := lt.blocks.lists.Weigh(t, meta.Key(from), meta.Key(to))
		if err != nil {
			return 0, err
		}
		n += int64(w)
	}
	return n, nil
}

// eachFresh calls fn for what the dead list of a head has in memory from a key on, in pieces, until it returns false.
func (lt *layerTree) eachFresh(l *layer, from omap.Key, fn func(omap.Key, runs.Entry) bool) {
	lt.inPieces(func() bool {
		k, e, ok := l.lost.Fresh.Ceil(from)
		if !ok || !fn(k, e) {
			return false
		}
		from = k.Next()
		return k != lastKey
	})
}

// lostFrom is the dead list of a layer, to be read from a key on, and not longer than up to most entries or to another key.
// What a head has in memory of that is copied: it changes under the plan lock.
func (lt *layerTree) lostFrom(l *layer, from, to omap.Key, most int) *runs.List {
	lt.mu.Lock()
	head := l.head
	if k, _, ok := l.lost.Fresh.Floor(from); head && ok && k.Hi == from.Hi {
		from = k // it may reach over it
	}
	lt.mu.Unlock()
	if !head {
		return &l.lost
	}
	part := &runs.List{Trees: l.lost.Trees, Frozen: l.lost.Frozen}
	lt.eachFresh(l, from, func(k omap.Key, e runs.Entry) bool {
		if !k.Less(to) || part.Fresh.Len() == most {
			return false
		}
		part.Fresh.Set(k, e)
		return true
	})
	return part
}
