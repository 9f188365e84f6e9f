package chain

import (
	"context"
	"errors"
	"fmt"

	"slatefs/alloc"
)

// reserve serves destroy, unmap, erase and checkpoint only, so that a full pool can still free.
func (p *Pool) reserve() int64 {
	return max(p.blocks.Total()/64, 2*int64(p.format.extentBlocks))
}

// claimable is how many blocks the window may take from clean now.
func (p *Pool) claimable() int64 { return p.blocks.Counts().Clean - p.reserve() }

// claim fills the window: blocks leave clean with a durable record before any plan may name them. It returns how many
// it got.
func (p *Pool) claim() (int64, error) {
	if err := p.ensureRoom(claimRuns * 16); err != nil {
		return 0, err
	}
	p.claimMu.Lock()
	defer p.claimMu.Unlock()
	p.mu.Lock()
	want := min(p.format.window-p.blocks.WindowReady(), p.claimable())
	if err := p.writable(); err != nil || want <= 0 {
		p.mu.Unlock()
		return 0, err
	}
	runs, err := p.findClean(want, alloc.SlotBlocks)
	if err == nil && len(runs) > 0 {
		err = p.do(&recClaim{runs})
	}
	p.mu.Unlock()
	if err != nil || len(runs) == 0 {
		return 0, err
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
	return runBlocks(runs), nil
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

func (p *Pool) findClean(n, least int64) ([]alloc.Run, error) {
	for {
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
}

// storeLow tells whether the store should be given more pages: a checkpoint may need one for every changed leaf.
func (p *Pool) storeLow() bool { return int64(p.store.FreePages()) < p.storeNeed() }

// storeNeed estimates the pages of the next checkpoint from above: what every changed map may need, and the rows. It
// need not be exact: what is missing is granted while the checkpoint is built.
func (p *Pool) storeNeed() int64 { return int64(p.format.extentBlocks/2) + p.needN }

// pagesFor bounds the pages that the top storey of a head will need with more entries than it has: leaves of half a
// mebibyte, inner pages with twins above them, and pages of its dead list.
func (l *layer) pagesFor(more int64) int64 {
	e := int64(l.top.entries.Len()) + more
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
	short := p.blocks.Counts().Clean < int64(p.format.extentBlocks)
	p.mu.Unlock()
	if short {
		if err := p.reclaim(ctx, int64(p.format.extentBlocks)); err != nil {
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
	if err := p.ensureRoom(grantBytes); err != nil {
		return false, err
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	return p.grantHeld(n)
}

// grantBytes bounds the records of one grant.
const grantBytes = 4 << 10

// grantHeld is grantNow for who holds the structure lock.
func (p *Pool) grantHeld(n int64) (got bool, err error) {
	p.mu.Lock()
	err = p.writable()
	for i := 0; err == nil && n > 0 && i < grantBytes/16; i++ {
		var runs []alloc.Run
		size := p.extentSize(n)
		runs, err = p.findClean(size, size)
		if err != nil || len(runs) == 0 {
			break
		}
		err = p.do(&recGrant{runs[0]})
		got, n = true, n-runs[0].Len
	}
	p.mu.Unlock()
	if err != nil || !got {
		return false, err
	}
	return true, p.Flush()
}

// extentSize is how many blocks a grant of n takes at once: a whole extent, or what is needed where space is short.
func (p *Pool) extentSize(n int64) int64 {
	whole := int64(p.format.extentBlocks)
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
		p.mu.Unlock()
		if short <= 0 {
			return nil
		}
		p.structure.Lock()
		ok, err := p.grantHeld(short)
		p.structure.Unlock()
		if err != nil || !ok {
			return err
		}
	}
}

// ensureRoom takes a checkpoint when n bytes of records would touch what the journal keeps for its end.
func (p *Pool) ensureRoom(n int64) error {
	p.mu.Lock()
	room := p.journalHolds(n)
	p.mu.Unlock()
	if room {
		return nil
	}
	return p.Checkpoint()
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

// pagesForChange is grantPages for a change of the namespace or the structure. Where nothing is clean it makes some
// clean first; in the end it goes with few: a delete must not fail for want of space.
func (p *Pool) pagesForChange() error {
	for {
		err := p.grantPages(structurePages)
		if !errors.Is(err, ErrNoSpace) {
			return err
		}
		err = p.reclaim(context.Background(), structurePages)
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
	ok, err := p.grantHeld(1)
	if err == nil && !ok {
		return errNoPages
	}
	return err
}

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

// Usage is the state of the pool in bytes.
func (p *Pool) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.blocks.Counts()
	u := Usage{
		Total: p.blocks.Total(), Clean: c.Clean, Claimed: c.Claimed, Dirty: p.dirtyN, Freeing: p.freeing,
		Failed: p.failedN, Meta: c.Meta, Live: c.InUse - p.dirtyN - p.failedN - p.freeing,
		Reserve: p.reserve(),
	}
	if g := p.ledger; g != nil {
		u.Promised, u.MetaPromised, u.Avail, u.Short = g.promised, g.meta, max(0, p.free()), p.short()
	}
	for _, n := range []*int64{
		&u.Total, &u.Live, &u.Clean, &u.Claimed, &u.Dirty, &u.Freeing, &u.Failed, &u.Meta, &u.Reserve, &u.Promised, &u.MetaPromised,
		&u.Avail, &u.Short,
	} {
		*n *= BlockSize
	}
	for _, l := range p.layers {
		switch {
		case l.dead:
			continue
		case l.head:
			u.Volumes++
		case l.named:
			u.Snapshots++
		}
		u.Layers++
	}
	u.Destroyed = p.doomedN * BlockSize
	for _, j := range p.jobs {
		if j.none {
			u.Unscheduled += j.dirtyBlocks() * BlockSize
		}
	}
	u.Generation = p.super.generation
	u.JournalUsed, u.JournalSize = p.journal.Used(), p.journal.Size()
	u.CheckpointBytes = p.written
	u.Repairs = int64(p.store.Repairs())
	return u
}

// Headroom is what is available to those who are promised nothing, and by how much promises are short, in bytes. It
// costs nothing, unlike Usage.
func (p *Pool) Headroom() (avail, short int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.free()) * BlockSize, p.short() * BlockSize
}

// short is by how many blocks promises are not covered: erases that failed took them. None are made then.
func (p *Pool) short() int64 {
	if p.ledger.promised == 0 {
		return 0
	}
	return max(0, -p.unpromised())
}

// StatFS is what statfs(2) shows of a directory, or of the one that a file is in: bytes, and files. Under a quota it is
// the quota, as far as the pool can give it.
func (p *Pool) StatFS(ino Ino) (total, free, avail int64, files, filesFree uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.ledger.accounts[ino]
	if a != nil && !a.dir {
		a = a.up
	}
	if a == nil {
		a = p.ledger.root
	}
	avail = p.available(a, 0)
	total = p.blocks.Total() - p.blocks.Counts().Meta - p.reserve() - p.pagesLacking()
	free = max(avail, min(total, avail+p.ledger.promised))
	for o := a; o != nil; o = o.up {
		if o.quota > 0 || o.reservation > 0 {
			total = min(total, a.used+avail)
			free = avail
			break
		}
	}
	return total * BlockSize, free * BlockSize, min(avail, total) * BlockSize, uint64(p.nextIno), 1<<48 - uint64(p.nextIno)
}
