package erase

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev"
)

var blockMethods = []blockdev.Method{blockdev.Zeroout, blockdev.Unmap, blockdev.Overwrite}

// TestAutoBelievesNoClaim: what Auto takes was proved on dirty blocks that held something.
func TestAutoBelievesNoClaim(t *testing.T) {
	for _, c := range []struct {
		name          string
		methods       []blockdev.Method
		refuses, lies blockdev.Method
		bad           bool // Zeroout is an I/O error
		want          blockdev.Method
		why           string
	}{
		{name: "works", methods: blockMethods, want: blockdev.Zeroout, why: "read as zeros after it"},
		{name: "refused", methods: blockMethods, refuses: blockdev.Zeroout, want: blockdev.Overwrite, why: "zeroout was tried at 0x0: method not available"},
		{name: "lies", methods: blockMethods, lies: blockdev.Zeroout, want: blockdev.Overwrite, why: "it says done, and 0x0 is not zero"},
		{name: "breaks", methods: blockMethods, bad: true, want: blockdev.Overwrite, why: "injected"},
		{name: "file", methods: []blockdev.Method{blockdev.Overwrite, blockdev.Release}, want: blockdev.Overwrite, why: "on a pool file only writing over it erases"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, b *bench) {
				b.dev.methods, b.dev.refuses, b.dev.lies = c.methods, c.refuses, c.lies
				if c.bad {
					b.dev.zero = func(int64, int64) error {
						if len(b.dev.by) == 1 {
							return errFake
						}
						return nil
					}
				}
				if err := b.SetMethod(blockdev.Auto); err != nil {
					t.Fatal(err)
				}
				b.dev.fill(ext(0, 100))
				b.q.add(1, ext(0, 100))
				r := b.one(t)
				r.is(t, []blockdev.Extent{ext(0, 100)}, nil)
				m, why := b.Method()
				if m != c.want || !strings.Contains(why, c.why) || r.how.Method != c.want {
					t.Errorf("%v (reported %v): %s", m, r.how.Method, why)
				}
				if n := b.dev.dirty(ext(0, 100)); n != 0 {
					t.Errorf("%d blocks are dirty", n)
				}
				tried := len(b.dev.by)
				b.dev.fill(ext(200, 10))
				b.q.add(2, ext(200, 10))
				if _, err := b.Now(t.Context(), 10*blockBytes); err != nil || len(b.dev.by) != tried+1 {
					t.Errorf("%v, tried again: %v", err, b.dev.by)
				}
				if s := b.Stats(); s.Methods[c.want].Demand != 110*blockBytes || s.Method != c.want || s.Want != blockdev.Auto || s.Why == "" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestAutoDiesWithTheDevice(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.dev.methods = blockMethods
		b.dev.sync = func() error { return errFake }
		if err := b.SetMethod(blockdev.Auto); err != nil {
			t.Fatal(err)
		}
		b.q.add(1, ext(0, 4))
		if n, err := b.Now(t.Context(), blockBytes); n != 0 || !errors.Is(err, errFake) || len(b.q.reports) != 0 {
			t.Errorf("Now = %d, %v, %v", n, err, b.q.reports)
		}
		if s := b.Stats(); s.Errors.Sync != 1 {
			t.Errorf("%+v", s.Errors)
		}
	})
}

func TestSetMethod(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		for _, m := range []blockdev.Method{blockdev.Zeroout, blockdev.Unmap, blockdev.Release, 77} {
			if err := b.SetMethod(m); !errors.Is(err, ErrMethod) {
				t.Errorf("%v on a device without it: %v", m, err)
			}
		}
		if m, _ := b.Method(); m != blockdev.Overwrite {
			t.Errorf("a refusal changed it to %v", m)
		}
		b.dev.methods = blockMethods
		b.q.add(1, ext(0, 2))
		b.q.add(2, ext(5, 2))
		for i, m := range []blockdev.Method{blockdev.Unmap, blockdev.Zeroout} {
			if err := b.SetMethod(m); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Now(t.Context(), 2*blockBytes); err != nil {
				t.Fatal(err)
			}
			if r := b.q.reports[i]; r.how.Method != m {
				t.Errorf("reported %v, set %v", r.how.Method, m)
			}
		}
		if !slices.Equal(b.dev.by, []blockdev.Method{blockdev.Unmap, blockdev.Zeroout}) {
			t.Errorf("zeroed by %v", b.dev.by)
		}
	})
	d := newDev()
	if _, err := New(d, newQueue(t, d), Config{Method: blockdev.Unmap, Clock: NewClock(time.Now)}); !errors.Is(err, ErrMethod) {
		t.Errorf("New: %v", err)
	}
}

