package erase

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

var _ Device = (*blockdev.File)(nil)

func TestOneSyncAndOneReportPerSecond(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.q.add(7, blockdev.Extent{Len: 100 * mib})
		b.start(t)
		b.drained(t, 100*mib)
		if n := len(b.dev.syncs); n < 9 || n > 11 {
			t.Errorf("%d syncs in 10 s", n)
		}
		if n := len(b.q.batches); n != len(b.dev.syncs) {
			t.Errorf("%d times reported, %d syncs", n, len(b.dev.syncs))
		}
		for _, r := range b.q.reports {
			if len(r.zeroed) != 1 || r.job != 7 || len(r.failed) != 0 {
				t.Errorf("report %+v: neighbours are not one run", r)
			}
		}
	})
}

func TestReportAt256MiBAndWhenEmpty(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 600 * mib})
		b.q.add(2, ext(1_000_000, 1))
		b.start(t)
		synctest.Wait()
		if want := []int64{65536 * blockBytes, 65536 * blockBytes, 22529 * blockBytes}; !slices.Equal(b.q.batches, want) {
			t.Errorf("bytes reported together %v, want %v", b.q.batches, want)
		}
		if last := b.q.reports[len(b.q.reports)-1]; last.job != 2 || total(last.zeroed) != blockBytes {
			t.Errorf("the last report is %+v", last)
		}
		if len(b.dev.syncs) != 3 {
			t.Errorf("%d syncs: the two jobs of the last batch do not share one", len(b.dev.syncs))
		}
	})
}

func TestFlush(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 100 * mib})
		b.start(t)
		time.Sleep(300 * time.Millisecond)
		if z, _ := b.q.sums(); z != 0 || b.Stats().Pending == 0 {
			t.Fatalf("reported %d, pending %d", z, b.Stats().Pending)
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if z, _ := b.q.sums(); z < 5*stepBytes(10*mib) {
			t.Errorf("after Flush: reported %d", z)
		}
	})
}

func TestEndOfContextReportsWhatIsDone(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 100 * mib})
		b.start(t)
		time.Sleep(500*time.Millisecond + 1)
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
		if z, _ := b.q.sums(); z != b.dev.total() || z == 0 {
			t.Errorf("reported %d of %d", z, b.dev.total())
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 1000 * mib})
		b.start(t)
		time.Sleep(500 * time.Millisecond)
		b.SetPaused(true)
		time.Sleep(100 * time.Millisecond)
		done := b.dev.total()
		if z, _ := b.q.sums(); z != done || !b.Stats().Paused {
			t.Errorf("paused: reported %d of %d", z, done)
		}
		b.q.add(2, ext(1_000_000, 1)) // a signal that must not be lost
		time.Sleep(time.Hour)
		if n, err := b.Now(t.Context(), 3*blockBytes); n != 3*blockBytes || err != nil {
			t.Errorf("paused: Now = %d, %v", n, err)
		}
		if n := b.dev.total(); n != done+3*blockBytes {
			t.Errorf("paused, and the background wrote: %d", n)
		}
		b.SetPaused(false)
		from := time.Since(b.dev.t0)
		time.Sleep(10 * time.Second)
		bounded(t, b.dev.log(), from+1, 10*mib, 0)
		within(t, "after the pause", float64(b.dev.total()-done), 100*mib, 0.01)
	})
}

