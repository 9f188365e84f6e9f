package chain

import (
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
)

// follow does what a record does to what volumes show: as its apply does to a whole pool.
func (w *Wreck) follow(r record) {
	var ok bool
	switch r := r.(type) {
	case *recPut:
		ok = catalog.KindOf(r.key) != catalog.Layer && w.take(r.key, r.val) == nil
	case *recMap:
		if ok = w.isHead(r.layer) && r.n > 0 && r.n <= mapEnd && r.lb <= mapEnd-r.n && r.size <= MaxSize; ok {
			l := w.layers[r.layer]
			l.top.Set(r.lb, overlay.Piece{Len: r.n, Dev: r.dev, Birth: birthOf(r.dev, l.id)})
			l.size = max(l.size, r.size)
		}
	case *recDetach:
		if ok = w.isHead(r.layer) && r.lo >= 0 && r.lo < r.hi && r.hi <= mapEnd; ok {
			l := w.layers[r.layer]
			left, _ := overlay.Cut(l.top, l, r.lo, r.hi)
			l.top = overlay.New(left, l)
		}
	case *recResize:
		if ok = w.isHead(r.layer) && r.size <= MaxSize; ok {
			w.layers[r.layer].size = r.size
		}
	default:
		ok = w.followTree(r)
	}
	if !ok {
		w.odd++
	}
}

// followTree is follow for records of the tree of layers. All others are of nobody's content.
func (w *Wreck) followTree(r record) (ok bool) {
	switch r := r.(type) {
	case *recHead:
		return w.newHead(r.vol, w.layers[r.parent], r.parent != 0, r.size)
	case *recFreeze:
		ok = true
		for _, v := range r.vols {
			old := w.heads[v]
			if old != nil {
				old.head, old.named, old.name = false, r.name != "", r.name
			}
			ok = w.newHead(v, old, true, asBelow) && ok
		}
		return ok
	case *recRollback:
		if old := w.heads[r.vol]; old != nil {
			old.head = false
		}
		return w.newHead(r.vol, w.layers[r.snap], true, asBelow)
	case *recUnname:
		return w.rename(r.layer, "")
	case *recRename:
		return w.rename(r.layer, r.name)
	case *recRevive:
		return w.rename(r.layer, r.name)
	case *recDestroy:
		w.letGo(r.vol)
	case *recShed: // it is going, and nobody reaches those that it has yet
		w.letGo(r.vol)
	}
	return true
}

func (w *Wreck) isHead(id LayerID) bool { l := w.layers[id]; return l != nil && l.head }

// asBelow is the size of a head that has that of the layer it stands on.
const asBelow = -1

// wreckDepth and wreckLayers bound what the records of a journal that nobody wrote may make.
const (
	wreckDepth  = 1 << 13
	wreckLayers = 1 << 22
)

// newHead gives the next number to a head, which stands on another layer or on nothing. Where that layer is lost it is not made,
// but its number is.
func (w *Wreck) newHead(vol Ino, on *layer, stands bool, size int64) bool {
	w.next++
	delete(w.heads, vol)
	if stands && (on == nil || on.depth == wreckDepth) || size > MaxSize || len(w.layers) == wreckLayers {
		return false
	}
	l := &layer{id: w.next, vol: vol, head: true, size: size}
	under := overlay.Settled(meta.Map{})
	if on != nil {
		under, l.depth = on.top, on.depth+1
	}
	if size == asBelow {
		l.size = on.size
	}
	l.top = overlay.New(under, l)
	w.add(l)
	return true
}

// add notes a layer, whose number is above those of all that are there.
func (w *Wreck) add(l *layer) {
	w.layers[l.id] = l
	w.byVol[l.vol] = append(w.byVol[l.vol], l)
	if l.head {
		w.heads[l.vol] = l
	}
}

func (w *Wreck) rename(id LayerID, name string) bool {
	l := w.layers[id]
	if l == nil || CheckSnapName(name) != nil && name != "" {
		return false
	}
	l.named, l.name = name != "", name
	return true
}

// letGo takes head and names from the layers of a volume.
func (w *Wreck) letGo(vol Ino) {
	for _, l := range w.byVol[vol] {
		l.head, l.named, l.vol = false, false, 0
	}
	delete(w.byVol, vol)
	if h := w.heads[vol]; h != nil && !h.head {
		delete(w.heads, vol)
	}
}
