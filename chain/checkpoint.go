package chain

import (
	"cmp"
	"fmt"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// cut is the state of a pool at one instant, the end of journal batch `at`: what the checkpoint will write. A cut is a
// copy: nothing in it, and nothing that is built from it, follows a pointer into what lives on. Two things are shared,
// and nobody changes either while the cut exists: storeys below the top of a stack and frozen maps are never written
// again; which layer is whose heir and parent changes under the structure lock only, which the build holds.
type cut struct {
	at      journal.Pos
	super   superblock
	layers  []layerRow
	jobs    []jobRow
	walks   []walkRow
	images  []alloc.Image
	drops   []meta.Tree
	spent   []list
	gone    []meta.Key
	window  []alloc.Run
	answers []byte

	logCount []byte
}

// walkRow is a walk as the cut found it. The map comes from the build.
type walkRow struct {
	id, job     uint64
	layer       LayerID
	burial      bool
	next, pages int64
	source      *overlay
}

func rowOfWalk(w *walk) walkRow {
	return walkRow{w.id, w.job.id, w.layer.id, w.burial, w.next, w.pages, w.source}
}

// cutList is a list as the cut found it.
type cutList struct {
	of     *list            // where install puts what came of it; nobody reads it before
	trees  []meta.Tree      // copy
	frozen *omap.Map[entry] // entries of the cut; lookups share it, nobody changes it
	pages  omap.Map[entry]  // map pages that the build found to belong here; the builder's own
}

// Checkpoint writes the state of the pool at one instant, so that the journal before it is not needed any more.
//
// Commit first; then the cut, under the plan lock; then its batch N becomes durable; the pages are built beside the
// old ones, which takes the structure lock and stops no reader or writer; they are published, written and synced;
// at last the superblock that names them and N is written and synced. What lies on disk is so exactly the records up
// to N. Pages that the old superblock needs are not touched before that.
func (p *Pool) Checkpoint() error {
	return p.checkpointUnless(never)
}

// checkpointInTurn is Checkpoint for who has the turn: workMu is held.
func (p *Pool) checkpointInTurn() error {
	if c := p.unpublished; c != nil {
		if err := p.publish(c); err != nil {
			return err
		}
	}
	if _, err := p.commit(never, p.mayCommit); err != nil { // the cut's own batch is short then
		return err
	}
	if err := p.grantAhead(); err != nil {
		return err
	}
	return p.checkpoint()
}

func (p *Pool) checkpoint() error {
	p.structure.Lock()
	c, err := p.cut()
	if err != nil {
		p.structure.Unlock()
		return err
	}
	p.scrub()
	p.building = true
	err = p.build(c)
	p.building = false
	p.structure.Unlock()
	if err != nil {
		return p.fail(fmt.Errorf("checkpoint %d: %w", c.super.generation, err))
	}
	return p.publish(c)
}

// cut takes the state and makes the batch that ends it durable. The structure lock is held.
func (p *Pool) cut() (*cut, error) {
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	p.mu.Lock()
	if p.failed != nil {
		defer p.mu.Unlock()
		return nil, p.failed
	}
	if err := p.settleGroups(); err != nil {
		defer p.mu.Unlock()
		return nil, p.failLocked(err)
	}
	c := p.freeze()
	batch, lsn, gen := p.cutBatch(true), p.lsn, p.super.generation
	p.started++
	number := p.started
	p.mu.Unlock()

	err := p.dev.Sync()
	if err == nil {
		err = p.stillHeld()
	}
	if err == nil {
		// An empty batch is written too: it proves, if the superblock of this generation should be lost, that it was.
		c.at, err = p.append(gen, batch)
	}
	if err != nil {
		return nil, p.fail(err)
	}
	c.super.at = c.at
	p.mu.Lock()
	p.room.cutting = 0
	p.durable, p.ended = lsn, number
	p.mu.Unlock()
	return c, nil
}

func (p *Pool) freeze() *cut {
	c := &cut{super: p.super, images: p.blocks.Cut(), drops: p.drops, spent: p.spent, window: p.blocks.Unnamed()}
	c.gone = p.gone
	p.drops, p.spent, p.gone = nil, nil, nil
	c.super.generation++
	c.super.host = p.holder()
	c.super.geometry.blocks = p.blocks.Total()
	c.super.lastLayer, c.super.lastJob, c.super.lastIno = p.nextLayer, p.nextJob, p.nextIno
	p.freezeTimes()
	for l := range p.dirtyLayers {
		c.layers = append(c.layers, rowOf(l))
		if l.head {
			l.top = &overlay{layer: l, under: l.top}
		}
		l.need = 0
	}
	p.needN = 0
	clear(p.dirtyLayers)
	for _, j := range p.jobs {
		if j.dirty {
			c.jobs = append(c.jobs, rowOfJob(j))
			j.dirty = false
		}
	}
	for _, w := range p.walks {
		if w.dirty {
			c.walks = append(c.walks, rowOfWalk(w))
			w.dirty = false
		}
	}
	c.answers, c.logCount = p.answers.marshal(), p.marshalLogCount()
	frozen := p.cat.fresh
	p.cat.frozen, p.cat.fresh = &frozen, omap.Map[[]byte]{}
	return c
}

// cut freezes what is in memory of the list, for the build to merge into the trees; what comes from now on is fresh.
func (l *list) cut() *cutList {
	f := l.fresh
	l.frozen, l.fresh = &f, omap.Map[entry]{}
	return &cutList{of: l, trees: slices.Clone(l.trees), frozen: l.frozen}
}

// lists are all lists of the cut.
func (c *cut) lists() (out []*cutList) {
	for i := range c.layers {
		out = append(out, c.layers[i].lost)
	}
	for i := range c.jobs {
		out = append(out, c.jobs[i].fresh, c.jobs[i].ready, c.jobs[i].bad)
	}
	return out
}

// publish makes the built pages durable. What is in memory names them already; they are read from memory until they
// are written. On error the pool goes on with the old superblock, and the next checkpoint is this one, written again: another
// cut would take more of the journal each time, and give nothing back.
func (p *Pool) publish(c *cut) error {
	p.unpublished = c
	pages := int64(p.store.DirtyPages())
	if err := p.store.Flush(); err != nil {
		return fmt.Errorf("checkpoint %d: pages: %w", c.super.generation, err)
	}
	if err := p.dev.Sync(); err != nil {
		return p.fail(fmt.Errorf("checkpoint %d: sync of the device: %w", c.super.generation, err))
	}
	b, err := c.super.marshal()
	if err != nil {
		return err
	}
	if err := p.stillHeld(); err != nil {
		return p.fail(err)
	}
	slot := 1 - p.slot
	if _, err := p.dev.WriteAt(b, int64(slot)*BlockSize); err != nil {
		return fmt.Errorf("checkpoint %d: superblock %d: %w", c.super.generation, slot, err)
	}
	if err := p.dev.Sync(); err != nil {
		return p.fail(fmt.Errorf("checkpoint %d: sync of the device: %w", c.super.generation, err))
	}
	p.store.Durable()
	p.unpublished = nil
	p.mu.Lock()
	p.super, p.slot = c.super, slot
	p.written = (pages + 1) * BlockSize
	p.blocks.Durable()
	p.journal.Release(c.at)
	p.unloadGroups()
	p.passed(p.room.passes, p.room.passing)
	p.roomMoved()
	p.poke()
	p.mu.Unlock()
	return nil
}

// scrub overwrites the catalog pages that the last checkpoint freed: they hold the operator's words. Until this
// checkpoint's cut batch the older superblock, which needs them, could still be opened in place of a newer one that is lost.
func (p *Pool) scrub() {
	if err := p.store.Scrub(); err != nil {
		p.log.Warn("freed catalog pages were not overwritten; they will be at the next checkpoint", "pool", p.name, "error", err)
	}
}

// settleGroups loads the groups that changed while their page was not in memory. The plan lock is held.
func (p *Pool) settleGroups() error {
	for _, g := range p.blocks.Unsettled() {
		if err := p.loadGroup(g); err != nil {
			return err
		}
	}
	return nil
}

// maxGroupsLoaded bounds the group pages in memory: 16 MiB.
const maxGroupsLoaded = 4096

func (p *Pool) unloadGroups() {
	if p.blocks.Groups() > maxGroupsLoaded {
		p.blocks.Unload(func(g int) bool { return p.blocks.GroupCounts(g).Claimed > 0 })
	}
}

func (p *Pool) loadGroup(g int) error {
	v, err := p.store.Get(p.groupPtrs[g], func(b []byte) (any, error) { return b, nil })
	if err != nil {
		return fmt.Errorf("group %d: %w", g, err)
	}
	return p.blocks.Load(g, v.([]byte)[:p.format.groupBlocks/4])
}

// Rows of the group table. A row with Lo 0 covers n groups in one state; one with Lo 1 overrides it for its group.
func (p *Pool) writeGroups(images []alloc.Image) ([]meta.Edit, error) {
	out := p.dropGroups(images)
	for _, img := range images {
		old := p.groupPtrs[img.Group]
		var ptr meta.Ptr
		if !img.Uniform {
			page := blockdev.Aligned(BlockSize)
			copy(page, img.Page)
			var err error
			if ptr, err = p.store.Put(page, true, 0, page); err != nil {
				return nil, fmt.Errorf("group %d: %w", img.Group, err)
			}
		}
		if !old.IsNil() {
			p.store.Free(old)
		}
		p.groupPtrs[img.Group] = ptr
		out = append(out, meta.Edit{
			Key: meta.Key{Hi: uint64(img.Group), Lo: 1},
			Val: groupRow{n: 1, state: img.State, counts: img.Counts, ptr: ptr}.marshal(),
		})
	}
	slices.SortFunc(out, func(a, b meta.Edit) int { return cmp.Compare(a.Key.Hi, b.Key.Hi) })
	return out, nil
}

type groupRow struct {
	n      int64
	state  alloc.State // where ptr is nil
	counts alloc.Counts
	ptr    meta.Ptr
}

func (r groupRow) marshal() []byte {
	e := encoder{}
	e.i(r.n)
	e.byte(byte(r.state))
	e.i(r.counts.InUse)
	e.i(r.counts.Claimed)
	e.i(r.counts.Meta)
	e.i(r.counts.Clean)
	if !r.ptr.IsNil() {
		var b [meta.PtrSize]byte
		r.ptr.Marshal(b[:])
		e.b = append(e.b, b[:]...)
	}
	return e.b
}

func (r *groupRow) unmarshal(b []byte) error {
	d := decoder{b: b}
	r.n, r.state = d.i(), alloc.State(d.byte())
	r.counts = alloc.Counts{InUse: d.i(), Claimed: d.i(), Meta: d.i(), Clean: d.i()}
	if d.err == nil && len(d.b) == meta.PtrSize {
		r.ptr, d.b = meta.UnmarshalPtr(d.b), nil
	}
	return d.done()
}
