package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
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
		rs, next, err := jq.takeSome(j, n, back)
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
	if k, ok, err := j.ready.Before(jq.blocks.lists, from); err != nil {
		return nil, next, err
	} else if ok { // the entry that next divides begins before it
		from = k
	}
	start := next
	err = j.ready.Ascend(jq.blocks.lists, from, func(k omap.Key, e runs.Entry) bool {
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
			if err := jq.blocks.loadGroup(u.Group); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("%w: %w", err, ErrCorrupt)
		default:
			return nil
		}
	}
}

// Report takes what became of runs of one hand-out: zero and synced, or failed, and by what. It makes a record of it, which
// Flush makes durable. The record that ends a job has the job's record of the erase log with it. What failed is handed out
// again after a back-off. An empty left says that all was taken. On error left is what was not: it is with the caller
// still, to be reported again or given back.
//
// A token that names no hand-out and runs that are not in it, or no more, break invariant 1 or 6, in this process: the
// pool ends it rather than to call something clean that nobody zeroed.
func (p *Pool) Report(d blockdev.Done, how How) (left blockdev.Done, err error) {
	for more := true; more && err == nil; more = len(d.Zeroed)+len(d.Failed) > 0 {
		var r *room
		if r, err = p.commits.getRoom(context.Background(), credit{bytes: reportBytes + (runsAtOnce+16)*24, frees: true}); err == nil {
			d, err = p.jobs.reportSome(r, d, how)
		}
	}
	return d, err
}

// reportBytes bounds an erase record without its runs: it has the words of the eraser.
const reportBytes = 2 << 10

// reportSome takes as much as one record may have, and returns the rest.
func (jq *jobQueue) reportSome(r *room, d blockdev.Done, how How) (blockdev.Done, error) {
	jq.structure.Lock()
	defer jq.structure.Unlock()
	jq.mu.Lock()
	defer jq.mu.Unlock()
	defer jq.commits.within(r)()
	if err := jq.writable(); err != nil {
		return d, err
	}
	h := jq.handouts[d.Token]
	if h == nil {
		fault.Misuse("one owner: a report of hand-out %d, which is not open", d.Token)
	}
	j := h.job
	now := jq.opt.Now()
	if err := jq.logReadable(j, now); err != nil {
		j.mute = true
		return d, jq.ailing(j, err)
	}
	if j.mute { // what was wrong with it was that
		j.mute = false
		jq.well(j)
	}
	rest := d
	var zeroed, failed []runs.Run
	for _, part := range []struct {
		from *[]blockdev.Extent
		to   *[]runs.Run
	}{{&rest.Zeroed, &zeroed}, {&rest.Failed, &failed}} {
		for len(*part.from) > 0 && len(zeroed)+len(failed) < min(runsAtOnce, jq.walkRuns()) {
			var r runs.Run
			jq.mu.step(1)
			r, *part.from = h.take(*part.from, d.Token)
			*part.to = append(*part.to, r)
		}
	}
	if len(zeroed)+len(failed) == 0 {
		return rest, nil
	}
	jq.closeIfDone(d.Token, h)
	if len(failed) > 0 {
		jq.retryLater(j, now, failed)
	}
	told := how != j.said
	j.said = how
	return rest, jq.commits.do(j.worked(zeroed, failed, now, told, how))
}

// worked is the record of a report. What it reports is open no more.
func (j *job) worked(zeroed, failed []runs.Run, now time.Time, told bool, how How) record {
	all := slices.Concat(zeroed, failed)
	upTo, last := j.lent.lowest()
	switch {
	case runs.Blocks(all) == j.readyN:
		upTo = lastKey
	case !last:
		upTo = j.lent.next
	}
	if !told {
		how = How{}
	}
	for _, r := range all {
		if !runs.Key(r.Birth, r.Dev).Less(upTo) {
			return &recApart{j.id, zeroed, failed, now, told, how}
		}
	}
	return &recErased{j.id, meta.Key(upTo), plainRuns(zeroed), plainRuns(failed), now, told, how}
}

