package web

import (
	"sync"
	"time"

	"github.com/google/uuid"
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
	values [series]float64
}

// series are the lines that are drawn.
const (
	eraseRate  = iota // bytes per second
	dirtyBytes        // to be erased
	liveBytes
	series
)

// history keeps the samples of the last hour. Pools that are gone go with their last sample.
type history struct {
	mu    sync.Mutex
	pools map[uuid.UUID][]sample // oldest first
}

// add takes a sample of a pool.
func (h *history) add(id uuid.UUID, s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pools == nil {
		h.pools = map[uuid.UUID][]sample{}
	}
	list := append(h.pools[id], s)
	for len(list) > 0 && s.at.Sub(list[0].at) > time.Hour || len(list) > maxSamples {
		list = list[1:]
	}
	h.pools[id] = list
	for other, l := range h.pools {
		if last := l[len(l)-1]; s.at.Sub(last.at) > time.Hour {
			delete(h.pools, other)
		}
	}
}

// of is a copy of a pool's samples.
func (h *history) of(id uuid.UUID) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]sample(nil), h.pools[id]...)
}
