package chain

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// What the eraser has. A hand-out is runs of one job's ready part under a token. Any number may be open, of one or many
// jobs. Each is reported by its token, in parts of any size and in any order, or given back. A block of a ready part is
// therefore one of these, and its place in the list (birth, block) says which:
//
//	below the cursor, or apart    worked off: clean, or in bad. Durable
//	open                          with the eraser. In memory: after a crash it is dirty as before
//	back                          was with the eraser and is handed out again before anything else. In memory
//	at or above next              never handed out
//
// The cursor is the lowest place that is open or back, so it passes nothing that is not worked off; what is reported above
// it is apart until the cursor gets there. Reports mostly come in the order of the list, so that apart is empty: it costs a
// record that names births, and a list in the job's row.
type lending struct {
	next omap.Key
	open omap.Map[int64] // blocks, by the place in the list
	back omap.Map[int64]
	out  int64 // blocks in open
}

// handout is one that is open.
type handout struct {
	job  *job
	runs omap.Map[lent] // what is left of it, by device block
}

type lent struct {
	n     int64
	birth LayerID
}

func deviceKey(b alloc.BlockID) omap.Key { return omap.Key{Lo: uint64(b)} }

// maxLent bounds the runs of one job that are open or apart, and by that its row. At that bound the job hands out nothing
// before something is reported.
const maxLent = 16384

// lowest is the place that the cursor may not pass.
func (l *lending) lowest() (k omap.Key, ok bool) {
	k, _, ok = l.open.Ceil(omap.Key{})
	if b, _, any := l.back.Ceil(omap.Key{}); any && (!ok || b.Less(k)) {
		return b, true
	}
	return k, ok
}

// left calls fn for the parts of an entry of ready that are not below from and not apart.
func (j *job) left(k omap.Key, n int64, from omap.Key, fn func(b alloc.BlockID, n int64) bool) bool {
	at, end := k.Lo, k.Lo+uint64(n)
	switch {
	case k.Hi < from.Hi:
		return true
	case k.Hi == from.Hi:
		at = max(at, from.Lo)
	}
	for at < end {
		if a, m, ok := j.apart.Floor(omap.Key{Hi: k.Hi, Lo: at}); ok && a.Hi == k.Hi && a.Lo+uint64(m) > at {
			at = a.Lo + uint64(m)
			continue
		}
		stop := end
		if a, _, ok := j.apart.Ceil(omap.Key{Hi: k.Hi, Lo: at}); ok && a.Hi == k.Hi {
			stop = min(end, a.Lo)
		}
		if !fn(alloc.BlockID(at), int64(stop-at)) {
			return false
		}
		at = stop
	}
	return true
}

// lendable: something of the ready part may be handed out. The plan lock is held.
func (jq *jobQueue) lendable(j *job) bool {
	jq.mu.assertHeld()
	return j.readyN > j.lent.out && jq.sealOver(j) && j.lent.open.Len()+j.apart.Len() < maxLent
}

// handOut takes up to n blocks of a job's ready part: what was given back, else from where the last call stopped. On error
// nothing has changed. The structure lock and the plan lock are held; the plan lock is given up between some runs and others:
// what a job has that is ready changes under the structure lock only, but for what is given back.
func (jq *jobQueue) handOut(j *job, n int64) (blockdev.Handout, error) {
	jq.mu.assertHeld()
	h, out := &handout{job: j}, blockdev.Handout{Job: j.id}
	back := j.lent.back.Len() > 0
	for n > 0 && len(out.Runs) < jq.walkRuns() && jq.lendable(j) {
		if out.Token != 0 {
			jq.commits.unlocked(runtime.Gosched)
		}
		jq.commits.renewCold()
		rs, next, err := jq.takeSome(j, n, back)
		if jq.commits.fetchMissed() {
			if err := jq.writable(); err != nil && out.Token == 0 {
				return blockdev.Handout{}, err
			}
			continue
		}
		switch {
		case err != nil && out.Token == 0:
			return blockdev.Handout{}, err
		case err != nil || len(rs) == 0 || jq.writable() != nil:
			n = 0 // what is there is good; the next call says why
			continue
		case out.Token == 0:
			jq.lastToken++
			out.Token = jq.lastToken
			jq.handouts[out.Token] = h
		}
		for _, r := range rs {
			jq.lend(h, r)
			n -= r.Len
			out.Runs = append(out.Runs, blockdev.Extent{Off: int64(r.Dev) * BlockSize, Len: r.Len * BlockSize})
		}
		j.lent.next = next
	}
	slices.SortFunc(out.Runs, func(a, b blockdev.Extent) int { return cmp.Compare(a.Off, b.Off) }) // the list goes by birth
	return out, nil
}

