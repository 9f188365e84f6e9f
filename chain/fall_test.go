package chain

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// forecastHolds compares a forecast with what the destroy frees, on a copy of the pool. Errors must be the same.
func forecastHolds(t *testing.T, p *Pool, ino Ino, names []string, o DestroyOptions) {
	t.Helper()
	ok(t, p.Flush())
	was := p.Usage().Live
	f, err := p.ForecastDestroy(ino, names, o)
	if now := p.Usage().Live; now != was {
		t.Errorf("the forecast changed what lives from %d to %d", was, now)
	}
	destroy := func(q *Pool) error {
		if names == nil {
			return q.DestroyVolume(Req{}, ino, o)
		}
		return q.DestroySnapshots(Req{}, ino, names, o)
	}
	if err != nil {
		if other := destroy(p); other == nil || other.Error() != err.Error() {
			t.Errorf("forecast: %v, destroy: %v", err, other)
		}
		return
	}
	if got := wouldFree(t, p, destroy); got*BlockSize != f.Freed {
		t.Errorf("destroy %d@%v %+v frees %d blocks, forecast %d (kept %d)", ino, names, o, got, f.Freed/BlockSize, f.Kept/BlockSize)
	}
}

func TestForecast(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "vm", 1<<20)
	write(t, v, fill('a', 64<<10), 0)
	takeSnapshot(t, p, "a", v)
	write(t, v, fill('b', 32<<10), 0)
	takeSnapshot(t, p, "b", v)
	write(t, v, fill('c', 16<<10), 0)
	_, err := p.Clone(Req{}, v.ino, "b", RootIno, "test.raw")
	ok(t, err)
	write(t, existing(t, p, "test.raw"), fill('d', 8<<10), 0)
	for _, c := range []struct {
		names      []string
		o          DestroyOptions
		free, kept int64
		seen       []string
	}{
		{[]string{"a"}, DestroyOptions{Defer: true}, 8, 8, []string{"vm@b"}},
		{[]string{"b"}, DestroyOptions{Defer: true}, 2, 6, []string{"clone test.raw", "vm"}},
		{[]string{"a", "b"}, DestroyOptions{Defer: true}, 10, 14, []string{"clone test.raw", "vm"}},
		{[]string{"b"}, DestroyOptions{Clones: true}, 4 + 2, 4, []string{"vm"}},
		{nil, DestroyOptions{Snapshots: true, Defer: true}, 4 + 8 + 2, 8 + 6, []string{"clone test.raw"}},
		{nil, DestroyOptions{Clones: true}, 16 + 8 + 4 + 2, 0, nil},
	} {
		t.Run(fmt.Sprint(c.names, c.o), func(t *testing.T) {
			f, err := p.ForecastDestroy(v.ino, c.names, c.o)
			ok(t, err)
			if f.Freed != c.free*BlockSize || f.Kept != c.kept*BlockSize || !slices.Equal(f.SeenBy, c.seen) || f.None != 0 {
				t.Errorf("frees %d, keeps %d for %v, want %d, %d, %v", f.Freed/BlockSize, f.Kept/BlockSize, f.SeenBy, c.free, c.kept, c.seen)
			}
			forecastHolds(t, p, v.ino, c.names, c.o)
		})
	}
	for _, o := range []DestroyOptions{{}, {Snapshots: true}} {
		forecastHolds(t, p, v.ino, nil, o)
		forecastHolds(t, p, v.ino, []string{"b", "x"}, o)
	}
	// An open snapshot keeps what it owns.
	_, id, err := p.SnapLookup(RootIno, "vm@a")
	ok(t, err)
	ok(t, p.OpenSnap(id))
	if f, err := p.ForecastDestroy(v.ino, []string{"a"}, DestroyOptions{Defer: true}); err != nil || f.Freed != 0 || f.Kept != 16*BlockSize || !slices.Equal(f.SeenBy, []string{"open files"}) {
		t.Errorf("of an open snapshot: %+v, %v", f, err)
	}
	p.ReleaseSnap(id)
	// What waits for a sweep, or was deferred before, is not of this destroy; what it makes free at last is.
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"b"}, DestroyOptions{Defer: true}))
	forecastHolds(t, p, v.ino, []string{"a"}, DestroyOptions{Defer: true})
	forecastHolds(t, p, existing(t, p, "test.raw").ino, nil, DestroyOptions{})
}

