package chain

import (
	"fmt"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// A nameless layer stays while several children hang on it. What all of them have overwritten since, nobody sees any
// more. A sweep finds it in their dead lists, a bounded interval of keys at a time, and hands it to an erase job: a
// block is dead under n when every child c of n has it in its dead list, or is nameless itself and the block is dead
// under all of c's children. It then leaves every list below n. The map of n is not read again: n goes by being merged
// into its last child, never by a walk.

// deadRun is a run of blocks in key order.
type deadRun = oldRun

// sweep ends one step: err is why the lists could not be read. That is this layer's alone, and no error: it is tried again.
func (lt *layerTree) sweep(l *layer, sum uint64, runs []deadRun, next omap.Key, err error) error {
	if err == nil && len(runs) > 0 {
		err = lt.commits.do(&recSweep{layer: l.id, when: lt.opt.Now(), runs: runs})
	}
	err = wrapCorrupt(err)
	lt.health.noteTry(&l.sweep, fmt.Sprintf("the sweep of layer %v, which only clones hold", l.id), err)
	if err != nil {
		if passing(err) {
			return nil
		}
		return err
	}
	l.sweepNext = next
	if next == lastKey {
		l.sweepNext, l.sweepGen, l.sweepSum = omap.Key{}, lt.supers.super.Generation, sum
	}
	return nil
}

// sweepable is a nameless layer below which a list has grown since it was swept, and whose time to be tried has come.
func (lt *layerTree) sweepable(force bool) *layer {
	var first *layer
	for l := range lt.nameless {
		lt.mu.step(1 + len(l.children))
		if !lt.health.mayTry(&l.sweep) {
			continue
		}
		due := l.sweepNext != omap.Key{} || l.sweepSum != l.lostBelow() && (force || l.sweepGen != lt.supers.super.Generation)
		if due && l.nameless() && len(l.children) > 1 && (first == nil || l.id < first.id) {
			first = l
		}
	}
	return first
}

// lostBelow changes when a list below l does, when other layers hang there, or when l's range grows: a merge can make
// blocks dead without an edit.
func (l *layer) lostBelow() (n uint64) {
	n = uint64(l.floor()) * 0x94d049bb133111eb
	for _, c := range l.children {
		h := uint64(c.id)*0x9e3779b97f4a7c15 ^ (c.lost.edits+1)*0xbf58476d1ce4e5b9
		n += h ^ h>>29
		if c.nameless() {
			n += c.lostBelow()
		}
	}
	return n
}

// nameless: nothing holds the layer but its children. It must not depend on what only this process knows.
func (l *layer) nameless() bool { return !l.head && !l.named && !l.dead && !l.kept }

// deadReader finds what nobody shows below layers. The structure lock is held.
type deadReader struct {
	p     *layerTree
	held  bool                  // the plan lock is held as well, all the time; else it is taken for pieces
	under func(*layer) []*layer // whose blocks are dead as well if they are dead under all of these; nil: nameless layers
}

// deadBelow finds dead runs of n from a key on, in an interval that it bounds itself; next is where it ends.
func (d *deadReader) deadBelow(n *layer, from omap.Key) (runs []deadRun, next omap.Key, err error) {
	lo := omap.Key{Hi: uint64(n.floor()) + 1}
	if from.Less(lo) {
		from = lo
	}
	runs, next, err = d.commonlyLost(n.children, from, omap.Key{Hi: uint64(n.id) + 1})
	if most := d.p.walkRuns(); err == nil && len(runs) > most { // many lists cut each other's runs into small ones
		next = entryKey(runs[most].birth, runs[most].dev)
		runs = runs[:most]
	}
	return runs, next, err
}

// below are the children of a layer that nothing shows itself: what is dead under all of them is dead under it.
func (d *deadReader) below(l *layer) []*layer {
	if d.under != nil {
		return d.under(l)
	}
	if !d.held {
		d.p.mu.Lock()
		defer d.p.mu.Unlock()
	}
	if l.nameless() {
		return l.children
	}
	return nil
}

// step counts towards the hold of the plan lock.
func (d *deadReader) step(n int) {
	if d.held {
		d.p.mu.step(n)
	}
}

// list is the dead list of a layer, as it may be read.
func (d *deadReader) list(l *layer, from, to omap.Key) *list {
	if d.held {
		return &l.lost
	}
	return d.p.lostFrom(l, from, to, d.p.walkRuns()+2)
}

// commonlyLost intersects what the layers have lost of the keys [from, to). Where their lists are long it ends
// earlier, at next; at the end next is lastKey.
func (d *deadReader) commonlyLost(ls []*layer, from, to omap.Key) (runs []deadRun, next omap.Key, err error) {
	next = lastKey
	for i, c := range ls {
		d.step(1)
		mine, end, err := d.lostOf(c, from, to)
		if err != nil {
			return nil, next, err
		}
		if end.Less(next) {
			next = end
		}
		if i == 0 {
			runs = mine
		} else {
			runs = intersect(runs, mine)
		}
		if len(runs) == 0 && next == lastKey { // nothing that the others have lost can be in all
			return nil, next, nil
		}
	}
	return clipRuns(runs, next), next, nil
}

// lostOf is what c has lost itself, and if it is nameless also what is dead below it.
func (d *deadReader) lostOf(c *layer, from, to omap.Key) (runs []deadRun, next omap.Key, err error) {
	next = lastKey
	start, lost := from, d.list(c, from, to)
	if k, ok, err := lost.before(d.p.blocks.lists, from); err != nil {
		return nil, next, err
	} else if ok {
		start = k // it may reach into the interval
	}
	count := 0
	err = lost.ascend(d.p.blocks.lists, start, func(k omap.Key, e entry) bool {
		if !k.Less(to) {
			return false
		}
		d.step(1)
		if count++; count > d.p.walkRuns() {
			next = k
			return false
		}
		if !e.page {
			runs = append(runs, deadRun{alloc.BlockID(k.Lo), e.n, LayerID(k.Hi)})
		}
		return true
	})
	runs = clipFrom(runs, from)
	kids := d.below(c)
	if err != nil || len(kids) == 0 {
		return runs, next, err
	}
	deeper, end, err := d.commonlyLost(kids, from, to)
	if end.Less(next) {
		next = end
	}
	runs = append(runs, deeper...)
	slices.SortFunc(runs, func(a, b deadRun) int {
		if entryKey(a.birth, a.dev).Less(entryKey(b.birth, b.dev)) {
			return -1
		}
		return 1
	})
	return runs, next, err
}

// clipRuns keeps what lies below a key, clipFrom what does not.
func clipRuns(rs []deadRun, end omap.Key) (out []deadRun) {
	for _, r := range rs {
		switch k := entryKey(r.birth, r.dev); {
		case !k.Less(end):
			return out
		case k.Hi == end.Hi && k.Lo+uint64(r.n) > end.Lo:
			r.n = int64(end.Lo - k.Lo)
		}
		out = append(out, r)
	}
	return out
}

func clipFrom(rs []deadRun, from omap.Key) (out []deadRun) {
	for _, r := range rs {
		if k := entryKey(r.birth, r.dev); k.Less(from) {
			skip := int64(from.Lo - k.Lo)
			if k.Hi != from.Hi || skip >= r.n {
				continue
			}
			r.dev, r.n = r.dev+alloc.BlockID(skip), r.n-skip
		}
		out = append(out, r)
	}
	return out
}

// intersect is what lies in both of two sorted lists of disjoint runs.
func intersect(a, b []deadRun) (out []deadRun) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x, y := a[i], b[j]
		if x.birth == y.birth {
			lo, hi := max(x.dev, y.dev), min(x.dev+alloc.BlockID(x.n), y.dev+alloc.BlockID(y.n))
			if lo < hi {
				out = append(out, deadRun{lo, int64(hi - lo), x.birth})
			}
		}
		if entryKey(x.birth, x.dev+alloc.BlockID(x.n)).Less(entryKey(y.birth, y.dev+alloc.BlockID(y.n))) {
			i++
		} else {
			j++
		}
	}
	return out
}

