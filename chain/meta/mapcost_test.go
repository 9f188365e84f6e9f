package meta

import (
	"errors"
	"math/rand"
	"slices"
	"testing"

	"slatefs/alloc"
)

const mapTestTiB = int64(1) << 28 // blocks

func mapped(start, n int64, dev alloc.BlockID, birth Birth) Piece {
	return Piece{Start: start, Len: n, Dev: dev, Birth: birth, Mapped: true}
}

// A region of which no two blocks lie together on the device: one inner page and at most two leaves
// for every 255 runs; made contiguous again, it needs no page.
func TestMapFragmented(t *testing.T) {
	for _, order := range []string{"ascending", "random", "once"} {
		ms, _ := newTestMaps(t, 1<<20)
		var all []Piece
		for lb := range int64(8192) {
			all = append(all, mapped(lb, 1, alloc.BlockID(1+2*lb), 3))
		}
		var m Map
		todo := slices.Clone(all)
		if order == "random" {
			rand.New(rand.NewSource(1)).Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
		}
		step := 64
		if order == "once" {
			step = len(todo)
		}
		for i := 0; i < len(todo); i += step {
			ps := slices.Clone(todo[i:][:step])
			slices.SortFunc(ps, func(a, b Piece) int { return int(a.Start - b.Start) })
			m = change(t, ms, m, ps, 3)
		}
		checkMap(t, ms, m)
		if got := mapRuns(t, ms, m); !slices.Equal(got, all) {
			t.Errorf("%s: wrong content", order)
		}
		if n := len(mapPages(t, ms, m)); n > 1+64 {
			t.Errorf("%s: %d pages for 8192 runs", order, n)
		}
		m = change(t, ms, m, []Piece{mapped(0, 4096, 1<<20, 4)}, 4)
		m = change(t, ms, m, []Piece{mapped(4096, 4096, 1<<20+4096, 4)}, 4)
		if n := ms.Store.UsedPages(); n != 0 || m.root.kind != slotRun {
			t.Errorf("%s: %d pages for one run, root %+v", order, n, m.root)
		}
		if m = change(t, ms, m, []Piece{{Start: 0, Len: 1 << 30}}, 5); m != (Map{}) {
			t.Errorf("%s: not empty: %+v", order, m)
		}
	}
}

// Deleting what made leaves split lets them become one again, without reading leaves that are not touched.
func TestMapHalvesJoin(t *testing.T) {
	ms, _ := newTestMaps(t, 1<<20)
	var ps []Piece
	for i := range int64(400) {
		ps = append(ps, mapped(20*i, 1, alloc.BlockID(1+2*i), 1))
	}
	m := change(t, ms, Map{}, ps, 1)
	if n := len(mapPages(t, ms, m)); n != 3 {
		t.Fatalf("%d pages for 400 runs", n)
	}
	m = change(t, ms, m, []Piece{{Start: 1000, Len: 6000}}, 1)
	checkMap(t, ms, m)
	if n := len(mapPages(t, ms, m)); n != 1 {
		t.Errorf("%d pages for 100 runs", n)
	}
}

// 10 TiB in one extent: a slot of 48 bytes, twice, for every 32 MiB. A piece of any length inside
// it costs the path only, and so does a cut of a TiB.
func TestMapContiguous10TiB(t *testing.T) {
	ms, _ := newTestMaps(t, 64<<20)
	m, err := ms.Apply(Map{}, []Piece{mapped(0, 10*mapTestTiB, 1, 1)}, 1, func(Ptr) { t.Error("dead page") })
	if err != nil {
		t.Fatal(err)
	}
	if m.Bits != 37 || m.Count() != uint64(10*mapTestTiB) {
		t.Fatalf("map of %d bits, %d blocks", m.Bits, m.Count())
	}
	if n := ms.Store.UsedPages(); n > 10500 { // 41 MiB
		t.Errorf("%d pages", n)
	}
	if p, err := ms.Lookup(m, 5*mapTestTiB+77, 1<<40); err != nil || p.Start != 5*mapTestTiB+77 || p.Len < 8192-77 {
		t.Errorf("lookup: %+v: %v", p, err)
	}
	if p, err := ms.Lookup(m, 20*mapTestTiB, 1<<62); err != nil || p.Mapped || p.Len != 1<<62 {
		t.Errorf("lookup behind: %+v: %v", p, err)
	}
	used, dead := ms.Store.UsedPages(), 0
	m2, err := ms.Apply(m, []Piece{mapped(3*mapTestTiB+5, 1, 1<<31+9, 2)}, 2, func(Ptr) { dead++ })
	if err != nil {
		t.Fatal(err)
	}
	if made := ms.Store.UsedPages() - used; dead != 4 || made != 2*4+1 {
		t.Errorf("one block: %d pages dead, %d copies made", dead, made)
	}
	used, dead = ms.Store.UsedPages(), 0
	rest, cut, err := ms.Cut(m2, mapTestTiB+5, 2*mapTestTiB+5, 2, func(Ptr) { dead++ })
	if err != nil {
		t.Fatal(err)
	}
	if cut.Count() != uint64(mapTestTiB) || rest.Count() != uint64(9*mapTestTiB) {
		t.Errorf("cut %d, rest %d", cut.Count(), rest.Count())
	}
	if made := ms.Store.UsedPages() - used; dead > 2*mapLevels || made > 2*2*2*mapLevels {
		t.Errorf("cut: %d pages dead, %d copies made", dead, made)
	}
	if p, err := ms.Lookup(rest, mapTestTiB+5, 1<<40); err != nil || p.Mapped || p.Len < mapTestTiB-8192 {
		t.Errorf("lookup in the cut: %+v: %v", p, err)
	}
}

