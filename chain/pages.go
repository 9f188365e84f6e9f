package chain

import (
	"context"
	"errors"
	"fmt"

	"slatefs/alloc"
)

// Pages for metadata: what the next checkpoint may need is granted to the store ahead of need, by records of its own.

// storeLow tells whether the store should be given more pages: a checkpoint may need one for every changed leaf.
func (p *Pool) storeLow() bool { return int64(p.store.FreePages()) < p.storeNeed() }

// storeNeed estimates the pages of the next checkpoint from above: what every changed map may need, and the rows. It
// need not be exact: what is missing is granted while the checkpoint is built.
func (p *Pool) storeNeed() int64 { return int64(p.format.ExtentBlocks/2) + p.needN }

// pagesFor bounds the pages that the top storey of a head will need with more entries than it has: leaves of half a
// mebibyte, inner pages with twins above them, and pages of its dead list.
func (l *layer) pagesFor(more int64) int64 {
	e := int64(l.top.Len()) + more
	if e == 0 {
		return 0
	}
	n := 4 + min(e, blocksOf(l.size)/128+1)
	for bits := 13; bits <= 37; bits += 6 {
		above := blocksOf(l.size) >> bits
		if n += 2 * min(e, above+1); above == 0 {
			break
		}
	}
	for _, t := range l.lost.trees {
		n += 2 * min(e, int64(t.Entries)/256)
	}
	return n
}

// noteNeed keeps the sum of all heads' needs.
func (p *Pool) noteNeed(l *layer) {
	n := l.pagesFor(0)
	p.needN += n - l.need
	l.need = n
}

// grant gives the store one more extent, if the pool has one.
func (p *Pool) grant(ctx context.Context) (bool, error) {
	p.mu.Lock()
	enough := func() bool { return p.blocks.Findable() >= int64(p.format.ExtentBlocks) }
	short := !enough()
	p.mu.Unlock()
	if short {
		if err := p.reclaim(ctx, int64(p.format.ExtentBlocks), enough); err != nil {
			return false, nil //nolint:nilerr // nothing to be had now; a checkpoint that needs it says so
		}
	}
	return p.grantNow(1)
}

