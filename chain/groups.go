package chain

import (
	"errors"
	"fmt"
	"runtime"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// trimGroups keeps the pages of groups at a quarter of the cache: it takes some out of memory before one is loaded. The plan
// lock is held.
func (bs *blockSpace) trimGroups() {
	bs.mu.assertHeld()
	bs.alloc.Evict(int(bs.memory.limit/BlockSize), evictSteps)
	bs.memory.fit()
}

// trimAllGroups is trimGroups until they are no more than that, in pieces, for which it takes the plan lock: a group that was
// in one state and changed has a page that nobody loaded.
func (bs *blockSpace) trimAllGroups() {
	for lap, held := 0, 1; lap*evictSteps <= 2*held; lap++ { // around, past those that have none any more
		bs.mu.Lock()
		bs.mu.step(evictSteps)
		bs.trimGroups()
		now := bs.alloc.HeldPages()
		bs.mu.Unlock()
		if held = max(held, now); now <= int(bs.memory.limit/BlockSize) {
			return
		}
	}
}

// settleGroups loads the groups that changed while their page was not in memory. The plan lock is held, and given up while
// a page is read, and when some were looked at.
func (bs *blockSpace) settleGroups() error {
	bs.mu.assertHeld()
	for {
		g, found, more := bs.alloc.Unsettled(pieceLen / 4)
		bs.mu.step(pieceLen / 4)
		switch {
		case found:
			if err := bs.bringGroup(g); err != nil {
				return err
			}
		case more:
			bs.commits.unlocked(runtime.Gosched)
		default:
			return nil
		}
	}
}

// images are those of the cut that has begun.
func (bs *blockSpace) images() (all []alloc.Image) {
	for more := true; more; {
		bs.mu.Lock()
		var some []alloc.Image
		some, more = bs.alloc.Images(pieceLen)
		bs.mu.step(pieceLen)
		bs.mu.Unlock()
		all = append(all, some...)
	}
	return all
}

// bringGroup is loadGroup for who may give the plan lock up while the page is read: what he knew may be true no more.
func (bs *blockSpace) bringGroup(g int) error {
	bs.mu.assertHeld()
	for {
		ptr := bs.groupPtrs[g]
		var page any
		var err error
		bs.commits.unlocked(func() { page, err = bs.store.Get(ptr, wholePage) })
		switch {
		case g >= bs.alloc.Groups() || bs.alloc.Loaded(g):
			return nil
		case bs.groupPtrs[g] == ptr: // else a checkpoint has replaced it meanwhile
			return bs.takeGroup(g, page, err)
		}
	}
}

func wholePage(b []byte) (any, error) { return b, nil }

// loadGroup reads the page of a group. The plan lock is held. One that is damaged takes the clean blocks of its group out of
// use: nobody knows which they are.
func (bs *blockSpace) loadGroup(g int) error {
	bs.mu.assertHeld()
	page, err := bs.commits.page(bs.store, bs.groupPtrs[g], wholePage)
	if errors.Is(err, errMissed) {
		return err
	}
	return bs.takeGroup(g, page, err)
}

// takeGroup is loadGroup with what was read.
func (bs *blockSpace) takeGroup(g int, page any, err error) error {
	bs.mu.assertHeld()
	bs.mu.step(1)
	bs.trimGroups()
	if err == nil {
		err = bs.alloc.Load(g, page.([]byte)[:bs.format.GroupBlocks/4])
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("group %d: %w", g, err)
	if bs.opt.ReadOnly || !damaged(err) || bs.writable() != nil {
		return err
	}
	n := bs.alloc.Condemn(g, append(bs.store.Extents(), alloc.Run{Len: int64(bs.firstBlock())}))
	bs.health.noteDamage(fmt.Sprintf("%d clean blocks are not used any more: %v", n, err))
	return nil
}

// loadGroupOf loads the group of a block. The plan lock is held.
func (bs *blockSpace) loadGroupOf(b alloc.BlockID) error {
	bs.mu.assertHeld()
	if g := bs.alloc.Group(b); !bs.alloc.Loaded(g) {
		return bs.loadGroup(g)
	}
	return nil
}

// firstBlock is the first one behind superblocks and journal.
func (bs *blockSpace) firstBlock() alloc.BlockID {
	return alloc.BlockID(super.Slots + bs.format.Ring/BlockSize)
}

func (bs *blockSpace) loadTable() error {
	cur := bs.groups.Seek(bs.groupTable, meta.Key{})
	for {
		k, v, ok, err := cur.Next()
		if err != nil || !ok {
			return err
		}
		if err := bs.takeRow(k, v); err != nil {
			return err
		}
	}
}

// takeRow takes a row of the group table.
func (bs *blockSpace) takeRow(k meta.Key, v []byte) error {
	var r groupRow
	if err := r.unmarshal(v); err != nil {
		return fmt.Errorf("row %d: %w", k.Hi, err)
	}
	if k.Hi >= uint64(len(bs.groupPtrs)) || r.n != 1 {
		return fmt.Errorf("row %d of %d groups in a pool of %d: %w", k.Hi, r.n, len(bs.groupPtrs), ErrCorrupt)
	}
	if err := bs.alloc.SetGroup(int(k.Hi), r.counts, r.ptr.IsNil(), r.state); err != nil {
		return err
	}
	bs.groupPtrs[k.Hi] = r.ptr
	return nil
}

func (bs *blockSpace) restoreWindow(claimed []alloc.Run) error {
	for _, r := range claimed {
		if err := bs.alloc.Restore(r); err != nil {
			return err
		}
	}
	return nil
}

func (bs *blockSpace) abandonClaims() ([]alloc.Run, error) {
	for {
		runs, err := bs.alloc.Abandon()
		var u *alloc.UnloadedError
		if !errors.As(err, &u) {
			return runs, err
		}
		if err := bs.loadGroup(u.Group); err != nil {
			return nil, err
		}
	}
}

// setTotal tells everybody how many blocks the pool has. Structure and plan lock are held.
func (bs *blockSpace) setTotal(blocks int64) {
	bs.mu.assertHeld()
	bs.structure.assertHeld()
	if blocks > bs.alloc.Total() {
		bs.alloc.Grow(blocks)
	}
	bs.store.SetTotal(blocks)
	bs.format.Blocks = blocks
	bs.mu.step(bs.alloc.Groups())
	ptrs := make([]meta.Ptr, bs.alloc.Groups())
	copy(ptrs, bs.groupPtrs)
	bs.groupPtrs = ptrs
}

// dropGroups is the builder's part of a reduction. A group that has come back since has an image, or is as new: without a
// row.
func (bs *blockSpace) dropGroups(images []alloc.Image) (out []meta.Edit) {
	kept := map[int]bool{}
	for _, img := range images {
		kept[img.Group] = true
	}
	for _, c := range bs.groupsCut {
		if !c.page.IsNil() {
			bs.store.Free(c.page)
		}
		if !kept[c.group] {
			kept[c.group] = true // cut twice, one row
			out = append(out, meta.Edit{Key: meta.Key{Hi: uint64(c.group), Lo: 1}, Delete: true})
		}
	}
	return out
}

// cutGroup is a group that went with the pool's end: the next checkpoint takes its row away and gives its page back.
type cutGroup struct {
	group int
	page  meta.Ptr
}

// usedEnd is the end of the last block that is not clean.
func (bs *blockSpace) usedEnd() (alloc.BlockID, error) {
	for g := bs.alloc.Groups() - 1; g >= 0; g-- {
		bs.mu.step(1)
		c := bs.alloc.GroupCounts(g)
		if c.Clean == c.Total() {
			continue
		}
		first := alloc.BlockID(g) * alloc.BlockID(bs.format.GroupBlocks)
		if err := bs.loadGroupOf(first); err != nil {
			return 0, err
		}
		for b := first + alloc.BlockID(c.Total()); b > first; b-- {
			if st, err := bs.alloc.State(b - 1); err != nil || st != alloc.Clean {
				return b, err
			}
		}
	}
	return 0, nil
}
