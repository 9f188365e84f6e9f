package alloc

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// In CI each run tries the same cases, so that it judges the change and not its luck; make soak tries others.
func init() {
	if os.Getenv("CI") != "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}

func TestFindCleanOrder(t *testing.T) {
	p := cleanPool(t, 64, 512, Run{5, 3}, Run{20, 30}, Run{70, 50}, Run{200, 100})
	for _, c := range []struct {
		n, least int64
		near     BlockID
		want     []Run
	}{
		{32, 16, 0, []Run{{32, 16}, {80, 16}}},               // whole slots, low addresses
		{64, 16, 210, []Run{{224, 32}, {208, 16}, {32, 16}}}, // after near, then the rest of its group
		{1, 1, 202, []Run{{203, 1}}},
		{4, 4, 0, []Run{{20, 4}}},
		{3, 1, 2, []Run{{5, 3}}},
		{20, 20, 0, []Run{{20, 20}}}, // no two slots wanted, so no alignment
		{33, 33, 999, []Run{{70, 33}}},
		{0, 1, 0, nil},
		{-1, 1, 0, nil},
	} {
		got, err := p.FindClean(c.n, c.least, c.near)
		must(t, err)
		wantRuns(t, got, c.want...)
	}
}

func TestFindCleanFallsBackToCrumbs(t *testing.T) {
	p := cleanPool(t, 64, 256, Run{3, 2}, Run{100, 1}, Run{130, 9})
	got, err := p.FindClean(64, 16, 0)
	must(t, err)
	wantRuns(t, got, Run{3, 2}, Run{100, 1}, Run{130, 9})
	got, err = p.FindClean(64, 8, 0)
	must(t, err)
	wantRuns(t, got, Run{130, 9})
	if p.low[1] != p.Groups() {
		t.Fatalf("crumbs not stepped over: %v", p.low)
	}
	must(t, p.Set(Run{16, 16}, InUse, Clean))
	got, err = p.FindClean(64, 16, 0)
	must(t, err)
	wantRuns(t, got, Run{16, 16})
}

// TestFindCleanSearchIsBounded: in a pool of crumbs whose pages are not loaded, one claim
// loads a bounded number of pages; whole groups further up are found all the same.
func TestFindCleanSearchIsBounded(t *testing.T) {
	const groups = 1000
	for _, top := range []bool{false, true} {
		p := New(32, groups*32)
		for g := range groups {
			must(t, p.SetGroup(g, Counts{InUse: 16, Clean: 16}, false, 0))
		}
		want := Run{0, 1}
		if top {
			must(t, p.SetGroup(groups-1, Counts{Clean: 32}, true, Clean))
			want = Run{(groups - 1) * 32, 16}
		}
		crumbs, loads := bytes.Repeat([]byte{0x33}, 8), 0
		for {
			got, err := p.FindClean(16, 16, groups*32)
			var u *UnloadedError
			if errors.As(err, &u) {
				must(t, p.Load(u.Group, crumbs))
				loads++
				continue
			}
			must(t, err)
			if got[0] != want {
				t.Fatal(got)
			}
			break
		}
		if loads != searchPages {
			t.Fatalf("%d pages loaded", loads)
		}
	}
}

func TestShun(t *testing.T) {
	p := New(16, 32)
	must(t, p.SetGroup(0, Counts{InUse: 8, Clean: 8}, false, 0))
	must(t, p.SetGroup(1, Counts{Clean: 16}, true, Clean))
	_, err := p.FindClean(4, 1, 0)
	wantErr(t, err, ErrUnloaded)
	findable := func(want int64) {
		t.Helper()
		if got := p.Findable(); got != want {
			t.Errorf("%d blocks can be found, want %d", got, want)
		}
	}
	findable(24)
	p.Shun(0)
	p.Shun(0)
	findable(16)
	got, err := p.FindClean(4, 1, 0)
	must(t, err)
	wantRuns(t, got, Run{16, 4})
	must(t, p.Load(0, []byte{0xff, 0xff, 0, 0}))
	findable(24)
	got, err = p.FindClean(4, 1, 100)
	must(t, err)
	wantRuns(t, got, Run{0, 4})
	p.Shun(1)
	findable(8)
	must(t, p.Set(Run{16, 16}, Clean, InUse))
	findable(8)
	must(t, p.Shrink(16))
	findable(8)
	p.Grow(32)
	must(t, p.Set(Run{16, 16}, InUse, Clean))
	findable(24)
}

// TestRandom drives a bigger pool against a slice of states.
func TestRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const total = 5*64 + 20
		p, st, images := New(64, total), make([]State, total), map[int]Image{}
		named := map[BlockID]bool{}
		load := func(err error) bool {
			var u *UnloadedError
			if errors.As(err, &u) {
				if err := p.Load(u.Group, images[u.Group].Page); err != nil {
					rt.Fatal(err)
				}
				return true
			}
			return false
		}
		run := rapid.Custom(func(rt *rapid.T) Run {
			lo := rapid.Int64Range(0, total-1).Draw(rt, "lo")
			return Run{BlockID(lo), rapid.Int64Range(1, min(90, total-lo)).Draw(rt, "len")}
		})
		all := func(r Run, s State) bool {
			for b := r.Start; b < r.End(); b++ {
				if st[b] != s {
					return false
				}
			}
			return true
		}
		fill := func(r Run, s State) {
			for b := r.Start; b < r.End(); b++ {
				st[b] = s
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(rt *rapid.T) {
				r := run.Draw(rt, "run")
				mv := rapid.SampledFrom([][2]State{{InUse, Clean}, {Clean, InUse}, {Clean, Meta}, {Meta, InUse}}).Draw(rt, "move")
				for g := p.Group(r.Start); g <= p.Group(r.End()-1); g++ {
					if !p.Loaded(g) {
						load(&UnloadedError{g})
					}
				}
				err := p.Set(r, mv[0], mv[1])
				if (err == nil) != all(r, mv[0]) {
					rt.Fatal(r, mv, err)
				}
				if err == nil {
					fill(r, mv[1])
				}
			},
			"claim": func(rt *rapid.T) {
				n, least := rapid.Int64Range(1, 80).Draw(rt, "n"), rapid.Int64Range(1, 40).Draw(rt, "least")
				near := BlockID(rapid.IntRange(0, total+9).Draw(rt, "near"))
				runs, err := p.FindClean(n, least, near)
				for load(err) {
					runs, err = p.FindClean(n, least, near)
				}
				var sum int64
				for _, r := range runs {
					if sum += r.Len; sum > n || !all(r, Clean) {
						rt.Fatal(runs, n)
					}
					if err := p.Claim(r); err != nil {
						rt.Fatal(err)
					}
					if err := p.Ready(r); err != nil {
						rt.Fatal(err)
					}
					fill(r, Claimed)
				}
			},
			"take": func(rt *rapid.T) {
				n, ready := rapid.Int64Range(1, 80).Draw(rt, "n"), p.WindowReady()
				var sum int64
				for _, r := range p.Take(n, BlockID(rapid.IntRange(0, total).Draw(rt, "near")), rapid.Uint64Range(0, 3).Draw(rt, "stream")) {
					for b := r.Start; b < r.End(); b++ {
						if st[b] != Claimed || named[b] {
							rt.Fatal("handed out twice or not claimed", b)
						}
						named[b] = true
						sum++
					}
				}
				if sum != min(n, ready) {
					rt.Fatal(sum, n, ready)
				}
			},
			"use": func(rt *rapid.T) {
				for b := range named {
					if err := p.Use(Run{b, 1}); err != nil {
						rt.Fatal(err)
					}
					st[b] = InUse
					delete(named, b)
				}
			},
			"cut": func(rt *rapid.T) {
				for _, g := range unsettled(rt, p) {
					load(&UnloadedError{g})
				}
				for _, img := range p.Cut() {
					if img.Pending {
						rt.Fatal("pending after all were settled")
					}
					images[img.Group] = img
				}
				p.Durable()
				for g := 0; g < p.Groups(); g += 2 {
					p.Unload(g)
				}
			},
			"": func(rt *rapid.T) {
				checkCounts(t, p)
				for i, want := range st {
					if have, err := p.State(BlockID(i)); err == nil && have != want {
						rt.Fatalf("block %d: %v, want %v", i, have, want)
					}
				}
			},
		})
	})
}

func BenchmarkFindClean(b *testing.B) {
	const groupBlocks, groups = 16384, 163840 // 10 TiB
	p := New(groupBlocks, groupBlocks*groups)
	must(b, p.Set(Run{groupBlocks * (groups - 10), groupBlocks * 10}, InUse, Clean))
	b.ReportAllocs()
	for b.Loop() {
		if runs, err := p.FindClean(4096, 16, 12345); err != nil || len(runs) != 1 {
			b.Fatal(runs, err)
		}
	}
}
