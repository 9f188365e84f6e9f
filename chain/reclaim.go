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
func (p *Pool) reclaim(ctx context.Context, blocks int64, look func() bool) error {
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
		p.mu.Lock()
		zero, dirty, cleaned, since := p.demanded(), p.dirtyN, p.cleaned, moment{p.lsn, p.movedLocked()}
		waits, walk, there := p.walkWaits(), p.walkReady(true), look()
		p.mu.Unlock()
		if there {
			return nil
		}
		if dirty > 0 && zero != nil {
			n, err := zero(ctx, blocks*BlockSize)
			if n > 0 || !skip(err) {
				return err
			}
			p.mu.Lock()
			others := p.cleaned != cleaned
			p.mu.Unlock()
			if others { // made some clean meanwhile
				return nil
			}
		}
		waits = waits && could == nil
		if waits {
			if err := p.checkpointUnless(never); !skip(err) {
				return err
			}
		}
		switch {
		case waits && could == nil:
		case walk != nil:
			if err := p.walkStep(walk); err == nil || !skip(err) {
				return err
			}
			fallthrough
		default:
			if did, err := p.sweepStep(true); did || !skip(err) {
				return err
			}
			again, err := p.waitForDirty(ctx, since, zero != nil, look)
			if err != nil {
				return err
			}
			if again {
				continue
			}
			if did, err := p.giveUpOne(); did || !skip(err) {
				return err
			}
			if could != nil {
				return fmt.Errorf("pool %s: %w: some cannot be freed now: %v", p.name, ErrNoSpace, could) //nolint:errorlint // why, not what
			}
			return fmt.Errorf("pool %s: %w", p.name, ErrNoSpace)
		}
	}
}

// reclaimAfter is reclaim for who may have been refused by the host: short is ErrHostSpace then. What is erased the host has
// already, so he goes on with it; where nothing can be erased the host's refusal stands.
func (p *Pool) reclaimAfter(ctx context.Context, short error, blocks int64, look func() bool) error {
	err := p.reclaim(ctx, blocks, look)
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
func (p *Pool) waitForDirty(ctx context.Context, since moment, erases bool, look func() bool) (again bool, err error) {
	p.mu.Lock()
	changed, dirty := p.lsn != since.lsn || look(), erases && p.dirtyN > p.sickN
	pinned, unsettled := len(p.epochs.open) > 0, p.durable < since.lsn
	p.mu.Unlock()
	switch {
	case changed || !dirty:
		return changed, nil
	case unsettled:
		return true, p.Flush()
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

// movedLocked is closed when a plan ends next.
func (p *Pool) movedLocked() <-chan struct{} {
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return p.moved
}

func (p *Pool) planEnded() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}
