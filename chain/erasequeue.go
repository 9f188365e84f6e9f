package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Ready is signalled when Next may have something.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Clean is how many bytes are zero and free.
func (p *Pool) Clean() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocks.Counts().Clean * BlockSize
}

// Next hands out dirty runs of the first job that may be zeroed, in the order of the device, at most maxBytes, and not
// again until they are reported. The first is the one that was put first last, else the oldest; jobs of erase=none come
// last of all, and only while a writer waits for clean blocks. Nil: nothing may be zeroed now. It seals what has collected when nothing else is left, and makes the seal
// durable: a block is freed durably, and no plan can touch it any more, before it is handed out (invariants 5, 11).
func (p *Pool) Next(maxBytes int64) (uint64, []blockdev.Extent) {
	for {
		if p.ensureRoom(256) != nil {
			return 0, nil
		}
		id, runs, sealed, err := p.nextRuns(maxBytes)
		if err != nil || len(runs) > 0 {
			return id, runs
		}
		if !sealed {
			return 0, nil
		}
		if err := p.Flush(); err != nil {
			return 0, nil
		}
	}
}

func (p *Pool) nextRuns(maxBytes int64) (id uint64, runs []blockdev.Extent, sealed bool, err error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.writable(); err != nil {
		return 0, nil, false, err
	}
	for _, j := range p.jobsInOrder() {
		if j.none && p.demand == 0 {
			continue
		}
		if j.out == 0 && j.readyN == 0 {
			did, err := p.sealJob(j)
			if err != nil {
				return 0, nil, false, err
			}
			sealed = sealed || did
		}
		if j.readyN == j.out || !p.epochs.over(j.epoch) || p.durable < j.lsn {
			continue
		}
		runs, err := p.handOut(j, maxBytes/BlockSize)
		if err != nil {
			err = p.failLocked(fmt.Errorf("erase job %d: %w", j.id, wrapCorrupt(err)))
		}
		return j.id, runs, sealed, err
	}
	return 0, nil, sealed, nil
}

// jobsInOrder lists the jobs in the order in which they are erased.
func (p *Pool) jobsInOrder() []*job {
	js := slices.Collect(maps.Values(p.jobs))
	slices.SortFunc(js, func(a, b *job) int {
		if a.none != b.none {
			return map[bool]int{true: 1, false: -1}[a.none]
		}
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.id, b.id))
	})
	return js
}

// EraseFirst puts a job before all others, for good. Durable when it returns. ErrNotFound: there is no such job.
func (p *Pool) EraseFirst(_ Req, id uint64) error {
	err := p.change(func(time.Time) error {
		if p.jobs[id] == nil {
			return fmt.Errorf("erase job %d: %w", id, ErrNotFound)
		}
		return p.do(&recFirst{id})
	})
	if err != nil {
		return err
	}
	p.signal(p.ready)
	return p.Flush()
}

// recFirst: a job goes before all others.
type recFirst struct{ job uint64 }

func (*recFirst) kind() byte          { return kindFirst }
func (r *recFirst) encode(e *encoder) { e.u(r.job) }
func (r *recFirst) decode(d *decoder) { r.job = d.u() }

func (r *recFirst) apply(p *Pool) error {
	j := p.jobs[r.job]
	if j == nil {
		return fmt.Errorf("erase job %d goes first: %w", r.job, ErrCorrupt)
	}
	top := uint64(0)
	for _, o := range p.jobs {
		top = max(top, o.rank)
	}
	j.rank, j.dirty = top+1, true
	return nil
}

// sealJob makes what a job collected its ready part, or what failed, when its time has come.
func (p *Pool) sealJob(j *job) (bool, error) {
	switch {
	case j.freshN > 0:
		return true, p.do(&recSeal{job: j.id})
	case j.badN > 0 && !p.opt.Now().Before(j.retryAt):
		return true, p.do(&recSeal{job: j.id, bad: true})
	}
	return false, nil
}

