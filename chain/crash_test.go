package chain

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

var (
	crashLong  = flag.Bool("crash.long", false, "crash at every operation of the device, not at some 60 of a workload")
	crashFirst = flag.Uint64("crash.first", 1, "the first seed")
	crashSeeds = flag.Uint64("crash.seeds", 12, "how many seeds")
	crashSeed  = flag.Uint64("crash.seed", 0, "only this seed")
	crashAt    = flag.Int("crash.at", 0, "only this operation of the device")
)

func (w *world) ctx() context.Context { return context.Background() }

const (
	crashDisk  = 4 << 20
	crashSteps = 60
)

// worldCache is the cache of pools of worlds, in bytes.
var worldCache int64 = 1 << 20

// newWorld opens the pool and makes the first volume.
func openWorld(d *devtest.Disk, m *model, seed uint64) (*world, error) {
	return openWorldAs(d, m, seed, Options{})
}

// openWorldAs is openWorld with options more.
func openWorldAs(d *devtest.Disk, m *model, seed uint64, o Options) (*world, error) {
	d.FillGrowth('G' * byte(seed%2)) // a pool file or a block device
	o.Now, o.CacheBytes = newClock().now, worldCache
	p, err := Open(d, o)
	if err != nil {
		return nil, err
	}
	w := &world{p: p, m: m, before: m.clone(), rng: rand.New(rand.NewPCG(seed, 7)), full: true, logging: true}
	p.SetZeroNow(w.zeroNow)
	if seed%2 == 0 {
		p.removal.whole = 1 // volumes go in steps
	}
	return w, nil
}

// zeroNow is for writers that wait: they need what hand-outs hold.
func (w *world) zeroNow(_ context.Context, n int64) (int64, error) {
	w.giveBack()
	return eraseSome(w.p, n)
}

