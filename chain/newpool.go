package chain

import (
	"log/slog"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// newStorage makes the rooms of journal, blocks and pages.
func (p *Pool) newStorage(s super.Block) {
	c, g := p.core, s.Geometry
	p.commits = &commitLog{core: c, supers: p.supers, memory: p.memory, nextJob: s.LastJob, owner: p, dataFirst: true}
	store := meta.NewStore(c.dev, g.Blocks, c.opt.CacheBytes)
	store.ReadOnly = c.opt.ReadOnly
	store.OnRepair = func(b alloc.BlockID) {
		c.mu.say(c.log, slog.LevelWarn, "a damaged metadata page was repaired from its twin", "pool", s.Name, "block", b)
	}
	lists := &meta.Family{Store: store, Kind: 'L', Weight: runs.WeighEntry}
	p.blocks = &blockSpace{
		core: c, health: p.health, commits: p.commits, memory: p.memory, alloc: alloc.New(g.GroupBlocks, g.Blocks), store: store,
		maps:       &meta.Maps{Store: store, Fetch: p.commits.mapPage(store)},
		cachedMaps: &meta.Maps{Store: store},
		lists:      lists,
		coldLists:  p.commits.family(*lists),
		groups:     &meta.Family{Store: store, Kind: 'G'},
		groupTable: s.GroupTable, groupPtrs: make([]meta.Ptr, (g.Blocks+int64(g.GroupBlocks)-1)/int64(g.GroupBlocks)),
		shunned: map[int]*fault.Backoff{},
	}
}

// newObjects makes the rooms of names, jobs and layers.
func (p *Pool) newObjects(s super.Block) {
	c, rows := p.core, &meta.Family{Store: p.blocks.store, Kind: 'C', Sensitive: true}
	p.destroyed = &destroyedIndex{
		core: c, health: p.health, rows: map[uint64]*destroyed{}, vols: map[Ino]uint64{}, layers: map[LayerID]uint64{},
	}
	p.names = &nameTable{
		core: c, commits: p.commits, destroyed: p.destroyed, nextIno: Ino(s.LastIno),
		cat:   catalog.Table{Family: rows, Look: p.commits.family(*rows), Tree: s.Catalog},
		parts: map[meta.Key]int{}, singles: map[catalog.Kind][]byte{}, going: map[Ino]*fault.Backoff{},
	}
	p.events = &eventTable{core: c, commits: p.commits, names: p.names, first: 1}
	p.origins = &originTable{core: c, commits: p.commits, names: p.names}
	p.jobs = &jobQueue{
		core: c, health: p.health, commits: p.commits, plans: p.plans, blocks: p.blocks, names: p.names,
		origins: p.origins, memory: p.memory, all: map[uint64]*job{}, byVol: map[Ino]*job{}, growing: map[Ino]*job{},
		handouts: map[blockdev.Token]*handout{}, chain: newLogChain(s.UUID),
	}
	p.tree = &layerTree{
		core: c, health: p.health, supers: p.supers, commits: p.commits, plans: p.plans, blocks: p.blocks,
		destroyed: p.destroyed, names: p.names, origins: p.origins, jobs: p.jobs, memory: p.memory,
		layers: map[LayerID]*layer{}, byVol: map[Ino][]*layer{}, heads: map[Ino]*layer{}, snaps: newSnapIndex(),
		walks: map[uint64]*walk{},
		stuck: strandings{failing: map[*job]map[*walk]struct{}{}}, nameless: map[*layer]struct{}{}, nextLayer: s.LastLayer,
	}
	p.jobs.gate = newGate(&c.mu, rowOfJob, func(j *job) bool { return p.jobs.all[j.id] == j }, jobSeal)
	p.tree.gate = newGate(&c.mu, rowOf, func(l *layer) bool { return p.tree.layers[l.id] == l }, layerSeal)
	p.tree.walkGate = newGate(&c.mu, rowOfWalk, func(w *walk) bool { return p.tree.walks[w.id] == w }, walkSeal)
	p.space = &admission{
		core: c, commits: p.commits, plans: p.plans, blocks: p.blocks, destroyed: p.destroyed, names: p.names, origins: p.origins, jobs: p.jobs,
		tree: p.tree, memory: p.memory,
	}
	p.tree.accounts = treeAccounts{p.space}
	p.blocks.store.Refill = p.space.refill
}

// newWorks makes the rooms of those who change what is below.
func (p *Pool) newWorks() {
	c := p.core
	p.works = &works{
		core: c, commits: p.commits, plans: p.plans, blocks: p.blocks, jobs: p.jobs, tree: p.tree, space: p.space, zeroNow: c.opt.ZeroNow,
	}
	p.volumes = &openVolumes{
		core: c, commits: p.commits, plans: p.plans, blocks: p.blocks, destroyed: p.destroyed, names: p.names,
		origins: p.origins, jobs: p.jobs, tree: p.tree, space: p.space, works: p.works,
	}
	p.removal = &remover{
		whole: wholeAtOnce,
		core:  c, health: p.health, commits: p.commits, plans: p.plans, destroyed: p.destroyed, names: p.names,
		tree: p.tree, space: p.space, works: p.works, volumes: p.volumes,
	}
	p.namespace = &namespaces{
		core: c, commits: p.commits, names: p.names, space: p.space, works: p.works, volumes: p.volumes, removal: p.removal,
	}
	p.persist = &checkpointer{
		core: c, health: p.health, supers: p.supers, commits: p.commits, plans: p.plans, blocks: p.blocks, names: p.names,
		events: p.events, origins: p.origins, jobs: p.jobs, tree: p.tree, space: p.space, memory: p.memory,
	}
	p.keeper = &keeper{
		core: c, health: p.health, commits: p.commits, plans: p.plans, blocks: p.blocks, destroyed: p.destroyed,
		names: p.names, origins: p.origins, jobs: p.jobs, tree: p.tree, works: p.works, removal: p.removal,
		persist: p.persist,
	}
	p.memory.setCache = p.blocks.store.SetCacheBytes
	p.memory.counted = func() (dirty, beside int64) {
		dirty = p.names.cat.Bytes() + rowMem*int64(p.names.cat.Changed()) + groupMem*int64(p.blocks.alloc.Changed()) + p.origins.mem()
		dirty += pendingMem * int64(len(p.commits.pending))
		return dirty, int64(p.blocks.alloc.HeldPages())*BlockSize + layerMem*int64(len(p.tree.layers))
	}
	p.keeper.inquire = func(s Subject) *inquiry { return &inquiry{p: p, s: s} }
	p.keeper.chores = p.keeper.newChores()
	orderLocks(p.lockOrder(), &p.mu)
	p.commits.takeCheckpoint, p.works.giveUpOne, c.onFail = p.persist.checkpointInTurn, p.removal.sacrifice, p.commits.wakeWaiting
	p.works.endGoing, p.space.goes = p.removal.finishGoing, func() bool { return p.removal.firstGoing() != 0 }
}

// newPool makes a pool of a device and a superblock of it, with its rooms: each knows those below it, and what it needs of one
// above is a hook.
func newPool(dev blockdev.Device, o Options, s super.Block, slot int) *Pool {
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &core{
		dev: dev, opt: o, known: o.known(), log: log, name: s.Name, uuid: s.UUID, format: s.Geometry, onFail: func() {},
		mu: planLock{shareLock: newShareLock()}, wake: make(chan struct{}, 1), ready: make(chan struct{}, 1),
	}
	p := &Pool{
		core:   c,
		memory: newMemory(c),
		health: &health{core: c, damages: map[string]bool{}},
		supers: &superblocks{core: c, super: s, slot: slot},
		plans:  &planTable{core: c, epochs: newEpochs(), vols: map[Ino]*Volume{}, left: map[Ino]*Volume{}},
	}
	p.newStorage(s)
	p.newObjects(s)
	p.newWorks()
	return p
}
