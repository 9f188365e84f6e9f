package chain

import (
	"context"

	"slatefs/alloc"
	"slatefs/chain/fault"
)

// reserve serves destroy, unmap, erase and checkpoint only, so that a full pool can still free.
func (bs *blockSpace) reserve() int64 {
	return max(bs.alloc.Total()/64, 2*int64(bs.format.ExtentBlocks))
}

// claimable is how many blocks the window may take from clean now.
func (bs *blockSpace) claimable() int64 { return bs.alloc.Findable() - bs.reserve() }

// claim fills the window: blocks leave clean with a durable record before any plan may name them.
func (bs *blockSpace) claim() (supply, error) {
	bs.claimMu.Lock()
	defer bs.claimMu.Unlock()
	claimed, got, err := bs.claimInTurn()
	if bs.unready = append(bs.unready, claimed...); err != nil || len(bs.unready) == 0 {
		return got, err
	}
	if err := bs.commits.flush(); err != nil {
		return 0, err // they are ready when a later call has made the record durable
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.mu.step(len(bs.unready))
	for _, r := range bs.unready {
		if err := bs.alloc.Ready(r); err != nil {
			fault.Misuse("a claim is made ready once: %v", err)
		}
	}
	bs.unready = nil
	return supplyGot, nil
}

// claimInTurn makes the record of a claim. The claim lock is held.
func (bs *blockSpace) claimInTurn() (claimed []alloc.Run, got supply, err error) {
	r, err := bs.commits.getRoom(context.Background(), credit{bytes: claimRuns * 16, frees: true})
	if err != nil {
		return nil, 0, err
	}
	defer bs.returnRoom(r)
	got, err = bs.takeClean(func() (wish, error) {
		room := bs.format.Window - bs.alloc.WindowReady()
		return wish{want: room, may: bs.claimable(), least: alloc.SlotBlocks}, bs.writable()
	}, func(runs []alloc.Run) error {
		bs.commits.draw(r)
		defer bs.commits.drawn()
		claimed = runs
		return bs.commits.do(&recClaim{runs})
	})
	return claimed, got, err
}

// unclaimSome gives up to n blocks of the window back, for who may take none of it: fallocate, whose blocks are clean.
// They count as available, so that he may have been promised them. It tells whether there were any.
func (bs *blockSpace) unclaimSome(n int64) (bool, error) {
	bs.claimMu.Lock() // so that all of the window is ready
	defer bs.claimMu.Unlock()
	r, err := bs.commits.getRoom(context.Background(), credit{bytes: claimRuns * 16, frees: true})
	if err != nil {
		return false, err
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	defer bs.commits.within(r)()
	runs := wish{want: n}.cut(bs.alloc.Unnamed())
	runs = runs[:min(len(runs), claimRuns)]
	if err := bs.writable(); err != nil || len(runs) == 0 {
		return false, err
	}
	return true, bs.commits.do(&recUnclaim{runs})
}

// returnRoom gives a room back. The plan lock is not held.
func (bs *blockSpace) returnRoom(r *room) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.commits.giveBack(r, 0)
}
