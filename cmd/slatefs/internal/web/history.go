package web

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// An hour of samples is kept of each pool, one each sampleTime.
const (
	sampleTime = 5 * time.Second
	maxSamples = int(time.Hour / sampleTime)
)

// sample is what a pool was like at one time.
type sample struct {
	at     time.Time
	there  bool // the daemon said so
	values [numSeries]float64
}

// Places of what is drawn in a sample.
const (
	readRate = iota
	writeRate
	requestRate
	writeWait
	eraseRate
	dirtyBytes
	numSeries
)

// series is what is drawn of the last hour, in the order of the page.
var series = [numSeries]struct {
	title string
	text  func(float64) string
}{
	readRate:    {"Read", perSecond},
	writeRate:   {"Written", perSecond},
	requestRate: {"Requests", func(n float64) string { return fmt.Sprintf("%.0f/s", n) }},
	writeWait:   {"Writes take, on average", func(s float64) string { return fmt.Sprintf("%.2f ms", s*1000) }},
	eraseRate:   {"Erased", perSecond},
	dirtyBytes:  {"To be erased", func(n float64) string { return show.FormatSize(int64(n)) }},
}

func perSecond(n float64) string { return show.FormatSize(int64(n)) + "/s" }

// sampleOf is what a pool is like now; before is the last time. A sum that became smaller is that of another daemon, which began anew.
func sampleOf(p Pool, before *control.PoolMetrics, span time.Duration, now time.Time) sample {
	s := sample{at: now, there: p.Metrics != nil}
	if !s.there {
		return s
	}
	u := p.Metrics.Info.Usage
	s.values[dirtyBytes] = float64(u.Dirty + u.Freeing + u.Failed)
	s.values[eraseRate] = float64(p.Metrics.Erase.Current)
	if before == nil || span <= 0 {
		return s
	}
	rate := func(now, before float64) float64 { return max(0, now-before) / span.Seconds() }
	for i, r := range p.Metrics.Requests {
		if i >= len(before.Requests) {
			break
		}
		old := before.Requests[i]
		count, was := countOf(r.Took), countOf(old.Took)
		s.values[requestRate] += rate(count, was)
		switch r.Op {
		case "read":
			s.values[readRate] = rate(float64(r.Bytes), float64(old.Bytes))
		case "write":
			s.values[writeRate] = rate(float64(r.Bytes), float64(old.Bytes))
			if count > was {
				s.values[writeWait] = max(0, r.Took.Sum-old.Took.Sum) / (count - was)
			}
		}
	}
	return s
}

func countOf(h control.Histogram) (n float64) {
	for _, c := range h.Slots {
		n += float64(c)
	}
	return n
}

// history keeps the samples of the last hour. Pools that are gone go with their last sample.
type history struct {
	mu    sync.Mutex
	pools map[uuid.UUID]*past
}

// past is what is known of one pool.
type past struct {
	samples []sample // oldest first
	last    *control.PoolMetrics
	at      time.Time // of last
}

// add takes a sample of a pool.
func (h *history) add(p Pool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pools == nil {
		h.pools = map[uuid.UUID]*past{}
	}
	one := h.pools[p.UUID]
	if one == nil {
		one = &past{}
		h.pools[p.UUID] = one
	}
	one.samples = append(one.samples, sampleOf(p, one.last, now.Sub(one.at), now))
	one.last, one.at = p.Metrics, now
	for len(one.samples) > maxSamples || now.Sub(one.samples[0].at) > time.Hour {
		one.samples = one.samples[1:]
	}
	for id, o := range h.pools {
		if last := o.samples[len(o.samples)-1]; now.Sub(last.at) > time.Hour {
			delete(h.pools, id)
		}
	}
}

// of is a copy of a pool's samples.
func (h *history) of(id uuid.UUID) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	if one := h.pools[id]; one != nil {
		return append([]sample(nil), one.samples...)
	}
	return nil
}
