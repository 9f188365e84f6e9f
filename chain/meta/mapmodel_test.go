package meta

import (
	"flag"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"slatefs/alloc"
)

// In CI each run tries the same cases, so that it judges the change and not its luck; make soak tries others.
func init() {
	if os.Getenv("CI") != "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}

// mapModel is a map as a sorted list of joined pieces, changed by brute force.
type mapModel []Piece

func (mm mapModel) apply(ps []Piece) mapModel {
	for _, p := range ps {
		var out []Piece
		for _, q := range mm {
			if q.Start < p.Start {
				out = append(out, q.clip(q.Start, min(q.End(), p.Start)))
			}
		}
		if p.Mapped {
			out = append(out, p)
		}
		for _, q := range mm {
			if q.End() > p.End() {
				out = append(out, q.clip(max(q.Start, p.End()), q.End()))
			}
		}
		mm = nil
		for _, q := range out {
			mm = appendPiece(mm, q)
		}
	}
	return mm
}

// at is the whole piece that contains lb.
func (mm mapModel) at(lb int64) Piece {
	start := int64(0)
	for _, q := range mm {
		if q.Start > lb {
			return Piece{Start: start, Len: q.Start - start}
		}
		if q.End() > lb {
			return q
		}
		start = q.End()
	}
	return Piece{Start: start, Len: MapMaxBlocks - start}
}

func (mm mapModel) count() (n uint64) {
	for _, q := range mm {
		n += uint64(q.Len)
	}
	return n
}

// mapWindows are the places where the model test works: in one region, and around the borders of every level.
var mapWindows = []int64{0, 8192, 1 << 19, 1 << 25, 1 << 31, MapMaxBlocks - 600}

func genBlock(rt *rapid.T, label string) int64 {
	w := rapid.SampledFrom(mapWindows[:rapid.IntRange(1, len(mapWindows)).Draw(rt, "windows")]).Draw(rt, "window")
	off := rapid.Int64Range(-1500, 1500).Draw(rt, label)
	return min(max(w+off, 0), MapMaxBlocks-1)
}

func genPieces(rt *rapid.T, layer Birth) []Piece {
	var ps []Piece
	lb := genBlock(rt, "start")
	n := rapid.IntRange(1, 400).Draw(rt, "pieces")
	shape := rapid.IntRange(0, 3).Draw(rt, "shape")
	seed := rapid.Int64Range(1, 1<<30).Draw(rt, "dev")
	for i := range int64(n) {
		p := Piece{Start: lb, Len: 1, Dev: alloc.BlockID(seed + 2*i), Birth: layer, Mapped: true}
		switch shape {
		case 0: // single blocks, nothing joins
		case 1: // contiguous on the device: all joins
			p.Dev = alloc.BlockID(seed + i)
		case 2: // holes between
			p.Mapped = i%3 == 0
		case 3: // few and long
			p.Len = 1 + seed%9000
		}
		if !p.Mapped {
			p.Dev, p.Birth = 0, 0
		}
		if p.End() > MapMaxBlocks || shape == 3 && i > 3 {
			break
		}
		ps = append(ps, p)
		lb = p.End() + (i&1)*int64(shape&1)
	}
	return ps
}

// mapMachine runs one map, or several with disjoint content, beside models.
type mapMachine struct {
	ms    *Maps
	m     Map
	model mapModel
	layer Birth
}

func (x *mapMachine) check(rt *rapid.T) {
	if got := mapRuns(rt, x.ms, x.m); !slices.Equal(got, x.model) {
		rt.Fatalf("map holds %v, want %v", got, x.model)
	}
	if x.m.Count() != x.model.count() {
		rt.Fatalf("count %d, want %d", x.m.Count(), x.model.count())
	}
	checkMap(rt, x.ms, x.m)
	if got, want := x.ms.Store.UsedPages(), usedBy(rt, x.ms, x.m); got != want {
		rt.Fatalf("%d pages in use, %d reachable", got, want)
	}
}

func (x *mapMachine) lookup(rt *rapid.T) {
	lb := genBlock(rt, "block")
	limit := rapid.SampledFrom([]int64{1, 17, 300, 1 << 20, 1 << 62}).Draw(rt, "limit")
	p, err := x.ms.Lookup(x.m, lb, limit)
	if err != nil {
		rt.Fatalf("lookup: %v", err)
	}
	whole := x.model.at(lb)
	if p.Start != lb || p.Len < 1 || p.Len > limit {
		rt.Fatalf("lookup %d, %d: %+v", lb, limit, p)
	}
	if p.Mapped != whole.Mapped || p.Mapped && p != whole.clip(lb, p.End()) {
		rt.Fatalf("lookup %d, %d: %+v of %+v", lb, limit, p, whole)
	}
	if p.End() > whole.End() && whole.End() < MapMaxBlocks {
		rt.Fatalf("lookup %d, %d: %+v goes past %+v", lb, limit, p, whole)
	}
	if q, miss := x.ms.LookupCached(x.m, lb, limit); !miss && q != p {
		rt.Fatalf("cached %+v, read %+v", q, p)
	}
}

// cut takes a range out, checks both halves, and puts it back or walks it to its end.
func (x *mapMachine) cut(rt *rapid.T) {
	lo, hi := genBlock(rt, "lo"), genBlock(rt, "hi")
	lo, hi = min(lo, hi), max(lo, hi)
	before := mapPages(rt, x.ms, x.m)
	var dead []Ptr
	rest, cut, err := x.ms.Cut(x.m, lo, hi, x.layer, func(p Ptr) { dead = append(dead, p) })
	if err != nil {
		rt.Fatalf("cut: %v", err)
	}
	account(rt, x.ms, before, dead, x.layer, rest, cut)
	var in, out mapModel
	out = x.model.apply([]Piece{{Start: lo, Len: max(hi-lo, 0)}})
	if lo < hi {
		in = x.model.apply([]Piece{{Start: 0, Len: lo}, {Start: hi, Len: MapMaxBlocks - hi}})
	} else {
		out = x.model
	}
	checkMap(rt, x.ms, cut)
	if got := mapRuns(rt, x.ms, cut); !slices.Equal(got, in) {
		rt.Fatalf("cut [%d, %d) holds %v, want %v", lo, hi, got, in)
	}
	x.m, x.model = rest, out
	x.destroy(rt, cut, in)
	x.check(rt)
}

// destroy walks a map in steps and frees each page as it is left.
func (x *mapMachine) destroy(rt *rapid.T, m Map, want mapModel) {
	pages := mapPages(rt, x.ms, m)
	var got []Piece
	steps, entered := 0, map[Ptr]bool{}
	for from, done := int64(0), m.Bits == 0; !done; steps++ {
		limit := rapid.IntRange(1, 200).Draw(rt, "limit")
		var err error
		var next int64
		next, done, err = x.ms.Step(m, from, limit,
			func(p Ptr) bool { entered[p] = true; return true },
			func(p Piece) { got = appendPiece(got, p) },
			func(p Ptr) {
				if _, ok := pages[p]; !ok || !entered[p] {
					rt.Fatalf("page %v left twice or never entered", p)
				}
				delete(pages, p)
				x.ms.Store.Free(p)
			})
		if err != nil || next <= from {
			rt.Fatalf("step from %d: next %d: %v", from, next, err)
		}
		from = next
	}
	if len(pages) != 0 || !slices.Equal(got, want) {
		rt.Fatalf("%d pages never left; walked %v, want %v", len(pages), got, want)
	}
}

func TestMapModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ms, _ := newTestMaps(t, rapid.SampledFrom([]int64{0, 1 << 20}).Draw(rt, "cache"))
		x := &mapMachine{ms: ms, layer: 1}
		rt.Repeat(map[string]func(*rapid.T){
			"": x.check,
			"apply": func(rt *rapid.T) {
				ps := genPieces(rt, x.layer)
				x.m, x.model = change(rt, ms, x.m, ps, x.layer), x.model.apply(ps)
			},
			"again": func(rt *rapid.T) { // what is there already changes no page
				if m := change(rt, ms, x.m, x.model, x.layer); m != x.m {
					rt.Fatalf("setting what is there changed the map")
				}
			},
			"hole": func(rt *rapid.T) {
				lo := genBlock(rt, "lo")
				ps := []Piece{{Start: lo, Len: rapid.Int64Range(1, MapMaxBlocks-lo).Draw(rt, "len")}}
				x.m, x.model = change(rt, ms, x.m, ps, x.layer), x.model.apply(ps)
			},
			"lookup": x.lookup,
			"cut":    x.cut,
			"layer":  func(*rapid.T) { x.layer++ },
			"flush": func(rt *rapid.T) {
				if err := ms.Store.Flush(); err != nil {
					rt.Fatalf("flush: %v", err)
				}
			},
		})
	})
}

