package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/size"
	"slatefs/chain/super"
)

// A pool grows and shrinks at its end. What it gains is dirty, in a job of its own like a new pool's: a device may hold
// anything there; but what a pool file gains is durable zeros, and clean. What it gives up is clean, and no record, page or
// plan names it any more. Ring, window and groups keep their sizes.

// setTotal tells everybody how many blocks the pool has. Structure and plan lock are held.
func (p *Pool) setTotal(blocks int64) {
	if blocks > p.blocks.Total() {
		p.blocks.Grow(blocks)
	}
	p.store.SetTotal(blocks)
	p.format.Blocks = blocks
	p.mu.step(p.blocks.Groups())
	ptrs := make([]meta.Ptr, p.blocks.Groups())
	copy(ptrs, p.groupPtrs)
	p.groupPtrs = ptrs
}

// cutGroup is a group that went with the pool's end: the next checkpoint takes its row away and gives its page back.
type cutGroup struct {
	group int
	page  meta.Ptr
}

// dropGroups is the builder's part of a reduction. A group that has come back since has an image, or is as new: without a
// row.
func (p *Pool) dropGroups(images []alloc.Image) (out []meta.Edit) {
	kept := map[int]bool{}
	for _, img := range images {
		kept[img.Group] = true
	}
	for _, c := range p.groupsCut {
		if !c.page.IsNil() {
			p.store.Free(c.page)
		}
		if !kept[c.group] {
			kept[c.group] = true // cut twice, one row
			out = append(out, meta.Edit{Key: meta.Key{Hi: uint64(c.group), Lo: 1}, Delete: true})
		}
	}
	return out
}

// storeEnd is the end of the store's last extent.
func (p *Pool) storeEnd() (end alloc.BlockID) {
	for _, e := range p.store.Extents() {
		end = max(end, e.End())
	}
	return end
}

// loadGroupOf loads the group of a block. The plan lock is held.
func (p *Pool) loadGroupOf(b alloc.BlockID) error {
	if g := p.blocks.Group(b); !p.blocks.Loaded(g) {
		return p.loadGroup(g)
	}
	return nil
}

// zeroGrower is a device that tells whether what it gains holds anything: a block device's does, a pool file's is zero.
type zeroGrower interface{ IsBlockDevice() bool }

// Extend makes the pool bytes large, and its device first where that is a file; 0 means as large as the device is. Of a
// block device somebody else must have made it larger. What is gained can be used at once; of a device it is zeroed on
// demand until the job `initial` has come to it.
//
// Durable on return. Errors: ErrInvalid for less than there is, blockdev.ErrTooSmall when the device has less, or the
// device's; the pool is as it was then.
func (p *Pool) Extend(bytes int64) error {
	p.resizeMu.Lock()
	defer p.resizeMu.Unlock()
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
		old := p.blocks.Total()
		switch {
		case r.blocks == old:
			return nil
		case r.blocks < old:
			return fmt.Errorf("pool %s: has %s already, not %s: %w", p.name, size.Format(old*BlockSize), size.Format(bytes), ErrInvalid)
		case r.blocks > super.MaxBlocks:
			return fmt.Errorf("pool %s: %s, at most %s: %w", p.name, size.Format(bytes), size.Format(MaxPool), ErrTooBig)
		}
		r.clean, r.when = max(r.clean, alloc.BlockID(old)), now
		return p.do(r)
	})
	if err != nil {
		return err
	}
	return p.Flush()
}

// resize runs a change of the pool's size, with room for its records in the journal.
func (p *Pool) resize(fn func(now time.Time) error) error {
	p.mu.Lock()
	window := int64(len(p.blocks.Unnamed()))
	p.mu.Unlock()
	return p.changeIn(credit{bytes: changeBytes + 16*window, frees: true}, fn)
}

// Reduce gives up the end of the pool, as far as it is clean and promised to nobody: down to least bytes, in steps of unit
// bytes. It returns the new size, which is the old one where nothing can be given. On return both superblocks say so, and
// the device may be cut there.
func (p *Pool) Reduce(least, unit int64) (bytes int64, err error) {
	p.resizeMu.Lock()
	defer p.resizeMu.Unlock()
	p.claimMu.Lock() // nobody claims: all of the window is ready
	err = p.resize(func(time.Time) (err error) {
		bytes, err = p.reduceLocked(least, unit)
		return err
	})
	p.claimMu.Unlock()
	for range super.Slots {
		if err == nil {
			err = p.Checkpoint()
		}
	}
	return bytes, err
}

func (p *Pool) reduceLocked(least, unit int64) (int64, error) {
	total := p.blocks.Total()
	if runs := p.blocks.Unnamed(); len(runs) > 0 && p.blocks.WindowReady() == runBlocks(runs) {
		if err := p.do(&recUnclaim{runs}); err != nil {
			return 0, err
		}
	}
	end, err := p.usedEnd()
	if err != nil {
		return 0, err
	}
	end = max(end, p.blocks.AsideEnd()) // it is clean, and about to be used
	least = max(blocksOf(least), int64(end), p.format.Window, total-max(0, p.free()))
	step := max(1, unit/BlockSize)
	if least = (least + step - 1) / step * step; least >= total {
		return total * BlockSize, nil
	}
	return least * BlockSize, p.do(&recReduce{least})
}

// usedEnd is the end of the last block that is not clean.
func (p *Pool) usedEnd() (alloc.BlockID, error) {
	for g := p.blocks.Groups() - 1; g >= 0; g-- {
		p.mu.step(1)
		c := p.blocks.GroupCounts(g)
		if c.Clean == c.Total() {
			continue
		}
		first := alloc.BlockID(g) * alloc.BlockID(p.format.GroupBlocks)
		if err := p.loadGroupOf(first); err != nil {
			return 0, err
		}
		for b := first + alloc.BlockID(c.Total()); b > first; b-- {
			if st, err := p.blocks.State(b - 1); err != nil || st != alloc.Clean {
				return b, err
			}
		}
	}
	return 0, nil
}

// SetGrower installs what makes the pool larger when a write or a promise lacks so many bytes and nothing in the pool can
// still be freed. It calls Extend, or says why it can't. ErrNoSpace is for that who asked: so many can't be had, and nothing
// was changed. After any other error it is not asked again before Growable. nil: there is none.
func (p *Pool) SetGrower(grow func(ctx context.Context, lack int64) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grower, p.growable = grow, grow != nil
}

// Growable says that the grower may be asked again.
func (p *Pool) Growable() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.growable = p.grower != nil
}

// growMore asks the grower. That it failed is no error: who lacks space is told so.
func (p *Pool) growMore(ctx context.Context, lack int64) error {
	p.mu.Lock()
	grow := p.grower
	p.mu.Unlock()
	if grow == nil {
		return nil
	}
	err := grow(ctx, lack)
	if err == nil || errors.Is(err, ErrNoSpace) || ctx.Err() != nil {
		return err // that who asked has gone says nothing of the grower
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.growable = false; errors.Is(err, ErrReadOnly) {
		return err
	}
	return nil
}
