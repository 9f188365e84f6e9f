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
	jobs    []part                               // zeroed = waiting
	out     map[blockdev.Token][]blockdev.Extent // handed out, sorted, disjoint
	owner   map[blockdev.Token]uint64            // job of each hand-out
	last    blockdev.Token
	reports []report     // durable
	taken   []report     // not flushed yet
	batches []int64      // bytes that each Flush made durable, if any
	back    []part       // given back
	next    func() error // of Next
	stop    func() error // of Flush
	ready   chan struct{}
	clean   atomic.Int64
	fault   func(job uint64) error // of Report
	failed  error                  // FailSync was told
	backOff func(job uint64, failed []blockdev.Extent)
	due     map[uint64]time.Time    // of jobs that have a deadline
	noted   map[blockdev.Token]bool // may be released
	note    func() error            // of WillRelease
}

func newQueue(t testing.TB, d *fakeDev) *fakeQueue {
	return &fakeQueue{t: t, dev: d, owner: map[blockdev.Token]uint64{}, out: map[blockdev.Token][]blockdev.Extent{}, ready: make(chan struct{}, 1)}
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

// with looks at the queue or changes it, while the eraser may be at work.
func (q *fakeQueue) with(fn func()) {
	q.st.Lock()
	defer q.st.Unlock()
	fn()
}

func (q *fakeQueue) Ready() <-chan struct{} { return q.ready }

// enter is called by all that may not overlap.
func (q *fakeQueue) enter() (leave func()) {
	if !q.mu.TryLock() {
		q.t.Error("Next, Report, GiveBack or Flush called concurrently")
		return func() {}
	}
	return q.mu.Unlock
}

func (q *fakeQueue) Next(limit int64) (h blockdev.Handout, err error) {
	defer q.enter()()
	q.st.Lock()
	defer q.st.Unlock()
	if limit < blockBytes || limit > maxStepBytes || limit%blockBytes != 0 {
		q.t.Errorf("Next(%d)", limit)
	}
	if q.next != nil {
		if err := q.next(); err != nil {
			return h, err
		}
	}
	if len(q.jobs) == 0 {
		return h, nil
	}
	j := &q.jobs[0]
	q.last++
	h.Job, h.Token = j.job, q.last
	for limit > 0 && len(j.zeroed) > 0 {
		x := j.zeroed[0]
		x.Len = min(x.Len, limit)
		limit -= x.Len
		h.Runs = append(h.Runs, x)
		if j.zeroed[0].Off, j.zeroed[0].Len = x.End(), j.zeroed[0].Len-x.Len; j.zeroed[0].Len <= 0 {
			j.zeroed = j.zeroed[1:]
		}
	}
	if len(j.zeroed) == 0 {
		q.jobs = q.jobs[1:]
	}
	q.out[h.Token], q.owner[h.Token] = slices.Clone(h.Runs), h.Job
	return h, nil
}

func (q *fakeQueue) Clean() int64 { return q.clean.Load() }

// Deadlines are those of jobs that wait, in their order; what is handed out goes before all, and what failed is never tried
// again.
func (q *fakeQueue) Deadlines() (out []blockdev.Due) {
	q.st.Lock()
	defer q.st.Unlock()
	if len(q.due) == 0 {
		return nil
	}
	failed := map[uint64]bool{}
	for _, r := range q.reports {
		failed[r.job] = failed[r.job] || len(r.failed) > 0
	}
	var ahead int64
	done := map[uint64]bool{}
	add := func(job uint64, at time.Time) {
		if !at.IsZero() && !done[job] {
			done[job] = true
			out = append(out, blockdev.Due{Job: job, At: at, Ahead: ahead, Failed: failed[job], Retry: at.Add(time.Hour)})
		}
	}
	for tok, xs := range q.out {
		ahead += total(xs)
		defer add(q.owner[tok], q.due[q.owner[tok]])
	}
	for _, j := range q.jobs {
		ahead += total(j.zeroed)
		add(j.job, q.due[j.job])
	}
	for job, at := range q.due {
		if failed[job] {
			add(job, at)
		}
	}
	return out
}

// take takes x out of a hand-out, or says that it is not in it.
func (q *fakeQueue) take(tok blockdev.Token, x blockdev.Extent) {
	for x.Len > 0 {
		i := slices.IndexFunc(q.out[tok], func(r blockdev.Extent) bool { return r.Off <= x.Off && x.Off < r.End() })
		if i < 0 {
			q.t.Errorf("hand-out %d: %v is reported, and is not in it, or no more", tok, x)
			return
		}
		r := q.out[tok][i]
		n := min(x.Len, r.End()-x.Off)
		rest := slices.DeleteFunc([]blockdev.Extent{{Off: r.Off, Len: x.Off - r.Off}, {Off: x.Off + n, Len: r.End() - x.Off - n}},
			func(r blockdev.Extent) bool { return r.Len == 0 })
		q.out[tok] = slices.Replace(q.out[tok], i, i+1, rest...)
		x = blockdev.Extent{Off: x.Off + n, Len: x.Len - n}
	}
	if len(q.out[tok]) == 0 {
		delete(q.out, tok)
	}
}

func (q *fakeQueue) WillRelease(tok blockdev.Token) error {
	defer q.enter()()
	q.st.Lock()
	defer q.st.Unlock()
	if q.note != nil {
		if err := q.note(); err != nil {
			return err
		}
	}
	if q.noted == nil {
		q.noted = map[blockdev.Token]bool{}
	}
	q.noted[tok] = true
	return nil
}

func (q *fakeQueue) Report(d blockdev.Done, how blockdev.How) (left blockdev.Done, err error) {
	defer q.enter()()
	var job uint64
	var sick func(uint64) error
	q.with(func() { job, sick = q.owner[d.Token], q.fault })
	if sick != nil {
		if err := sick(job); err != nil {
			return d, err
		}
	}
	q.with(func() {
		if !how.Method.Erases() && !q.noted[d.Token] {
			q.t.Errorf("job %d: %v were released, and that was not noted before", job, d.Zeroed)
		}
	})
	for _, x := range d.Zeroed {
		if n := q.dev.dirty(x); n > 0 && q.dev.data != nil {
			q.t.Errorf("job %d: %v reported zeroed, %d blocks are not zero and synced", job, x, n)
		}
	}
	q.st.Lock()
	defer q.st.Unlock()
	for _, x := range slices.Concat(d.Zeroed, d.Failed) {
		q.take(d.Token, x)
	}
	q.taken = append(q.taken, report{time.Since(q.dev.t0), job, slices.Clone(d.Zeroed), slices.Clone(d.Failed), how})
	return blockdev.Done{}, nil
}

func (q *fakeQueue) GiveBack(tok blockdev.Token) {
	defer q.enter()()
	q.st.Lock()
	defer q.st.Unlock()
	q.back = append(q.back, part{token: tok, job: q.owner[tok], zeroed: q.out[tok]})
	delete(q.out, tok)
}

func (q *fakeQueue) Flush() error {
	defer q.enter()()
	var stop func() error
	q.with(func() { stop = q.stop })
	if stop != nil {
		if err := stop(); err != nil {
			return err
		}
	}
	q.st.Lock()
	taken := q.taken
	q.reports, q.taken = append(q.reports, taken...), nil
	if len(taken) > 0 {
		q.batches = append(q.batches, 0)
	}
	for _, r := range taken {
		q.batches[len(q.batches)-1] += total(r.zeroed)
	}
	q.st.Unlock()
	for _, r := range taken {
		if q.backOff != nil && len(r.failed) > 0 {
			q.backOff(r.job, r.failed)
		}
	}
	return nil
}

func (q *fakeQueue) FailSync(err error) error {
	q.failed = err
	return err
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
