package chain

import (
	"context"
	"errors"

	"slatefs/alloc"
)

// reserve serves destroy, unmap, erase and checkpoint only, so that a full pool can still free.
func (p *Pool) reserve() int64 {
	return max(p.blocks.Total()/64, 2*int64(p.format.extentBlocks))
}

// claimable is how many blocks the window may take from clean now.
func (p *Pool) claimable() int64 { return p.blocks.Findable() - p.reserve() }

// supply is how a look for clean blocks ended. That it brought none has two reasons, which ask for opposite things.
type supply uint8

const (
	supplyGot  supply = iota + 1 // there are more than before
	supplyFull                   // the window holds all that it may: they are there to be named, if others were not faster
	supplyNone                   // nothing is clean but the reserve: some must be made clean
)

// claim fills the window: blocks leave clean with a durable record before any plan may name them.
func (p *Pool) claim() (supply, error) {
	p.claimMu.Lock()
	defer p.claimMu.Unlock()
	r, err := p.getRoom(context.Background(), credit{bytes: claimRuns * 16, frees: true})
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	done := p.within(r)
	room := p.format.window - p.blocks.WindowReady()
	if err := p.writable(); err != nil || room <= 0 {
		done()
		p.mu.Unlock()
		return supplyFull, err
	}
	runs, err := p.findClean(min(room, p.claimable()), alloc.SlotBlocks)
	if err == nil && len(runs) > 0 {
		err = p.do(&recClaim{runs})
	}
	done()
	p.mu.Unlock()
	if err != nil || len(runs) == 0 {
		return supplyNone, err
	}
	if err := p.prepare(runs); err != nil {
		return 0, err
	}
	if err := p.Flush(); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range runs {
		if err := p.blocks.Ready(r); err != nil {
			return 0, p.failLocked(err)
		}
	}
	return supplyGot, nil
}

// prepare grows a sparse pool file ahead of need: what was just claimed, and nobody may name yet, gets real zeros.
func (p *Pool) prepare(runs []alloc.Run) error {
	file, ok := p.dev.(interface{ Prepare(off, n int64) error })
	if !ok {
		return nil
	}
	for _, r := range runs {
		if err := file.Prepare(int64(r.Start)*BlockSize, r.Len*BlockSize); err != nil {
			return err
		}
	}
	return nil
}

// claimRuns bounds the runs of one claim, so that its record stays small on a fragmented pool.
const claimRuns = 256

// findClean finds up to n clean blocks, none where n is not positive. The plan lock is held.
func (p *Pool) findClean(n, least int64) ([]alloc.Run, error) {
	for n > 0 {
		runs, err := p.blocks.FindClean(n, least, 0)
		var u *alloc.UnloadedError
		if errors.As(err, &u) {
			if err := p.loadGroup(u.Group); err != nil {
				p.log.Error("a group of blocks cannot be used", "pool", p.name, "group", u.Group, "error", err)
				p.blocks.Shun(u.Group)
			}
			continue
		}
		if len(runs) > claimRuns {
			runs = runs[:claimRuns]
		}
		return runs, err
	}
	return nil, nil
}
