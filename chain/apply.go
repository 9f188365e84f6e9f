package chain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// do makes a record part of the pool: into the batch that waits for the next commit, then into memory. It takes the room
// for it from what its batch has reserved (Pool.draw). The plan lock is held; for records that cut or join lists the
// structure lock too. What reads pages is prepared before anything changes: an error of that, transient or of one object,
// leaves all as it was. An error of apply means that memory and journal differ: the pool fails.
func (p *Pool) do(r record) error {
	if err := p.prepareRecord(r); err != nil {
		return err
	}
	e := encoder{b: p.pending}
	e.byte(r.kind())
	r.encode(&e)
	n := len(e.b) - len(p.pending)
	p.pending = e.b
	p.takeRoom(int64(n), r.kind())
	p.lsn++
	if err := r.apply(p); err != nil {
		return p.failLocked(err)
	}
	return nil
}

func (r *recClaim) apply(p *Pool) error {
	for _, run := range r.runs {
		if err := p.blocks.Claim(run); err != nil {
			return err
		}
	}
	return nil
}

func (r *recUnclaim) apply(p *Pool) error {
	for _, run := range r.runs {
		if err := p.blocks.Unclaim(run); err != nil {
			return err
		}
	}
	return nil
}

func (r *recMap) apply(p *Pool) error {
	l, err := p.layer(r.layer)
	if err != nil {
		return err
	}
	if r.n <= 0 || r.n > mapEnd || r.lb > mapEnd-r.n || r.size > MaxSize || !l.head {
		return fmt.Errorf("layer %v: map record of %d blocks, head %v: %w", l.id, r.n, l.head, ErrCorrupt)
	}
	l.top.set(r.lb, piece{n: r.n, dev: r.dev, birth: birthOf(r.dev, l.id)})
	if r.dev != 0 {
		run := alloc.Run{Start: r.dev, Len: r.n}
		if r.clean {
			err = p.blocks.Set(run, alloc.Clean, alloc.InUse)
			l.fence, l.fenceLSN = l.id, p.lsn // no plan may name it before the record is durable
		} else {
			err = p.blocks.Use(run)
		}
		if err != nil {
			return err
		}
		p.owns(l, r.n)
		l.refer += r.n
		l.mapLSN = p.lsn
	}
	for _, o := range r.old {
		l.refer -= o.n
		if err := p.replaced(l, o, p.volJobs[l.vol]); err != nil {
			return err
		}
	}
	if r.size > l.size {
		p.setSize(l, r.size)
	}
	p.touch(l)
	p.noteNeed(l)
	return nil
}

func birthOf(dev alloc.BlockID, id LayerID) LayerID {
	if dev == 0 {
		return 0
	}
	return id
}

func (r *recDirty) apply(p *Pool) error {
	j := p.volJobs[r.vol]
	for _, run := range r.runs {
		if err := p.blocks.Use(run); err != nil {
			return err
		}
		if j == nil {
			return fmt.Errorf("volume %d: block %d is dirty without a job: %w", r.vol, run.Start, ErrCorrupt)
		}
		p.addToJob(j, oldRun{dev: run.Start, n: run.Len})
	}
	return nil
}

func (r *recJob) apply(p *Pool) error {
	p.newJob(r.vol, p.pathOf(r.vol), "", reasonOverwritten, "", r.when)
	return nil
}

func (r *recErased) apply(p *Pool) error {
	j := p.jobs[r.job]
	if j == nil {
		return fmt.Errorf("erase job %d: %w", r.job, ErrCorrupt)
	}
	j.cursor = omap.Key(r.upTo)
	j.apart = *j.apart.CutAt(j.cursor)
	return p.workOff(j, r.zeroed, r.failed, r.when, r.told, r.how)
}

func (r *recApart) apply(p *Pool) error {
	j := p.jobs[r.job]
	if j == nil {
		return fmt.Errorf("erase job %d: %w", r.job, ErrCorrupt)
	}
	for _, o := range slices.Concat(r.zeroed, r.failed) {
		j.apart.Set(entryKey(o.birth, o.dev), o.n)
	}
	return p.workOff(j, plainRuns(r.zeroed), plainRuns(r.failed), r.when, r.told, r.how)
}

// workOff takes a report into a job: what is zero is clean, what failed waits in bad.
func (p *Pool) workOff(j *job, zeroed, failed []alloc.Run, when time.Time, told bool, how How) error {
	for _, run := range zeroed {
		if err := p.blocks.Set(run, alloc.InUse, alloc.Clean); err != nil {
			return err
		}
		if run.Len > j.readyN {
			return fmt.Errorf("erase job %d: %d blocks erased of %d: %w", j.id, run.Len, j.readyN, ErrCorrupt)
		}
		j.readyN -= run.Len
		j.erased += run.Len
		p.dirtyN -= run.Len
		p.cleaned += run.Len
	}
	for _, run := range failed {
		if run.Len <= 0 || run.Len > j.readyN || run.Start >= alloc.BlockID(p.blocks.Total()) {
			return fmt.Errorf("erase job %d: failed at %d+%d, %d queued: %w", j.id, run.Start, run.Len, j.readyN, ErrCorrupt)
		}
		j.bad.add(0, run.Start, entry{n: run.Len})
		j.readyN -= run.Len
		j.badN += run.Len
		p.dirtyN -= run.Len
		p.failedN += run.Len
	}
	j.dirty = true
	if err := p.zeroedBy(j, runBlocks(zeroed), when, told, how); err != nil {
		return err
	}
	p.endJob(j)
	return nil
}

