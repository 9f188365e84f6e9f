package erase

import (
	"math"
	"time"
)

// limits bound the background, in bytes/s; 0 is unlimited.
type limits struct {
	rate    int64
	idle    int64 // in its place while fewer than reserve bytes are clean, and at most while a deadline needs it, if it is more
	reserve int64 // bytes; 0: never
}

// SetRate changes the background's upper bound, in bytes/s, at once. 0 is
// unlimited; a negative rate is taken as its absolute value, as cstream does.
func (e *Eraser) SetRate(bytesPerSecond int64) {
	l := *e.limits.Load()
	l.rate = magnitude(bytesPerSecond)
	e.limits.Store(&l)
}

// SetReserve lets the background use another upper bound, in bytes/s, while
// fewer than reserve bytes are clean, and up to it while a deadline needs that,
// if it is above that of SetRate. 0 is unlimited; with a reserve of 0 it is for
// deadlines alone. Setters are called one at a time.
func (e *Eraser) SetReserve(reserve, bytesPerSecond int64) {
	l := *e.limits.Load()
	l.reserve, l.idle = max(reserve, 0), magnitude(bytesPerSecond)
	e.limits.Store(&l)
}

func magnitude(n int64) int64 {
	if n == math.MinInt64 {
		return math.MaxInt64
	}
	return max(n, -n)
}

// Rate returns the background's upper bound, in bytes/s; 0 is unlimited.
func (e *Eraser) Rate() int64 { return e.limits.Load().rate }

// top is the most that the background may do; 0 is unlimited.
func (l *limits) top() int64 {
	if l.rate == 0 || l.idle == 0 {
		return 0
	}
	return max(l.rate, l.idle)
}

// bound is the upper bound that holds now: that of SetRate, or up to that of SetReserve while clean blocks are short, or as
// far as deadlines need it.
func (e *Eraser) bound() int64 {
	l := e.limits.Load()
	switch need := e.need.Load(); {
	case l.rate == 0:
		return 0
	case l.reserve > 0 && e.queue.Clean() < l.reserve:
		return l.top()
	case need <= l.rate:
		return l.rate
	case l.top() == 0 && need == asFastAsMaybe:
		return 0
	case l.top() == 0:
		return need
	default:
		return min(need, l.top())
	}
}

// SetWindow lets the background work at certain times of the day only; nil:
// always. On-demand work is done at any time.
func (e *Eraser) SetWindow(w *Window) {
	e.window.Store(w)
	e.poke()
}

// shut is how long the background has to rest from now on for its window; 0:
// it is open.
func (e *Eraser) shut(now time.Time) time.Duration {
	w := e.window.Load()
	if w == nil {
		return 0
	}
	return w.Opens(now).Sub(now)
}
