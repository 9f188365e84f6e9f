package chain

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// tagsAtOnce bounds the snapshots that one batch gives a tag, or takes it from.
const tagsAtOnce = 8

// tagging is a tag that snapshots get or lose.
type tagging struct {
	rm      *remover
	tag     string
	on      bool
	changed int // snapshots that it changed
}

// admit finds the snapshots, in the order given, or why one cannot have the tag. The structure lock is held, and not the plan lock.
func (tg *tagging) admit(group []SnapsOf) (layers []*layer, err error) {
	for _, g := range group {
		for _, name := range g.Names {
			var l *layer
			err := tg.rm.commits.underPlan(func() (err error) {
				if l, err = tg.rm.tree.snapshot(g.Vol, name); err != nil {
					return err
				}
				return tg.admitOne(l)
			})
			if err != nil {
				return nil, err
			}
			layers = append(layers, l)
		}
	}
	return layers, nil
}

// admitOne: the volume of a snapshot has a name, and the snapshot not too many tags. The plan lock is held.
func (tg *tagging) admitOne(l *layer) error {
	n, err := tg.rm.names.inode(l.vol)
	switch {
	case err != nil:
		return err
	case n.parent == 0: // nobody asks for its snapshots by name any more
		return fmt.Errorf("volume of snapshot %s: %w", l.name, ErrGone)
	case tg.on && l.hasTag(tg.tag) < 0 && len(l.tags) >= MaxTags:
		return fmt.Errorf("%s@%s: %d tags, at most %d: %w", tg.rm.names.pathOf(l.vol), l.name, len(l.tags), MaxTags, ErrTooBig)
	}
	return nil
}

// all does it to all, some at a time.
func (tg *tagging) all(layers []*layer) error {
	for part := range slices.Chunk(layers, tagsAtOnce) {
		var err error
		if tg.on { // it takes space
			err = tg.rm.works.grow(func(now time.Time) (Need, error) { return Need{}, tg.some(part, now) })
		} else {
			err = tg.rm.works.change(func(now time.Time) error { return tg.some(part, now) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// some does it to some, or to none of them. One that has been destroyed meanwhile has nothing to lose, and cannot be held. The plan lock
// is held, and the structure lock.
func (tg *tagging) some(layers []*layer, now time.Time) error {
	var todo []*layer
	for _, l := range layers {
		err := tg.admitOne(l)
		if tg.rm.tree.layers[l.id] != l || !l.named {
			err = fmt.Errorf("%s@%s: destroyed meanwhile: %w", tg.rm.names.pathOf(l.vol), l.name, ErrNotFound)
		}
		switch {
		case errors.Is(err, ErrNotFound) && !tg.on:
		case err != nil:
			return err
		case (l.hasTag(tg.tag) >= 0) != tg.on:
			todo = append(todo, l)
		}
	}
	if tg.rm.commits.missed() { // before anything changes
		return errMissed
	}
	for _, l := range todo {
		if err := tg.rm.commits.do(&recTag{layer: l.id, on: tg.on, tag: tg.tag, when: now}); err != nil {
			return err
		}
		tg.changed++
	}
	return nil
}