// grantNow moves clean blocks to the store, at least n if there are as many; the records are durable when it returns.
// They are one batch: what else is in the journal may have left room for little more.
//
// The structure lock is held until then: a checkpoint that is cut between would name an extent whose grant a crash
// could forget.
func (p *Pool) grantNow(n int64) (got bool, err error) {
	r, err := p.getRoom(context.Background(), p.grantCredit())
	if err != nil {
		return false, err
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	return p.grantHeld(r, n)
}

// grantRuns bounds the runs of one grant, refillRuns that of one while a checkpoint is built.
const (
	grantRuns  = 256
	refillRuns = 64
)

// grantCredit is what a grant needs: its batch is written whatever else waits, so its padding is reserved too.
func (p *Pool) grantCredit() credit { return credit{bytes: grantRuns*16 + p.padding(), frees: true} }

// grantHeld is grantNow for who holds the structure lock, and room for at least refillRuns, which is given back.
func (p *Pool) grantHeld(r *room, n int64) (got bool, err error) {
	defer p.returnRoom(r)
	for left := min(grantRuns, r.left/16); n > 0 && left > 0; left-- {
		var granted int64
		how, err := p.takeClean(func() (wish, error) {
			size := p.extentSize(n)
			return wish{want: size, may: size, least: size, one: true}, p.writable()
		}, func(runs []alloc.Run) error {
			p.draw(r)
			defer p.drawn()
			granted = runs[0].Len
			return p.do(&recGrant{runs[0]})
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
	_, err = p.commit(never, always)
	return true, err
}

// extentSize is how many blocks a grant of n takes at once: a whole extent, or what is needed where space is short.
func (p *Pool) extentSize(n int64) int64 {
	whole := int64(p.format.ExtentBlocks)
	if p.ledger != nil && p.unpromised() < 2*whole {
		return min(whole, n)
	}
	return whole
}

// grantAhead gives the store what the next checkpoint will probably need.
func (p *Pool) grantAhead() error {
	for {
		p.mu.Lock()
		short := p.storeNeed() - int64(p.store.FreePages())
		var r *room
		if short > 0 {
			r = p.tryRoom(p.grantCredit())
		}
		p.mu.Unlock()
		if r == nil { // enough, or no room: what lacks is granted while the checkpoint is built
			return nil
		}
		p.structure.Lock()
		ok, err := p.grantHeld(r, short)
		p.structure.Unlock()
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
func (p *Pool) grantPages(n int) error {
	for p.store.FreePages() < n {
		ok, err := p.grantNow(int64(n - p.store.FreePages()))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("pool %s: no clean blocks for metadata: %w", p.name, ErrNoSpace)
		}
	}
	return nil
}

// pagesLack is how many pages the store lacks for a checkpoint with all that open plans may bring. The plan lock is held.
func (p *Pool) pagesLack() int64 {
	return p.storeNeed() + p.room.pages + structurePages - int64(p.store.FreePages())
}

// provideStore gives the store the pages that a write waits for, on a pool file whose host may have no space for them: in
// new extents, else from what a checkpoint gives back, else from what is erased.
func (p *Pool) provideStore(ctx context.Context, pages int64) error {
	got, short := p.grantNow(pages)
	if short != nil && !errors.Is(short, ErrHostSpace) || got {
		return short
	}
	p.mu.Lock()
	need := p.needN > 0
	p.mu.Unlock()
	if need {
		return p.checkpointUnless(never)
	}
	return p.reclaimAfter(ctx, short, pages, func() bool { return short == nil && p.blocks.Findable() > 0 })
}

// rowPages are the pages that the next checkpoint needs for rows: of the catalog, of layers and jobs. They are no part of
// storeNeed, which decides what is granted ahead and what is available: a store never becomes smaller, and rows come back
// with a checkpoint.
func (p *Pool) rowPages() int64 {
	return p.cat.Pages(int64(2*len(p.dirtyLayers) + len(p.gone)))
}

// pagesShort: with a change more the next checkpoint might need pages that are not there, and the pool has too little to
// grant them while it is built. A checkpoint now needs fewer.
func (p *Pool) pagesShort() bool {
	rows := p.rowPages()
	if rows == 0 {
		return false
	}
	need := p.storeNeed() + p.room.pages + rows + structurePages
	spare := p.blocks.Counts().Clean - p.reserve()
	if spare >= 2*need { // mostly; what follows looks at every extent
		return false
	}
	lacking := need - int64(p.store.FreePages()+p.store.ScrubPages())
	return lacking > 0 && spare < 2*lacking
}

// pagesForRows takes a checkpoint where a change more might leave too few pages for the next one.
func (p *Pool) pagesForRows() error {
	p.mu.Lock()
	short := p.pagesShort()
	p.mu.Unlock()
	if !short {
		return nil
	}
	return p.checkpointUnless(func() bool { return !p.pagesShort() })
}

// pagesForChange is grantPages for a change of the namespace or the structure. Where nothing is clean it makes some
// clean first; in the end it goes with few: a delete must not fail for want of space.
func (p *Pool) pagesForChange() error {
	if err := p.pagesForRows(); err != nil {
		return err
	}
	for {
		short := p.grantPages(structurePages)
		if !errors.Is(short, ErrNoSpace) {
			return short
		}
		look := func() bool { return !errors.Is(short, ErrHostSpace) && p.blocks.Findable() > 0 }
		err := p.reclaimAfter(context.Background(), short, structurePages, look)
		if errors.Is(err, ErrNoSpace) && p.store.FreePages() >= leastPages {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// refill is called by the store when a checkpoint needs a page and there is none. The record of the grant follows the
// cut in the journal and is durable before the page is used: whoever opens the new superblock replays it, and whoever
// opens the old one has just a larger store.
func (p *Pool) refill() error {
	if !p.building {
		return errNoPages
	}
	p.mu.Lock()
	r := p.endRoom()
	p.mu.Unlock()
	if r == nil {
		return errNoPages
	}
	ok, err := p.grantHeld(r, refillRuns)
	if err == nil && !ok {
		return errNoPages
	}
	return err
}
