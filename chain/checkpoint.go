package chain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/codec"
	"slatefs/chain/fault"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/super"
)

// cut is the state of a pool at one instant, the end of journal batch `at`: what the checkpoint will write. A cut is a
// copy: nothing in it, and nothing that is built from it, follows a pointer into what lives on. Two things are shared,
// and nobody changes either while the cut exists: storeys below the top of a stack and frozen maps are never written
// again; which layer is whose heir and parent changes under the structure lock only, which the build holds.
type cut struct {
	at      journal.Pos
	super   super.Block
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
	source      *overlay.Storey
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

// checkpointTries is how often a checkpoint that somebody waits for is tried before who waits is told.
const checkpointTries = 3

// Checkpoint writes the state of the pool at one instant, so that the journal before it is not needed any more.
//
// Commit first; then the cut, under the plan lock; then its batch N becomes durable; the pages are built beside the
// old ones, which takes the structure lock and stops no reader or writer; they are published, written and synced;
// at last the superblock that names them and N is written and synced. What lies on disk is so exactly the records up
// to N. Pages that the old superblock needs are not touched before that.
//
// An error that is not of the pool leaves the old superblock, which is as good as before, and the journal after it. What
// is transient is tried again at once, since somebody waits.
func (p *Pool) Checkpoint() error {
	return p.checkpointUnless(never)
}

// checkpointOnce is Checkpoint for who does not wait: it is tried once.
func (p *Pool) checkpointOnce() error {
	p.workMu.Lock()
	defer p.workMu.Unlock()
	return p.checkpointInTurn()
}

// checkpointInTurn takes a checkpoint, and notes what became of it. workMu is held.
func (p *Pool) checkpointInTurn() error {
	err := p.checkpointLocked()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noteTry(&p.checkpoints, "the checkpoint", err)
	return err
}

func (p *Pool) checkpointLocked() error {
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
	if err == nil {
		p.scrub()
		p.building = true
		err = p.buildOrThaw(c)
		p.building = false
	}
	p.structure.Unlock()
	if err != nil {
		return err
	}
	return p.publish(c)
}

// buildOrThaw makes the pages of a cut, or the pool as if there had been none.
func (p *Pool) buildOrThaw(c *cut) error {
	err := p.build(c)
	if p.unbuilt = err != nil; err == nil {
		return nil
	}
	err = fmt.Errorf("checkpoint %d: %w", c.super.Generation, wrapCorrupt(err))
	switch {
	case errors.Is(err, meta.ErrNoPages), errors.Is(err, errNoPages):
		err = fault.Mark(fault.Transient, err) // there may be some the next time
	case p.store.Err() != nil, fault.Of(err) == fault.Refused:
		return p.fail(err) // what is in memory contradicts itself
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw(c)
	return err
}

// errRoomInUse: a cut that comes to nothing takes the padding of its batch from the ring, and there is one kept for the
// next. So after one, the others wait until what waits can be written as any batch, or until no room is open: then their
// batches are empty, and none is written.
var errRoomInUse = errors.New("the journal's room is in use")

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
		return nil, wrapCorrupt(err)
	}
	if p.unbuilt && len(p.pending) > 0 && p.room.open > 0 && !p.mayCommit() {
		defer p.mu.Unlock()
		return nil, fault.Mark(fault.Transient, errRoomInUse)
	}
	c := p.freeze()
	batch, lsn, gen := p.cutBatch(true), p.lsn, p.super.Generation
	p.started++
	number := p.started
	p.mu.Unlock()

	at, err := p.makeDurable(gen, batch, true)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room.cutting = 0
	if err != nil {
		p.pending = append(batch, p.pending...)
		p.thaw(c)
		return nil, err
	}
	c.at, c.super.At = at, at
	p.durable, p.ended = lsn, number
	return c, nil
}

