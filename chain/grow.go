package chain

import (
	"context"
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/size"
	"slatefs/chain/super"
)

// A pool grows and shrinks at its end. What it gains is dirty, in a job of its own like a new pool's: a device may hold
// anything there; but what a pool file gains is durable zeros, and clean. What it gives up is clean, and no record, page or
// plan names it any more. Ring, window and groups keep their sizes.

// zeroGrower is a device that tells whether what it gains holds anything: a block device's does, a pool file's is zero.
type zeroGrower interface{ IsBlockDevice() bool }

// Extend makes the pool bytes large, and its device first where that is a file; 0 means as large as the device is. Of a
// block device somebody else must have made it larger. What is gained can be used at once; of a device it is zeroed on
// demand until the job `initial` has come to it.
//
// Durable on return. Errors: ErrInvalid for less than there is, blockdev.ErrTooSmall when the device has less, or the
// device's; the pool is as it was then.
func (p *Pool) Extend(bytes int64) error {
	p.works.resizeMu.Lock()
	defer p.works.resizeMu.Unlock()
	before := p.dev.Size()
	if err := p.dev.Grow(max(bytes, before)); err != nil {
		return fmt.Errorf("pool %s: %w", p.name, err)
	}
	if bytes == 0 {
		bytes = p.dev.Size()
	}
	r := &recExtend{blocks: bytes / BlockSize}
	r.clean = alloc.BlockID(r.blocks)
	if g, ok := p.dev.(zeroGrower); ok && !g.IsBlockDevice() {
		r.clean = alloc.BlockID(min(r.blocks, (before+BlockSize-1)/BlockSize)) // what lay beyond the pool before may hold anything
	}
	err := p.resize(func(now time.Time) error {
		old := p.blocks.alloc.Total()
		switch {
		case r.blocks == old:
			return nil
		case r.blocks < old:
			return fmt.Errorf("pool %s: has %s already, not %s: %w", p.name, size.Format(old*BlockSize), size.Format(bytes), ErrInvalid)
		case r.blocks > super.MaxBlocks:
			return fmt.Errorf("pool %s: %s, at most %s: %w", p.name, size.Format(bytes), size.Format(MaxPool), ErrTooBig)
		}
		r.clean, r.when = max(r.clean, alloc.BlockID(old)), now
		return p.commits.do(r)
	})
	if err != nil {
		return err
	}
	return p.Flush()
}

// resize runs a change of the pool's size, with room for its records in the journal.
func (p *Pool) resize(fn func(now time.Time) error) error {
	p.mu.Lock()
	window := int64(len(p.blocks.alloc.Unnamed()))
	p.mu.Unlock()
	return p.works.changeIn(credit{bytes: changeBytes + 16*window, frees: true, cuts: true}, fn)
}

// Reduce gives up the end of the pool, as far as it is clean and promised to nobody: down to least bytes, in steps of unit
// bytes. It returns the new size, which is the old one where nothing can be given. On return both superblocks say so, and
// the device may be cut there.
func (p *Pool) Reduce(least, unit int64) (bytes int64, err error) {
	p.works.resizeMu.Lock()
	defer p.works.resizeMu.Unlock()
	p.blocks.claimMu.Lock()                // nobody claims: all of the window is ready
	err = p.resize(func(time.Time) error { // the window goes back, if all of it is ready
		if runs := p.blocks.alloc.Unnamed(); len(runs) > 0 && p.blocks.alloc.WindowReady() == runBlocks(runs) {
			return p.commits.do(&recUnclaim{runs})
		}
		return nil
	})
	if err == nil { // a change of its own, since it reads groups
		err = p.resize(func(time.Time) (err error) {
			bytes, err = p.reduceLocked(least, unit)
			return err
		})
	}
	p.blocks.claimMu.Unlock()
	for range super.Slots {
		if err == nil {
			err = p.Checkpoint()
		}
	}
	return bytes, err
}

func (p *Pool) reduceLocked(least, unit int64) (int64, error) {
	total := p.blocks.alloc.Total()
	end, err := p.blocks.usedEnd()
	if err != nil {
		return 0, err
	}
	end = max(end, p.blocks.alloc.AsideEnd()) // it is clean, and about to be used
	least = max(blocksOf(least), int64(end), p.format.Window, total-max(0, p.space.free()))
	step := max(1, unit/BlockSize)
	if least = (least + step - 1) / step * step; least >= total {
		return total * BlockSize, nil
	}
	return least * BlockSize, p.commits.do(&recReduce{least})
}

// SetGrower installs what makes the pool larger when a write or a promise lacks so many bytes and nothing in the pool can
// still be freed. It calls Extend, or says why it can't. ErrNoSpace is for that who asked: so many can't be had, and nothing
// was changed. After any other error it is not asked again before Growable. nil: there is none.
func (p *Pool) SetGrower(grow func(ctx context.Context, lack int64) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.works.grower, p.space.growable = grow, grow != nil
}

// Growable says that the grower may be asked again.
func (p *Pool) Growable() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.space.growable = p.works.grower != nil
}