// Over arbitrary trees of snapshots, rollbacks and clones, deferred destroys among them, what is forecast is freed.
func TestForecastModel(t *testing.T) {
	base := newDisk(t, crashDisk)
	seeds := uint64(40)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		w, err := openWorld(base.Clone(), newModel(), seed+100)
		ok(t, err)
		for range 4 {
			ok(t, w.steps(25))
			for _, h := range w.held {
				ok(t, w.finish(h))
			}
			for _, h := range w.reads {
				h.pl.Abort()
			}
			w.held, w.reads = nil, nil
			ok(t, w.p.EraseDrain(t.Context()))
			for _, name := range w.m.names() {
				d := w.m.disks[name]
				o := DestroyOptions{Snapshots: true, Defer: w.rng.IntN(2) == 0, Now: true}
				o.Clones = !o.Defer
				forecastHolds(t, w.p, d.ino, nil, o)
				if s := w.anySnap(d); s != "" {
					forecastHolds(t, w.p, d.ino, []string{s}, o)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d\n%s", seed, lastSteps(w.trace))
			}
		}
	}
}

// unsweptBlocks is how many blocks of nameless layers nobody shows: none, after a drain.
func unsweptBlocks(t testing.TB, p *Pool) int64 {
	t.Helper()
	p.structure.Lock()
	defer p.structure.Unlock()
	x := &fall{p: p.tree, goes: (*layer).nameless}
	x.find(slices.DeleteFunc(slices.Collect(maps.Keys(p.tree.nameless)), func(l *layer) bool { return !l.nameless() }))
	sum, err := x.count()
	ok(t, err)
	return sum.of(func(fallClass) bool { return true })
}

// plainFall counts what falls block by block: what every layer that goes owns and nobody who stays shows.
type plainFall struct {
	t    testing.TB
	p    *Pool
	goes func(*layer) bool
}

// lost are the blocks of births in (lo, hi] that l, and if it goes all that stays below it, show no more.
func (x *plainFall) lost(l *layer, lo, hi LayerID) map[alloc.BlockID]bool {
	out := map[alloc.BlockID]bool{}
	ok(x.t, l.lost.Ascend(x.p.blocks.lists, omap.Key{Hi: uint64(lo) + 1}, func(k omap.Key, e runs.Entry) bool {
		for i := range e.Blocks() {
			if k.Hi <= uint64(hi) {
				out[alloc.BlockID(k.Lo)+alloc.BlockID(i)] = true
			}
		}
		return k.Hi <= uint64(hi)
	}))
	if x.goes(l) && len(x.left(l)) > 0 {
		for b := range x.under(l, lo, hi) {
			out[b] = true
		}
	}
	return out
}

// under are the blocks that nothing below l shows.
func (x *plainFall) under(l *layer, lo, hi LayerID) (out map[alloc.BlockID]bool) {
	for i, c := range x.left(l) {
		mine := x.lost(c, lo, hi)
		if i == 0 {
			out = mine
			continue
		}
		maps.DeleteFunc(out, func(b alloc.BlockID, _ bool) bool { return !mine[b] })
	}
	return out
}

func (x *plainFall) left(l *layer) (out []*layer) {
	for _, c := range l.children {
		if !x.goes(c) || len(x.left(c)) > 0 {
			out = append(out, c)
		}
	}
	return out
}

func (x *plainFall) dead(l *layer) int64 {
	if len(x.left(l)) == 0 {
		return l.own
	}
	return int64(len(x.under(l, l.floor(), l.id)))
}

// keptHolds compares what is counted on of what is kept with what would fall, block by block. It is no more than that, and as
// much where no clone hangs on it. The pool is at rest.
func keptHolds(t testing.TB, p *Pool) {
	t.Helper()
	p.tree.settleFalls()
	p.structure.Lock()
	defer p.structure.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	x := &plainFall{t, p, func(l *layer) bool { return l.nameless() || p.tree.counted(l) }}
	var parts, all int64
	seen := map[*falling]bool{}
	forks := false
	for _, l := range p.tree.layers {
		if !l.dead && x.goes(l) {
			forks = forks || len(x.left(l)) > 1
			if !l.nameless() {
				all += x.dead(l)
			}
		}
		if f := l.falls; f != nil && !seen[f] {
			seen[f] = true
			parts += f.n
		}
	}
	if parts != p.destroyed.blocks || p.destroyed.blocks > all || !forks && p.destroyed.blocks < all {
		t.Errorf("%d blocks are counted on, %d by parts; %d would fall, forks %v", p.destroyed.blocks, parts, all, forks)
	}
}