// unlist takes runs, which were gathered in memory, out of every dead list below n.
func (lt *layerTree) unlist(n *layer, runs []deadRun) {
	for _, c := range n.children {
		lt.mu.step(1 + len(runs))
		for _, r := range runs {
			took := carve(&c.lost.fresh, r)
			if took == 0 {
				continue
			}
			c.lost.edits++
			if r.birth > n.floor() {
				c.lostHere -= took
			}
			lt.touch(c)
		}
		if c.nameless() { // its map shows them still
			c.swept = true
			lt.touch(c)
			lt.unlist(c, runs)
		}
	}
}

// without makes the edits that take runs out of a list: the entries that they touch are loaded, carved and compared. had is
// what the list had of the runs.
func (l *list) without(f *meta.Family, runs []deadRun) (es []meta.Edit, had []deadRun, err error) {
	var was, is omap.Map[entry]
	for _, r := range runs {
		from := entryKey(r.birth, r.dev)
		if k, ok, err := l.before(f, from); err != nil {
			return nil, nil, err
		} else if ok {
			from = k
		}
		end := uint64(r.dev) + uint64(r.n)
		err := l.ascend(f, from, func(k omap.Key, e entry) bool {
			if k.Hi != uint64(r.birth) || k.Lo >= end {
				return false
			}
			if _, loaded := was.Get(k); !loaded && !e.page {
				was.Set(k, e)
				is.Set(k, e)
			}
			return true
		})
		if err != nil {
			return nil, nil, err
		}
		carve(&is, r)
	}
	var all []deadRun
	was.Ascend(omap.Key{}, func(k omap.Key, e entry) bool {
		all = append(all, deadRun{alloc.BlockID(k.Lo), e.n, LayerID(k.Hi)})
		if _, ok := is.Get(k); !ok {
			es = append(es, meta.Edit{Key: meta.Key(k), Delete: true})
		}
		return true
	})
	is.Ascend(omap.Key{}, func(k omap.Key, e entry) bool {
		if old, ok := was.Get(k); !ok || old != e {
			es = append(es, meta.Edit{Key: meta.Key(k), Val: e.marshal()})
		}
		return true
	})
	slices.SortFunc(es, func(a, b meta.Edit) int {
		if a.Key.Less(b.Key) {
			return -1
		}
		return 1
	})
	return es, intersect(all, runs), nil
}

// carve takes a run out of entries and returns how many blocks of it they had.
func carve(m *omap.Map[entry], r deadRun) (took int64) {
	end := r.dev + alloc.BlockID(r.n)
	at := entryKey(r.birth, r.dev)
	if k, _, ok := m.Floor(at); ok && k.Hi == at.Hi {
		at = k
	}
	for {
		k, e, ok := m.Ceil(at)
		b := alloc.BlockID(k.Lo)
		if !ok || k.Hi != uint64(r.birth) || b >= end {
			return took
		}
		last := b + alloc.BlockID(e.n)
		if last > r.dev {
			took += int64(min(last, end) - max(b, r.dev))
			m.Delete(k)
			if b < r.dev {
				m.Set(k, entry{n: int64(r.dev - b)})
			}
			if last > end {
				m.Set(entryKey(r.birth, end), entry{n: int64(last - end)})
			}
		}
		at = k.Next()
	}
}
