package chain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// checkpointer cuts the state of the pool, builds its pages beside the old ones, and publishes both; it loads them again, and replays
// the journal. workMu is held from the cut until it is published.
type checkpointer struct {
	*core
	health  *health
	supers  *superblocks
	commits *commitLog
	plans   *planTable
	blocks  *blockSpace
	names   *nameTable
	events  *eventTable
	origins *originTable
	jobs    *jobQueue
	tree    *layerTree
	space   *admission
	memory  *memory

	unpublished *cut       // workMu: built, and not on the device
	pinning     sync.Mutex // self: the pages of one checkpoint are pinned at a time
	beyond      *uint64    // const: the highest generation that a batch follows, beyond the superblock too, for Repair; nil: those are refused
	heir        bool       // workMu: the last checkpoint, for a successor that does the rest
	mends       mender     // const: makes anew, of the rest, what cannot be read, for Repair; nil: nobody does
}

// mender takes part in a load. What it is told of cannot be read, or is not to be taken as it stands.
type mender interface {
	store(err error) error            // the free map of the metadata store cannot be read
	catalog() error                   // is asked before anything of it is read
	table() error                     // loads the group table
	window(claimed []alloc.Run) error // of the checkpoint
	loaded() error                    // the checkpoint is loaded, and nothing of the journal
	replayed() error                  // the journal as well
}

// cut is the state of a pool at one instant, the end of journal batch `at`: what the checkpoint will write. A cut is a
// copy, though its rows are taken after the instant (gate.go): nothing in it, and nothing that is built from it, follows a
// pointer into what lives on. What it shares nobody changes
// while it exists: storeys below the top of a stack and frozen maps are never written again. Of the tree of layers the build
// needs in whose range a birth lies. That is in the rows, but for who was merged into whom.
//
// A build holds no lock. It is the only one meanwhile that puts, frees or cuts pages: who does that else (merges, sweeps,
// walks, a change of the pool's size) waits for its end (lockTrees). All others go on, and may move what is being built: a
// layer is frozen, renamed or buried, a list goes from one part of a job to another, or its job ends. So install, or thaw,
// looks where things are at the end.
type cut struct {
	at      journal.Pos
	super   super.Block
	layers  []layerRow
	jobs    []jobRow
	walks   []walkRow
	drops   []meta.Tree
	spent   []*runs.List
	gone    []meta.Key
	window  alloc.Window
	answers []recAnswer
	dirty   int64 // bytes of heads and lists

	logCount []byte
	origins  *originChanges
	logChain []byte
	began    time.Duration // the moment
}

// checkpointTries is how often a checkpoint that somebody waits for is tried before who waits is told.
const checkpointTries = 3

// checkpointOnce is Checkpoint for who does not wait: it is tried once.
func (cp *checkpointer) checkpointOnce() error {
	cp.commits.workMu.Lock()
	defer cp.commits.workMu.Unlock()
	return cp.checkpointInTurn()
}

// checkpointInTurn takes a checkpoint, and notes what became of it. workMu is held.
func (cp *checkpointer) checkpointInTurn() error {
	err := cp.checkpointLocked()
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.health.noteTry(&cp.health.checkpoints, "the checkpoint", err)
	return err
}

func (cp *checkpointer) checkpointLocked() error {
	if c := cp.unpublished; c != nil {
		if err := cp.publish(c); err != nil {
			return err
		}
	}
	cp.noteTimes()
	if _, err := cp.commits.commit(never, cp.commits.mayCommit); err != nil { // the cut's own batch is short then
		return err
	}
	if err := cp.space.grantAhead(); err != nil {
		return err
	}
	return cp.checkpoint()
}

func (cp *checkpointer) checkpoint() error {
	began := sinceThen()
	cp.structure.Lock()
	c, err := cp.cut()
	if err == nil {
		c.began = began
		cp.built = make(chan struct{})
	}
	cp.structure.Unlock()
	if err == nil {
		if !cp.heir {
			cp.scrub()
		}
		err = cp.buildOrThaw(c)
	}
	if err != nil {
		return err
	}
	return cp.publish(c)
}

