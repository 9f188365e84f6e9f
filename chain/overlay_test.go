package chain

import (
	"math/rand/v2"
	"testing"

	"slatefs/alloc"
)

// shown is what a map shows of one block.
type shown struct {
	dev   alloc.BlockID
	birth LayerID
}

// overlayBase is a settled map of pages with all sorts of pieces, and what it shows.
func overlayBase(t *testing.T, blocks int64) (*Pool, *overlay, []shown) {
	t.Helper()
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", blocks*BlockSize)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		n := 1 + rng.Int64N(8)
		blocksAt(t, v, 'a', rng.Int64N(blocks-n), n)
	}
	ok(t, p.Checkpoint())
	m, _ := v.head().top.bottom()
	base := settledMap(m)
	want := make([]shown, blocks)
	for lb := int64(0); lb < blocks; {
		q, err := p.maps.Lookup(m, lb, blocks-lb)
		ok(t, err)
		for i := range q.Len {
			if q.Mapped {
				want[lb+i] = shown{q.Dev + alloc.BlockID(i), q.Birth}
			}
		}
		lb += q.Len
	}
	return p, base, want
}

// storeyOn puts a random storey on a stack and its effect on what is shown.
func storeyOn(rng *rand.Rand, under *overlay, want []shown, id LayerID) *overlay {
	blocks := int64(len(want))
	lo := rng.Int64N(blocks)
	hi := lo + 1 + rng.Int64N(blocks-lo)
	switch k := rng.IntN(6); k {
	case 0, 1:
		for lb := range blocks {
			if (lo <= lb && lb < hi) == (k == 0) {
				want[lb] = shown{}
			}
		}
		return &overlay{under: under, kind: []storey{storeyRest, storeyWindow}[k], lo: lo, hi: hi}
	}
	o := &overlay{under: under}
	for range rng.IntN(30) {
		lb := rng.Int64N(blocks)
		pc := piece{n: 1 + rng.Int64N(min(12, blocks-lb))}
		if rng.IntN(3) > 0 {
			// near each other on the device too, so that neighbours are joined
			pc.dev, pc.birth = alloc.BlockID(1000+lb+int64(rng.IntN(2))*5000), id
		}
		o.set(lb, pc)
		for i := range pc.n {
			want[lb+i] = shown{}
			if pc.dev != 0 {
				want[lb+i] = shown{pc.dev + alloc.BlockID(i), id}
			}
		}
	}
	return o
}

func TestOverlayStacks(t *testing.T) {
	const blocks = 300
	p, base, first := overlayBase(t, blocks)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		top, want := base, append([]shown{}, first...)
		storeys := rng.IntN(6)
		for i := range storeys {
			top = storeyOn(rng, top, want, LayerID(100+i))
		}
		if m, depth := top.bottom(); depth != storeys || m != base.base {
			t.Fatalf("seed %d: %d storeys, want %d", seed, depth, storeys)
		}
		for range 200 {
			lb := rng.Int64N(blocks)
			most := 1 + rng.Int64N(blocks-lb)
			q, miss := top.lookup(p.maps, lb, most)
			if miss || q.n < 1 || q.n > most {
				t.Fatalf("seed %d: lookup of %d+%d: %+v, miss %v", seed, lb, most, q, miss)
			}
			for i := range q.n {
				got := shown{}
				if q.dev != 0 {
					got = shown{q.dev + alloc.BlockID(i), q.birth}
				}
				if got != want[lb+i] {
					t.Fatalf("seed %d: block %d is %+v, want %+v", seed, lb+i, got, want[lb+i])
				}
			}
			hi := lb + rng.Int64N(blocks-lb+1)
			var mapped int64
			for _, s := range want[lb:hi] {
				if s.dev != 0 {
					mapped++
				}
			}
			var n int64
			for at := lb; at < hi; { // in pieces of any size
				steps := 1 + rng.IntN(9)
				k, end, miss := top.count(p.maps, at, hi, &steps)
				if miss >= 0 || end <= at || end > hi || steps < 0 || steps > 0 && end < hi {
					t.Fatalf("seed %d: counted [%d, %d) up to %d, miss %d, %d steps left", seed, at, hi, end, miss, steps)
				}
				n, at = n+k, end
			}
			if n != mapped {
				t.Fatalf("seed %d: %d mapped in [%d, %d), want %d", seed, n, lb, hi, mapped)
			}
		}
	}
}

// Entries are disjoint, and neighbours that continue each other are one.
func TestOverlayJoins(t *testing.T) {
	one := func(lb int64, n int64, dev alloc.BlockID, birth LayerID) func(*overlay) {
		return func(o *overlay) { o.set(lb, piece{n, dev, birth}) }
	}
	for _, c := range []struct {
		what string
		sets []func(*overlay)
		want int
	}{
		{"one after the other", []func(*overlay){one(0, 2, 10, 1), one(2, 2, 12, 1)}, 1},
		{"one before the other", []func(*overlay){one(2, 2, 12, 1), one(0, 2, 10, 1)}, 1},
		{"a gap filled", []func(*overlay){one(0, 2, 10, 1), one(4, 2, 14, 1), one(2, 2, 12, 1)}, 1},
		{"elsewhere on the device", []func(*overlay){one(0, 2, 10, 1), one(2, 2, 13, 1)}, 2},
		{"another birth", []func(*overlay){one(0, 2, 10, 1), one(2, 2, 12, 2)}, 2},
		{"holes", []func(*overlay){one(0, 2, 0, 0), one(2, 2, 0, 0)}, 1},
		{"a hole behind blocks", []func(*overlay){one(0, 2, 10, 1), one(2, 2, 0, 1)}, 2},
		{"the middle replaced", []func(*overlay){one(0, 6, 10, 1), one(2, 2, 50, 1)}, 3},
		{"the middle put back", []func(*overlay){one(0, 6, 10, 1), one(2, 2, 50, 1), one(2, 2, 12, 1)}, 1},
		{"all replaced", []func(*overlay){one(0, 1, 10, 1), one(2, 1, 20, 1), one(4, 1, 30, 1), one(0, 9, 40, 1)}, 1},
	} {
		o := &overlay{under: settledMap(overlay{}.base)}
		for _, set := range c.sets {
			set(o)
		}
		if o.entries.Len() != c.want {
			t.Errorf("%s: %d entries, want %d", c.what, o.entries.Len(), c.want)
		}
	}
}
