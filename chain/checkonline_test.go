package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A check of a pool in use finds nothing while it is written, snapshotted and destroyed, and checkpoints follow: each of its pages
// is read at another state of the pool.
func TestCheckOnline(t *testing.T) {
	for seed := range uint64(4) {
		d := newDisk(t, crashDisk)
		w, err := openWorld(d, newModel(), seed)
		ok(t, err)
		ok(t, w.steps(crashSteps))
		steps, checkpoints, whole := 0, 0, false
		rng := rand.New(rand.NewPCG(seed, 1))
		beside := func() error {
			for range 3 {
				steps++
				if err := w.step(); err != nil {
					return err
				}
			}
			if rng.IntN(2) == 0 {
				checkpoints++
				return w.p.Checkpoint()
			}
			return nil
		}
		r, err := w.p.CheckOnline(context.Background(), Pace{Rest: func(context.Context, int64) error {
			err := make(chan error)
			go func() { err <- beside() }() // who checks holds the lock of what it looks at
			return <-err
		}, Progress: func(done, total int64) {
			if done > total || done <= 0 {
				t.Errorf("%d of %d", done, total)
			}
			whole = whole || done == total
		}})
		if err != nil || len(r.Errors)+len(r.Leaks)+len(r.Lost) > 0 || !whole {
			t.Fatalf("seed %d: %+v, whole %v, %v\n%s", seed, r, whole, err, lastSteps(w.trace))
		}
		if steps < 20 || checkpoints < 2 {
			t.Fatalf("%d steps and %d checkpoints beside the check", steps, checkpoints)
		}
		checkWorld(t, w, fmt.Sprintf("seed %d", seed), true)
	}
}

// Who checks can be ended, and gets the error of who paces it.
func TestCheckOnlineEnds(t *testing.T) {
	d, _, _ := flipPool(t, true)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	ok(t, p.Checkpoint())
	ok(t, p.Checkpoint())
	free := p.blocks.store.FreePages()
	if _, err := p.CheckOnline(context.Background(), Pace{Rest: func(context.Context, int64) error { return errPower }}); !errors.Is(err, errPower) {
		t.Errorf("the error of who paces: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.CheckOnline(ctx, Pace{}); !errors.Is(err, context.Canceled) {
		t.Errorf("it was ended: %v", err)
	}
	ok(t, p.Checkpoint())
	ok(t, p.Checkpoint())
	if n := p.blocks.store.FreePages(); n < free {
		t.Errorf("%d pages are free, and were %d", n, free)
	}
}

// A check gives way: pages that it keeps are used when there are no others, and then it says so and nothing else.
func TestCheckOnlineGivesWay(t *testing.T) {
	d, _, _ := flipPool(t, false)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	v := existing(t, p, "disk.raw")
	n := 0
	_, err = p.CheckOnline(context.Background(), Pace{Rest: func(context.Context, int64) error {
		n++
		write(t, v, fill(byte(n), 4096), int64(n%32)*8192)
		ok(t, p.Checkpoint())
		p.blocks.store.BreakPin()
		return nil
	}})
	if !errors.Is(err, ErrOvertaken) {
		t.Errorf("after %d checkpoints: %v", n, err)
	}
}

// What a check beside has is counted as long as it lasts: clean pages of the pool give way to it.
func TestCheckIsCounted(t *testing.T) {
	const cache = 16 << 20
	p, err := Open(newDisk(t, 32<<20), Options{Now: newClock().now, CacheBytes: cache})
	ok(t, err)
	v := mustVolume(t, p, "v", 8<<20)
	for i := range int64(500) {
		write(t, v, fill('v', BlockSize), i*3*BlockSize)
	}
	clean := func() (bytes, check int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		set := p.memory.setCache
		defer func() { p.memory.setCache = set }()
		p.memory.setCache, p.memory.others = func(n int64) { bytes = n }, -cache // so that it is set anew
		p.memory.fit()
		return bytes, p.memory.check
	}
	ok(t, p.Checkpoint())
	before, none := clean()
	view, pin, err := pinCheckpoint(p)
	ok(t, err)
	beside, has := clean()
	least := viewCache(p.opt) + int64(newChecker(t.Context(), view, Pace{}).most)*markMem
	if none != 0 || has < least || has > 3*cache/4 || before-beside < min(least, before-cache/4) {
		t.Errorf("a check has %d bytes, at least %d; clean pages may take %d, before it %d", has, least, beside, before)
	}
	pin.Release()
	if after, has := clean(); has != 0 || after < before {
		t.Errorf("after it clean pages may take %d, before it %d; %d are counted", after, before, has)
	}
	ok(t, p.Close())
	for cache, want := range map[int64]int{1 << 20: 1 << 20 / markMem, 0: leastMarks, 1 << 40: checkMarks} {
		if got := viewMarks(cache); got != want {
			t.Errorf("with %d bytes %d runs are remembered, want %d", cache, got, want)
		}
	}
}

// With room for few runs at once a check takes more passes, and finds the same.
func TestCheckInPasses(t *testing.T) {
	for seed := range uint64(3) {
		w, err := openWorld(newDisk(t, crashDisk), newModel(), seed)
		ok(t, err)
		ok(t, w.steps(crashSteps))
		ok(t, w.p.Checkpoint())
		all := func(most int) (*CheckReport, int) {
			view, pin, err := pinCheckpoint(w.p)
			ok(t, err)
			defer pin.Release()
			view.mu.Lock()
			defer view.mu.Unlock()
			for _, l := range view.tree.layers { // something to find
				if l.head {
					l.own++
				}
			}
			c := newChecker(context.Background(), view, Pace{})
			c.most = most
			passes := 0
			c.pace.Progress = func(int64, int64) { passes = max(passes, int(c.lo)) }
			r, err := c.check(false)
			ok(t, err)
			slices.Sort(r.Errors)
			return r, int(c.lo)
		}
		once, _ := all(1 << 20)
		some, last := all(8)
		if strings.Join(once.Errors, "\n") != strings.Join(some.Errors, "\n") || once.Blocks != some.Blocks || once.Pages != some.Pages || once.Layers != some.Layers {
			t.Fatalf("seed %d: in one pass %+v\nin many %+v", seed, once, some)
		}
		if len(once.Errors) == 0 || last == 0 {
			t.Fatalf("%d errors; the last pass began at block %d", len(once.Errors), last)
		}
		checkWorld(t, w, "passes", false)
	}
}