// noteTimes brings the times of writes, which are kept in memory, into the rows that a checkpoint writes. It runs before the
// cut: a write between the two is noted by the next checkpoint.
func (cp *checkpointer) noteTimes() {
	cp.mu.Lock()
	aged := cp.names.aged
	cp.names.aged = nil
	cp.mu.Unlock()
	cp.tree.inPiecesOf(pieceLen/2, func() bool { // a row is read and put
		if len(aged) == 0 {
			return false
		}
		v := aged[0]
		aged = aged[1:]
		var n *inode
		var err error
		cp.names.brought(func() { n, err = cp.names.inode(v.ino) }) // the plan lock may be given up until then
		if v.mtime.IsZero() || v.gone || cp.plans.vols[v.ino] != v {
			return true
		}
		if err != nil {
			cp.names.aged = append(cp.names.aged, v)
			return true
		}
		n.mtime, n.ctime = v.mtime, latest(n.ctime, v.mtime)
		cp.names.cat.Put(catalog.Key(catalog.Inode, uint64(v.ino)), n.marshal())
		v.mtime = time.Time{}
		return true
	})
}

// buildOrThaw makes the pages of a cut, or the pool as if there had been none.
func (cp *checkpointer) buildOrThaw(c *cut) error {
	err := cp.build(c)
	if cp.commits.unbuilt = err != nil; err == nil {
		return nil
	}
	cp.structure.Lock()
	defer cp.structure.Unlock()
	defer cp.buildEnds()
	err = fmt.Errorf("checkpoint %d: %w", c.super.Generation, wrapCorrupt(err))
	switch {
	case errors.Is(err, meta.ErrNoPages), errors.Is(err, errNoPages):
		err = fault.Mark(fault.Transient, err) // there may be some the next time
	case cp.blocks.store.Err() != nil, fault.Of(err) == fault.Refused:
		return cp.fail(err) // what is in memory contradicts itself
	}
	cp.thaw(c)
	return err
}

// errRoomInUse: a cut that comes to nothing takes the padding of its batch from the ring, and there is one kept for the
// next. So after one, the others wait until what waits can be written as any batch, or until no room is open: then their
// batches are empty, and none is written.
var errRoomInUse = errors.New("the journal's room is in use")

// cut takes the state and makes the batch that ends it durable. The structure lock is held.
func (cp *checkpointer) cut() (*cut, error) {
	cp.commits.commitMu.Lock()
	defer cp.commits.commitMu.Unlock()
	cp.mu.Lock()
	if cp.failed != nil {
		defer cp.mu.Unlock()
		return nil, cp.failed
	}
	err := cp.blocks.settleGroups()
	if err == nil {
		err = cp.failed // while a group was read
	}
	if err != nil {
		defer cp.mu.Unlock()
		return nil, wrapCorrupt(err)
	}
	if cp.commits.unbuilt && len(cp.commits.pending) > 0 && cp.commits.room.open > 0 && !cp.commits.mayCommit() {
		defer cp.mu.Unlock()
		return nil, fault.Mark(fault.Transient, errRoomInUse)
	}
	c := cp.freeze()
	batch, lsn, gen := cp.commits.cutBatch(true), cp.commits.lsn, cp.supers.super.Generation
	cp.commits.started++
	number := cp.commits.started
	cp.mu.Unlock()

	at, err := cp.commits.makeDurable(gen, batch, true, true)
	cp.mu.Lock()
	if cp.commits.room.cutting = 0; err != nil {
		cp.commits.cutFailed(batch)
	} else {
		cp.mu.tail.Done(cp.commits.journal.Pos())
		c.at, c.super.At = at, at
		cp.commits.durable, cp.commits.ended = lsn, number
	}
	cp.mu.Unlock()
	cp.takeRows(c)
	if err != nil {
		cp.thaw(c)
		return nil, err
	}
	return c, nil
}

