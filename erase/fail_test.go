package erase

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"slatefs/chain/blockdev"
)

// one zeroes what is queued as one job on demand and returns its only report.
func (b *bench) one(t *testing.T) report {
	t.Helper()
	if _, err := b.Now(t.Context(), 1<<30); err != nil {
		t.Fatal(err)
	}
	if len(b.q.reports) != 1 {
		t.Fatalf("%d reports", len(b.q.reports))
	}
	return b.q.reports[0]
}

func (r report) is(t *testing.T, zeroed, failed []blockdev.Extent) {
	t.Helper()
	if !slices.Equal(r.zeroed, zeroed) || !slices.Equal(r.failed, failed) {
		t.Errorf("zeroed %v\nfailed %v\nwant   %v\nand    %v", r.zeroed, r.failed, zeroed, failed)
	}
}

// touches tells whether n bytes at off contain the block.
func touches(off, n, block int64) bool {
	return off <= block*blockBytes && block*blockBytes < off+n
}

func TestOneBadBlockFailsAlone(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		var tries int
		b.dev.zero = func(off, n int64) error {
			if touches(off, n, 25) {
				tries++
				return errFake
			}
			return nil
		}
		b.dev.fill(ext(0, 10), ext(20, 10), ext(40, 5))
		b.q.add(1, ext(0, 10), ext(20, 10), ext(40, 5))
		b.one(t).is(t,
			[]blockdev.Extent{ext(0, 10), ext(20, 5), ext(26, 4), ext(40, 5)},
			[]blockdev.Extent{ext(25, 1)})
		if s := b.Stats(); tries != 2 || s.Failed != blockBytes || s.Demand != 24*blockBytes || s.Errors.Zero != 1 || s.Pending != 0 {
			t.Errorf("%d tries, %+v", tries, s)
		}
	})
}

func TestDeadRunFailsWhole(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		var tries int
		b.dev.zero = func(off, _ int64) error {
			if off < 100*blockBytes {
				tries++
				return errFake
			}
			return nil
		}
		b.q.add(1, ext(0, 1), ext(10, 8), ext(100, 1))
		b.one(t).is(t, []blockdev.Extent{ext(100, 1)}, []blockdev.Extent{ext(0, 1), ext(10, 8)})
		if tries != 1+1+8 {
			t.Errorf("%d tries", tries)
		}
	})
}

func TestSecondAttemptEndsWithContext(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(t.Context())
		var tries int
		b.dev.zero = func(int64, int64) error {
			if tries++; tries == 4 {
				cancel()
			}
			return errFake
		}
		b.q.add(1, ext(0, 1000))
		if n, err := b.Now(ctx, 1000*blockBytes); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("Now = %d, %v", n, err)
		}
		if _, f := b.q.sums(); tries != 4 || f != 1000*blockBytes {
			t.Errorf("%d tries, %d failed", tries, f)
		}
	})
}

func TestVerifyFull(t *testing.T) {
	bubble(t, Config{Verify: blockdev.VerifyFull}, func(t *testing.T, b *bench) {
		run := ext(0, 1000) // four reads of 1 MiB
		b.dev.fill(run)
		b.dev.read = func(p []byte, off int64) (int, error) {
			n := int64(len(p))
			if touches(off, n, 3) {
				p[3*blockBytes-off+4095] = 1
			}
			if touches(off, n, 300) { // unreadable
				return 0, errFake
			}
			if touches(off, n, 600) { // a device that reads short
				return len(p) - 512, nil
			}
			return len(p), nil
		}
		b.q.add(1, run)
		b.one(t).is(t,
			[]blockdev.Extent{ext(0, 3), ext(4, 296), ext(301, 299), ext(601, 399)},
			[]blockdev.Extent{ext(3, 1), ext(300, 1), ext(600, 1)})
		want := Errors{Verify: 2, Read: 4}
		if s := b.Stats(); s.Errors != want || s.Failed != 3*blockBytes || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestVerifySampleFailsTheRun(t *testing.T) {
	for _, bad := range []int64{0, 999} {
		bubble(t, Config{Verify: blockdev.VerifySample}, func(t *testing.T, b *bench) {
			var reads int
			b.dev.read = func(p []byte, off int64) (int, error) {
				reads++
				if touches(off, int64(len(p)), bad) {
					p[17] = 1
				}
				return len(p), nil
			}
			b.q.add(1, ext(0, 1000), ext(5000, 1))
			b.one(t).is(t, []blockdev.Extent{ext(5000, 1)}, []blockdev.Extent{ext(0, 1000)})
			if reads > 5 {
				t.Errorf("%d reads", reads)
			}
		})
	}
}

func TestVerifySampleReadsEveryMiB(t *testing.T) {
	bubble(t, Config{Verify: blockdev.VerifySample}, func(t *testing.T, b *bench) {
		seen := map[int64]bool{}
		b.dev.read = func(p []byte, off int64) (int, error) {
			seen[off/sampleBytes] = true
			if off < 0 || off+int64(len(p)) > 1000*blockBytes {
				t.Errorf("read at %d outside the run", off)
			}
			// Two of the four MiB hold something else altogether.
			if mib := off / sampleBytes; mib == 1 || mib == 2 {
				p[0] = 1
			}
			return len(p), nil
		}
		b.q.add(1, ext(0, 1000))
		b.one(t).is(t, nil, []blockdev.Extent{ext(0, 1000)})
		b.dev.read = nil
		b.q.add(2, ext(0, 1000))
		if n, err := b.Now(t.Context(), 1<<30); n != 1000*blockBytes || err != nil {
			t.Errorf("Now = %d, %v", n, err)
		}
		if !seen[0] || !seen[3] || !seen[1] {
			t.Errorf("MiB read: %v", seen)
		}
	})
}

func TestVerifyOffReadsNothing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.dev.read = func([]byte, int64) (int, error) { t.Error("read"); return 0, errFake }
		b.q.add(1, ext(0, 1000))
		b.one(t).is(t, []blockdev.Extent{ext(0, 1000)}, nil)
	})
}

// TestBackgroundFailureGoesOn: failed runs do not stop the background.
func TestBackgroundFailureGoesOn(t *testing.T) {
	bubble(t, Config{Rate: mib}, func(t *testing.T, b *bench) {
		b.dev.zero = func(off, n int64) error {
			if touches(off, n, 7) {
				return errFake
			}
			return nil
		}
		b.q.add(1, ext(0, 512))
		b.start(t)
		b.drained(t, 512*blockBytes)
		synctest.Wait()
		if s := b.Stats(); s.Failed != blockBytes || s.Background != 511*blockBytes {
			t.Errorf("%+v", s)
		}
	})
}

func TestClockSleepEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		t0 := c.Now()
		c.Sleep(ctx, time.Hour)
		if d := c.Now().Sub(t0); d != time.Second {
			t.Errorf("slept %v", d)
		}
	})
}
