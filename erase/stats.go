package erase

import (
	"sync"
	"time"
)

// Stats is what an Eraser did since New. All but Current are sums.
type Stats struct {
	Background int64 // bytes zeroed under the rate and reported durable
	Demand     int64 // bytes zeroed by Now and reported durable
	Failed     int64 // bytes reported failed, each attempt counted
	Pending    int64 // bytes zeroed on the device and not yet reported
	Current    int64 // bytes/s that the background wrote over the last seconds
	Rate       int64 // upper bound of the background, bytes/s; 0 = unlimited
	Paused     bool
	Errors     Errors
}

// Errors counts what went wrong, by kind.
type Errors struct {
	Zero   int64 // runs of which zeroing returned an error
	Read   int64 // reads of the read-back that returned an error or were short
	Verify int64 // reads of the read-back that were not zero
	Sync   int64 // failed syncs
	Report int64 // failed reports
}

// windowSeconds is what Stats.Current looks back on.
const windowSeconds = 5

// recorder collects Stats.
type recorder struct {
	mu    sync.Mutex
	s     Stats
	first time.Time            // of the background's first write
	sec   [windowSeconds]int64 // Unix second that each slot counts
	sum   [windowSeconds]int64 // background bytes written in it
}

// Stats returns the counters as of now.
func (e *Eraser) Stats() Stats {
	now := e.clock.Now()
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	s := e.stats.s
	s.Current = e.stats.currentLocked(now)
	s.Rate, s.Paused = e.rate.Load(), e.paused.Load()
	return s
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
	if r.first.IsZero() {
		r.first = now
	}
	i := now.Unix() % windowSeconds
	if r.sec[i] != now.Unix() {
		r.sec[i], r.sum[i] = now.Unix(), 0
	}
	r.sum[i] += bytes
}

// reported counts what a report made durable; written bytes were pending.
func (r *recorder) reported(written, zeroed, failed int64, demand bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Pending -= written
	r.s.Failed += failed
	if demand {
		r.s.Demand += zeroed
	} else {
		r.s.Background += zeroed
	}
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
