package chain

import (
	"context"
	"fmt"
)

// reclaim makes blocks clean for somebody who waits: it erases on demand, else walks, else sweeps. ErrNoSpace: there
// is nothing left that could become clean.
func (p *Pool) reclaim(ctx context.Context, blocks int64) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.mu.Lock()
		zero, dirty, cleaned, lsn := p.demanded(), p.dirtyN, p.cleaned, p.lsn
		waits, walk := p.walkWaits(), p.walkReady()
		p.mu.Unlock()
		if dirty > 0 && zero != nil {
			n, err := zero(ctx, blocks*BlockSize)
			if err != nil || n > 0 {
				return err
			}
			p.mu.Lock()
			others := p.cleaned != cleaned
			p.mu.Unlock()
			if others { // made some clean meanwhile
				return nil
			}
		}
		switch {
		case waits:
			if err := p.Checkpoint(); err != nil {
				return err
			}
		case walk != nil:
			return p.walkStep(walk)
		default:
			if did, err := p.sweepStep(true); err != nil || did {
				return err
			}
			again, err := p.waitForDirty(ctx, lsn, zero != nil)
			if err != nil {
				return err
			}
			if again {
				continue
			}
			if did, err := p.sacrifice(); err != nil || did {
				return err
			}
			return fmt.Errorf("pool %s: %w", p.name, ErrNoSpace)
		}
	}
}

// waitForDirty tells whether reclaim, which found nothing to do since the record lsn, should look again: something has
// changed meanwhile, or a plan that may still have touched what is dirty has ended, for which it waits.
func (p *Pool) waitForDirty(ctx context.Context, lsn uint64, erases bool) (again bool, err error) {
	p.mu.Lock()
	changed, pinned, moved := p.lsn != lsn, p.dirtyN > 0 && erases && len(p.epochs.open) > 0, p.movedLocked()
	p.mu.Unlock()
	if changed || !pinned {
		return changed, nil
	}
	select {
	case <-moved:
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
