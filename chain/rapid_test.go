package chain

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"pgregory.net/rapid"

	"slatefs/alloc"
	"slatefs/chain/blockdev/devtest"
)

// In CI each run tries the same cases, so that it judges the change and not its luck; make soak tries others.
func init() {
	if os.Getenv("CI") != "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}

// TestModel runs random operations, restarts among them, against byte slices, over arbitrary trees of snapshots,
// rollbacks and clones. After each run brute force over all maps proves the counters: what a layer owns and refers to,
// what each snapshot's destruction would free, and that the blocks in use are just those that somebody shows.
func TestModel(t *testing.T) { testModel(t) }

func testModel(t *testing.T) {
	base := newDisk(t, crashDisk)
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		d := base.Clone()
		w, err := openWorld(d, newModel(), seed)
		if err != nil {
			rt.Fatal(err)
		}
		ops := rapid.SliceOfN(rapid.IntRange(0, 103), 20, 120).Draw(rt, "ops")
		for i, k := range ops {
			w.n = i
			if k >= 100 {
				restart(rt, w, k == 100, seed+uint64(i))
				continue
			}
			w.before = w.m.clone()
			name, disk := w.pick()
			if disk == nil {
				k = 99
			}
			if err := w.run(k, name, disk); err != nil && !isNoSpace(err) {
				rt.Fatalf("%v\n%s", err, lastSteps(w.trace))
			}
		}
		for _, h := range w.held {
			if err := w.finish(h); err != nil {
				rt.Fatal(err)
			}
		}
		for _, h := range w.reads {
			h.pl.Abort()
		}
		w.held, w.reads = nil, nil
		if err := w.m.verify(w.p, true); err != nil {
			rt.Fatalf("%v\n%s", err, lastSteps(w.trace))
		}
		if r, err := CheckReclaim(context.Background(), w.p.dev, Options{Now: w.p.opt.Now}); err != nil || len(r.Errors)+len(r.Leaks) > 0 {
			rt.Fatalf("check of what is available: %v %v %v\n%s", err, r.Errors, r.Leaks, lastSteps(w.trace))
		}
		if err := w.purge(); err != nil {
			rt.Fatal(err)
		}
		if err := w.p.EraseDrain(context.Background()); err != nil {
			rt.Fatal(err)
		}
		bruteForce(rt, w.p)
		if r, err := w.p.Check(context.Background()); err != nil || len(r.Errors)+len(r.Leaks) > 0 {
			rt.Fatalf("check: %v %v %v", err, r.Errors, r.Leaks)
		}
	})
}

// restart closes and opens the pool, or cuts the power first after a flush.
func restart(rt *rapid.T, w *world, clean bool, seed uint64) {
	for _, h := range w.held {
		if err := w.finish(h); err != nil {
			rt.Fatal(err)
		}
	}
	for _, h := range w.reads {
		h.pl.Abort()
	}
	w.held, w.reads = nil, nil
	d := w.p.dev.(*devtest.Disk)
	var err error
	switch {
	case !clean:
		err = w.flush()
	case seed%2 == 0:
		err = HandOver(w.p)
	default:
		err = w.p.Close()
	}
	if err != nil {
		rt.Fatal(err)
	}
	disk := d.Crash(rand.New(rand.NewPCG(seed, 5)))
	n, err := openWorld(disk, w.m, seed)
	if err != nil {
		rt.Fatal(err)
	}
	w.p, w.lent = n.p, nil
	w.p.SetZeroNow(w.zeroNow)
}

// blocksSeen is what a layer's map shows, by brute force.
func blocksSeen(p *Pool, l *layer) map[alloc.BlockID]LayerID {
	out := map[alloc.BlockID]LayerID{}
	for lb := int64(0); lb < maxDisk/BlockSize+16; {
		q, miss := (&checker{p: p}).piece(l.top, lb, maxDisk/BlockSize+16)
		if miss {
			panic("a map cannot be read")
		}
		for i := range q.Len {
			if q.Dev != 0 {
				out[q.Dev+alloc.BlockID(i)] = q.Birth
			}
		}
		lb += q.Len
	}
	return out
}

func bruteForce(rt *rapid.T, p *Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[LayerID]map[alloc.BlockID]LayerID{}
	users := map[alloc.BlockID]int{} // heads and snapshots that show a block
	for id, l := range p.tree.layers {
		if l.head || l.named {
			seen[id] = blocksSeen(p, l)
			for b := range seen[id] {
				users[b]++
			}
		}
	}
	for id, blocks := range seen {
		l := p.tree.layers[id]
		var own, alone int64
		for b, birth := range blocks {
			if birth > l.floor() {
				own++
			}
			if users[b] == 1 && birth > l.floor() {
				alone++
			}
		}
		if own != l.own || int64(len(blocks)) != l.refer {
			rt.Fatalf("layer %v: owns %d, refers to %d, counted %d and %d", id, own, len(blocks), l.own, l.refer)
		}
		// one child that is no nameless layer: what it alone frees is what only it shows
		if l.named && len(l.children) == 0 && l.used() != alone {
			rt.Fatalf("snapshot %v: its destruction frees %d, counted %d", id, alone, l.used())
		}
		if l.named && len(l.children) == 1 && l.used() > own {
			rt.Fatalf("snapshot %v: its destruction frees %d of %d", id, l.used(), own)
		}
	}
	var owned int64
	for _, l := range p.tree.layers {
		owned += l.own
	}
	c := p.blocks.alloc.Counts()
	if live := c.InUse - p.jobs.dirtyN - p.jobs.failedN - p.tree.freeing; live != owned || live != int64(len(users)) {
		rt.Fatalf("%d blocks live, %d owned, %d shown by somebody", live, owned, len(users))
	}
}

func isNoSpace(err error) bool { return errors.Is(err, ErrNoSpace) }
