package chain

import (
	"errors"
	"fmt"

	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// A change of structure reads pages of lists, and a page may be damaged, or not be readable this time. So what a record
// needs of them is prepared before the record is made: an error then refuses the change, and nothing has happened. What
// apply does after that is in memory, and cannot fail but by a contradiction.
//
// What prepare changes on the way changes nothing of what a list holds: a tree is split in two of the same row, or a run
// goes from a tree to what waits in memory. So it may end half-way.

// preparer is a record that reads pages. The locks are held from prepare until apply; replay prepares too. An error: it
// must not be made, and nothing has changed.
type preparer interface{ prepare(p *Pool) error }

// merge is a merge of a layer into its only child, prepared. What grows with what hangs below, with lists in memory, or with walks
// is done after the record: at once when it is replayed, else in pieces (mergeout.go).
type merge struct {
	from, into *layer
	below      []meta.Tree // of into's dead list: what it lost of layers that stay
	upper      []meta.Tree // and what is nobody's now
	lost       []*loss     // more than is known by lostHere, of into's children, and of into
	line       []span      // into's
	inPieces   bool

	made  bool                 // what follows is to be done
	fresh omap.Map[runs.Entry] // from its dead list, for into's
	walks []*walk
	spans []span // of from's line
}

// warmer is a record whose apply looks up names. warm looks them up before, where they may be missed.
type warmer interface{ warm(p *Pool) }

// prepareRecord makes sure that a record can be applied.
func (p *Pool) prepareRecord(r record) error {
	p.tree.merge = nil
	if n, ok := r.(warmer); ok && p.commits.cold.on && !p.commits.cold.made {
		n.warm(p)
	}
	q, ok := r.(preparer)
	if !ok {
		return nil
	}
	return preparedError(p.name, q.prepare(p))
}

// preparedError is why something could not be prepared.
func preparedError(pool string, err error) error {
	if errors.Is(err, meta.ErrNoPages) || errors.Is(err, errNoPages) {
		return fmt.Errorf("pool %s: %w: %w", pool, ErrNoSpace, err)
	}
	return wrapCorrupt(err)
}

// mergeAfter finds the merge that reap will come to when l loses what held it, if any: l's own, or that of its parent, when l
// is buried.
func (lt *layerTree) mergeAfter(l *layer) (from, into *layer) {
	buried := (*layer)(nil)
	for first := true; l != nil && !l.head && !l.dead && (first || l.nameless()); first = false {
		lt.mu.step(1)
		n := len(l.children)
		if buried != nil { // it is one of them
			n--
		}
		switch n {
		case 0:
			if up := l.parent; up != nil && up.swept && len(up.children) == 1 { // see behindSwept
				return nil, nil
			}
			buried, l = l, l.parent
		case 1:
			if into = l.children[0]; into == buried {
				into = l.children[1]
			}
			return l, into
		default:
			return nil, nil
		}
	}
	return nil, nil
}

// prepareReap prepares that merge.
func (lt *layerTree) prepareReap(l *layer) error {
	if from, into := lt.mergeAfter(l); from != nil {
		return lt.prepareMerge(from, into)
	}
	return nil
}

// prepareMerge counts what c and its children have lost of the ranges that come to them when l goes, and splits c's dead list where
// l's range begins, under one hold of the plan lock: for replay.
func (lt *layerTree) prepareMerge(l, c *layer) (err error) {
	lt.assertTrees()
	m := newMerge(l, c)
	for _, w := range m.lost {
		lt.mu.step(1)
		if w.n, err = w.of.lost.Weigh(lt.blocks.coldLists, w.from, w.to); err != nil {
			return err
		}
	}
	lt.touch(c) // its trees change
	if m.below, m.upper, err = c.lost.SplitAt(lt.blocks.coldLists, l.floor()+1); err != nil {
		return err
	}
	lt.merge = m
	return nil
}

// newMerge is a merge of which nothing is counted.
func newMerge(l, c *layer) *merge {
	m := &merge{from: l, into: c, line: joinLines(l.line, c.line)}
	for _, o := range c.children { // c's range grows downwards
		m.lost = append(m.lost, &loss{of: o, from: l.floor(), to: l.id})
	}
	if up := l.parent; up != nil { // c has another parent
		m.lost = append(m.lost, &loss{of: c, from: up.floor(), to: up.id})
	}
	return m
}

// mergeDown gives l's blocks to its only child c. Of what c had lost, the births in l's range are nobody's now: they
// become dirty; l's own dead list joins c's. No block moves and no stamp changes.
func (lt *layerTree) mergeDown(l *layer, j *job) {
	lt.mu.assertHeld()
	lt.structure.assertHeld()
	c, parent, m := l.children[0], l.parent, lt.merge
	if m == nil || m.from != l || m.into != c {
		fault.Misuse("a merge is prepared before its record: layer %v into %v", l.id, c.id)
	}
	lt.touch(l)
	lt.touch(c)
	upper := c.lost.CutAt(l.floor()+1, m.below, m.upper)
	lt.jobs.joinJob(j, &upper, c.lostHere)
	gives := l.own - c.lostHere
	lt.owns(l, -l.own)
	lt.owns(c, gives)
	m.fresh = c.lost.JoinTrees(&l.lost)
	if c.head {
		lt.origins.mix(c.id, c.vol)
		c.wrote = true // for all that is known: it writes in place now
	}
	c.parent, c.line, c.lostHere = parent, m.line, 0
	if parent != nil {
		c.lostHere = l.lostHere
		lt.disown(parent, l)
		lt.adopt(parent, c)
	}
	c.fence, c.fenceLSN, c.fenceEpoch = max(c.fence, l.id), lt.commits.lsn, lt.plans.epochs.seal()
	l.heir = c
	lt.lossBelow(c)
	lt.lossBelow(parent)
	lt.recountAround(l)
	lt.uncount(l)
	if c.falls != nil {
		lt.recount(c)
	}
	m.walks, m.spans, l.walks, l.line = l.walks, l.line, nil, nil
	lt.strand(c, l.sickWalks, l.waitWalks)
	l.sickWalks, l.waitWalks = 0, 0
	lt.leaveVolume(l)
	lt.forgetLayer(l)
	lt.mayGo(c)
	if m.made = true; !m.inPieces {
		for lt.mergeOn(m) {
		}
	}
}

func (lt *layerTree) gather(n *layer, runs []runs.Run) error {
	lt.structure.assertHeld()
	for _, c := range n.children {
		lt.mu.step(1 + len(runs))
		lt.touch(c)
		_, err := c.lost.Gather(lt.blocks.coldLists, runs)
		if err == nil && c.nameless() {
			err = lt.gather(c, runs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