// take takes the first run that is in the first extent of a report out of a hand-out, and out of what is open of its job.
// It returns the run, and the report without it; what it is given it leaves as it is.
func (h *handout) take(xs []blockdev.Extent, tok blockdev.Token) (runs.Run, []blockdev.Extent) {
	x := xs[0]
	if x.Off < 0 || x.Len <= 0 || x.Off%BlockSize != 0 || x.Len%BlockSize != 0 {
		fault.Misuse("erase fails closed: hand-out %d, a report of %d bytes at %d: not whole blocks", tok, x.Len, x.Off)
	}
	b := alloc.BlockID(x.Off / BlockSize)
	k, r, ok := h.runs.Floor(deviceKey(b))
	if !ok || k.Lo+uint64(r.n) <= uint64(b) {
		fault.Misuse("erase fails closed: block %d is reported, and is not in hand-out %d, or no more", b, tok)
	}
	n := min(int64(k.Lo)+r.n-int64(b), x.Len/BlockSize)
	h.split(b, n)
	h.runs.Delete(deviceKey(b))
	h.job.lent.open.Delete(runs.Key(r.birth, b))
	h.job.lent.out -= n
	if x.Off, x.Len = x.Off+n*BlockSize, x.Len-n*BlockSize; x.Len > 0 {
		return runs.Run{Dev: b, Len: n, Birth: r.birth}, append([]blockdev.Extent{x}, xs[1:]...)
	}
	return runs.Run{Dev: b, Len: n, Birth: r.birth}, xs[1:]
}

// split makes the blocks [b, b+n) of a run of a hand-out a run of their own.
func (h *handout) split(b alloc.BlockID, n int64) {
	k, r, _ := h.runs.Floor(deviceKey(b))
	start := alloc.BlockID(k.Lo)
	end := start + alloc.BlockID(r.n)
	for _, part := range []runs.Run{
		{Dev: start, Len: int64(b - start), Birth: r.birth}, {Dev: b, Len: n, Birth: r.birth}, {Dev: b + alloc.BlockID(n), Len: int64(end-b) - n, Birth: r.birth},
	} {
		if part.Len > 0 {
			h.runs.Set(deviceKey(part.Dev), lent{part.Len, part.Birth})
			h.job.lent.open.Set(runs.Key(part.Birth, part.Dev), part.Len)
		}
	}
}

func (jq *jobQueue) closeIfDone(tok blockdev.Token, h *handout) {
	if h.runs.Len() == 0 {
		delete(jq.handouts, tok)
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

// plainRuns are runs without their births.
func plainRuns(rs []runs.Run) []alloc.Run {
	out := make([]alloc.Run, 0, len(rs))
	for _, r := range rs {
		out = append(out, alloc.Run{Start: r.Dev, Len: r.Len})
	}
	return out
}

// workOff takes a report into a job: what is zero is clean, what failed waits in bad.
func (jq *jobQueue) workOff(j *job, zeroed, failed []alloc.Run, when time.Time, told bool, how How) error {
	jq.mu.step(len(zeroed) + len(failed))
	for _, run := range zeroed {
		if err := jq.blocks.alloc.Set(run, alloc.InUse, alloc.Clean); err != nil {
			return err
		}
		if run.Len > j.readyN {
			return fmt.Errorf("erase job %d: %d blocks erased of %d: %w", j.id, run.Len, j.readyN, ErrCorrupt)
		}
		j.readyN -= run.Len
		j.erased += run.Len
		jq.addDirty(j, -run.Len)
		jq.cleaned += run.Len
	}
	for _, run := range failed {
		if run.Len <= 0 || run.Len > j.readyN || run.Start >= alloc.BlockID(jq.blocks.alloc.Total()) {
			return fmt.Errorf("erase job %d: failed at %d+%d, %d queued: %w", j.id, run.Start, run.Len, j.readyN, ErrCorrupt)
		}
		j.bad.Add(0, run.Start, runs.Entry{Len: run.Len})
		j.readyN -= run.Len
		j.badN += run.Len
		jq.addDirty(j, -run.Len)
		jq.failedN += run.Len
	}
	jq.touchJob(j)
	if err := jq.zeroedBy(j, runBlocks(zeroed), when, told, how); err != nil {
		return err
	}
	jq.turns.want(j)
	jq.endJob(j)
	return nil
}