// freeze is the instant of a cut: it takes what has changed since the last one, and costs the same however much that is. Of
// layers, jobs and walks it takes no row yet (gate).
func (cp *checkpointer) freeze() *cut {
	cp.mu.assertHeld()
	c := &cut{dirty: cp.memory.freeze(), super: cp.supers.super, drops: cp.tree.drops, spent: cp.jobs.spent, window: cp.blocks.alloc.Window()}
	c.gone = cp.names.gone
	cp.blocks.alloc.BeginCut()
	cp.tree.drops, cp.jobs.spent, cp.names.gone = nil, nil, nil
	c.super.Generation++
	c.super.Host = cp.supers.holder()
	c.super.Geometry.Blocks = cp.blocks.alloc.Total()
	c.super.LastLayer, c.super.LastJob, c.super.LastIno = cp.tree.nextLayer, cp.commits.nextJob, uint64(cp.names.nextIno)
	cp.tree.gate.begin()
	cp.jobs.gate.begin()
	cp.tree.walkGate.begin()
	cp.blocks.needN, cp.tree.deep = 0, false
	c.answers, c.logCount, c.logChain = cp.names.answers.last(), cp.jobs.marshalLogCount(), cp.jobs.chain.marshal()
	c.origins = cp.origins.freeze()
	cp.names.cat.Freeze()
	return c
}

// takeRows takes the rows that the cut waits for, but for those that were taken at the gate, as they are by that. It takes the
// plan lock, for some at a time. The structure lock is held since the instant of the cut: meanwhile somebody may write and
// discard, and nobody snapshots, merges, destroys, walks, or takes an erase report.
func (cp *checkpointer) takeRows(c *cut) {
	cp.structure.assertHeld()
	cp.tree.inPiecesOf(pieceLen/4, cp.tree.gate.next)
	cp.tree.inPiecesOf(pieceLen/6, cp.jobs.nextRow)
	cp.tree.inPiecesOf(pieceLen/4, cp.tree.walkGate.next)
	cp.mu.Lock()
	layers, jobs, walks := cp.tree.gate.give(), cp.jobs.gate.give(), cp.tree.walkGate.give()
	cp.mu.Unlock()
	c.layers, c.jobs, c.walks = slices.Concat(layers...), slices.Concat(jobs...), slices.Concat(walks...)
}

// thaw undoes freeze: what was frozen goes back to what has changed since. Everything that the cut would have written is
// changed again. It takes the plan lock, in pieces; the structure lock is held.
func (cp *checkpointer) thaw(c *cut) {
	cp.structure.assertHeld()
	cp.blocks.images() // the next cut has them again
	cp.tree.inPieces(func() bool { return cp.blocks.alloc.AgainSome(1) })
	for i := range c.layers {
		cp.thawLayer(&c.layers[i])
	}
	for i := range c.jobs {
		cp.thawJob(&c.jobs[i])
	}
	cp.tree.eachRow(len(c.walks), func(i int) { cp.tree.touchWalk(cp.tree.walks[c.walks[i].id]) })
	cp.tree.inPieces(cp.origins.thawOne)
	cp.tree.inPieces(func() bool { return cp.names.cat.ThawSome(1) })
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.tree.drops = append(c.drops, cp.tree.drops...)
	cp.jobs.spent = append(c.spent, cp.jobs.spent...)
	cp.names.gone = append(c.gone, cp.names.gone...)
	cp.memory.cut = 0
}

// thawLayer makes what was frozen of a layer part of what has changed since.
func (cp *checkpointer) thawLayer(r *layerRow) {
	l := r.of
	cp.tree.inPieces(func() bool {
		cp.tree.touch(l)
		return l.top.SwallowSome(r.top, 1)
	})
	cp.tree.inPieces(func() bool { return r.lost.place.List().ThawSome(1) })
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if l.head {
		cp.tree.noteNeed(l)
	} else {
		cp.memory.note(&l.mem, memLayer(l))
	}
	cp.dropBuried(l)
}

