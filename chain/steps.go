package chain

import (
	"context"
	"errors"

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
	rec, passed := recWalk{walk: w.id}, []meta.Ptr(nil)
	next, done, err := wk.blocks.maps.Step(w.source.Base(), w.pages, wk.walkRuns(),
		func(ptr meta.Ptr) bool { return !w.burial || ptr.Birth > w.layer.died },
		func(q meta.Piece) {
			if skip := w.next - q.Start; skip > 0 { // sorted before a crash; only its page is left
				if skip >= q.Len {
					return
				}
				q.Dev, q.Len = q.Dev+alloc.BlockID(skip), q.Len-skip
			}
			if !w.burial || q.Birth > w.layer.died {
				rec.runs = append(rec.runs, runs.Run{Dev: q.Dev, Len: q.Len, Birth: q.Birth})
			}
		},
		func(ptr meta.Ptr) { passed = append(passed, ptr) })
	if err != nil {
		wk.mu.Lock()
		defer wk.mu.Unlock()
		wk.tree.noteWalk(w, wrapCorrupt(err))
		return nil
	}
	rec.next, rec.done = max(next, w.next), done
	wk.mu.Lock()
	defer wk.mu.Unlock()
	wk.commits.draw(r)
	defer wk.commits.drawn()
	if err := wk.writable(); err != nil {
		return err
	}
	wk.tree.noteWalk(w, nil)
	for _, ptr := range passed {
		wk.tree.pageGone(w.layer, ptr)
	}
	w.pages = next
	return wk.commits.do(&rec)
}

// sweepStep takes one step of the sweep of some nameless layer, and tells whether there was anything to do. Unless
// forced, a layer is swept once for every checkpoint.
func (wk *works) sweepStep(force bool) (bool, error) {
	wk.mu.Lock()
	due := wk.tree.sweepable(force) != nil
	wk.mu.Unlock()
	if !due {
		return false, nil
	}
	if err := wk.space.grantPages(structurePages); err != nil {
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
	wk.mu.Lock()
	defer wk.mu.Unlock()
	defer wk.commits.within(r)()
	if err := wk.writable(); err != nil {
		return false, err
	}
	l := wk.tree.sweepable(force)
	if l == nil {
		return false, nil
	}
	sum := l.lostBelow() // what heads lose from now on may be in the runs, and is looked at again
	var runs []runs.Run
	var next omap.Key
	wk.commits.unlocked(func() { runs, next, err = (&deadReader{p: wk.tree}).deadBelow(l, l.sweepNext) })
	if err := wk.writable(); err != nil {
		return false, err
	}
	return true, wk.tree.sweep(l, sum, runs, next, err)
}
