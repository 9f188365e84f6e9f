package chain

import (
	"slices"
)

// Usage is the state of the pool in bytes. Of what fails and what is damaged it lists some, and counts the rest.
func (p *Pool) Usage() Usage {
	work, cache := p.counts.work(), p.blocks.store.CacheStats()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.blocks.alloc.Counts()
	u := Usage{
		Total: p.blocks.alloc.Total(), Clean: c.Clean, Claimed: c.Claimed, Dirty: p.jobs.dirtyN, Freeing: p.tree.freeing,
		Failed: p.jobs.failedN, Meta: c.Meta, Live: c.InUse - p.jobs.dirtyN - p.jobs.failedN - p.tree.freeing,
		Reserve: p.blocks.reserve(), Stranded: p.tree.stranded(), Troubles: p.health.troubleList(), Troubled: len(p.health.troubles.all),
		Damages: slices.Clone(p.health.shown), Damaged: len(p.health.damages),
	}
	p.tree.eachLeft(func(_ *layer, n int64) { u.Going += n })
	if g := p.space.ledger; g != nil {
		u.Promised, u.MetaPromised = g.Promised()
		u.Avail, u.Short = max(0, p.space.free()), p.space.short()
		u.Refusals = *p.space.settleRefusals()
	}
	for _, n := range []*int64{
		&u.Total, &u.Live, &u.Clean, &u.Claimed, &u.Dirty, &u.Freeing, &u.Failed, &u.Meta, &u.Reserve, &u.Promised, &u.MetaPromised,
		&u.Avail, &u.Short, &u.Stranded, &u.Going,
	} {
		*n *= BlockSize
	}
	u.Volumes, u.Snapshots, u.Layers = len(p.tree.heads), p.tree.snaps.order.Len(), len(p.tree.layers)-p.tree.deadN
	u.Destroyed, u.Unscheduled = p.destroyed.blocks*BlockSize, p.jobs.noneN*BlockSize
	u.Generation = p.supers.super.Generation
	u.JournalUsed, u.JournalSize = p.commits.journal.Used(), p.commits.journal.Size()
	u.CheckpointBytes, u.Work, u.Cache, u.DirtyMemory = p.supers.written, work, cache, p.memory.since()+p.memory.cut
	u.Jobs, u.OldestJob = len(p.jobs.all), p.jobs.oldest()
	u.HostSince, u.HostShort = p.blocks.onHost.since, p.blocks.onHost.refuse.Err
	u.Repairs, u.PlanLock = int64(p.blocks.store.Repairs()), p.mu.use()
	return u
}

// Size is what the pool has of its device, in bytes.
func (p *Pool) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocks.alloc.Total() * BlockSize
}

// Headroom is what is available to those who are promised nothing, and by how much promises are short, in bytes. It
// costs nothing, unlike Usage.
func (p *Pool) Headroom() (avail, short int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.space.settleRefusals()
	return max(0, p.space.free()) * BlockSize, p.space.short() * BlockSize
}

// StatFS is what statfs(2) shows of a directory, or of the one that a file is in: bytes, and files. Under a quota it is
// the quota, as far as the pool can give it.
func (p *Pool) StatFS(ino Ino) (total, free, avail int64, files, filesFree uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.space.account(ino)
	if a != nil && !a.Dir() {
		a = a.Up()
	}
	if a == nil {
		a = p.space.ledger.Root()
	}
	supply := p.space.supply()
	avail = p.space.ledger.Available(a, supply, 0)
	total = p.blocks.alloc.Total() - p.blocks.alloc.Counts().Meta - p.blocks.reserve() - p.space.ledger.PagesLacking(supply)
	promised, _ := p.space.ledger.Promised()
	free = max(avail, min(total, avail+promised))
	if p.space.ledger.Confined(a) {
		total = min(total, p.space.ledger.Bounded(a)+avail)
		free = avail
	}
	return total * BlockSize, free * BlockSize, min(avail, total) * BlockSize, uint64(p.names.nextIno), 1<<48 - uint64(p.names.nextIno)
}