// thawJob makes what was frozen of a job part of what has changed since. It may have ended, and its lists be elsewhere.
func (cp *checkpointer) thawJob(r *jobRow) {
	cp.mu.Lock()
	if j := cp.jobs.all[r.id]; j != nil {
		cp.jobs.touchJob(j)
	}
	cp.mu.Unlock()
	for _, l := range []*cutList{r.fresh, r.ready, r.bad} {
		cp.tree.inPieces(func() bool { return l.place.List().ThawSome(1) })
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if j := cp.jobs.all[r.id]; j != nil {
		cp.memory.note(&j.mem, memJob(j))
	}
}

// dropBuried drops what a layer has lost that was buried since the cut.
func (cp *checkpointer) dropBuried(l *layer) {
	if l.dead {
		cp.tree.dropLost(l)
	}
}

// publish makes the built pages durable. What is in memory names them already; they are read from memory until they
// are written. On error the pool goes on with the old superblock, and the next checkpoint is this one, written again: another
// cut would take more of the journal each time, and give nothing back. So also where the superblock's write failed and was
// done all the same: nothing that either of the two needs is reused before this one is durable, and the journal holds all
// that follows the older one.
func (cp *checkpointer) publish(c *cut) error {
	cp.unpublished = c
	pages := int64(cp.blocks.store.DirtyPages())
	if err := cp.blocks.store.Flush(); err != nil {
		return fmt.Errorf("checkpoint %d: pages: %w", c.super.Generation, err)
	}
	if err := cp.dev.Sync(); err != nil {
		return cp.fail(fmt.Errorf("checkpoint %d: sync of the device: %w", c.super.Generation, err))
	}
	b, err := c.super.Marshal()
	if err != nil {
		return cp.fail(err)
	}
	if err := cp.supers.mustHold(); err != nil {
		return err
	}
	slot := 1 - cp.supers.slot
	if _, err := cp.dev.WriteAt(b, int64(slot)*BlockSize); err != nil {
		return fmt.Errorf("checkpoint %d: superblock %d: %w", c.super.Generation, slot, err)
	}
	if err := cp.dev.Sync(); err != nil {
		return cp.fail(fmt.Errorf("checkpoint %d: sync of the device: %w", c.super.Generation, err))
	}
	cp.blocks.store.Durable()
	cp.unpublished = nil
	cp.mu.Lock()
	cp.supers.super, cp.supers.slot = c.super, slot
	cp.supers.written = (pages + 1) * BlockSize
	cp.memory.cut = 0
	cp.memory.fit()
	cp.commits.journal.Release(c.at)
	cp.commits.passed(cp.commits.room.passes, cp.commits.room.passing)
	cp.commits.roomMoved()
	cp.mu.Unlock()
	cp.counts.checkpointed(c.began, (pages+1)*BlockSize)
	cp.tree.inPieces(func() bool { return cp.blocks.alloc.DurableSome(1) })
	cp.blocks.trimAllGroups()
	cp.poke()
	return nil
}

// scrub overwrites the catalog pages that the last checkpoint freed: they hold the operator's words. Until this
// checkpoint's cut batch the older superblock, which needs them, could still be opened in place of a newer one that is lost.
func (cp *checkpointer) scrub() {
	if err := cp.blocks.store.Scrub(); err != nil {
		cp.log.Warn("freed catalog pages were not overwritten; they will be at the next checkpoint", "pool", cp.name, "error", err)
	}
}

// writeGroups makes the pages of the groups that changed, and the edits of their rows.
//
// Rows of the group table: a row with Lo 0 covers n groups in one state; one with Lo 1 overrides it for its group.
func (b *builder) writeGroups() ([]meta.Edit, error) {
	p := b.p
	images := p.blocks.images()
	out := p.blocks.dropGroups(images)
	for _, img := range images {
		old := p.blocks.groupPtrs[img.Group]
		var ptr meta.Ptr
		if !img.Uniform {
			page := blockdev.Aligned(BlockSize)
			copy(page, img.Page)
			var err error
			if ptr, err = p.blocks.store.Put(page, true, 0, page); err != nil {
				return nil, fmt.Errorf("group %d: %w", img.Group, err)
			}
		}
		if !old.IsNil() {
			p.blocks.store.Free(old)
		}
		b.groups = append(b.groups, cutGroup{img.Group, ptr})
		out = append(out, meta.Edit{
			Key: meta.Key{Hi: uint64(img.Group), Lo: 1},
			Val: groupRow{n: 1, state: img.State, counts: img.Counts, ptr: ptr}.marshal(),
		})
	}
	slices.SortFunc(out, func(a, b meta.Edit) int { return cmp.Compare(a.Key.Hi, b.Key.Hi) })
	return out, nil
}

// wantsCheckpoint: half of the ring is used, or too much waits in memory. The plan lock is held.
func (cp *checkpointer) wantsCheckpoint() bool {
	cp.mu.assertHeld()
	used := cp.commits.journal.Used() + int64(len(cp.commits.pending))
	return used >= cp.format.Ring/2 || cp.memory.wants() || cp.tree.deep
}