func (r *recSeal) apply(p *Pool) error {
	j := p.jobs[r.job]
	if j == nil || j.readyN != 0 {
		return fmt.Errorf("seal of erase job %d: %w", r.job, ErrCorrupt)
	}
	p.spend(&j.ready)
	j.cursor, j.apart, j.lent = omap.Key{}, omap.Map[int64]{}, lending{}
	if r.bad {
		j.ready, j.readyN = j.bad, j.badN
		j.bad, j.badN = list{}, 0
		p.failedN -= j.readyN
		p.dirtyN += j.readyN
	} else {
		j.ready, j.readyN = j.fresh, j.freshN
		j.fresh, j.freshN = list{}, 0
	}
	j.epoch, j.lsn = p.epochs.seal(), p.lsn
	j.dirty = true
	p.endJob(j)
	return nil
}

func (r *recGrant) apply(p *Pool) error {
	if err := p.blocks.Set(r.run, alloc.Clean, alloc.Meta); err != nil {
		return err
	}
	if err := p.store.AddExtent(r.run); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

func (r *recPut) apply(p *Pool) error {
	kind := rowKind(r.key.Hi >> 56)
	switch kind {
	case rowInode, rowName, rowLink, rowXattr, rowProperty, rowOrphan:
	case rowDoomed:
		if err := p.noteDoomed(r.key.Hi&(1<<56-1), r.val); err != nil {
			return err
		}
	case rowLayer, rowJob, rowWalk, rowDrop, rowWindow, rowAnswer, rowLog, rowDaily: // the checkpoint's, and the log's
		return fmt.Errorf("row %x of kind %d in a record: %w", r.key, kind, ErrCorrupt)
	default:
		return fmt.Errorf("row %x of kind %d in a record: %w", r.key, kind, ErrCorrupt)
	}
	if len(r.val) > meta.MaxValue {
		return fmt.Errorf("row %x of %d bytes: %w", r.key, len(r.val), ErrCorrupt)
	}
	p.cat.put(r.key, r.val)
	if kind == rowInode { // its number is taken, whatever becomes of it
		p.nextIno = max(p.nextIno, Ino(r.key.Hi&(1<<56-1)))
	}
	return nil
}

func (r *recHead) apply(p *Pool) error {
	var parent *layer
	if r.parent != 0 {
		var err error
		if parent, err = p.layer(r.parent); err != nil {
			return err
		}
	}
	if r.size > MaxSize || p.heads[r.vol] != nil || parent != nil && (parent.head || parent.dead) {
		return fmt.Errorf("head of volume %d, %d bytes, parent %v: %w", r.vol, r.size, r.parent, ErrCorrupt)
	}
	p.newLayer(parent, r.vol, r.size, r.when)
	return nil
}

func (r *recFreeze) apply(p *Pool) error {
	if err := checkSnapName(r.name); r.name != "" && err != nil {
		return fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	for _, v := range r.vols {
		old := p.heads[v]
		if old == nil {
			return fmt.Errorf("freeze of volume %d: %w", v, ErrCorrupt)
		}
		old.head, old.named, old.name, old.created, old.who = false, r.name != "", r.name, r.when, r.who
		p.newLayer(old, v, old.size, r.when)
		if old.nameless() {
			p.nameless[old] = struct{}{}
		}
		p.touch(old)
	}
	return nil
}

func (r *recRollback) apply(p *Pool) error {
	snap, err := p.layer(r.snap)
	if err != nil {
		return err
	}
	old := p.heads[r.vol]
	if old == nil || snap.head || snap.dead {
		return fmt.Errorf("rollback of volume %d: %w", r.vol, ErrCorrupt)
	}
	p.newLayer(snap, r.vol, snap.size, r.when)
	old.head = false
	j := p.newJob(r.vol, p.pathOf(r.vol), snap.name, reasonRollback, r.who, r.when)
	p.reap(old, j, false)
	p.endJob(j)
	return nil
}

func (r *recUnname) apply(p *Pool) error {
	l, err := p.layer(r.layer)
	if err != nil {
		return err
	}
	if !l.named {
		return fmt.Errorf("layer %v loses a name that it has not: %w", l.id, ErrCorrupt)
	}
	j := p.newJob(l.vol, p.pathOf(l.vol), l.name, reasonSnapshot, r.who, r.when)
	l.named, l.kept, l.who = false, r.held, r.who // the name stays, for the job
	p.nameless[l] = struct{}{}
	p.touch(l)
	if !r.held {
		p.destroyed(j, l)
	}
	p.reap(l, j, true)
	p.endJob(j)
	return nil
}

func (r *recReap) apply(p *Pool) error {
	l, err := p.layer(r.layer)
	if err != nil {
		return err
	}
	reason := reasonSwept
	switch {
	case l.kept && l.name == "":
		reason = reasonVolume
	case l.kept:
		reason = reasonSnapshot
	}
	j := p.jobFor(l, l.name, reason, r.when)
	if l.kept {
		p.destroyed(j, l)
	}
	l.kept, p.doomedStale = false, true
	p.touch(l)
	p.reap(l, j, true)
	p.endJob(j)
	return nil
}

func (r *recDestroy) apply(p *Pool) error {
	j := p.newJob(r.vol, p.pathOf(r.vol), "", reasonVolume, r.who, r.when)
	p.endPromises(r.vol)
	all := slices.Clone(p.byVol[r.vol])
	slices.SortFunc(all, func(a, b *layer) int { return cmp.Compare(a.id, b.id) }) // walks are numbered in this order
	mine := map[*layer]bool{}                                                      // a nameless layer was destroyed before, or never anybody's
	for _, l := range all {
		mine[l] = l.head || l.named || l.kept
		l.head, l.named, l.who = false, false, r.who
		l.kept = l.kept || slices.Contains(r.held, l.id)
		p.nameless[l] = struct{}{}
		p.touch(l)
	}
	delete(p.heads, r.vol)
	p.doomedStale = true
	for i := len(all) - 1; i >= 0; i-- {
		if p.layers[all[i].id] == nil || all[i].dead {
			continue
		}
		p.reap(all[i], j, false)
	}
	for _, l := range all {
		if p.layers[l.id] == l && !l.dead {
			// Clones hold it: it goes as far as they let it in a reap record of its own, whose job says what they keep.
			l.kept, l.was = mine[l], origin{r.vol, j.volume, j.none}
			p.charge(l, -l.own)
			l.vol, l.dir = 0, r.dir
			p.charge(l, l.own)
			p.byVol[0] = append(p.byVol[0], l)
		}
	}
	delete(p.byVol, r.vol)
	p.endJob(j)
	return nil
}

func (r *recHome) apply(p *Pool) error {
	for _, l := range p.byVol[0] {
		if l.dir == r.dir {
			p.charge(l, -l.own)
			l.dir = r.to
			p.charge(l, l.own)
			p.touch(l)
		}
	}
	return nil
}

func (r *recDetach) apply(p *Pool) error {
	l, err := p.layer(r.layer)
	if err != nil {
		return err
	}
	if r.lo < 0 || r.hi <= r.lo || r.hi > mapEnd || !l.head {
		return fmt.Errorf("layer %v: detach of blocks %d to %d: %w", l.id, r.lo, r.hi, ErrCorrupt)
	}
	below := l.top
	rest := &overlay{layer: l, under: below, kind: storeyRest, lo: r.lo, hi: r.hi}
	window := &overlay{layer: l, under: below, kind: storeyWindow, lo: r.lo, hi: r.hi, pair: rest}
	rest.pair = window
	l.top = &overlay{layer: l, under: rest}
	l.refer -= r.mapped
	j := p.newJob(l.vol, p.pathOf(l.vol), "", reasonOverwritten+" in one piece", "", r.when)
	p.newWalk(l, window, j, false)
	p.touch(l)
	return nil
}

func (r *recWalk) apply(p *Pool) error {
	w := p.walks[r.walk]
	if w == nil {
		return fmt.Errorf("walk %d: %w", r.walk, ErrCorrupt)
	}
	for _, o := range r.runs {
		if err := p.replaced(w.layer, o, w.job); err != nil {
			return err
		}
	}
	w.next, w.dirty, w.job.dirty = r.next, true, true
	switch {
	case !r.done:
	case p.journal == nil: // replay: the pages that it gave back were in memory only; it goes over them again
		w.next = mapEnd
	default:
		p.endWalk(w)
	}
	return nil
}

func (r *recResize) apply(p *Pool) error {
	l, err := p.layer(r.layer)
	if err != nil {
		return err
	}
	if r.size > MaxSize || !l.head {
		return fmt.Errorf("layer %v: size %d, head %v: %w", l.id, r.size, l.head, ErrCorrupt)
	}
	p.setSize(l, r.size)
	p.touch(l)
	return nil
}

func (r *recRename) apply(p *Pool) error {
	l, err := p.layer(r.layer)
	if err != nil {
		return err
	}
	if err := checkSnapName(r.name); err != nil || !l.named {
		return fmt.Errorf("layer %v, named %v, becomes %q: %w", l.id, l.named, r.name, ErrCorrupt)
	}
	l.name = r.name
	p.touch(l)
	return nil
}

func (r *recRecover) apply(p *Pool) error {
	runs, err := p.abandonClaims()
	if err != nil {
		return err
	}
	j := p.newJob(0, "", "", reasonRecovery, "", r.when)
	for _, run := range runs {
		p.addToJob(j, oldRun{dev: run.Start, n: run.Len})
	}
	p.endJob(j)
	return nil
}

func (r *recAnswer) apply(p *Pool) error {
	p.answers.add(*r)
	return nil
}
