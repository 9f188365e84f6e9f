package chain

import (
	"context"
	"math"

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
	for len(bs.unready) > 0 {
		bs.makeReady()
	}
	return supplyGot, nil
}

// makeReady makes the next runs of a claim that is durable ready. The claim lock is held.
func (bs *blockSpace) makeReady() {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	n := min(len(bs.unready), pieceLen)
	bs.mu.step(n)
	for _, r := range bs.unready[:n] {
		if err := bs.alloc.Ready(r); err != nil {
			fault.Misuse("a claim is made ready once: %v", err)
		}
	}
	bs.unready = bs.unready[n:]
}

// claimInTurn makes the records of a claim: each of what is taken under one hold of the plan lock. The claim lock is held.
func (bs *blockSpace) claimInTurn() (claimed []alloc.Run, got supply, err error) {
	r, err := bs.commits.getRoom(context.Background(), credit{bytes: claimRuns * claimBytes, frees: true})
	if err != nil {
		return nil, 0, err
	}
	defer bs.returnRoom(r)
	for got = supplyGot; err == nil && got == supplyGot && len(claimed)+takeRuns <= claimRuns; {
		got, err = bs.takeClean(func() (wish, error) {
			room := bs.format.Window - bs.alloc.WindowReady() - runBlocks(claimed)
			return wish{want: room, may: bs.claimable(), least: alloc.SlotBlocks}, bs.writable()
		}, func(runs []alloc.Run) error {
			bs.commits.draw(r)
			defer bs.commits.drawn()
			claimed = append(claimed, runs...)
			return bs.commits.do(&recClaim{runs})
		})
	}
	if len(claimed) > 0 && passing(err) { // there are some; who lacks more will be told
		err = nil
	}
	if len(claimed) > 0 && err == nil {
		got = supplyGot
	}
	return claimed, got, err
}

// claimBytes bounds what a run takes in the record of a claim, of which each may have a record of its own.
const claimBytes = 20

// unclaimSome gives up to n blocks of the window back, for who may take none of it: fallocate, whose blocks are clean.
// They count as available, so that he may have been promised them. It tells whether there were any.
func (bs *blockSpace) unclaimSome(n int64) (bool, error) {
	bs.claimMu.Lock() // so that all of the window is ready
	defer bs.claimMu.Unlock()
	return bs.unclaim(n)
}

// unclaimAll gives the window back, if all that it has is ready.
func (bs *blockSpace) unclaimAll() error {
	bs.claimMu.Lock() // nobody claims more
	defer bs.claimMu.Unlock()
	bs.mu.Lock()
	waits := bs.alloc.WindowWaiting() > 0
	bs.mu.Unlock()
	for !waits {
		if some, err := bs.unclaim(math.MaxInt64); !some {
			return err
		}
	}
	return nil
}

// unclaim gives back what one hold of the plan lock may, up to n blocks. The claim lock is held.
func (bs *blockSpace) unclaim(n int64) (bool, error) {
	r, err := bs.commits.getRoom(context.Background(), credit{bytes: pieceLen * claimBytes, frees: true})
	if err != nil {
		return false, err
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	defer bs.commits.within(r)()
	runs := bs.alloc.FirstUnnamed(n, pieceLen)
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
