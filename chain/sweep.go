package chain

import (
	"fmt"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// A nameless layer stays while several children hang on it. What all of them have overwritten since, nobody sees any
// more. A sweep finds it in their dead lists, a bounded interval of keys at a time, and hands it to an erase job: a
// block is dead under n when every child c of n has it in its dead list, or is nameless itself and the block is dead
// under all of c's children. It then leaves every list below n. The map of n is not read again: n goes by being merged
// into its last child, never by a walk.

//
// All of what a sweep finds in one step is one record, so that a crash leaves all of it or nothing. It is brought to memory
// before, and leaves the lists after it, in pieces: who could see a part of that waits for the structure lock, which is held
// all the time. Replay does it at once.

// sweptRuns bounds the runs that are brought to memory, or leave a list, under one hold of the plan lock.
const sweptRuns = pieceLen / 2

// sweepOut hands runs that are dead under n to a job, by a record that do makes. The structure lock is held, and not the plan
// lock.
func (lt *layerTree) sweepOut(n *layer, rs []runs.Run, do func(record) error) error {
	if len(rs) == 0 {
		return nil
	}
	var below []*layer
	lt.descend([]*layer{n}, func(l *layer) bool {
		if l != n {
			below = append(below, l)
		}
		return l == n || l.nameless()
	})
	for _, c := range below {
		if err := lt.gatherIn(c, rs); err != nil {
			return preparedError(lt.name, err)
		}
	}
	rec := &recSweep{layer: n.id, when: lt.opt.Now(), runs: rs, inPieces: true}
	rec.list, rec.blocks = sweptList(rs)
	if err := do(rec); err != nil {
		return err
	}
	for _, c := range below {
		for part := range slices.Chunk(rs, sweptRuns) {
			lt.unlistSome(c, part)
		}
	}
	return nil
}

// unlistSome is unlistIn under a hold of its own.
func (lt *layerTree) unlistSome(c *layer, rs []runs.Run) {
	lt.mu.Lock()
	defer lt.mu.Unlock()
	lt.unlistIn(c, rs)
}

// gatherIn brings runs from the trees of a layer's dead list to memory, where unlistIn takes them from.
func (lt *layerTree) gatherIn(c *layer, rs []runs.Run) error {
	for i := range c.lost.Trees {
		t, had, err := c.lost.GatherTree(lt.blocks.lists, i, rs)
		if err != nil {
			return err
		}
		for len(had) > 0 {
			n := min(len(had), sweptRuns)
			lt.mu.Lock()
			lt.mu.step(n)
			lt.touch(c)
			c.lost.Set(had[:n])
			if had = had[n:]; len(had) == 0 {
				c.lost.Trees[i] = t
			}
			lt.mu.Unlock()
		}
	}
	return nil
}

// sweptList is what a job gets of a sweep, and how many blocks that is.
func sweptList(rs []runs.Run) (l *runs.List, blocks int64) {
	l = &runs.List{}
	for _, r := range rs {
		l.Add(r.Birth, r.Dev, runs.Entry{Len: r.Len})
		blocks += r.Len
	}
	return l, blocks
}

// sweptStep ends one step: err is why the lists could not be read. That is this layer's alone, and no error: it is tried again.
func (lt *layerTree) sweptStep(l *layer, next omap.Key, err error) error {
	err = wrapCorrupt(err)
	lt.noteSweep(l, fmt.Sprintf("the sweep of layer %v, which only clones hold", l.id), err)
	if err != nil {
		if passing(err) {
			return nil
		}
		return err
	}
	l.sweepNext = next
	if next == lastKey {
		l.sweepNext, l.sweepGen = omap.Key{}, lt.supers.super.Generation
		lt.goers.sweep.Delete(l.sweepAt)
	}
	if l.sweepNext != (omap.Key{}) || l.losses != l.sweeping {
		lt.maySweep(l)
	}
	return nil
}

// nameless: nothing holds the layer but its children. It must not depend on what only this process knows.
func (l *layer) nameless() bool { return !l.head && !l.named && !l.dead && !l.kept }

// behindSwept: nothing hangs on the layer, and it is all that hangs on one that was swept. It is not buried before that one is
// merged into it, which may wait for the end of a build: alone that one would be walked, and its map still shows what the sweep
// has handed out, which others may have written since.
func (l *layer) behindSwept() bool {
	return len(l.children) == 0 && l.parent != nil && l.parent.swept && len(l.parent.children) == 1
}

// deadReader finds what nobody shows below layers. The structure lock is held.
type deadReader struct {
	p     *layerTree
	held  bool                  // the plan lock is held as well, all the time; else it is taken for pieces
	under func(*layer) []*layer // whose blocks are dead as well if they are dead under all of these; nil: nameless layers
}

// deadBelow finds dead runs of n from a key on, in an interval that it bounds itself; next is where it ends.
func (d *deadReader) deadBelow(n *layer, from omap.Key) (rs []runs.Run, next omap.Key, err error) {
	lo := omap.Key{Hi: uint64(n.floor()) + 1}
	if from.Less(lo) {
		from = lo
	}
	rs, next, err = d.commonlyLost(n.children, from, omap.Key{Hi: uint64(n.id) + 1})
	if most := d.p.walkRuns(); err == nil && len(rs) > most { // many lists cut each other's runs into small ones
		next = runs.Key(rs[most].Birth, rs[most].Dev)
		rs = rs[:most]
	}
	return rs, next, err
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
func (d *deadReader) list(l *layer, from, to omap.Key) *runs.List {
	if d.held {
		return &l.lost
	}
	return d.p.lostFrom(l, from, to, d.p.walkRuns()+2)
}

// commonlyLost intersects what the layers have lost of the keys [from, to). Where their lists are long it ends
// earlier, at next; at the end next is lastKey.
func (d *deadReader) commonlyLost(ls []*layer, from, to omap.Key) (rs []runs.Run, next omap.Key, err error) {
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
			rs = mine
		} else {
			rs = runs.Intersect(rs, mine)
		}
		if len(rs) == 0 && next == lastKey { // nothing that the others have lost can be in all
			return nil, next, nil
		}
	}
	return runs.Below(rs, next), next, nil
}

