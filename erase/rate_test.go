package erase

import (
	"fmt"
	"math"
	"testing"
	"time"

	"slatefs/chain/blockdev"
)

// bounded checks that from time `from` on no more than rate x time plus slack
// bytes was written, at every write.
func bounded(t *testing.T, ws []write, from time.Duration, rate, slack int64) {
	t.Helper()
	var sum int64
	for _, w := range ws {
		if w.at < from {
			continue
		}
		sum += w.n
		if allowed := float64(rate)*(w.at-from).Seconds() + float64(slack) + 1; float64(sum) > allowed {
			t.Fatalf("%d bytes within %v from %v on: more than %.0f", sum, w.at-from, from, allowed)
		}
	}
}

// within checks got against want to a fraction.
func within(t *testing.T, what string, got, want, fraction float64) {
	t.Helper()
	if math.Abs(got-want) > want*fraction {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestRateIsExactAndABound(t *testing.T) {
	for _, rate := range []int64{4096, 3 * mib / 2, 10 * mib, 12_345_678, 100 * mib, 3 << 30} {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("rate=%d/slow=%v", rate, slow), func(t *testing.T) {
				bubble(t, Config{Rate: rate}, func(t *testing.T, b *bench) {
					if slow { // half of the time is I/O
						b.dev.zeroTime = func(n int64) time.Duration {
							return time.Duration(float64(n) / float64(rate) / 4 * 1e9)
						}
						b.dev.syncTime.Store(min(250*time.Millisecond, time.Duration(flushBytes*1e9/4/rate)))
					}
					bytes := wholeBlocks(rate * 30)
					b.q.add(1, blockdev.Extent{Len: bytes})
					b.start(t)
					b.drained(t, bytes)
					within(t, "bytes", float64(b.dev.total()), float64(bytes), 0)
					within(t, "seconds", b.dev.last().Seconds(), 30, 0.01)
					bounded(t, b.dev.log(), 0, rate, 0)
				})
			})
		}
	}
}

func TestOneBytePerSecondStillMoves(t *testing.T) {
	bubble(t, Config{Rate: 1}, func(t *testing.T, b *bench) {
		b.q.add(1, ext(0, 2))
		b.start(t)
		time.Sleep(4095 * time.Second)
		if n := b.dev.total(); n != 0 {
			t.Fatalf("%d bytes before they were earned", n)
		}
		time.Sleep(4100 * time.Second)
		if n := b.dev.total(); n != 2*blockBytes {
			t.Fatalf("%d bytes", n)
		}
	})
}

func TestNoBurstAfterIdle(t *testing.T) {
	const rate = 10 * mib
	bubble(t, Config{Rate: rate}, func(t *testing.T, b *bench) {
		b.start(t)
		var queued int64
		for range 5 {
			time.Sleep(time.Hour)
			from := time.Since(b.dev.t0)
			b.q.add(1, ext(0, 2560), ext(10_000, 1))
			queued += 2561 * blockBytes
			b.drained(t, queued)
			bounded(t, b.dev.log(), from, rate, 0)
		}
		ws := b.dev.log()
		for _, w := range ws {
			bounded(t, ws, w.at, rate, stepBytes(rate))
		}
	})
}

func TestStallEarnsOneSecondAtMost(t *testing.T) {
	const rate = 10 * mib
	bubble(t, Config{Rate: rate}, func(t *testing.T, b *bench) {
		b.dev.zero = func(off, _ int64) error {
			if off >= 20*mib && off < 20*mib+stepBytes(rate) {
				time.Sleep(time.Minute)
			}
			return nil
		}
		b.q.add(1, blockdev.Extent{Len: 60 * mib})
		b.start(t)
		b.drained(t, 60*mib)
		ws := b.dev.log()
		for _, w := range ws {
			bounded(t, ws, w.at, rate, rate+stepBytes(rate))
		}
	})
}

