package chain

import (
	"context"
	"errors"
	"fmt"

	"slatefs/alloc"
)

// Pages for metadata: what the next checkpoint may need is granted to the store ahead of need, by records of its own.

// grantNow moves clean blocks to the store, at least n if there are as many; the records are durable when it returns.
// They are one batch: what else is in the journal may have left room for little more.
//
// The structure lock is held until then: a checkpoint that is cut between would name an extent whose grant a crash
// could forget.
func (sp *admission) grantNow(n int64) (got bool, err error) {
	r, err := sp.commits.getRoom(context.Background(), sp.grantCredit())
	if err != nil {
		return false, err
	}
	sp.structure.Lock()
	defer sp.structure.Unlock()
	return sp.grantHeld(r, n)
}

// grantRuns bounds the runs of one grant, refillRuns that of one while a checkpoint is built.
const (
	grantRuns  = 256
	refillRuns = 64
)

// grantCredit is what a grant needs: its batch is written whatever else waits, so its padding is reserved too.
func (sp *admission) grantCredit() credit {
	return credit{bytes: grantRuns*16 + sp.commits.padding(), frees: true, light: true}
}

// grantHeld is grantNow for who holds the structure lock, and room for at least refillRuns, which is given back.
func (sp *admission) grantHeld(r *room, n int64) (got bool, err error) {
	defer sp.blocks.returnRoom(r)
	for left := min(grantRuns, r.left/16); n > 0 && left > 0; left-- {
		var granted int64
		how, err := sp.blocks.takeClean(func() (wish, error) {
			size := sp.extentSize(n)
			return wish{want: size, may: size, least: size, one: true}, sp.writable()
		}, func(runs []alloc.Run) error {
			sp.commits.draw(r)
			defer sp.commits.drawn()
			granted = runs[0].Len
			return sp.commits.do(&recGrant{runs[0]})
		})
		if err != nil && (!got || !errors.Is(err, ErrHostSpace)) {
			return false, err
		}
		if err != nil || how != supplyGot {
			break
		}
		got, n = true, n-granted
	}
	if !got {
		return false, nil
	}
	_, err = sp.commits.commit(never, always)
	return true, err
}

// extentSize is how many blocks a grant of n takes at once: a whole extent, or what is needed where space is short.
func (sp *admission) extentSize(n int64) int64 {
	whole := int64(sp.format.ExtentBlocks)
	if sp.ledger != nil && sp.unpromised() < 2*whole {
		return min(whole, n)
	}
	return whole
}

// grantAhead gives the store what the next checkpoint will probably need.
func (sp *admission) grantAhead() error {
	for {
		sp.mu.Lock()
		short := sp.blocks.storeNeed() - int64(sp.blocks.store.FreePages())
		var r *room
		if short > 0 {
			r = sp.commits.tryRoom(sp.grantCredit())
		}
		sp.mu.Unlock()
		if r == nil { // enough, or no room: what lacks is granted while the checkpoint is built
			return nil
		}
		sp.structure.Lock()
		ok, err := sp.grantHeld(r, short)
		sp.structure.Unlock()
		if errors.Is(err, ErrHostSpace) { // it goes with what there is: writes wait for pages before they need them
			return nil
		}
		if err != nil || !ok {
			return err
		}
	}
}

// structurePages are free before anything that cuts trees begins: it cannot wait for more with the locks held.
const structurePages = 128

// leastPages are enough for one change that cuts no long row.
const leastPages = 32

// grantPages sees to it that the store has n free pages. It takes from the reserve.
func (sp *admission) grantPages(n int) error {
	for sp.blocks.store.FreePages() < n {
		ok, err := sp.grantNow(int64(n - sp.blocks.store.FreePages()))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("pool %s: no clean blocks for metadata: %w", sp.name, ErrNoSpace)
		}
	}
	return nil
}

// pagesLack is how many pages the store lacks for a checkpoint with all that open plans may bring. The plan lock is held.
func (sp *admission) pagesLack() int64 {
	sp.mu.assertHeld()
	return sp.blocks.storeNeed() + sp.commits.room.pages + structurePages - int64(sp.blocks.store.FreePages())
}

// rowPages are the pages that the next checkpoint needs for rows: of the catalog, of layers and jobs. They are no part of
// storeNeed, which decides what is granted ahead and what is available: a store never becomes smaller, and rows come back
// with a checkpoint.
func (sp *admission) rowPages() int64 {
	return sp.names.cat.Pages(int64(2*sp.tree.gate.n+len(sp.names.gone)) + sp.origins.rows())
}

// pagesShort: with a change more the next checkpoint might need pages that are not there, and the pool has too little to
// grant them while it is built. A checkpoint now needs fewer.
func (sp *admission) pagesShort() bool {
	rows := sp.rowPages()
	if rows == 0 {
		return false
	}
	need := sp.blocks.storeNeed() + sp.commits.room.pages + rows + structurePages
	spare := sp.blocks.alloc.Counts().Clean - sp.blocks.reserve()
	if spare >= 2*need { // mostly; what follows looks at every extent
		return false
	}
	lacking := need - int64(sp.blocks.store.FreePages()+sp.blocks.store.ScrubPages())
	return lacking > 0 && spare < 2*lacking
}

// pagesFor: the next checkpoint has its pages and so many others, and none need be granted. The plan lock is held.
func (sp *admission) pagesFor(others int64) bool {
	sp.mu.assertHeld()
	return int64(sp.blocks.store.FreePages()+sp.blocks.store.ScrubPages()) >= sp.blocks.storeNeed()+sp.commits.room.pages+sp.rowPages()+others
}

// refill is called by the store when a checkpoint needs a page and there is none. The record of the grant follows the
// cut in the journal and is durable before the page is used: whoever opens the new superblock replays it, and whoever
// opens the old one has just a larger store.
func (sp *admission) refill() error {
	if sp.built == nil { // others wait for no grant: they hold locks
		return errNoPages
	}
	sp.structure.Lock()
	defer sp.structure.Unlock()
	sp.mu.Lock()
	r := sp.commits.endRoom()
	sp.mu.Unlock()
	if r == nil {
		return errNoPages
	}
	ok, err := sp.grantHeld(r, refillRuns)
	if err == nil && !ok {
		return errNoPages
	}
	return err
}