func (p *Pool) freeze() *cut {
	c := &cut{super: p.super, images: p.blocks.Cut(), drops: p.drops, spent: p.spent, window: p.blocks.Unnamed()}
	c.gone = p.gone
	p.drops, p.spent, p.gone = nil, nil, nil
	c.super.Generation++
	c.super.Host = p.holder()
	c.super.Geometry.Blocks = p.blocks.Total()
	c.super.LastLayer, c.super.LastJob, c.super.LastIno = p.nextLayer, p.nextJob, uint64(p.nextIno)
	p.freezeTimes()
	p.mu.step(len(p.vols) + len(p.dirtyLayers) + len(p.jobs) + len(p.walks) + len(c.images) + len(c.window))
	for l := range p.dirtyLayers {
		c.layers = append(c.layers, rowOf(l))
		if l.head {
			l.top = overlay.New(l.top, l)
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
	p.cat.Freeze()
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

func (l *list) thaw() {
	if l.frozen != nil {
		l.fresh.Join(l.frozen)
		l.frozen = nil
	}
}

// thaw undoes freeze: what was frozen goes back to what has changed since. Everything that the cut would have written is
// changed again. The structure lock is held since freeze, and the plan lock now.
func (p *Pool) thaw(c *cut) {
	p.drops = append(c.drops, p.drops...)
	p.spent = append(c.spent, p.spent...)
	p.gone = append(c.gone, p.gone...)
	p.mu.step(len(c.layers) + len(c.jobs) + len(c.walks))
	for i := range c.layers {
		r := &c.layers[i]
		l := r.of
		l.top.Swallow(r.top)
		p.touch(l)
		if l.head {
			p.noteNeed(l)
		}
	}
	for _, l := range c.lists() {
		l.of.thaw()
	}
	for i := range c.jobs {
		p.jobs[c.jobs[i].id].dirty = true
	}
	for i := range c.walks {
		p.walks[c.walks[i].id].dirty = true
	}
	p.mu.step(p.cat.Thaw())
}

// publish makes the built pages durable. What is in memory names them already; they are read from memory until they
// are written. On error the pool goes on with the old superblock, and the next checkpoint is this one, written again: another
// cut would take more of the journal each time, and give nothing back. So also where the superblock's write failed and was
// done all the same: nothing that either of the two needs is reused before this one is durable, and the journal holds all
// that follows the older one.
func (p *Pool) publish(c *cut) error {
	p.unpublished = c
	pages := int64(p.store.DirtyPages())
	if err := p.store.Flush(); err != nil {
		return fmt.Errorf("checkpoint %d: pages: %w", c.super.Generation, err)
	}
	if err := p.dev.Sync(); err != nil {
		return p.fail(fmt.Errorf("checkpoint %d: sync of the device: %w", c.super.Generation, err))
	}
	b, err := c.super.Marshal()
	if err != nil {
		return p.fail(err)
	}
	if err := p.mustHold(); err != nil {
		return err
	}
	slot := 1 - p.slot
	if _, err := p.dev.WriteAt(b, int64(slot)*BlockSize); err != nil {
		return fmt.Errorf("checkpoint %d: superblock %d: %w", c.super.Generation, slot, err)
	}
	if err := p.dev.Sync(); err != nil {
		return p.fail(fmt.Errorf("checkpoint %d: sync of the device: %w", c.super.Generation, err))
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
		p.mu.step(1)
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
		p.mu.step(p.blocks.Groups())
		p.blocks.Unload(func(g int) bool { return p.blocks.GroupCounts(g).Claimed > 0 })
	}
}

// loadGroup reads the page of a group. The plan lock is held. One that is damaged takes the clean blocks of its group out of
// use: nobody knows which they are.
func (p *Pool) loadGroup(g int) error {
	p.mu.step(1)
	v, err := p.store.Get(p.groupPtrs[g], func(b []byte) (any, error) { return b, nil })
	if err == nil {
		err = p.blocks.Load(g, v.([]byte)[:p.format.GroupBlocks/4])
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("group %d: %w", g, err)
	if p.opt.ReadOnly || !damaged(err) || p.writable() != nil {
		return err
	}
	n := p.blocks.Condemn(g, p.store.Extents())
	p.noteDamage(fmt.Sprintf("%d clean blocks are not used any more: %v", n, err))
	return nil
}

// writeGroups makes the pages of the groups that changed, and the edits of their rows.
//
// Rows of the group table: a row with Lo 0 covers n groups in one state; one with Lo 1 overrides it for its group.
func (b *builder) writeGroups() ([]meta.Edit, error) {
	p := b.p
	out := p.dropGroups(b.c.images)
	for _, img := range b.c.images {
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
		b.groups[img.Group] = ptr
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
	e := codec.Encoder{}
	e.Int(r.n)
	e.Byte(byte(r.state))
	e.Int(r.counts.InUse)
	e.Int(r.counts.Claimed)
	e.Int(r.counts.Meta)
	e.Int(r.counts.Clean)
	if !r.ptr.IsNil() {
		var b [meta.PtrSize]byte
		r.ptr.Marshal(b[:])
		e.B = append(e.B, b[:]...)
	}
	return e.B
}

func (r *groupRow) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	r.n, r.state = d.Int(), alloc.State(d.Byte())
	r.counts = alloc.Counts{InUse: d.Int(), Claimed: d.Int(), Meta: d.Int(), Clean: d.Int()}
	if d.Err == nil && len(d.B) == meta.PtrSize {
		r.ptr, d.B = meta.UnmarshalPtr(d.B), nil
	}
	return wrapCorrupt(d.Done())
}