// runsAtOnce bounds the runs of a hand-out, a report or a walk that one hold of the plan lock takes: each is in several maps.
const runsAtOnce = pieceLen / 4

// takeSome lists the next runs of a hand-out, of which all blocks are in use. Nothing has changed.
func (jq *jobQueue) takeSome(j *job, n int64, back bool) (rs []runs.Run, next omap.Key, err error) {
	if next = j.lent.next; back {
		if rs = jq.takeBack(j, n); len(rs) == 0 {
			return nil, next, nil
		}
	} else if rs, next, err = jq.takeNext(j, n); err != nil {
		return nil, next, err
	}
	for _, r := range rs {
		jq.mu.step(1)
		if err := jq.allInUse(alloc.Run{Start: r.Dev, Len: r.Len}); err != nil {
			return nil, next, err
		}
	}
	if len(rs) == 0 {
		return nil, next, fmt.Errorf("%d blocks are queued, and its list has none of them: %w", j.readyN-j.lent.out, ErrCorrupt)
	}
	return rs, next, nil
}

// lend puts a run into a hand-out.
func (jq *jobQueue) lend(h *handout, r runs.Run) {
	k, l := runs.Key(r.Birth, r.Dev), &h.job.lent
	l.back.Delete(k)
	l.open.Set(k, r.Len)
	l.out += r.Len
	h.runs.Set(deviceKey(r.Dev), lent{r.Len, r.Birth})
}

// takeBack lists up to n blocks that were given back. Of the last run what is too much goes back by itself.
func (jq *jobQueue) takeBack(j *job, n int64) (rs []runs.Run) {
	j.lent.back.Ascend(omap.Key{}, func(k omap.Key, m int64) bool {
		jq.mu.step(1)
		take := min(m, n)
		rs = append(rs, runs.Run{Dev: alloc.BlockID(k.Lo), Len: take, Birth: LayerID(k.Hi)})
		n -= take
		return n > 0 && len(rs) < runsAtOnce
	})
	if k := len(rs) - 1; k >= 0 {
		last := rs[k]
		at := runs.Key(last.Birth, last.Dev)
		if m, _ := j.lent.back.Get(at); m > last.Len {
			j.lent.back.Set(at, last.Len)
			j.lent.back.Set(runs.Key(last.Birth, last.Dev+alloc.BlockID(last.Len)), m-last.Len)
		}
	}
	return rs
}

// takeNext lists up to n blocks of ready that were never handed out, and where the list goes on.
func (jq *jobQueue) takeNext(j *job, n int64) (rs []runs.Run, next omap.Key, err error) {
	if next = j.lent.next; next.Less(j.cursor) { // it was loaded, or replayed
		next = j.cursor
	}
	from := next
	if k, ok, err := j.ready.Before(jq.blocks.coldLists, from); err != nil {
		return nil, next, err
	} else if ok { // the entry that next divides begins before it
		from = k
	}
	start := next
	err = j.ready.Ascend(jq.blocks.coldLists, from, func(k omap.Key, e runs.Entry) bool {
		jq.mu.step(1)
		return e.Page || j.left(k, e.Len, start, func(b alloc.BlockID, m int64) bool {
			take := min(m, n)
			rs = append(rs, runs.Run{Dev: b, Len: take, Birth: LayerID(k.Hi)})
			n -= take
			next = omap.Key{Hi: k.Hi, Lo: uint64(b) + uint64(take)}
			return n > 0 && len(rs) < runsAtOnce
		})
	})
	return rs, next, err
}

// allInUse looks before anything is zeroed: what a list says and the groups deny is corruption, not work.
func (jq *jobQueue) allInUse(r alloc.Run) error {
	for {
		err := jq.blocks.alloc.All(r, alloc.InUse)
		var u *alloc.UnloadedError
		switch {
		case errors.As(err, &u):
			if err := jq.blocks.bringGroup(u.Group); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("%w: %w", err, ErrCorrupt)
		default:
			return nil
		}
	}
}

// GiveBack ends a hand-out: what of it was not reported is dirty as before, and handed out again. Of a token that is not
// open nothing is left to give back.
func (p *Pool) GiveBack(tok blockdev.Token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.jobs.handouts[tok]
	if h == nil {
		return
	}
	h.runs.Ascend(omap.Key{}, func(k omap.Key, r lent) bool {
		p.mu.step(1)
		at := runs.Key(r.birth, alloc.BlockID(k.Lo))
		h.job.lent.open.Delete(at)
		h.job.lent.back.Set(at, r.n)
		h.job.lent.out -= r.n
		return true
	})
	delete(p.jobs.handouts, tok)
	p.jobs.turns.want(h.job)
	p.poke()
}