// An older root shows what it showed, as long as what it lost is not freed.
func TestMapSnapshot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ms, _ := newTestMaps(t, 1<<20)
		var maps []Map
		var models []mapModel
		var m Map
		var model mapModel
		for layer := Birth(1); layer < 8; layer++ {
			ps := genPieces(rt, layer)
			var err error
			if m, err = ms.Apply(m, ps, layer, func(Ptr) {}); err != nil {
				rt.Fatal(err)
			}
			model = model.apply(ps)
			maps, models = append(maps, m), append(models, model)
		}
		for i := range maps {
			if got := mapRuns(rt, ms, maps[i]); !slices.Equal(got, models[i]) {
				rt.Fatalf("layer %d: %v, want %v", i+1, got, models[i])
			}
			for j := range maps {
				differ(rt, ms, maps[i], maps[j], models[i], models[j])
			}
		}
	})
}

// differ checks that two maps hold the same outside of the regions where they are said to differ.
func differ(rt *rapid.T, ms *Maps, a, b Map, ma, mb mapModel) {
	at := int64(0)
	var holes []Piece
	err := ms.Differ(a, b, func(lo, hi int64) error {
		if lo < at || hi <= lo {
			rt.Fatalf("region [%d, %d) after %d", lo, hi, at)
		}
		at = hi
		holes = append(holes, Piece{Start: lo, Len: hi - lo})
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	if x, y := ma.apply(holes), mb.apply(holes); !slices.Equal(x, y) || a == b && len(holes) > 0 {
		rt.Fatalf("they differ in %v; outside of it %v and %v", holes, x, y)
	}
}

// Readers of published roots run beside the writer.
func TestMapReaders(t *testing.T) {
	ms, _ := newTestMaps(t, 64<<10)
	var root atomic.Pointer[Map]
	root.Store(&Map{})
	var wg sync.WaitGroup
	for r := range int64(2) {
		wg.Go(func() {
			for lb := r; root.Load().Count() < 2000; lb = (lb + 37) % 20000 {
				m := *root.Load()
				p, err := ms.Lookup(m, lb, 64)
				if err != nil || p.Start != lb || p.Mapped && p.Dev != alloc.BlockID(1+2*lb) {
					t.Errorf("lookup %d: %+v: %v", lb, p, err)
					return
				}
				ms.LookupCached(m, lb, 64)
			}
		})
	}
	m := Map{}
	for lb := int64(0); lb < 20000; lb += 10 {
		var err error
		m, err = ms.Apply(m, []Piece{mapped(lb, 1, alloc.BlockID(1+2*lb), 1)}, 1, func(Ptr) {})
		if err == nil && lb%1000 == 0 {
			err = ms.Store.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		next := m
		root.Store(&next)
	}
	wg.Wait()
}
