package erase

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev"
)

// dueIn queues a job of so many bytes at an address that is due after a while.
func (b *bench) dueIn(job uint64, off, bytes int64, in time.Duration) {
	b.q.with(func() {
		if b.q.due == nil {
			b.q.due = map[uint64]time.Time{}
		}
		b.q.due[job] = time.Now().Add(in)
	})
	b.q.add(job, blockdev.Extent{Off: off, Len: bytes})
}

// worst is what is latest now.
func (b *bench) worst() (o Outlook, late, broken int) { return Worst(b.Outlooks()) }

// The rate goes up as far as a deadline needs it and no further, and comes down again.
func TestDeadlineRaisesTheRate(t *testing.T) {
	bubble(t, Config{Rate: mib}, func(t *testing.T, b *bench) {
		b.SetReserve(0, 100*mib)
		b.dueIn(1, 0, 100*mib, 22*time.Second)
		b.start(t)
		time.Sleep(3 * time.Second)
		if bound := b.Stats().Bound; bound < 5*mib || bound > 9*mib {
			t.Errorf("100M in 22 s: the bound is %d", bound)
		}
		if o, late, _ := b.worst(); late != 0 {
			t.Errorf("late: %+v", o)
		}
		b.drained(t, 100*mib)
		if took := time.Since(b.dev.t0); took > 22*time.Second || took < 11*time.Second {
			t.Errorf("it took %v", took)
		}
		from := time.Since(b.dev.t0)
		b.q.add(2, blockdev.Extent{Off: 1 << 40, Len: 10 * mib})
		b.drained(t, 110*mib)
		bounded(t, b.dev.log(), from+time.Second, mib, 2*mib)
	})
}

// Never more than erase_idle_throughput: that it breaks is said before, by how much, and after; all else is done at once
// afterwards.
func TestDeadlineThatCannotBeKept(t *testing.T) {
	bubble(t, Config{Rate: mib}, func(t *testing.T, b *bench) {
		b.SetReserve(0, 4*mib)
		b.dueIn(7, 0, 120*mib, 20*time.Second)
		b.start(t)
		time.Sleep(time.Second)
		o, late, broken := b.worst()
		if late != 1 || broken != 0 || o.Job != 7 || o.Late < 8*time.Second || o.Late > 12*time.Second {
			t.Errorf("before: %+v, %d late, %d broken", o, late, broken)
		}
		if !strings.Contains(o.Why, "at 4M/s at most") {
			t.Errorf("why: %s", o.Why)
		}
		time.Sleep(20 * time.Second)
		if o, _, broken := b.worst(); broken != 1 || !o.Broken {
			t.Errorf("after: %+v", o)
		}
		b.drained(t, 120*mib)
		within(t, "seconds", b.dev.last().Seconds(), 30, 0.02)
		bounded(t, b.dev.log(), 0, 4*mib, 4*mib)
		if o, late, _ := b.worst(); late != 0 {
			t.Errorf("when all is zero: %+v", o)
		}
	})
}

// A pause and a window are kept, and it is said what they break.
func TestDeadlineAndRest(t *testing.T) {
	bubble(t, Config{Rate: 100 * mib}, func(t *testing.T, b *bench) {
		b.SetPaused(true)
		b.dueIn(1, 0, 10*mib, time.Minute)
		b.start(t)
		time.Sleep(time.Second)
		if o, late, broken := b.worst(); late != 1 || broken != 0 || !o.Never || o.Why != "erasing is paused" {
			t.Errorf("paused: %+v", o)
		}
		now := time.Now()
		w, err := ParseWindow(now.Add(2*time.Minute).Format("15:04")+"-"+now.Add(time.Hour).Format("15:04"), time.Local)
		if err != nil {
			t.Fatal(err)
		}
		b.SetWindow(w)
		b.SetPaused(false)
		time.Sleep(time.Second)
		o, late, _ := b.worst()
		if late != 1 || o.Never || o.Late < time.Second || o.Late > 2*time.Minute || !strings.Contains(o.Why, "outside the window") {
			t.Errorf("outside the window: %+v", o)
		}
		if b.dev.total() != 0 {
			t.Errorf("%d bytes were zeroed all the same", b.dev.total())
		}
		b.SetWindow(nil)
		time.Sleep(2 * time.Second)
		if o, late, _ := b.worst(); late != 0 {
			t.Errorf("the window is gone: %+v", o)
		}
		b.drained(t, 10*mib)
	})
}

