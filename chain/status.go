package chain

import (
	"maps"
	"slices"
)

// Usage is the state of the pool in bytes. It costs as much as there are things that fail.
func (p *Pool) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.blocks.Counts()
	u := Usage{
		Total: p.blocks.Total(), Clean: c.Clean, Claimed: c.Claimed, Dirty: p.dirtyN, Freeing: p.freeing,
		Failed: p.failedN, Meta: c.Meta, Live: c.InUse - p.dirtyN - p.failedN - p.freeing,
		Reserve: p.reserve(), Stranded: p.stranded(), Troubles: p.troubleList(), Damages: slices.Sorted(maps.Keys(p.damages)),
	}
	if g := p.ledger; g != nil {
		u.Promised, u.MetaPromised = g.Promised()
		u.Avail, u.Short = max(0, p.free()), p.short()
	}
	for _, n := range []*int64{
		&u.Total, &u.Live, &u.Clean, &u.Claimed, &u.Dirty, &u.Freeing, &u.Failed, &u.Meta, &u.Reserve, &u.Promised, &u.MetaPromised,
		&u.Avail, &u.Short, &u.Stranded,
	} {
		*n *= BlockSize
	}
	u.Volumes, u.Snapshots, u.Layers = len(p.heads), p.snaps.order.Len(), len(p.layers)-p.deadN
	u.Destroyed, u.Unscheduled = p.doomedN*BlockSize, p.noneN*BlockSize
	u.Generation = p.super.Generation
	u.JournalUsed, u.JournalSize = p.journal.Used(), p.journal.Size()
	u.CheckpointBytes = p.written
	u.Repairs = int64(p.store.Repairs())
	return u
}

// Size is what the pool has of its device, in bytes.
func (p *Pool) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocks.Total() * BlockSize
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
	return p.ledger.Short(p.supply())
}

// StatFS is what statfs(2) shows of a directory, or of the one that a file is in: bytes, and files. Under a quota it is
// the quota, as far as the pool can give it.
func (p *Pool) StatFS(ino Ino) (total, free, avail int64, files, filesFree uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.account(ino)
	if a != nil && !a.Dir() {
		a = a.Up()
	}
	if a == nil {
		a = p.ledger.Root()
	}
	supply := p.supply()
	avail = p.ledger.Available(a, supply, 0)
	total = p.blocks.Total() - p.blocks.Counts().Meta - p.reserve() - p.ledger.PagesLacking(supply)
	promised, _ := p.ledger.Promised()
	free = max(avail, min(total, avail+promised))
	if p.ledger.Confined(a) {
		total = min(total, p.ledger.Bounded(a)+avail)
		free = avail
	}
	return total * BlockSize, free * BlockSize, min(avail, total) * BlockSize, uint64(p.nextIno), 1<<48 - uint64(p.nextIno)
}