// Step skips what enter refuses, whole, and stops soon after its limit.
func TestMapStepSkips(t *testing.T) {
	ms, _ := newTestMaps(t, 1<<20)
	var m Map
	for layer := Birth(1); layer <= 2; layer++ {
		var ps []Piece
		for r := range int64(64) {
			for i := range int64(10) {
				ps = append(ps, mapped((2*r+int64(layer)-1)*8192+3*i, 1, alloc.BlockID(1+1000*r+5*i), layer))
			}
		}
		m, _ = ms.Apply(m, ps, layer, func(Ptr) {})
	}
	runs, left, skipped, steps := 0, 0, 0, 0
	for from, done := int64(0), false; !done; steps++ {
		before := runs
		var err error
		from, done, err = ms.Step(m, from, 25,
			func(p Ptr) bool {
				if p.Birth < 2 {
					skipped++
				}
				return p.Birth >= 2
			},
			func(p Piece) { runs++ },
			func(Ptr) { left++ })
		if err != nil || runs-before > 25+9 {
			t.Fatalf("step: %d runs: %v", runs-before, err)
		}
	}
	// The inner pages are of layer 2 (root and two below it), and so is every second leaf.
	if runs != 640 || skipped != 64 || left != 64+3 || steps < 640/34 {
		t.Errorf("%d runs, %d pages skipped, %d left in %d steps", runs, skipped, left, steps)
	}
	if _, _, err := ms.Step(m, -1, 1, nil, nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("step from -1: %v", err)
	}
	if next, done, err := ms.Step(m, 1<<40, 1, nil, nil, nil); err != nil || !done || next != 1<<40 {
		t.Errorf("step behind the end: %d, %v: %v", next, done, err)
	}
}

func TestMapLookupCachedAllocatesNothing(t *testing.T) {
	ms, _ := newTestMaps(t, 64<<20)
	m := benchMap(t, ms)
	lb := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		lb = (lb + 987654321) % (1 << 26)
		if _, miss := ms.LookupCached(m, lb, 256); miss {
			t.Fatal("miss")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, miss := ms.LookupCached(m, -1, 1); !miss {
		t.Error("block -1 is no miss")
	}
}

// benchMap has 256 GiB: contiguous regions, and 64 leaves of 200 runs.
func benchMap(t testing.TB, ms *Maps) Map {
	ps := []Piece{mapped(0, 1<<26, 1, 1)}
	m, err := ms.Apply(Map{}, ps, 1, func(Ptr) {})
	if err != nil {
		t.Fatal(err)
	}
	ps = nil
	for r := range int64(64) {
		for i := range int64(100) {
			ps = append(ps, mapped(r*8192+3*i, 1, alloc.BlockID(1<<27+1000*r+5*i), 2))
		}
	}
	if m, err = ms.Apply(m, ps, 2, ms.Store.Free); err != nil {
		t.Fatal(err)
	}
	return m
}

func BenchmarkMapLookupCached(b *testing.B) {
	for _, span := range []struct {
		name  string
		limit int64
	}{{"region=fragmented", 64 * 8192}, {"region=contiguous", 1 << 26}} {
		b.Run(span.name, func(b *testing.B) {
			ms, _ := newTestMaps(b, 64<<20)
			m := benchMap(b, ms)
			b.ReportAllocs()
			lb := int64(0)
			for b.Loop() {
				lb = (lb*6364136223846793005 + 1442695040888963407) & (span.limit - 1)
				if _, miss := ms.LookupCached(m, lb, 1); miss {
					b.Fatal("miss")
				}
			}
		})
	}
}

func BenchmarkMapApply(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(map[int]string{1: "pieces=1", 64: "pieces=64"}[n], func(b *testing.B) {
			ms, _ := newTestMaps(b, 64<<20)
			m := benchMap(b, ms)
			b.ReportAllocs()
			rng := rand.New(rand.NewSource(1))
			for i := 0; b.Loop(); i++ {
				ps := make([]Piece, 0, n)
				for k := range int64(n) {
					ps = append(ps, mapped(k*8192+rng.Int63n(8192), 1, alloc.BlockID(1<<28+2*i), 2))
				}
				var err error
				if m, err = ms.Apply(m, ps, 2, ms.Store.Free); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