// lostOf is what c has lost itself, and if it is nameless also what is dead below it.
func (d *deadReader) lostOf(c *layer, from, to omap.Key) (rs []runs.Run, next omap.Key, err error) {
	next = lastKey
	start, lost := from, d.list(c, from, to)
	if k, ok, err := lost.Before(d.p.blocks.lists, from); err != nil {
		return nil, next, err
	} else if ok {
		start = k // it may reach into the interval
	}
	count := 0
	err = lost.Ascend(d.p.blocks.lists, start, func(k omap.Key, e runs.Entry) bool {
		if !k.Less(to) {
			return false
		}
		d.step(1)
		if count++; count > d.p.walkRuns() {
			next = k
			return false
		}
		if !e.Page {
			rs = append(rs, runs.Run{Dev: alloc.BlockID(k.Lo), Len: e.Len, Birth: LayerID(k.Hi)})
		}
		return true
	})
	rs = runs.From(rs, from)
	kids := d.below(c)
	if err != nil || len(kids) == 0 {
		return rs, next, err
	}
	deeper, end, err := d.commonlyLost(kids, from, to)
	if end.Less(next) {
		next = end
	}
	rs = append(rs, deeper...)
	slices.SortFunc(rs, func(a, b runs.Run) int {
		if runs.Key(a.Birth, a.Dev).Less(runs.Key(b.Birth, b.Dev)) {
			return -1
		}
		return 1
	})
	return rs, next, err
}

// unlist takes runs, which were gathered in memory, out of every dead list below n.
func (lt *layerTree) unlist(n *layer, rs []runs.Run) {
	for _, c := range n.children {
		lt.unlistIn(c, rs)
		if c.nameless() {
			lt.unlist(c, rs)
		}
	}
}

// unlistIn takes them out of the list of one of those layers.
func (lt *layerTree) unlistIn(c *layer, rs []runs.Run) {
	lt.mu.step(1 + len(rs))
	lt.touch(c)
	for _, r := range rs {
		if took := c.lost.Take(r); took > 0 && r.Birth > c.parent.floor() {
			c.lostHere -= took
		}
	}
	if c.nameless() { // its map shows them still
		c.swept = true
	}
}
