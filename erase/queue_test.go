package erase

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slatefs/chain/blockdev"
)

// report is one call of Queue.Report.
type report struct {
	at             time.Duration
	job            uint64
	zeroed, failed []blockdev.Extent
	how            blockdev.How
}

// fakeQueue checks the eraser's side of the contract.
type fakeQueue struct {
	t       testing.TB
	dev     *fakeDev
	mu      sync.Mutex // TryLock: the calls must not overlap
	st      sync.Mutex
	jobs    []part // zeroed = waiting
	out     map[int64]uint64
	reports []report
	ready   chan struct{}
	clean   atomic.Int64
	fault   func(job uint64) error
	backOff func(job uint64, failed []blockdev.Extent)
}

func newQueue(t testing.TB, d *fakeDev) *fakeQueue {
	return &fakeQueue{t: t, dev: d, out: map[int64]uint64{}, ready: make(chan struct{}, 1)}
}

// add queues runs for job and signals.
func (q *fakeQueue) add(job uint64, runs ...blockdev.Extent) {
	q.st.Lock()
	q.jobs = append(q.jobs, part{job: job, zeroed: slices.Clone(runs)})
	q.st.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *fakeQueue) Ready() <-chan struct{} { return q.ready }

func (q *fakeQueue) Next(limit int64) (uint64, []blockdev.Extent) {
	if !q.mu.TryLock() {
		q.t.Error("Next or Report called concurrently")
		return 0, nil
	}
	defer q.mu.Unlock()
	q.st.Lock()
	defer q.st.Unlock()
	if limit < blockBytes || limit > maxStepBytes || limit%blockBytes != 0 {
		q.t.Errorf("Next(%d)", limit)
	}
	if len(q.jobs) == 0 {
		return 0, nil
	}
	j := &q.jobs[0]
	job := j.job
	var runs []blockdev.Extent
	for limit > 0 && len(j.zeroed) > 0 {
		x := j.zeroed[0]
		x.Len = min(x.Len, limit)
		limit -= x.Len
		runs = append(runs, x)
		q.out[x.Off] = job
		if j.zeroed[0].Off, j.zeroed[0].Len = x.End(), j.zeroed[0].Len-x.Len; j.zeroed[0].Len == 0 {
			j.zeroed = j.zeroed[1:]
		}
	}
	if len(j.zeroed) == 0 {
		q.jobs = q.jobs[1:]
	}
	return job, runs
}

func (q *fakeQueue) Clean() int64 { return q.clean.Load() }

func (q *fakeQueue) Report(job uint64, zeroed, failed []blockdev.Extent, how blockdev.How) error {
	if !q.mu.TryLock() {
		q.t.Error("Next or Report called concurrently")
		return nil
	}
	defer q.mu.Unlock()
	if q.fault != nil {
		if err := q.fault(job); err != nil {
			return err
		}
	}
	for _, x := range zeroed {
		if n := q.dev.dirty(x); n > 0 && q.dev.data != nil {
			q.t.Errorf("job %d: %v reported zeroed, %d blocks are not zero and synced", job, x, n)
		}
	}
	q.st.Lock()
	q.reports = append(q.reports, report{time.Since(q.dev.t0), job, slices.Clone(zeroed), slices.Clone(failed), how})
	q.st.Unlock()
	if q.backOff != nil && len(failed) > 0 {
		q.backOff(job, failed)
	}
	return nil
}

// sums is what was reported, in bytes.
func (q *fakeQueue) sums() (zeroed, failed int64) {
	q.st.Lock()
	defer q.st.Unlock()
	for _, r := range q.reports {
		zeroed += total(r.zeroed)
		failed += total(r.failed)
	}
	return zeroed, failed
}
