package chain

import (
	"context"
	"errors"
	"time"
)

// works carries a change out: room in the journal, pages for its rows, the locks, and space that is found where there is none, by
// steps of walks and sweeps, a checkpoint, an erase on demand, growth of the pool, or the end of what was destroyed and is kept.
type works struct {
	*core
	commits *commitLog
	plans   *planTable
	blocks  *blockSpace
	jobs    *jobQueue
	tree    *layerTree
	space   *admission

	zeroNow   func(ctx context.Context, bytes int64) (int64, error) // mu
	grower    func(ctx context.Context, lack int64) error           // mu: nil: the pool does not grow by itself
	resizeMu  workLock                                              // self: one change of the pool's size at a time; taken before all others
	endGoing  func() error                                          // const: of what is removed in steps all that may be tried
	giveUpOne func() (bool, error)                                  // const: of what is kept, before its time, when space is short
}

// change runs fn under both locks, with room in the journal for what it does. What fn makes is atomic: its records go
// into one batch. It is durable after the next Flush.
func (wk *works) change(fn func(now time.Time) error) error {
	if err := wk.pagesForChange(); err != nil {
		return err
	}
	return wk.changeIn(credit{bytes: changeBytes, pages: changePages, frees: true}, fn)
}

// around is what a change has to do that may take more than one hold of the plan lock: look before it, and rest after it, whatever has
// become of it. Both are called under the structure lock alone, which is held from the one to the other. nil: nothing.
type around struct{ look, rest func() }

// changeAround is changeIn for what has something to do around it. It may be called more than once.
func (wk *works) changeAround(c credit, a around, fn func(now time.Time) error) error {
	for tries := 0; ; tries++ {
		r, err := wk.commits.getRoom(context.Background(), c)
		if err != nil {
			return err
		}
		short, err := wk.changeWith(r, c.cuts, tries < 3, a, fn)
		if err != nil || !short {
			return err
		}
		if err := wk.pagesForRows(); err != nil {
			return err
		}
	}
}

// grow is changeWithSpace for what makes names or attributes: the tail of the journal is not for it.
func (wk *works) grow(fn func(now time.Time) (Need, error)) error {
	return wk.changeWithSpace(changeBytes, nil, fn)
}

// changeIn is change for what needs more or less room than most, and sees itself to what it takes from the store at once.
func (wk *works) changeIn(c credit, fn func(now time.Time) error) error {
	return wk.changeAround(c, around{}, fn)
}

// changeWith makes a change in a room, which is given back. short: it has done nothing, since others have taken pages that
// the next checkpoint needs; unless it may not be picky. Cuts: it waits for the end of a build. fn is called again when it
// missed a page (commitLog.underPlan).
func (wk *works) changeWith(r *room, cuts, picky bool, a around, fn func(now time.Time) error) (short bool, err error) {
	if cuts {
		wk.lockTrees()
	} else {
		wk.structure.Lock()
	}
	defer wk.structure.Unlock()
	if a.rest != nil {
		defer a.rest()
	}
	if a.look != nil {
		a.look()
	}
	defer func() {
		wk.mu.Lock()
		defer wk.mu.Unlock()
		wk.commits.giveBack(r, 0)
	}()
	err = wk.commits.underPlan(func() error {
		wk.commits.draw(r)
		defer wk.commits.drawn()
		wk.commits.keepPages()
		if err := wk.writable(); err != nil {
			return err
		}
		if short = picky && wk.space.pagesShort(); short {
			return nil
		}
		return fn(wk.opt.Now())
	})
	return short, err
}

// changeWithFew is change for who frees: it asks for the pages that it would like, and goes with few.
func (wk *works) changeWithFew(fn func(now time.Time) error) error {
	if err := wk.pagesForRows(); err != nil {
		return err
	}
	if err := wk.space.grantPages(structurePages); err != nil && (!errors.Is(err, ErrNoSpace) || wk.blocks.store.FreePages() < leastPages) {
		return err
	}
	return wk.changeIn(credit{bytes: changeBytes, pages: changePages, frees: true}, fn)
}

// changeWithSpace is change for what may be refused for want of space: as long as the background can free something
// it does, and then it is tried again. It has room for bytes of records. look is called before, under the structure lock alone.
func (wk *works) changeWithSpace(bytes int64, look func(), fn func(now time.Time) (Need, error)) error {
	for {
		var need Need
		err := wk.pagesForChange()
		if err == nil {
			err = wk.changeAround(credit{bytes: bytes, pages: changePages}, around{look: look}, func(now time.Time) (err error) {
				need, err = fn(now)
				return err
			})
		}
		if err != nil || need.None() {
			return err
		}
		if err := wk.fulfil(context.Background(), need); err != nil {
			return err
		}
	}
}

// pagesForChange is grantPages for a change of the namespace or the structure. Where nothing is clean it makes some
// clean first; in the end it goes with few: a delete must not fail for want of space.
func (wk *works) pagesForChange() error {
	if err := wk.pagesForRows(); err != nil {
		return err
	}
	for {
		short := wk.space.grantPages(structurePages)
		if !errors.Is(short, ErrNoSpace) {
			return short
		}
		look := func() bool { return !errors.Is(short, ErrHostSpace) && wk.blocks.alloc.Findable() > 0 }
		err := wk.reclaimAfter(context.Background(), short, structurePages, look)
		if errors.Is(err, ErrNoSpace) && wk.blocks.store.FreePages() >= leastPages {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pagesForRows takes a checkpoint where a change more might leave too few pages for the next one.
func (wk *works) pagesForRows() error {
	wk.mu.Lock()
	short := wk.space.pagesShort()
	wk.mu.Unlock()
	if !short {
		return nil
	}
	return wk.commits.checkpointUnless(func() bool { return !wk.space.pagesShort() })
}

// cutting is change for what may cut trees: it waits for the end of a build, or sees to it that none is cut meanwhile.
func (wk *works) cutting(waits bool, a around, fn func(now time.Time) error) error {
	if err := wk.pagesForChange(); err != nil {
		return err
	}
	return wk.changeAround(credit{bytes: changeBytes, pages: changePages, frees: true, cuts: waits}, a, fn)
}

// changeBytes bounds the records of one change of the namespace or the structure; longer ones say what they need.
const changeBytes = 8 << 10

// changePages is what one change usually lets the next checkpoint need; structurePages are beside it.
const changePages = 16

// inodeBytes bounds the record of an inode's row.
const inodeBytes = 512