func (w *world) steps(n int) error {
	for range n {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

// TestCrash runs random workloads and cuts the power at an operation of the device: of what was not synced any part
// stays. The pool opens, check finds nothing, and what it holds is what a disk could hold. Then the same again, while
// it recovers.
func TestCrash(t *testing.T) {
	seeds := *crashSeeds
	if testing.Short() {
		seeds = 2
	}
	crashSome(t, seeds)
}

func crashSome(t *testing.T, seeds uint64) {
	points := 0
	if *crashSeed != 0 {
		points = crashAll(t, *crashSeed)
		seeds = 0
	}
	for seed := *crashFirst; seed < *crashFirst+seeds; seed++ {
		points += crashAll(t, seed)
	}
	t.Logf("%d crash points, each twice", points)
}

// crashAll crashes one workload at every operation, or at every few.
func crashAll(t *testing.T, seed uint64) (points int) {
	base := newDisk(t, crashDisk)
	total := func() int {
		d := base.Clone()
		w, err := openWorld(d, newModel(), seed)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.steps(crashSteps); err != nil {
			t.Fatalf("seed %d without a crash: %v\n%s", seed, err, strings.Join(w.trace, "\n"))
		}
		checkWorld(t, w, fmt.Sprintf("seed %d, no crash", seed), true)
		return d.Ops()
	}()
	step := 1
	switch {
	case *crashLong:
	case testing.Short(): // more would be slow under the race detector, and find little that others do not
		step = max(1, total/24)
	default:
		step = max(1, total/60)
	}
	for k := 1 + int(seed)%step; k <= total; k += step {
		if *crashAt != 0 && k != *crashAt {
			continue
		}
		crashOnce(t, base.Clone(), seed, k)
		points++
	}
	return points
}

func crashOnce(t *testing.T, d *devtest.Disk, seed uint64, k int) {
	t.Helper()
	where := fmt.Sprintf("-crash.seed=%d -crash.at=%d", seed, k)
	m := newModel()
	d.CrashAt(k)
	w, err := openWorld(d, m, seed)
	if err == nil {
		err = w.steps(crashSteps)
	}
	if err != nil && !errors.Is(err, devtest.ErrCrashed) {
		t.Fatalf("%s: %v", where, err)
	}
	before, after := newModel(), newModel()
	var trace []string
	if w != nil {
		before, after, trace = w.before, w.m, w.trace
	}
	rng := rand.New(rand.NewPCG(seed, uint64(k)))
	d = d.Crash(rng)

	// the second crash, while the pool recovers
	again := d.Clone()
	again.CrashAt(1 + rng.IntN(12))
	if w, err := openWorld(again, newModel(), seed); err == nil {
		_ = w.p.Checkpoint()
	}
	for i, d := range []*devtest.Disk{d, again.Crash(rng)} {
		at := fmt.Sprintf("%s crash %d", where, i+1)
		sameWreck(t, d, at)
		w, err := openWorld(d, newModel(), seed+1)
		if err != nil {
			t.Fatalf("%s: open: %v\n%s", at, err, lastSteps(trace))
		}
		one, two := before.verify(w.p, false), after.verify(w.p, false)
		switch {
		case one == nil:
			w.m = before.clone()
		case two == nil:
			w.m = after.clone()
		default:
			t.Fatalf("%s: neither before the last operation: %v\nnor after it: %v\n%s", at, one, two, lastSteps(trace))
		}
		if err := w.m.adopt(w.p); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		checkWorld(t, w, at+"\n"+lastSteps(trace), false)
		w.trace, w.n = nil, 1000 // names that the first part did not use
		if err := w.steps(8); err != nil {
			t.Fatalf("%s: going on: %v\n%s", at, err, lastSteps(w.trace))
		}
		checkWorld(t, w, at+", going on\n"+lastSteps(trace)+"\n--\n"+lastSteps(w.trace), true)
	}
}

func lastSteps(trace []string) string { return strings.Join(trace[max(0, len(trace)-25):], "\n") }

// checkWorld checks memory, the checkpoint, and after everything is erased that nothing of it is left.
func checkWorld(t *testing.T, w *world, at string, end bool) {
	t.Helper()
	for _, h := range w.held {
		if err := w.finish(h); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
	}
	for _, h := range w.reads {
		h.pl.Abort()
	}
	w.held, w.reads = nil, nil
	w.giveBack()
	w.p.structure.Lock()
	r, err := w.p.checkMemory(context.Background(), true)
	w.p.structure.Unlock()
	fatal := func(what string) {
		if err != nil {
			t.Fatalf("%s: %s: %v", at, what, err)
		}
		if r != nil && len(r.Errors)+len(r.Leaks) > 0 {
			t.Fatalf("%s: %s:\n%s", at, what, strings.Join(append(r.Errors, r.Leaks...), "\n"))
		}
	}
	fatal("check of memory")
	r, err = CheckReclaim(context.Background(), w.p.dev, Options{Now: w.p.opt.Now, CacheBytes: worldCache})
	fatal("check of what is available")
	if !end {
		return
	}
	r, err = w.p.Check(context.Background())
	fatal("check")
	r, err = nil, w.m.verify(w.p, true)
	fatal("model")
	err = w.p.EraseDrain(context.Background())
	fatal("drain")
	if n := unsweptBlocks(t, w.p); n > 0 {
		t.Fatalf("%s: %d blocks are dead, and drained without them", at, n)
	}
	w.p.opt.Now = later(w.p.opt.Now) // what failed as well
	w.p.jobs.demand++                // erase=none as well
	_, err = eraseSome(w.p, 1<<62)
	w.p.jobs.demand--
	fatal("erase")
	r, err = w.p.Check(context.Background())
	fatal("check after erase")
	r, err = nil, residueHunt(w)
	fatal("residue")
	err = w.m.verify(w.p, true)
	fatal("model after erase")
	err = w.purge()
	fatal("end of what was kept")
	err = w.p.EraseDrain(context.Background())
	fatal("drain")
	w.p.jobs.demand++
	_, err = eraseSome(w.p, 1<<62)
	w.p.jobs.demand--
	fatal("erase")
	r, err = w.p.Check(context.Background())
	fatal("check after the end of what was kept")
	if js := w.p.EraseJobs(); len(js) > 0 {
		t.Fatalf("%s: jobs left: %+v", at, js)
	}
	err = w.m.verify(w.p, true)
	fatal("model after erase")
	err = w.p.Close()
	fatal("close")
}
