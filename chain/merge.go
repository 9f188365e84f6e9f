package chain

import (
	"errors"
	"fmt"
	"slices"

	"slatefs/chain/meta"
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

// merge is a merge of a layer into its only child, prepared.
type merge struct {
	from, into *layer
	below      []meta.Tree // of into's dead list: what it lost of layers that stay
	upper      []meta.Tree // and what is nobody's now
	lost       map[*layer]int64
}

// prepareRecord makes sure that a record can be applied.
func (p *Pool) prepareRecord(r record) error {
	p.tree.merge = nil
	q, ok := r.(preparer)
	if !ok {
		return nil
	}
	err := q.prepare(p)
	if errors.Is(err, meta.ErrNoPages) || errors.Is(err, errNoPages) {
		return fmt.Errorf("pool %s: %w: %w", p.name, ErrNoSpace, err)
	}
	return wrapCorrupt(err)
}

// prepareReap prepares the merge that reap will come to when l loses what held it, if any: l's own, or that of its parent,
// when l is buried.
func (lt *layerTree) prepareReap(l *layer) error {
	buried := (*layer)(nil)
	for first := true; l != nil && !l.head && !l.dead && (first || l.nameless()); first = false {
		lt.mu.step(1 + len(l.children))
		kids := slices.DeleteFunc(slices.Clone(l.children), func(o *layer) bool { return o == buried })
		switch len(kids) {
		case 0:
			buried, l = l, l.parent
		case 1:
			return lt.prepareMerge(l, kids[0])
		default:
			return nil
		}
	}
	return nil
}

// prepareMerge counts what c and its children will have lost when l goes, and splits c's dead list where l's range begins.
func (lt *layerTree) prepareMerge(l, c *layer) (err error) {
	m := &merge{from: l, into: c, lost: map[*layer]int64{}}
	for _, o := range c.children { // c's range grows downwards
		lt.mu.step(1)
		if m.lost[o], err = o.lost.weigh(lt.blocks.lists, l.floor(), c.id); err != nil {
			return err
		}
	}
	if up := l.parent; up != nil { // c has another parent
		for _, o := range []*layer{c, l} {
			n, err := o.lost.weigh(lt.blocks.lists, up.floor(), up.id)
			if err != nil {
				return err
			}
			m.lost[c] += n
		}
	}
	lt.touch(c) // its trees change
	if m.below, m.upper, err = c.lost.splitAt(lt.blocks.lists, l.floor()+1); err != nil {
		return err
	}
	lt.merge = m
	return nil
}

// splitAt splits the trees of the list so that none has births on both sides of b. On error some are split.
func (l *list) splitAt(f *meta.Family, b LayerID) (below, upper []meta.Tree, err error) {
	for i, t := range l.trees {
		lo, hi, err := f.Cut(t, meta.Key{Hi: uint64(b)})
		if err != nil {
			l.trees = slices.Concat(below, upper, l.trees[i:])
			return nil, nil, err
		}
		if lo.Entries > 0 {
			below = append(below, lo)
		}
		if hi.Entries > 0 {
			upper = append(upper, hi)
		}
	}
	l.trees = slices.Concat(below, upper)
	return below, upper, nil
}

func (lt *layerTree) gather(n *layer, runs []deadRun) error {
	for _, c := range n.children {
		lt.mu.step(1 + len(runs))
		moved, err := c.lost.gather(lt.blocks.lists, runs)
		if moved {
			lt.touch(c)
		}
		if err == nil && c.nameless() {
			err = lt.gather(c, runs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gather brings what the trees have of runs to memory. moved: some tree changed, on error too.
func (l *list) gather(f *meta.Family, runs []deadRun) (moved bool, err error) {
	for i, t := range l.trees {
		one := list{trees: []meta.Tree{t}}
		es, had, err := one.without(f, runs)
		if err != nil {
			return moved, err
		}
		if len(es) == 0 {
			continue
		}
		if t, err = f.Apply(t, es); err != nil {
			return moved, err
		}
		l.trees[i], moved = t, true
		for _, r := range had {
			l.fresh.Set(entryKey(r.birth, r.dev), entry{n: r.n})
		}
	}
	return moved, nil
}
