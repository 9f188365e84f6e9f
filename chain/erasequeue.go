package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// Ready is signalled when Next may have something.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Clean is how many bytes are zero and free.
func (p *Pool) Clean() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocks.alloc.Counts().Clean * BlockSize
}

// Next hands out dirty runs of the first job that may be zeroed, in the order of the device, at most maxBytes, and not
// again until they are reported or given back. The first is the one that was put first last, else the one that is due first
// (deadline.go), else what a crash left, else the oldest; jobs of erase=none come last of all, and only while a writer waits for
// clean blocks. No token: nothing may be zeroed now. It seals what has collected when nothing else is left, and makes the seal
// durable: a block is freed durably, and no plan can touch it any more, before it is handed out (invariants 5, 11).
//
// A job whose lists cannot be read is passed by, and failing, until its back-off is over. So an error is the pool's: it is
// read-only, or the journal has no room and the checkpoint that would make some failed.
func (p *Pool) Next(maxBytes int64) (blockdev.Handout, error) {
	for {
		r, err := p.commits.getRoom(context.Background(), credit{bytes: sealBytes, frees: true})
		if err != nil {
			return blockdev.Handout{}, err
		}
		h, sealed, more, err := p.jobs.nextRuns(r, maxBytes/BlockSize)
		if err != nil || h.Token != 0 || !sealed && !more {
			return h, err
		}
		if !sealed {
			continue
		}
		if err := p.Flush(); err != nil {
			return blockdev.Handout{}, err
		}
	}
}

// sealBytes is the room of the seals that one call of Next makes: as many as it has room for.
const (
	sealBytes = 64 * oneSeal
	oneSeal   = 16
)

// nextRuns looks at some jobs, and seals those that it may. more: there are others to look at.
func (jq *jobQueue) nextRuns(r *room, blocks int64) (h blockdev.Handout, sealed, more bool, err error) {
	jq.structure.Lock()
	defer jq.structure.Unlock()
	jq.mu.Lock()
	defer jq.mu.Unlock()
	defer jq.commits.within(r)()
	jq.commits.beginCold(nil)
	defer jq.commits.endCold()
	if err := jq.writable(); err != nil {
		return h, false, false, err
	}
	now := jq.opt.Now()
	due := jq.wantDue(now, pieceLen/2)
	at := omap.Key{}
	for range pieceLen / 2 {
		jq.mu.step(1)
		k, j, ok := jq.turns.wanted.Ceil(at) // a seal may end a job
		if !ok || j.none && jq.demand == 0 {
			return h, sealed, due, nil
		}
		at = k.Next()
		if !j.sick.Due(now) {
			jq.park(j, now)
			continue
		}
		if j.readyN == 0 && j.freshN+j.badN > 0 {
			if r.left < oneSeal {
				return h, true, true, nil
			}
			did, err := jq.sealJob(j)
			if err != nil {
				return h, false, false, err
			}
			sealed = sealed || did
		}
		if !jq.lendable(j) {
			if jq.all[j.id] == j {
				jq.park(j, now)
			}
			continue
		}
		if h, err = jq.handOut(j, blocks); err != nil {
			_ = jq.ailing(j, err) //nolint:errcheck // it is the job's: the others go on
			continue
		}
		if h.Token == 0 { // what it had was taken while a page was read
			continue
		}
		jq.well(j)
		return h, sealed, false, nil
	}
	return blockdev.Handout{}, sealed, true, nil
}

// place changes what a job's place in the order depends on. A job is placed when it is made or loaded.
func (jq *jobQueue) place(j *job, change func()) {
	jq.order.Delete(j.orderKey())
	was := j.at.wanted
	if was {
		jq.turns.drop(j)
	}
	change()
	jq.order.Set(j.orderKey(), j)
	if was {
		jq.turns.want(j)
	}
}

// topRank is the highest rank of all.
func (jq *jobQueue) topRank() (top uint64) {
	for _, from := range []omap.Key{{}, {Hi: 1 << 63}} {
		if _, j, ok := jq.order.Ceil(from); ok {
			top = max(top, j.rank)
		}
	}
	return top
}

// EraseFirst puts a job before all others, for good. Durable when it returns. ErrNotFound: there is no such job.
func (p *Pool) EraseFirst(_ Req, id uint64) error {
	err := p.works.change(func(time.Time) error {
		if p.jobs.all[id] == nil {
			return fmt.Errorf("erase job %d: %w", id, ErrNotFound)
		}
		return p.commits.do(&recFirst{id})
	})
	if err != nil {
		return err
	}
	p.signal(p.ready)
	return p.Flush()
}

// sealJob makes what a job collected its ready part, or what failed, when its time has come.
func (jq *jobQueue) sealJob(j *job) (bool, error) {
	switch {
	case j.freshN > 0:
		return true, jq.commits.do(&recSeal{job: j.id})
	case j.badN > 0 && !jq.opt.Now().Before(j.retryAt):
		return true, jq.commits.do(&recSeal{job: j.id, bad: true})
	}
	return false, nil
}

// retryLater sets the time at which what failed is handed out again.
func (jq *jobQueue) retryLater(j *job, now time.Time, failed []runs.Run) {
	j.retryAt = fault.OnGrid(now.Add(time.Second << min(j.retries, 12)))
	j.retries++
	time.AfterFunc(j.retryAt.Sub(now), jq.poke) // else nobody asks before something else is freed
	jq.mu.say(jq.log, slog.LevelError, "erase failed; the blocks stay dirty and are tried again", "pool", jq.name,
		"job", j.id, "blocks", runs.Blocks(failed))
}