func TestRateChangesLive(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 1 << 50})
		b.start(t)
		for _, rate := range []int64{10 * mib, 40 * mib, mib, -20 * mib, 300 * mib, 8192} {
			b.SetRate(rate)
			rate = max(rate, -rate)
			if b.Rate() != rate {
				t.Fatalf("Rate() = %d, want %d", b.Rate(), rate)
			}
			from, before := time.Since(b.dev.t0), b.dev.total()
			time.Sleep(20 * time.Second)
			within(t, "bytes", float64(b.dev.total()-before), float64(20*rate), 0.06)
			bounded(t, b.dev.log(), from+1, rate, 0)
		}
		within(t, "current", float64(b.Stats().Current), 8192, 0.3)
	})
}

func TestUnlimitedAndBack(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.dev.zeroTime = func(n int64) time.Duration { return time.Duration(n) * time.Second / (1 << 30) }
		b.q.add(1, blockdev.Extent{Len: 1 << 50})
		b.start(t)
		time.Sleep(10 * time.Second)
		within(t, "unlimited", float64(b.dev.total()), 10<<30, 0.01)
		b.SetRate(10 * mib)
		time.Sleep(32 * time.Millisecond) // the step at hand
		from := time.Since(b.dev.t0)
		time.Sleep(10 * time.Second)
		bounded(t, b.dev.log(), from, 10*mib, 10*mib*32/1000)
	})
}

func TestSecondAttemptsArePaid(t *testing.T) {
	const rate = 10 * mib
	bubble(t, Config{Rate: rate}, func(t *testing.T, b *bench) {
		b.dev.zero = func(_, n int64) error {
			if n > blockBytes {
				return errFake
			}
			return nil
		}
		b.q.add(1, blockdev.Extent{Len: 50 * mib})
		b.start(t)
		b.drained(t, 50*mib)
		within(t, "seconds", b.dev.last().Seconds(), 10, 0.02)
	})
}

func TestSetRateTakesAnything(t *testing.T) {
	bubble(t, Config{Rate: math.MinInt64}, func(t *testing.T, b *bench) {
		if b.Rate() != math.MaxInt64 {
			t.Errorf("Rate() = %d", b.Rate())
		}
		b.q.add(1, blockdev.Extent{Len: 1 << 30})
		b.start(t)
		b.drained(t, 1<<30)
	})
	for rate, want := range map[int64]int64{
		0: maxStepBytes, 1: 4096, 10 * mib: 512 << 10, 639 * mib: 33501184, 640 * mib: maxStepBytes, math.MaxInt64: maxStepBytes,
	} {
		if got := stepBytes(rate); got != want {
			t.Errorf("stepBytes(%d) = %d, want %d", rate, got, want)
		}
	}
}

// The rate that is shown is never above the bound that holds: not after it was lowered, not with the first steps, after a
// pause or an idle hour, nor when a slow device is made up for. With a full queue it is the rate.
func TestShownRateIsNeverAboveTheBound(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		slow := false
		b.dev.zeroTime = func(n int64) time.Duration {
			if slow = !slow; slow {
				return time.Duration(n * 1e9 / (40 * mib))
			}
			return time.Duration(n * 1e9 / (200 * mib))
		}
		b.start(t)
		look := func(what string, d time.Duration) {
			t.Helper()
			for range d / (10 * time.Millisecond) {
				time.Sleep(10 * time.Millisecond)
				if s := b.Stats(); s.Bound > 0 && s.Current > s.Bound {
					t.Fatalf("%s: %d bytes/s are shown, the bound is %d", what, s.Current, s.Bound)
				}
			}
		}
		b.q.add(1, blockdev.Extent{Len: 1 << 40})
		look("unlimited", 3*time.Second)
		for _, rate := range []int64{20 * mib, mib, 1, 30 * mib} {
			b.SetRate(rate)
			look(fmt.Sprint("rate ", rate), 7*time.Second)
		}
		within(t, "shown", float64(b.Stats().Current), 30*mib, 0.02)
		b.SetPaused(true)
		look("paused", 3*time.Second)
		b.SetPaused(false)
		look("after a pause", 3*time.Second)
		b.dev.syncTime.Store(900 * time.Millisecond)
		look("a slow device", 6*time.Second)
		b.dev.syncTime.Store(0)
		look("made up for", 6*time.Second)
	})
}