// handOut takes up to n blocks from the job's ready part, from where the last call stopped.
func (p *Pool) handOut(j *job, n int64) (runs []blockdev.Extent, err error) {
	if j.out == 0 {
		j.handed, j.given = j.cursor, nil
	}
	// the entry that the cursor divides begins before it
	from := j.handed
	if k, ok, err := j.ready.before(p.lists, j.handed); err != nil {
		return nil, err
	} else if ok {
		from = k
	}
	walked := j.ready.ascend(p.lists, from, func(k omap.Key, e entry) bool {
		if e.page || n == 0 {
			return n > 0
		}
		start, left := k.Lo, e.n
		if k.Less(j.handed) {
			skip := int64(j.handed.Lo - k.Lo)
			if k.Hi != j.handed.Hi || skip >= e.n {
				return true
			}
			start, left = j.handed.Lo, e.n-skip
		}
		take := min(left, n)
		if err = p.allInUse(alloc.BlockID(start), take); err != nil {
			return false
		}
		runs = append(runs, blockdev.Extent{Off: int64(start) * BlockSize, Len: take * BlockSize})
		n -= take
		j.out += take
		j.handed = omap.Key{Hi: k.Hi, Lo: start + uint64(take)}
		return n > 0
	})
	slices.SortFunc(runs, func(a, b blockdev.Extent) int { return cmp.Compare(a.Off, b.Off) }) // the list goes by birth
	j.given = append(j.given, toRuns(runs)...)
	return runs, errors.Join(err, walked)
}

// allInUse looks before anything is zeroed: what a list says and the groups deny is corruption, not work.
func (p *Pool) allInUse(b alloc.BlockID, n int64) error {
	for end := b + alloc.BlockID(n); b < end; {
		st, err := p.blocks.State(b)
		var u *alloc.UnloadedError
		if errors.As(err, &u) {
			if err = p.loadGroup(u.Group); err == nil {
				continue
			}
		}
		if err == nil && st != alloc.InUse {
			err = fmt.Errorf("block %d is %v: %w", b, st, ErrCorrupt)
		}
		if err != nil {
			return err
		}
		b++
	}
	return nil
}

// before is the last entry below k of the same birth, if any: it may reach past k.
func (l *list) before(f *meta.Family, k omap.Key) (best omap.Key, ok bool, err error) {
	if k.Lo == 0 {
		return best, false, nil
	}
	prev := omap.Key{Hi: k.Hi, Lo: k.Lo - 1}
	see := func(o omap.Key, found bool) {
		if found && o.Hi == k.Hi && (!ok || best.Less(o)) {
			best, ok = o, true
		}
	}
	for _, t := range l.trees {
		o, _, found, err := f.Floor(t, meta.Key(prev))
		if err != nil {
			return best, false, err
		}
		see(omap.Key(o), found)
	}
	o, _, found := l.fresh.Floor(prev)
	see(o, found)
	return best, ok, nil
}

// Report is ReportHow of an eraser that says nothing of itself.
func (p *Pool) Report(id uint64, zeroed, failed []blockdev.Extent) error {
	return p.ReportHow(id, zeroed, failed, How{})
}

// ReportHow says what became of the runs that were handed out: zero and synced, or failed, and by what. It returns when
// the record is durable. Every handed-out block of the job must be in one of the two. The report that ends a job writes
// the job's record in the erase log with it. What failed is handed out again after a back-off.
func (p *Pool) ReportHow(id uint64, zeroed, failed []blockdev.Extent, how How) error {
	if err := p.ensureRoom(int64(len(zeroed)+len(failed)+64) * 16); err != nil {
		return err
	}
	p.structure.Lock()
	p.mu.Lock()
	err := p.reportLocked(id, zeroed, failed, how)
	p.mu.Unlock()
	p.structure.Unlock()
	if err != nil {
		return err
	}
	return p.Flush()
}

func (p *Pool) reportLocked(id uint64, zeroed, failed []blockdev.Extent, how How) error {
	if err := p.writable(); err != nil {
		return err
	}
	j := p.jobs[id]
	if j == nil {
		return fmt.Errorf("erase job %d: %w", id, ErrNotFound)
	}
	r := &recErased{job: id, upTo: meta.Key(j.handed), zeroed: toRuns(zeroed), failed: toRuns(failed), when: p.opt.Now()}
	if how != j.said {
		r.told, r.how, j.said = true, how, how
	}
	if both := slices.Concat(r.zeroed, r.failed); len(both) == 0 || !slices.Equal(joined(both), joined(j.given)) {
		return fmt.Errorf("erase job %d: %d blocks reported, not the %d that were handed out: %w", id, runBlocks(both), j.out, ErrInvalid)
	}
	if len(r.failed) > 0 {
		wait := time.Second << min(j.retries, 12)
		j.retryAt = p.opt.Now().Add(wait)
		time.AfterFunc(wait, p.poke)
		j.retries++
		time.AfterFunc(j.retryAt.Sub(p.opt.Now())+time.Second, func() { p.signal(p.ready) }) // else nobody asks before something else is freed
		p.log.Error("erase failed; the blocks stay dirty and are tried again", "pool", p.name, "job", id, "blocks", runBlocks(r.failed))
	}
	j.out, j.given = 0, nil
	if runBlocks(r.zeroed)+runBlocks(r.failed) == j.readyN {
		r.upTo = meta.Key(lastKey)
	}
	return p.do(r)
}

