package chain

import (
	"context"

	"slatefs/alloc"
	"slatefs/chain/fault"
)

// reserve serves destroy, unmap, erase and checkpoint only, so that a full pool can still free.
func (p *Pool) reserve() int64 {
	return max(p.blocks.Total()/64, 2*int64(p.format.ExtentBlocks))
}

// claimable is how many blocks the window may take from clean now.
func (p *Pool) claimable() int64 { return p.blocks.Findable() - p.reserve() }

// claim fills the window: blocks leave clean with a durable record before any plan may name them.
func (p *Pool) claim() (supply, error) {
	p.claimMu.Lock()
	defer p.claimMu.Unlock()
	claimed, got, err := p.claimInTurn()
	if p.unready = append(p.unready, claimed...); err != nil || len(p.unready) == 0 {
		return got, err
	}
	if err := p.Flush(); err != nil {
		return 0, err // they are ready when a later call has made the record durable
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.step(len(p.unready))
	for _, r := range p.unready {
		if err := p.blocks.Ready(r); err != nil {
			fault.Misuse("a claim is made ready once: %v", err)
		}
	}
	p.unready = nil
	return supplyGot, nil
}

// claimInTurn makes the record of a claim. The claim lock is held.
func (p *Pool) claimInTurn() (claimed []alloc.Run, got supply, err error) {
	r, err := p.getRoom(context.Background(), credit{bytes: claimRuns * 16, frees: true})
	if err != nil {
		return nil, 0, err
	}
	defer p.returnRoom(r)
	got, err = p.takeClean(func() (wish, error) {
		room := p.format.Window - p.blocks.WindowReady()
		return wish{want: room, may: p.claimable(), least: alloc.SlotBlocks}, p.writable()
	}, func(runs []alloc.Run) error {
		p.draw(r)
		defer p.drawn()
		claimed = runs
		return p.do(&recClaim{runs})
	})
	return claimed, got, err
}

// unclaimSome gives up to n blocks of the window back, for who may take none of it: fallocate, whose blocks are clean.
// They count as available, so that he may have been promised them. It tells whether there were any.
func (p *Pool) unclaimSome(n int64) (bool, error) {
	p.claimMu.Lock() // so that all of the window is ready
	defer p.claimMu.Unlock()
	r, err := p.getRoom(context.Background(), credit{bytes: claimRuns * 16, frees: true})
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.within(r)()
	runs := wish{want: n}.cut(p.blocks.Unnamed())
	runs = runs[:min(len(runs), claimRuns)]
	if err := p.writable(); err != nil || len(runs) == 0 {
		return false, err
	}
	return true, p.do(&recUnclaim{runs})
}

// returnRoom gives a room back. The plan lock is not held.
func (p *Pool) returnRoom(r *room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveBack(r, 0)
}