func TestNow(t *testing.T) {
	bubble(t, Config{Rate: 4096}, func(t *testing.T, b *bench) {
		b.q.add(1, ext(0, 100), ext(500, 100))
		b.q.add(2, ext(1000, 100))
		for _, c := range []struct{ ask, want int64 }{
			{0, 0},
			{1, blockBytes},
			{10 * blockBytes, 10 * blockBytes},
			{150*blockBytes + 1, 151 * blockBytes},
			{1 << 40, 138 * blockBytes}, // all that is left
			{1, 0},
		} {
			if got, err := b.Now(t.Context(), c.ask); got != c.want || err != nil {
				t.Errorf("Now(%d) = %d, %v, want %d", c.ask, got, err, c.want)
			}
		}
		if s := b.Stats(); s.Demand != 300*blockBytes || s.Background != 0 || s.Pending != 0 || s.Current != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestNowTakesWhatTheBackgroundHasDone(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 100 * mib})
		b.start(t)
		time.Sleep(500*time.Millisecond + 1)
		pending := b.Stats().Pending
		if pending == 0 {
			t.Fatal("nothing pending")
		}
		n, err := b.Now(t.Context(), pending+1)
		if want := pending + blockBytes; n != want || err != nil {
			t.Errorf("Now = %d, %v, want %d", n, err, want)
		}
		b.drained(t, 100*mib)
		if s := b.Stats(); s.Demand != blockBytes || s.Background != 100*mib-blockBytes || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestNowIsOutsideTheRate(t *testing.T) {
	const rate = mib
	bubble(t, Config{Rate: rate}, func(t *testing.T, b *bench) {
		b.q.add(1, blockdev.Extent{Len: 1 << 40})
		b.start(t)
		for range 10 {
			time.Sleep(time.Second)
			if n, err := b.Now(t.Context(), 64*mib); n < 64*mib || err != nil {
				t.Fatalf("Now = %d, %v", n, err)
			}
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := b.Stats()
		within(t, "background", float64(s.Background), 10*rate, 0.02)
		if s.Demand < 600*mib {
			t.Errorf("%+v", s)
		}
	})
}

func TestNowEndsWithItsContext(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.dev.zeroTime = func(int64) time.Duration { return time.Second }
		b.q.add(1, blockdev.Extent{Len: 1 << 40})
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		n, err := b.Now(ctx, 1<<40)
		if z, _ := b.q.sums(); n != z || n != 3*maxStepBytes || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Now = %d, %v; reported %d", n, err, z)
		}
		// And while somebody else is at work.
		go func() { _, _ = b.Now(t.Context(), 8*maxStepBytes) }()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if n, err := b.Now(short, 1); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Now = %d, %v", n, err)
		}
		time.Sleep(time.Minute)
	})
}

func TestFailedSyncReportsNothingAndIsFinal(t *testing.T) {
	bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
		b.dev.sync = func() error { return errFake }
		b.q.add(1, blockdev.Extent{Len: 100 * mib})
		b.start(t)
		time.Sleep(time.Minute)
		select {
		case <-b.done:
			t.Fatal("Run returned before its context ended")
		default:
		}
		if err := b.stop(); !errors.Is(err, errFake) || !strings.HasPrefix(err.Error(), "erase: sync: ") || fault.Of(err) != fault.Pool {
			t.Errorf("Run: %v", err)
		}
		if !errors.Is(b.q.failed, errFake) {
			t.Error("the pool does not know of the failed sync")
		}
		b.dev.sync = nil // too late
		if n, err := b.Now(t.Context(), 1); n != 0 || !errors.Is(err, errFake) {
			t.Errorf("Now = %d, %v", n, err)
		}
		b.start(t)
		if err := b.stop(); !errors.Is(err, errFake) {
			t.Errorf("second Run: %v", err)
		}
		if len(b.q.reports) != 0 || len(b.dev.syncs) != 0 || b.Stats().Errors.Sync != 1 {
			t.Errorf("reports %v, syncs %v, %+v", b.q.reports, b.dev.syncs, b.Stats())
		}
	})
}

func TestFinalErrorOfNowEndsAnIdleRun(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.start(t)
		synctest.Wait()
		b.q.fault = func(job uint64) error {
			if job == 2 {
				return fault.Mark(fault.Pool, errFake)
			}
			return nil
		}
		b.SetPaused(true)
		b.q.add(1, ext(0, 1))
		b.q.add(2, ext(1, 1))
		synctest.Wait()
		n, err := b.Now(t.Context(), 2*blockBytes)
		if n != 0 || !errors.Is(err, errFake) || !strings.Contains(err.Error(), "report: job 2") {
			t.Errorf("Now = %d, %v", n, err)
		}
		synctest.Wait()
		if err := b.stop(); !errors.Is(err, errFake) {
			t.Errorf("Run: %v", err)
		}
		if s := b.Stats(); s.Errors.Report != 1 || !errors.Is(s.Trouble, errFake) {
			t.Errorf("%+v", s)
		}
	})
}

func TestRunThatIsNotWholeBlocksIsMisuse(t *testing.T) {
	for _, x := range []blockdev.Extent{{Off: 1, Len: 4096}, {Off: 4096, Len: 512}, {Off: -4096, Len: 4096}, {Off: 0, Len: -4096}} {
		bubble(t, Config{}, func(t *testing.T, b *bench) {
			b.dev.zero = func(off, n int64) error { t.Errorf("zeroed %d+%d", off, n); return nil }
			b.q.jobs = []part{{job: 5, zeroed: []blockdev.Extent{x}}}
			defer func() {
				if s, ok := recover().(string); !ok || !strings.Contains(s, "whole blocks") {
					t.Errorf("%v: panic of %q", x, s)
				}
			}()
			n, err := b.Now(t.Context(), 1)
			t.Errorf("%v: Now = %d, %v", x, n, err)
		})
	}
}
