package chain

import (
	"context"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
)

// blockSpace is the space of the device: which blocks are clean, claimed, in use or metadata, the pages of that (groups), the store
// of metadata pages, and the way to clean blocks (claim.go, take.go). It knows nothing of volumes.
type blockSpace struct {
	*core
	health  *health
	commits *commitLog
	memory  *memory

	store      *meta.Store            // self
	maps       *meta.Maps             // self
	cachedMaps *meta.Maps             // const: the same, for who shares the plan lock: what is not in the cache is missed
	lists      *meta.Family           // self
	coldLists  *meta.Family           // const: the same, for who holds the plan lock
	groups     *meta.Family           // self
	groupTable meta.Tree              // structure, mu
	groupPtrs  []meta.Ptr             // structure, mu: pages of the groups
	groupsCut  []cutGroup             // structure, mu: groups that went since the last checkpoint
	alloc      *alloc.Pool            // mu
	needN      int64                  // mu: pages that the next checkpoint may need for maps
	shunned    map[int]*fault.Backoff // mu: groups whose pages cannot be read
	onHost     hostState              // mu
	asideGone  chan struct{}          // mu: closed when something set aside is put back; nil while nobody waits
	claimMu    workLock               // self: one claim at a time
	unready    []alloc.Run            // claimMu: claimed, and the record is not known to be durable
}

// storeLow tells whether the store should be given more pages: a checkpoint may need one for every changed leaf.
func (bs *blockSpace) storeLow() bool { return int64(bs.store.FreePages()) < bs.storeNeed() }

// storeNeed estimates the pages of the next checkpoint from above: what every changed map may need, and the rows. It
// need not be exact: what is missing is granted while the checkpoint is built.
func (bs *blockSpace) storeNeed() int64 { return int64(bs.format.ExtentBlocks/2) + bs.needN }

// shun passes by a group whose page cannot be read now: its clean blocks are not available until it can be. The plan lock is
// held.
func (bs *blockSpace) shun(g int, err error) {
	bs.mu.assertHeld()
	b := bs.shunned[g]
	if b == nil {
		b = &fault.Backoff{}
		bs.shunned[g] = b
	}
	bs.health.noteTry(b, fmt.Sprintf("reading group %d of the blocks", g), wrapCorrupt(err))
	bs.alloc.Shun(g)
}

// shunnedDue is a group that is passed by and may be tried again, or -1. The plan lock is held.
func (bs *blockSpace) shunnedDue() int {
	bs.mu.assertHeld()
	for g, b := range bs.shunned {
		bs.mu.step(1)
		if bs.health.mayTry(b) {
			return g
		}
	}
	return -1
}

// readShunned tries to read a group that is passed by.
func (bs *blockSpace) readShunned(context.Context) (bool, error) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	g := bs.shunnedDue()
	if g < 0 {
		return false, nil
	}
	if g < bs.alloc.Groups() { // else it went with the pool's end
		if err := bs.bringGroup(g); err != nil {
			bs.shun(g, err)
			return true, nil
		}
	}
	if bs.shunned[g] == nil { // another was faster
		return true, nil
	}
	bs.health.noteTry(bs.shunned[g], fmt.Sprintf("reading group %d of the blocks", g), nil)
	delete(bs.shunned, g)
	return true, nil
}

// storeEnd is the end of the store's last extent.
func (bs *blockSpace) storeEnd() (end alloc.BlockID) {
	for _, e := range bs.store.Extents() {
		end = max(end, e.End())
	}
	return end
}