// What a pause breaks is in the log, before it is broken and when it is, each once; and when it is mended.
func TestDeadlineInThePauseIsLogged(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	bubble(t, Config{Rate: 100 * mib, Logger: logger}, func(t *testing.T, b *bench) {
		b.SetPaused(true)
		b.dueIn(1, 0, 10*mib, time.Minute)
		b.start(t)
		time.Sleep(5 * time.Minute)
		b.SetPaused(false)
		b.drained(t, 10*mib)
		time.Sleep(time.Second)
		b.q.add(2, ext(1<<20, 1))
		time.Sleep(5 * time.Second)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, want := range []string{"a deadline is at risk", "a deadline is broken", "no deadline is at risk any more"} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%q is in the log %d times:\n%s", want, n, log.String())
		}
	}
}

// A device that does less than it would need is found out, whatever it may do.
func TestDeadlineOnASlowDevice(t *testing.T) {
	bubble(t, Config{Rate: mib}, func(t *testing.T, b *bench) {
		b.dev.zeroTime = func(n int64) time.Duration { return time.Duration(float64(n) / (2 * mib) * 1e9) }
		b.dueIn(1, 0, 400*mib, 50*time.Second)
		b.start(t)
		time.Sleep(15 * time.Second)
		o, late, _ := b.worst()
		if late != 1 || o.Late < 100*time.Second || o.Late > 200*time.Second {
			t.Errorf("400M at 2M/s in 50 s: %+v, stats %+v", o, b.Stats())
		}
	})
}

// What fails in the middle keeps one job from its deadline, and is named; the others are in time.
func TestDeadlineWithAFault(t *testing.T) {
	bubble(t, Config{Rate: mib}, func(t *testing.T, b *bench) {
		b.dev.zero = func(off, n int64) error {
			if off < 11*mib && off+n > 10*mib {
				return errors.Join(errFake)
			}
			return nil
		}
		b.SetReserve(0, 50*mib)
		b.dueIn(1, 0, 20*mib, 10*time.Second)
		b.dueIn(2, 100*mib, 60*mib, 20*time.Second)
		b.start(t)
		b.drained(t, 80*mib)
		if took := time.Since(b.dev.t0); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		o, late, _ := b.worst()
		if late != 1 || o.Job != 1 || !strings.Contains(o.Why, "could not be erased") {
			t.Errorf("%d late, worst %+v", late, o)
		}
	})
}

// With the rate that is needed, and no more, everything is in time; with four fifths of it something is not.
func TestNeededIsEnoughAndNotMuchMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 14))
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	windows := []*Window{nil, {from: 60, to: 300, loc: time.UTC}, {from: 1320, to: 120, loc: time.UTC}}
	for i := range 2000 {
		w := windows[i%len(windows)]
		var dues []blockdev.Due
		var ahead int64
		for range 1 + rng.IntN(5) {
			ahead += rng.Int64N(1 << 40)
			dues = append(dues, blockdev.Due{At: now.Add(time.Duration(rng.Int64N(int64(20 * 24 * time.Hour)))), Ahead: ahead})
		}
		if i%2 == 0 {
			slices.SortFunc(dues, func(a, b blockdev.Due) int { return a.At.Compare(b.At) })
			for k := range dues {
				dues[k].Ahead = ahead / int64(len(dues)) * int64(k+1)
			}
		}
		rate := needed(now, w, dues)
		kept := func(rate int64) bool {
			for _, d := range dues {
				if w.End(now, d.Ahead, rate).After(d.At) {
					return false
				}
			}
			return true
		}
		switch {
		case rate == asFastAsMaybe:
			if slices.IndexFunc(dues, func(d blockdev.Due) bool { return w.Open(now, d.At) <= dueLag }) < 0 {
				t.Fatalf("%d: nothing is late, and any rate is too little: %v", i, dues)
			}
		case !kept(rate):
			t.Fatalf("%d: %d bytes/s are not enough: %v", i, rate, dues)
		case kept(rate / 5 * 4):
			t.Fatalf("%d: %d bytes/s are too many: %v", i, rate, dues)
		}
	}
}

// Open counts minutes as the clock on the wall shows them, and days beyond what it looks at by what a day has.
func TestWindowOpen(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	for range 300 {
		w := &Window{from: minute(rng.IntN(dayMinutes)), to: minute(rng.IntN(dayMinutes)), loc: time.UTC}
		if w.from == w.to {
			continue
		}
		from := time.Date(2026, 5, 1+rng.IntN(20), rng.IntN(24), rng.IntN(60), 0, 0, time.UTC)
		to := from.Add(time.Duration(rng.IntN(5000)) * time.Minute)
		var want time.Duration
		for at := from; at.Before(to); at = at.Add(time.Minute) {
			if w.holds(at) {
				want += time.Minute
			}
		}
		if got := w.Open(from, to); got != want {
			t.Fatalf("window %v is open %v between %v and %v, want %v", w, got, from, to, want)
		}
	}
	w := &Window{from: 60, to: 120, loc: time.UTC}
	from := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	within(t, "hours of a year", w.Open(from, from.AddDate(1, 0, 0)).Hours(), 365, 0.001)
}
