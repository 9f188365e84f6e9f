package erase

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"slatefs/chain/blockdev"
)

// Stats is what an Eraser did since New. All but Current are sums.
type Stats struct {
	Background int64 // bytes zeroed under the rate and reported durable
	Demand     int64 // bytes zeroed by Now and reported durable
	Released   int64 // of these, bytes that were not erased, only released
	Methods    [blockdev.Release + 1]Amounts
	Failed     int64 // bytes reported failed, each attempt counted
	Pending    int64 // bytes zeroed on the device and not yet reported
	Kept       int64 // of these, bytes whose report failed and is tried again
	Trouble    error // why the queue hands out nothing, or takes no report, of the last try; nil: it does
	Current    int64 // bytes/s that the background wrote over the last seconds of this stretch of work; never above Bound
	Rate       int64 // upper bound of the background as set, bytes/s; 0 = unlimited
	Bound      int64 // the one that holds now, which is more while clean blocks are short, or a deadline needs it
	Top        int64 // the most that Bound may be; 0 = unlimited
	Device     int64 // bytes/s that the device was found to do, where that is less than the bound; 0: not found
	Paused     bool
	Window     *Window   // nil: always open
	Opens      time.Time // when the window opens next; zero: it is open
	Step, Sync Latency   // of one write of zeros to the device, of one sync
	Verify     blockdev.Verify
	Method     blockdev.Method // Auto: not known yet
	Want       blockdev.Method // as set
	Why        string          // that method
	Errors     Errors
}

// Amounts are bytes by what made somebody zero them.
type Amounts struct{ Background, Demand int64 }

// Latency is how long something took.
type Latency struct {
	Count    int64
	Sum, Max time.Duration
	Slots    [20]int64 // slot i counts what took less than 2^i x 64 µs, and not less than half of that; the last, the rest
}

// LatencyUnit is the bound of the first slot of a Latency.
const LatencyUnit = 64 * time.Microsecond

func (l *Latency) add(d time.Duration) {
	l.Count++
	l.Sum += d
	l.Max = max(l.Max, d)
	l.Slots[min(bits.Len64(uint64(max(d, 0)/LatencyUnit)), len(l.Slots)-1)]++
}

// Quantile is a time that a part q of all did not exceed, to a factor of two.
func (l *Latency) Quantile(q float64) time.Duration {
	left := int64(math.Ceil(q * float64(l.Count)))
	for i, n := range l.Slots {
		if left -= n; left <= 0 && i < len(l.Slots)-1 {
			return min(LatencyUnit<<i, l.Max)
		}
	}
	return l.Max
}

// Errors counts what went wrong, by kind.
type Errors struct {
	Zero   int64 // runs of which zeroing returned an error
	Read   int64 // reads of the read-back that returned an error or were short
	Verify int64 // reads of the read-back that were not zero
	Sync   int64 // failed syncs
	Report int64 // failed reports
	Next   int64 // times that the queue could not say what is next
}

// windowSeconds is what Stats.Current looks back on.
const windowSeconds = 5

// recorder collects Stats.
type recorder struct {
	mu    sync.Mutex
	s     Stats
	first time.Time            // begin of this stretch of work
	sec   [windowSeconds]int64 // Unix second that each slot counts
	sum   [windowSeconds]int64 // background bytes written in it

	resting error // why nothing is handed out
	device  int64 // as in Stats
}

// Stats returns the counters as of now.
func (e *Eraser) Stats() Stats {
	now, bound := e.clock.Now(), e.bound()
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	s := e.stats.s
	s.Current = e.stats.currentLocked(now)
	if bound > 0 { // the last step was paid for before it was written, what a slow device lost is made up for
		s.Current = min(s.Current, bound)
	}
	if s.Trouble == nil {
		s.Trouble = e.stats.resting
	}
	if err := e.dead.Load(); err != nil {
		s.Trouble = err
	}
	c := e.choice.Load()
	s.Method, s.Want, s.Why = c.have, c.want, c.why
	s.Verify = blockdev.Verify(e.verify.Load())
	s.Device, s.Top = e.stats.device, e.limits.Load().top()
	s.Rate, s.Bound, s.Paused, s.Window = e.Rate(), bound, e.paused.Load(), e.window.Load()
	if rest := e.shut(now); rest > 0 {
		s.Opens = now.Add(rest)
	}
	return s
}

// took notes how long something took; l points into r.s.
func (r *recorder) took(l *Latency, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.add(d)
}

// fault counts one error; n points into r.s.Errors.
func (r *recorder) fault(n *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

// wrote counts zeros that are on the device, not yet synced.
func (r *recorder) wrote(now time.Time, bytes int64, demand bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Pending += bytes
	if demand {
		return
	}
	i := now.Unix() % windowSeconds
	if r.sec[i] != now.Unix() {
		r.sec[i], r.sum[i] = now.Unix(), 0
	}
	r.sum[i] += bytes
}

// find finds out what the device does under a bound, if this stretch of work is long enough.
func (r *recorder) find(now time.Time, bound int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.first) < windowSeconds*time.Second {
		return
	}
	current := r.currentLocked(now)
	switch {
	case bound == 0 || current < bound/4*3:
		r.device = current
	default:
		r.device = 0
	}
}

// restart begins a stretch of work: what was written before it tells nothing of its rate.
func (r *recorder) restart(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = now
	r.sec, r.sum = [windowSeconds]int64{}, [windowSeconds]int64{}
}

// reported counts what a report made durable; written bytes were pending.
func (r *recorder) reported(written, zeroed, failed int64, m blockdev.Method, demand bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Pending -= written
	r.s.Failed += failed
	if !m.Erases() {
		r.s.Released += zeroed
	}
	if demand {
		r.s.Demand += zeroed
		r.s.Methods[m].Demand += zeroed
	} else {
		r.s.Background += zeroed
		r.s.Methods[m].Background += zeroed
	}
}

// dropped counts what was written and given back.
func (r *recorder) dropped(written int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Pending -= written
}

// keeps notes what is kept.
func (r *recorder) keeps(kept []result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Kept, r.s.Trouble = 0, nil
	for i := range kept {
		r.s.Kept += kept[i].written
		r.s.Trouble = kept[i].again.Err
	}
}

// rests notes why nothing is handed out; nil: something is again.
func (r *recorder) rests(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resting = err
}

// currentLocked is the background's rate over the window. The caller holds mu.
func (r *recorder) currentLocked(now time.Time) int64 {
	oldest := now.Unix() - windowSeconds + 1
	var bytes int64
	for i, sec := range r.sec {
		if sec >= oldest {
			bytes += r.sum[i]
		}
	}
	since := time.Unix(oldest, 0)
	if r.first.After(since) {
		since = r.first
	}
	elapsed := now.Sub(since)
	if bytes == 0 || elapsed <= 0 {
		return 0
	}
	return int64(float64(bytes) / max(elapsed, stepTime).Seconds())
}
