package chain

import (
	"context"
	"errors"
	"runtime"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// walkOne takes a step of a walk that is ready, and tells whether there was one.
func (wk *works) walkOne(context.Context) (bool, error) {
	wk.mu.Lock()
	w := wk.tree.walkReady(false)
	wk.mu.Unlock()
	if w == nil {
		return false, nil
	}
	return true, wk.walkStep(w)
}

// walkStep takes the next runs of a walk to its job, and the pages that it has passed to the store. That the map cannot be
// read is the walk's alone, and no error: its blocks stay as they are until a later try.
func (wk *works) walkStep(w *walk) error {
	r, err := wk.commits.getRoom(context.Background(), credit{bytes: wk.stepBytes(), frees: true})
	if err != nil {
		return err
	}
	wk.lockTrees()
	defer wk.structure.Unlock()
	defer func() {
		wk.mu.Lock()
		defer wk.mu.Unlock()
		wk.commits.giveBack(r, 0)
	}()
	wk.mu.Lock()
	gone := wk.tree.walks[w.id] != w // ended by somebody else meanwhile
	wk.mu.Unlock()
	if gone {
		return nil
	}
	var found []walked
	var passed []meta.Ptr
	next, done, err := wk.blocks.maps.Step(w.source.Base(), w.pages, wk.walkRuns(),
		func(ptr meta.Ptr) bool { return !w.burial || ptr.Birth > w.layer.died },
		func(q meta.Piece) {
			if skip := w.next - q.Start; skip > 0 { // sorted before a crash; only its page is left
				if skip >= q.Len {
					return
				}
				q.Start, q.Dev, q.Len = q.Start+skip, q.Dev+alloc.BlockID(skip), q.Len-skip
			}
			if !w.burial || q.Birth > w.layer.died {
				found = append(found, walked{runs.Run{Dev: q.Dev, Len: q.Len, Birth: q.Birth}, q.Start + q.Len})
			}
		},
		func(ptr meta.Ptr) { passed = append(passed, ptr) })
	wk.mu.Lock()
	defer wk.mu.Unlock()
	if err != nil {
		wk.tree.noteWalk(w, wrapCorrupt(err))
		return nil
	}
	wk.commits.draw(r)
	defer wk.commits.drawn()
	return wk.walkOn(w, found, passed, next, done)
}

// sweepStep takes one step of the sweep of some nameless layer, and tells whether there was anything to do. Unless
// forced, a layer is swept once for every checkpoint.
func (wk *works) sweepStep(force bool) (bool, error) {
	wk.mu.Lock()
	due, pages := wk.tree.sweepable(force), structurePages
	if due != nil {
		pages += 4 * len(due.children) // each of them has a list
	}
	wk.mu.Unlock()
	if due == nil {
		return false, nil
	}
	err := wk.space.grantPages(pages)
	if errors.Is(err, ErrNoSpace) {
		err = wk.space.grantPages(structurePages)
	}
	if err != nil {
		if errors.Is(err, ErrNoSpace) {
			err = nil // not now
		}
		return false, err
	}
	r, err := wk.commits.getRoom(context.Background(), credit{bytes: wk.stepBytes(), frees: true})
	if err != nil {
		return false, err
	}
	wk.lockTrees()
	defer wk.structure.Unlock()
	defer wk.blocks.returnRoom(r)
	l, err := wk.beginSweep(force)
	if l == nil {
		return false, err
	}
	rs, next, err := (&deadReader{p: wk.tree}).deadBelow(l, l.sweepNext)
	if err == nil {
		err = wk.tree.sweepOut(l, rs, func(rec record) error {
			return wk.commits.underPlan(func() error {
				wk.commits.draw(r)
				defer wk.commits.drawn()
				wk.commits.keepPages()
				if err := wk.writable(); err != nil {
					return err
				}
				return wk.commits.do(rec)
			})
		})
	}
	wk.mu.Lock()
	defer wk.mu.Unlock()
	if err := wk.writable(); err != nil {
		return false, err
	}
	return true, wk.tree.sweptStep(l, next, err)
}

// beginSweep is the layer whose sweep goes on, or nil. The structure lock is held, and not the plan lock.
func (wk *works) beginSweep(force bool) (*layer, error) {
	wk.mu.Lock()
	defer wk.mu.Unlock()
	if err := wk.writable(); err != nil {
		return nil, err
	}
	l := wk.tree.sweepable(force)
	if l != nil && l.sweepNext == (omap.Key{}) {
		l.sweeping = l.losses // what heads lose from now on may be in the runs, and is looked at again
		wk.tree.goers.news++
	}
	return l, nil
}

// walkOn takes what a walk has found to its job in records of some runs, and the pages that it has passed to the store. The
// locks are held; the plan lock is given up between the records.
func (wk *works) walkOn(w *walk, found []walked, passed []meta.Ptr, next int64, done bool) error {
	if err := wk.writable(); err != nil {
		return err
	}
	wk.tree.noteWalk(w, nil)
	for len(found) > runsAtOnce {
		rec := recWalk{walk: w.id, next: found[runsAtOnce-1].next}
		for _, f := range found[:runsAtOnce] {
			rec.runs = append(rec.runs, f.run)
		}
		if err := wk.commits.do(&rec); err != nil {
			return err
		}
		found = found[runsAtOnce:]
		wk.commits.unlocked(runtime.Gosched)
		if err := wk.writable(); err != nil {
			return err
		}
	}
	for i, ptr := range passed {
		if i%runsAtOnce == runsAtOnce-1 {
			wk.commits.unlocked(runtime.Gosched)
		}
		wk.tree.pageGone(w.layer, ptr)
	}
	if err := wk.writable(); err != nil {
		return err
	}
	wk.tree.touchWalk(w)
	w.pages = next
	rec := recWalk{walk: w.id, next: max(next, w.next), done: done}
	for _, f := range found {
		rec.runs = append(rec.runs, f.run)
	}
	return wk.commits.do(&rec)
}

// walked is a run that a walk has found, and the logical block where it goes on.
type walked struct {
	run  runs.Run
	next int64
}
