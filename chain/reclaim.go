package chain

import (
	"context"
	"errors"
	"fmt"
)

// reclaim makes blocks clean for somebody who looked for some in vain: it erases on demand, else walks, else sweeps. look
// tells whether he should look again, because others made some clean, or gave some back, since; it is called under the plan
// lock. What cannot be done now because the device could not, or because something is damaged, is not his fault: the next
// means is tried. ErrNoSpace: there is nothing to look for, and nothing left that could become clean.
func (wk *works) reclaim(ctx context.Context, blocks int64, look func() bool) error {
	var could error // not be done
	skip := func(err error) bool {
		if passing(err) {
			could = err
		}
		return err == nil || passing(err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		wk.mu.Lock()
		zero, dirty, cleaned, since := wk.demanded(), wk.jobs.dirtyN, wk.jobs.cleaned, moment{wk.commits.lsn, wk.plans.movedLocked()}
		waits, walk, there := wk.tree.walkWaits(), wk.tree.walkReady(true), look()
		wk.mu.Unlock()
		if there {
			return nil
		}
		if dirty > 0 && zero != nil {
			n, err := zero(ctx, blocks*BlockSize)
			if n > 0 || !skip(err) {
				return err
			}
			wk.mu.Lock()
			others := wk.jobs.cleaned != cleaned
			wk.mu.Unlock()
			if others { // made some clean meanwhile
				return nil
			}
		}
		waits = waits && could == nil
		if waits {
			if err := wk.commits.checkpointUnless(never); !skip(err) {
				return err
			}
		}
		switch {
		case waits && could == nil:
		case walk != nil:
			if err := wk.walkStep(walk); err == nil || !skip(err) {
				return err
			}
			fallthrough
		default:
			if did, err := wk.sweepStep(true); did || !skip(err) {
				return err
			}
			again, err := wk.waitForDirty(ctx, since, zero != nil, look)
			if err != nil {
				return err
			}
			if again {
				continue
			}
			if did, err := wk.giveUpOne(); did || !skip(err) {
				return err
			}
			if could != nil {
				return fmt.Errorf("pool %s: %w: some cannot be freed now: %v", wk.name, ErrNoSpace, could) //nolint:errorlint // why, not what
			}
			return fmt.Errorf("pool %s: %w", wk.name, ErrNoSpace)
		}
	}
}

// reclaimAfter is reclaim for who may have been refused by the host: short is ErrHostSpace then. What is erased the host has
// already, so he goes on with it; where nothing can be erased the host's refusal stands.
func (wk *works) reclaimAfter(ctx context.Context, short error, blocks int64, look func() bool) error {
	err := wk.reclaim(ctx, blocks, look)
	if errors.Is(short, ErrHostSpace) && errors.Is(err, ErrNoSpace) {
		return short
	}
	return err
}

// moment is when reclaim looked: the last record, and what is closed when a plan ends after it.
type moment struct {
	lsn   uint64
	moved <-chan struct{}
}

// waitForDirty tells whether reclaim, which found nothing to do since a moment, should look again: something has changed
// meanwhile, or what kept dirty blocks from being erased has ended. That may be a plan that can still touch them, for which
// it waits and which leaves no record, or a record that was not durable.
func (wk *works) waitForDirty(ctx context.Context, since moment, erases bool, look func() bool) (again bool, err error) {
	wk.mu.Lock()
	changed, dirty := wk.commits.lsn != since.lsn || look(), erases && wk.jobs.dirtyN > wk.jobs.sickN
	pinned, unsettled := wk.plans.epochs.first() != nil, wk.commits.durable < since.lsn
	wk.mu.Unlock()
	switch {
	case changed || !dirty:
		return changed, nil
	case unsettled:
		return true, wk.commits.flush()
	}
	select {
	case <-since.moved:
		return true, nil
	default:
		if !pinned {
			return false, nil
		}
	}
	select {
	case <-since.moved:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// findSpace takes one step that may make something available: what is going goes, what was destroyed is counted, a walk, a sweep, a checkpoint, a flush, or the end of
// another plan.
func (wk *works) findSpace(ctx context.Context) error {
	wk.mu.Lock()
	waits, walk, sweep := wk.tree.walkWaits() || wk.blocks.needN > 0, wk.tree.walkReady(true), wk.tree.sweepable(true) != nil
	flush, moved := wk.commits.durable < wk.commits.lsn, wk.plans.movedLocked()
	plans, stale, goes := wk.plans.epochs.first() != nil, wk.tree.fallsStale(), wk.space.goes()
	wk.mu.Unlock()
	switch {
	case goes:
		return wk.endGoing()
	case stale:
		wk.tree.settleFalls()
	case walk != nil:
		return wk.walkStep(walk)
	case waits:
		return wk.commits.checkpointUnless(never)
	case sweep:
		did, err := wk.sweepStep(true)
		wk.mu.Lock()
		defer wk.mu.Unlock()
		if err == nil && !did && wk.tree.sweepable(true) != nil { // it cannot be done now; else others have done it
			err = fmt.Errorf("pool %s: %w", wk.name, ErrNoSpace)
		}
		return err
	case flush:
		return wk.commits.flush()
	case plans:
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// fulfil is Pool.Fulfil.
func (wk *works) fulfil(ctx context.Context, n Need) error {
	if n.None() {
		return nil
	}
	switch n.kind {
	case needPage:
		if n.errand != nil {
			n.errand.fetch()
		}
		if _, err := wk.blocks.maps.Lookup(n.m, n.lb, 1); err != nil {
			return wrapCorrupt(err)
		}
	case needFetch:
		n.errand.fetch()
	case needPlan:
		select {
		case <-n.wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	case needBlocks:
		return wk.provide(ctx, n.blocks)
	case needRoom:
		return wk.commits.waitForRoom(ctx, n.room)
	case needStore:
		return wk.provideStore(ctx, n.blocks)
	case needSpace:
		return wk.findSpace(ctx)
	case needExtension:
		if err := wk.growMore(ctx, n.blocks*BlockSize); errors.Is(err, ErrNoSpace) {
			return fmt.Errorf("%w; %w", n.why, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// provide makes blocks of the window ready for a writer: from clean, else by making some clean.
func (wk *works) provide(ctx context.Context, blocks int64) error {
	enough := func() bool { return wk.blocks.alloc.WindowReady() >= blocks }
	for {
		got, short := wk.blocks.claim()
		if short != nil && !errors.Is(short, ErrHostSpace) || got == supplyFull {
			return short
		}
		wk.mu.Lock()
		there, room := enough(), wk.format.Window-wk.blocks.alloc.WindowReady()
		wk.mu.Unlock()
		if there {
			return nil
		}
		if got == supplyGot {
			continue
		}
		look := func() bool {
			return enough() || wk.blocks.alloc.WindowWaiting() > 0 || short == nil && wk.blocks.claimable() > 0
		}
		if err := wk.reclaimAfter(ctx, short, max(blocks, min(room, wk.format.Window/4)), look); err != nil {
			return err
		}
	}
}

// provideStore gives the store the pages that a write waits for, on a pool file whose host may have no space for them: in
// new extents, else from what a checkpoint gives back, else from what is erased.
func (wk *works) provideStore(ctx context.Context, pages int64) error {
	got, short := wk.space.grantNow(pages)
	if short != nil && !errors.Is(short, ErrHostSpace) || got {
		return short
	}
	wk.mu.Lock()
	need := wk.blocks.needN > 0
	wk.mu.Unlock()
	if need {
		return wk.commits.checkpointUnless(never)
	}
	return wk.reclaimAfter(ctx, short, pages, func() bool { return short == nil && wk.blocks.alloc.Findable() > 0 })
}

// demanded is zeroNow, while which the queue hands out the jobs of erase=none as well; nil if there is none. The plan
// lock is held.
func (wk *works) demanded() func(ctx context.Context, bytes int64) (int64, error) {
	wk.mu.assertHeld()
	if wk.zeroNow == nil {
		return nil
	}
	zero := wk.zeroNow
	count := func(n int) {
		wk.mu.Lock()
		defer wk.mu.Unlock()
		wk.jobs.demand += n
	}
	return func(ctx context.Context, bytes int64) (int64, error) {
		count(1)
		defer count(-1)
		return zero(ctx, bytes)
	}
}

// growMore asks the grower. That it failed is no error: who lacks space is told so.
func (wk *works) growMore(ctx context.Context, lack int64) error {
	wk.mu.Lock()
	grow := wk.grower
	wk.mu.Unlock()
	if grow == nil {
		return nil
	}
	err := grow(ctx, lack)
	if err == nil || errors.Is(err, ErrNoSpace) || ctx.Err() != nil {
		return err // that who asked has gone says nothing of the grower
	}
	wk.mu.Lock()
	defer wk.mu.Unlock()
	if wk.space.growable = false; errors.Is(err, ErrReadOnly) {
		return err
	}
	return nil
}

// grant gives the store one more extent, if the pool has one.
func (wk *works) grant(ctx context.Context) (bool, error) {
	wk.mu.Lock()
	enough := func() bool { return wk.blocks.alloc.Findable() >= int64(wk.format.ExtentBlocks) }
	short := !enough()
	wk.mu.Unlock()
	if short {
		if err := wk.reclaim(ctx, int64(wk.format.ExtentBlocks), enough); err != nil {
			return false, nil //nolint:nilerr // nothing to be had now; a checkpoint that needs it says so
		}
	}
	return wk.space.grantNow(1)
}