// jobsAtOnce is how many jobs eachJob looks at under one hold of the plan lock.
const jobsAtOnce = pieceLen / 2

// eachJob calls fn for each job in the order in which they are erased, with the plan lock held, which is given up after every
// so many; then between is called, without it. What changes its place meanwhile may be met twice, or not at all.
func (jq *jobQueue) eachJob(fn func(*job), between func()) {
	jq.eachJobWhile(func(j *job) bool {
		fn(j)
		return true
	}, between)
}

// eachJobWhile is eachJob, until fn has enough.
func (jq *jobQueue) eachJobWhile(fn func(*job) bool, between func()) {
	for at, more := (omap.Key{}), true; more; {
		more = false
		jq.mu.Lock()
		n := jobsAtOnce
		jq.order.Ascend(at, func(k omap.Key, j *job) bool {
			if n--; n < 0 {
				at, more = k, true
				return false
			}
			jq.mu.step(1)
			return fn(j)
		})
		jq.mu.Unlock()
		between()
		runtime.Gosched() // who waits for the lock has it next
	}
}

// EraseJobs lists what waits to be erased, in the order in which it will be. It takes the plan lock for some jobs at a time, and
// makes what is long, or named, when it has given it up.
func (p *Pool) EraseJobs() []JobInfo {
	type seen struct {
		JobInfo
		vol    Ino
		layers []LayerID // shared: they are only added to
	}
	p.mu.Lock()
	n := len(p.jobs.all)
	p.mu.Unlock()
	out, some := make([]JobInfo, 0, n), make([]seen, 0, jobsAtOnce)
	p.jobs.eachJob(func(j *job) {
		i := JobInfo{
			ID: j.id, Volume: j.volume, Layer: j.layer, Reason: j.reason, Since: j.since,
			Freed: j.freed * BlockSize, Erased: j.erased * BlockSize, Failed: j.badN * BlockSize,
			Dirty: j.dirtyBlocks() * BlockSize, Kept: j.kept * BlockSize, KeptBy: j.keptBy, None: j.none, First: j.rank > 0,
			Who: j.who, Released: j.released * BlockSize, Within: j.within, Late: j.late * BlockSize, Longest: j.longest,
		}
		i.State, i.Error = p.tree.jobState(j)
		some = append(some, seen{i, j.vol, j.layers})
	}, func() {
		for _, s := range some {
			if s.vol != 0 {
				s.VolumeUUID = p.VolumeUUID(s.vol)
			}
			for _, id := range s.layers {
				s.Layers = append(s.Layers, p.LayerUUID(id))
			}
			out = append(out, s.JobInfo)
		}
		some = some[:0]
	})
	return out
}

// LastJob is the highest number that an erase job has had, or what was destroyed and is kept: both are of one row of numbers.
func (p *Pool) LastJob() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commits.nextJob
}

// Erasing is what of a volume, or of what it was, is not erased yet, in bytes.
type Erasing struct {
	Freeing int64 // freed, and not in a job yet
	Dirty   int64 // in jobs, failed ones included
}

// Erasing sums up erase jobs by volume, those of volumes that are gone included. It takes the plan lock for some at a time.
func (p *Pool) Erasing() map[Ino]Erasing {
	out := map[Ino]Erasing{}
	type burials struct {
		vol    Ino
		layers []LayerID
	}
	var walked []burials
	p.jobs.eachJob(func(j *job) {
		e := out[j.vol]
		e.Dirty += (j.dirtyBlocks() + j.badN) * BlockSize
		out[j.vol] = e
		if j.walks > 0 {
			walked = append(walked, burials{j.vol, j.layers[:len(j.layers):len(j.layers)]})
		}
	}, func() {})
	p.mu.Lock()
	p.tree.eachLeft(func(l *layer, n int64) {
		e := out[cmp.Or(l.vol, l.was.vol)]
		e.Freeing += n * BlockSize
		out[cmp.Or(l.vol, l.was.vol)] = e
	})
	p.mu.Unlock()
	seen := map[LayerID]bool{} // one that was destroyed by one job may be freed by another
	for _, b := range walked {
		for ids := range slices.Chunk(b.layers, pieceLen) {
			p.mu.Lock()
			for _, id := range ids {
				p.mu.step(1)
				if l := p.tree.layers[id]; l != nil && l.dead && !seen[id] {
					seen[id] = true
					e := out[b.vol]
					e.Freeing += l.own * BlockSize
					out[b.vol] = e
				}
			}
			p.mu.Unlock()
		}
	}
	return out
}

// EraseDrain brings all that is freed into jobs: it takes away what nobody holds any more and a destroy has left to the
// housekeeping, takes the checkpoints that walks wait for, walks, and sweeps. It does not erase. What there is no space to take away
// stays, and is in Usage.Going.
func (p *Pool) EraseDrain(ctx context.Context) error {
	for short := false; ctx.Err() == nil; {
		p.mu.Lock()
		left, waits, walk := !short && p.removal.leaves(), p.tree.walkWaits(), p.tree.walkReady(false)
		p.mu.Unlock()
		switch {
		case left:
			err := p.removal.reapWaiting()
			if short = errors.Is(err, ErrNoSpace); err != nil && !short {
				return err
			}
		case waits:
			if err := p.Checkpoint(); err != nil {
				return err
			}
		case walk != nil:
			if err := p.works.walkStep(walk); err != nil {
				return err
			}
		default:
			if did, err := p.works.sweepStep(true); err != nil || !did {
				return err
			}
		}
	}
	return ctx.Err()
}
