package chain

import (
	"context"

	"slatefs/alloc"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// eachDirty calls fn for what waits in jobs to be erased, or failed to be, without the plan lock, which it takes for a piece at a time:
// what changes meanwhile is told before, after, or not at all. A list that cannot be read now is left out. It ends with ctx.
func (jq *jobQueue) eachDirty(ctx context.Context, fn func(r alloc.Run, failed bool)) {
	var some []*job
	jq.eachJobWhile(func(j *job) bool {
		some = append(some, j)
		return ctx.Err() == nil
	}, func() {
		for _, j := range some {
			jq.partRuns(ctx, j, &j.fresh, func(r alloc.Run) { fn(r, false) })
			jq.partRuns(ctx, j, &j.ready, func(r alloc.Run) { fn(r, false) })
			jq.partRuns(ctx, j, &j.bad, func(r alloc.Run) { fn(r, true) })
		}
		some = some[:0]
	})
}

// partRuns is eachDirty of one part of a job.
func (jq *jobQueue) partRuns(ctx context.Context, j *job, part *runs.List, fn func(alloc.Run)) {
	var found []alloc.Run
	for at, more := (omap.Key{}), true; more && ctx.Err() == nil; {
		var next omap.Key
		err := jq.commits.underPlan(func() (err error) {
			found, next, more = found[:0], at, false
			if jq.all[j.id] == j { // else it has ended: its pages are others'
				found, next, more, err = jq.someRuns(j, part, at, found)
			}
			return err
		})
		if err != nil {
			return
		}
		for _, r := range found {
			fn(r)
		}
		at = next
	}
}

// someRuns appends the next runs of a part, from a key on, and says where it goes on, if there is more.
func (jq *jobQueue) someRuns(j *job, part *runs.List, at omap.Key, some []alloc.Run) (_ []alloc.Run, next omap.Key, more bool, err error) {
	worked := part == &j.ready
	if worked && at.Less(j.cursor) {
		at = j.cursor
	}
	from, next := at, at
	if k, ok, err := part.Before(jq.blocks.coldLists, from); err != nil {
		return some, next, false, err
	} else if ok { // the entry that at divides begins before it
		from = k
	}
	steps := pieceLen / 2
	take := func(hi uint64, b alloc.BlockID, n int64) bool {
		if steps--; steps < 0 {
			more = true
			return false
		}
		some, next = append(some, alloc.Run{Start: b, Len: n}), omap.Key{Hi: hi, Lo: uint64(b) + uint64(n)}
		return true
	}
	err = part.Ascend(jq.blocks.coldLists, from, func(k omap.Key, e runs.Entry) bool {
		jq.mu.step(1)
		switch {
		case e.Page:
			return take(k.Hi, alloc.BlockID(k.Lo), 0)
		case worked:
			return j.left(k, e.Len, at, func(b alloc.BlockID, n int64) bool { return take(k.Hi, b, n) })
		case k.Less(at): // told already
			return true
		}
		return take(k.Hi, alloc.BlockID(k.Lo), e.Len)
	})
	return some, next, more, err
}