// TestRefusedMethod: a device that has a method until it is asked for it gets zeros written, and they are what is reported.
func TestRefusedMethod(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.dev.methods, b.dev.refuses = blockMethods, blockdev.Unmap
		if err := b.SetMethod(blockdev.Unmap); err != nil {
			t.Fatal(err)
		}
		b.dev.fill(ext(0, 9))
		b.q.add(1, ext(0, 9))
		r := b.one(t)
		r.is(t, []blockdev.Extent{ext(0, 9)}, nil)
		if m, why := b.Method(); m != blockdev.Overwrite || r.how.Method != m || !strings.Contains(why, "the device refused unmap") {
			t.Errorf("%v, reported %v: %s", m, r.how.Method, why)
		}
	})
}

func TestReleasedIsNotCountedAsErased(t *testing.T) {
	bubble(t, Config{Verify: blockdev.VerifyFull}, func(t *testing.T, b *bench) {
		b.dev.methods = []blockdev.Method{blockdev.Overwrite, blockdev.Release}
		if err := b.SetMethod(blockdev.Release); err != nil {
			t.Fatal(err)
		}
		b.q.add(1, ext(0, 9))
		r := b.one(t)
		s := b.Stats()
		if r.how != (blockdev.How{Method: blockdev.Release, Verify: blockdev.VerifyFull}) || s.Released != 9*blockBytes || s.Methods[blockdev.Release].Demand != 9*blockBytes {
			t.Errorf("%+v, %+v", r.how, s)
		}
	})
}

// TestReleaseSetInAHandOut: a method that is set while a hand-out is being zeroed releases nothing of that, for it is not noted.
func TestReleaseSetInAHandOut(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.dev.methods = []blockdev.Method{blockdev.Overwrite, blockdev.Release}
		if err := b.SetMethod(blockdev.Overwrite); err != nil {
			t.Fatal(err)
		}
		b.dev.zero = func(int64, int64) error { return b.SetMethod(blockdev.Release) }
		b.q.add(1, ext(0, 2), ext(5, 2))
		if n, err := b.Now(t.Context(), 1<<40); err != nil || n != 4*blockBytes {
			t.Fatalf("%d bytes, %v", n, err)
		}
		b.q.add(1, ext(10, 2), ext(15, 2))
		if _, err := b.Now(t.Context(), 1<<40); err != nil {
			t.Fatal(err)
		}
		if want := []blockdev.Method{blockdev.Overwrite, blockdev.Overwrite, blockdev.Release, blockdev.Release}; !slices.Equal(b.dev.by, want) {
			t.Errorf("zeroed by %v, want %v", b.dev.by, want)
		}
	})
}

// TestOffloadKeepsTheRate: a device that zeroes at once is held to the rate all the same.
func TestOffloadKeepsTheRate(t *testing.T) {
	bubble(t, Config{Rate: 50 * mib}, func(t *testing.T, b *bench) {
		b.dev.methods = blockMethods
		if err := b.SetMethod(blockdev.Zeroout); err != nil {
			t.Fatal(err)
		}
		b.q.add(1, blockdev.Extent{Len: 1 << 50})
		b.start(t)
		time.Sleep(10 * time.Second)
		within(t, "bytes", float64(b.dev.total()), 500*mib, 0.01)
		bounded(t, b.dev.log(), 0, 50*mib, 0)
	})
}

