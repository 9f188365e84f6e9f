package erase

import (
	"fmt"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

// result is a part that is synced and read back, until the queue has it
// durably. What could not be reported stays here, so that it need not be zeroed
// again, and is reported again after a back-off.
type result struct {
	part
	how      blockdev.How
	written  int64 // bytes, as Stats.Pending counts them
	demand   bool
	good     int64 // bytes zeroed and read back, reported or not
	bad      int64
	reported bool // what is left is that Flush succeeds
	again    fault.Backoff
}

// lastRetry is the longest that what failed waits for its next try.
const lastRetry = 64 * time.Second

// flush makes b durable, b is empty then, and reports it with what was kept:
// sync, read back, report. It returns the bytes that became clean by it. An
// error is final if e.dead is set, and else tells why something is kept, that
// was not in trouble before. The caller holds the worker lock.
func (e *Eraser) flush(b *batch) (zeroed int64, err error) {
	if len(b.parts) > 0 {
		if err := e.syncDevice(); err != nil {
			return 0, err
		}
		for _, p := range b.parts {
			r := result{how: blockdev.How{Method: p.method, Verify: blockdev.Verify(e.verify.Load())}, written: total(p.zeroed), demand: b.demand}
			e.readBack(&p, r.how.Verify)
			r.part, r.good, r.bad = p, total(p.zeroed), total(p.failed)
			e.kept = append(e.kept, r)
		}
		*b = batch{demand: b.demand}
	}
	return e.settle()
}

// settle reports what is kept and due. The caller holds the worker lock.
func (e *Eraser) settle() (zeroed int64, err error) {
	now := e.clock.Now()
	gone := map[blockdev.Token]bool{} // given back
	var flush bool
	for i := range e.kept {
		r := &e.kept[i]
		if gone[r.token] || !r.again.Due(now) || r.reported {
			flush = flush || r.reported && r.again.Due(now)
			continue
		}
		left, rerr := e.queue.Report(blockdev.Done{Token: r.token, Zeroed: r.zeroed, Failed: r.failed}, r.how)
		if rerr == nil {
			r.reported, flush = true, true
			continue
		}
		r.zeroed, r.failed = left.Zeroed, left.Failed
		flush = true // a part of it may have been taken
		if err = e.unreported(r, now, rerr, gone); e.dead.Load() != nil {
			return 0, err
		}
	}
	var ferr error
	if flush {
		if ferr = e.queue.Flush(); fault.Of(ferr) == fault.Pool {
			e.stats.fault(&e.stats.s.Errors.Report)
			return 0, e.die(fmt.Errorf("erase: report: %w", ferr))
		}
	}
	kept := e.kept[:0]
	for _, r := range e.kept {
		switch {
		case r.reported && ferr == nil && r.again.Due(now):
			e.stats.reported(r.written, r.good, r.bad, r.how.Method, r.demand)
			zeroed += r.good
			continue
		case !r.reported && gone[r.token]:
			e.stats.dropped(r.written)
			continue
		case r.reported && ferr != nil:
			err = e.unreported(&r, now, ferr, gone)
		}
		kept = append(kept, r)
	}
	e.kept = kept
	e.stats.keeps(e.kept)
	return zeroed, err
}

// unreported is the table's row of a report that failed: it is kept, or its
// hand-out given back, or it is the end.
func (e *Eraser) unreported(r *result, now time.Time, err error, gone map[blockdev.Token]bool) error {
	e.stats.fault(&e.stats.s.Errors.Report)
	err = fmt.Errorf("erase: report: job %d: %w", r.job, err)
	switch kind := fault.Of(err); {
	case kind == fault.Pool:
		return e.die(err)
	case kind == fault.Transient || r.reported:
		wait := r.again.Fail(now, err, lastRetry)
		e.log.Warn("erase: report; what was zeroed is kept and reported again", "job", r.job, "bytes", r.good, "err", err, "again_after", wait)
	default:
		gone[r.token] = true
		e.queue.GiveBack(r.token)
		e.log.Error("erase: report; the blocks stay dirty", "job", r.job, "bytes", r.good, "err", err)
	}
	return err
}

// keptFull: so much is kept that no more is zeroed before some of it was
// reported. The caller holds the worker lock.
func (e *Eraser) keptFull() bool {
	var n int64
	for i := range e.kept {
		n += e.kept[i].written
	}
	return n >= flushBytes
}

// keptDue is when something that is kept is to be reported again. The caller
// holds the worker lock.
func (e *Eraser) keptDue() (at time.Time, any bool) {
	for i := range e.kept {
		if !any || e.kept[i].again.At.Before(at) {
			at, any = e.kept[i].again.At, true
		}
	}
	return at, any
}

// forgive makes all that is kept due: somebody waits for it, or it is the end.
// The caller holds the worker lock.
func (e *Eraser) forgive() {
	for i := range e.kept {
		e.kept[i].again.At = time.Time{}
	}
}
