package erase

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// bucket is the background's token bucket, in bytes. It starts empty: bytes
// are earned, then written. It holds one second's worth at most, which is what
// a sync or a slow step may cost without a loss of rate. It may be in debt (for
// second attempts), which nothing but time pays. Owned by Run.
type bucket struct {
	rate int64         // bytes/s; 0 = unlimited
	lim  *rate.Limiter // nil if unlimited
}

func newBucket(now time.Time, bytesPerSecond int64) *bucket {
	b := new(bucket)
	b.set(now, bytesPerSecond)
	return b
}

// set changes the rate from now on. What the old rate had earned is lost.
func (b *bucket) set(now time.Time, bytesPerSecond int64) {
	b.rate = bytesPerSecond
	if bytesPerSecond == 0 {
		b.lim = nil
		return
	}
	burst := int(min(max(bytesPerSecond, stepBytes(bytesPerSecond)), math.MaxInt32))
	if b.lim == nil {
		b.lim = rate.NewLimiter(rate.Limit(bytesPerSecond), burst)
	} else {
		b.lim.SetLimitAt(now, rate.Limit(bytesPerSecond))
		b.lim.SetBurstAt(now, burst)
	}
	b.drain(now)
}

// drain forgets what was earned, not a debt.
func (b *bucket) drain(now time.Time) {
	if b.lim == nil {
		return
	}
	if n := b.lim.TokensAt(now); n >= 1 {
		b.lim.AllowN(now, int(n))
	}
}

// wait is how long after now n bytes, at most a step, will be earned; 0: they
// are.
func (b *bucket) wait(now time.Time, n int64) time.Duration {
	if b.lim == nil {
		return 0
	}
	missing := float64(n) - b.lim.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	ns := math.Ceil(missing / float64(b.rate) * float64(time.Second))
	return time.Duration(min(ns, float64(time.Hour)))
}

// charge pays n bytes, into debt if need be.
func (b *bucket) charge(now time.Time, n int64) {
	if b.lim == nil {
		return
	}
	for burst := int64(b.lim.Burst()); n > 0; n -= burst {
		b.lim.ReserveN(now, int(min(n, burst)))
	}
}