// TestShortZeroing: a device that says done and did a part is found out by reading back, block by block.
func TestShortZeroing(t *testing.T) {
	bubble(t, Config{Verify: blockdev.VerifyFull}, func(t *testing.T, b *bench) {
		b.dev.fill(ext(0, 64))
		b.dev.short = 40 * blockBytes
		b.q.add(1, ext(0, 64))
		b.one(t).is(t, []blockdev.Extent{ext(0, 40)}, []blockdev.Extent{ext(40, 24)})
		if s := b.Stats(); s.Failed != 24*blockBytes || s.Demand != 40*blockBytes || s.Errors.Verify == 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestSetVerifyHoldsFromTheNextSync(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		reads := 0
		b.dev.read = func(p []byte, _ int64) (int, error) { reads++; return len(p), nil }
		for i, v := range []blockdev.Verify{blockdev.VerifyOff, blockdev.VerifyFull, blockdev.VerifySample, blockdev.VerifyOff} {
			b.SetVerify(v)
			before := reads
			b.q.add(uint64(i), ext(int64(i)*10, 2))
			if _, err := b.Now(t.Context(), 2*blockBytes); err != nil {
				t.Fatal(err)
			}
			if got := b.q.reports[i].how.Verify; got != v || (reads > before) != (v != blockdev.VerifyOff) {
				t.Errorf("%v: reported %v, %d reads", v, got, reads-before)
			}
		}
	})
}

// TestReserve: below the reserve of clean bytes another bound holds, and no burst follows when it is reached.
func TestReserve(t *testing.T) {
	bubble(t, Config{Rate: mib}, func(t *testing.T, b *bench) {
		b.SetReserve(100*mib, 20*mib)
		b.q.clean.Store(10 * mib)
		b.q.add(1, blockdev.Extent{Len: 1 << 50})
		b.start(t)
		time.Sleep(10 * time.Second)
		within(t, "short", float64(b.dev.total()), 200*mib, 0.01)
		if s := b.Stats(); s.Rate != mib || s.Bound != 20*mib {
			t.Errorf("%+v", s)
		}
		b.q.clean.Store(100 * mib)
		from, before := time.Since(b.dev.t0), b.dev.total()
		time.Sleep(10 * time.Second)
		within(t, "enough", float64(b.dev.total()-before), 10*mib, 0.1)
		bounded(t, b.dev.log(), from+1, mib, 0)
		b.q.clean.Store(0)
		b.SetReserve(mib, 4096) // never less than the rate
		from, before = time.Since(b.dev.t0), b.dev.total()
		time.Sleep(10 * time.Second)
		within(t, "never less", float64(b.dev.total()-before), 10*mib, 0.1)
		bounded(t, b.dev.log(), from+1, mib, stepBytes(mib)) // the bound did not change: no new start
	})
}

func TestLatency(t *testing.T) {
	var l Latency
	if l.Quantile(0.99) != 0 {
		t.Error("nothing took time")
	}
	for range 98 {
		l.add(time.Millisecond)
	}
	l.add(time.Second)
	l.add(3 * time.Hour)
	if q := l.Quantile(0.5); q < time.Millisecond || q > 2*time.Millisecond {
		t.Errorf("median %v", q)
	}
	if q := l.Quantile(0.99); q < time.Second || q > 2*time.Second {
		t.Errorf("p99 %v", q)
	}
	if l.Quantile(1) != 3*time.Hour || l.Count != 100 || l.Max != 3*time.Hour {
		t.Errorf("%+v", l)
	}
}

func TestNewNeedsAClock(t *testing.T) {
	d := newDev()
	if _, err := New(d, newQueue(t, d), Config{Method: blockdev.Overwrite}); err == nil {
		t.Error("an Eraser without a clock")
	}
}
