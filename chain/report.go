package chain

import (
	"context"
	"fmt"
	"slices"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
)

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
	jq.commits.beginCold(nil)
	jq.commits.keepPages()
	defer jq.commits.endCold()
	if err := jq.writable(); err != nil {
		return d, err
	}
	h := jq.handouts[d.Token]
	if h == nil {
		fault.Misuse("one owner: a report of hand-out %d, which is not open", d.Token)
	}
	j := h.job
	now := jq.opt.Now()
	rest := d
	var zeroed, failed []runs.Run
	holed := h.holed(rest.Zeroed)
	for _, part := range []struct {
		from *[]blockdev.Extent
		to   *[]runs.Run
	}{{&rest.Zeroed, &zeroed}, {&rest.Failed, &failed}} {
		for len(*part.from) > 0 && len(zeroed)+len(failed) < min(runsAtOnce, jq.walkRuns()) {
			if part.to == &zeroed && h.holed(*part.from) != holed {
				break // that is another record's: it says by what all of it was zeroed
			}
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
	how.Releases = how.Releases || holed
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
	return &recErased{j.id, meta.Key(upTo), zeroed, failed, now, told, how}
}

// holed: the first run of a report may have been released before, whatever zeroed it now.
func (h *handout) holed(xs []blockdev.Extent) bool {
	if len(xs) == 0 {
		return false
	}
	b := alloc.BlockID(xs[0].Off / BlockSize)
	_, r, ok := h.runs.Floor(deviceKey(b))
	return ok && h.job.holes.in(runs.Run{Dev: b, Birth: r.birth})
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
		{Dev: start, Len: int64(b - start), Birth: r.birth},
		{Dev: b, Len: n, Birth: r.birth},
		{Dev: b + alloc.BlockID(n), Len: int64(end-b) - n, Birth: r.birth},
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

// workOff takes a report into a job: what is zero is clean, what failed waits in bad.
func (jq *jobQueue) workOff(j *job, zeroed, failed []runs.Run, when time.Time, told bool, how How) error {
	jq.mu.step(len(zeroed) + len(failed))
	jq.touchJob(j)
	for _, run := range zeroed {
		if err := jq.blocks.alloc.Set(alloc.Run{Start: run.Dev, Len: run.Len}, alloc.InUse, alloc.Clean); err != nil {
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
		if run.Len <= 0 || run.Len > j.readyN || run.Dev >= alloc.BlockID(jq.blocks.alloc.Total()) {
			return fmt.Errorf("erase job %d: failed at %d+%d, %d queued: %w", j.id, run.Dev, run.Len, j.readyN, ErrCorrupt)
		}
		j.bad.Add(run.Birth, run.Dev, runs.Entry{Len: run.Len})
		j.holes.bad = j.holes.bad || j.holes.in(run)
		j.readyN -= run.Len
		j.badN += run.Len
		jq.addDirty(j, -run.Len)
		jq.failedN += run.Len
	}
	jq.zeroedBy(j, runs.Blocks(zeroed), when, told, how)
	for _, run := range zeroed {
		jq.origins.zero(run.Birth, run.Len, j.how.Releases, when)
	}
	jq.turns.want(j)
	jq.endJob(j)
	return nil
}