// joined sorts runs and joins neighbours. Runs that overlap stay apart, and so are equal to none that were handed out.
func joined(rs []alloc.Run) (out []alloc.Run) {
	rs = slices.SortedFunc(slices.Values(rs), func(a, b alloc.Run) int { return cmp.Compare(a.Start, b.Start) })
	for _, r := range rs {
		if k := len(out) - 1; k >= 0 && out[k].End() == r.Start {
			out[k].Len += r.Len
		} else {
			out = append(out, r)
		}
	}
	return out
}

func toRuns(es []blockdev.Extent) []alloc.Run {
	rs := make([]alloc.Run, 0, len(es))
	for _, e := range es {
		rs = append(rs, alloc.Run{Start: alloc.BlockID(e.Off / BlockSize), Len: e.Len / BlockSize})
	}
	return rs
}

// EraseJobs lists what waits to be erased, in the order in which it will be.
func (p *Pool) EraseJobs() []JobInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []JobInfo
	for _, j := range p.jobsInOrder() {
		i := JobInfo{
			ID: j.id, Volume: j.volume, Layer: j.layer, Reason: j.reason, Since: j.since, State: "queued",
			Freed: j.freed * BlockSize, Erased: j.erased * BlockSize, Failed: j.badN * BlockSize,
			Dirty: j.dirtyBlocks() * BlockSize, Kept: j.kept * BlockSize, KeptBy: j.keptBy, None: j.none, First: j.rank > 0,
			Who: j.who, Released: j.released * BlockSize,
		}
		if j.vol != 0 {
			i.VolumeUUID = p.VolumeUUID(j.vol)
		}
		for _, l := range j.layers {
			i.Layers = append(i.Layers, p.LayerUUID(l))
		}
		switch {
		case j.none && j.out == 0 && j.walks == 0:
			i.State = "unscheduled"
		case j.out > 0:
			i.State = "erasing"
		case j.walks > 0:
			i.State = "walking"
		case j.badN > 0 && j.dirtyBlocks() == 0:
			i.State = "failed"
		case j.readyN > 0 && !p.epochs.over(j.epoch):
			i.State = "waiting"
		}
		out = append(out, i)
	}
	return out
}

// Erasing is what of a volume, or of what it was, is not erased yet, in bytes.
type Erasing struct {
	Freeing int64 // freed, and not in a job yet
	Dirty   int64 // in jobs, failed ones included
}

// Erasing sums up erase jobs by volume, those of volumes that are gone included.
func (p *Pool) Erasing() map[Ino]Erasing {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[Ino]Erasing{}
	for _, j := range p.jobs {
		e := out[j.vol]
		e.Dirty += (j.dirtyBlocks() + j.badN) * BlockSize
		out[j.vol] = e
	}
	for _, w := range p.walks {
		if w.layer.dead && w.burial {
			e := out[w.job.vol]
			e.Freeing += w.layer.own * BlockSize
			out[w.job.vol] = e
		}
	}
	return out
}

// EraseDrain brings all that is freed into jobs: it takes the checkpoints that walks wait for, walks, and sweeps. It
// does not erase.
func (p *Pool) EraseDrain(ctx context.Context) error {
	for ctx.Err() == nil {
		p.mu.Lock()
		waits, walk := p.walkWaits(), p.walkReady()
		p.mu.Unlock()
		switch {
		case waits:
			if err := p.Checkpoint(); err != nil {
				return err
			}
		case walk != nil:
			if err := p.walkStep(walk); err != nil {
				return err
			}
		default:
			if did, err := p.sweepStep(true); err != nil || !did {
				return err
			}
		}
	}
	return ctx.Err()
}
