package overlay

import (
	"errors"
	"math/rand/v2"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
)

// shown is what a map shows of one block.
type shown struct {
	dev   alloc.BlockID
	birth meta.Birth
}

// pages are maps on a device of 2,048 blocks.
func pages(t testing.TB) *meta.Maps {
	t.Helper()
	store := meta.NewStore(devtest.New(2048*alloc.BlockSize, 512), 1<<20, 1<<20)
	if err := store.AddExtent(alloc.Run{Start: 64, Len: 1024}); err != nil {
		t.Fatal(err)
	}
	return &meta.Maps{Store: store}
}

// base is a settled map of pages with all sorts of pieces, and what it shows.
func base(t testing.TB, maps *meta.Maps, blocks int64) (*Storey, []shown) {
	t.Helper()
	o, want := New(Settled(meta.Map{}), nil), make([]shown, blocks)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range int64(60) {
		p := Piece{Len: 1 + rng.Int64N(8), Dev: alloc.BlockID(10000 + 100*i), Birth: 1}
		at := rng.Int64N(blocks - p.Len)
		o.Set(at, p)
		show(want, at, p)
	}
	settle(t, maps, o)
	return o, want
}

// show is what Set does to what is shown.
func show(want []shown, at int64, p Piece) {
	for i := range p.Len {
		want[at+i] = shown{}
		if p.Dev != 0 {
			want[at+i] = shown{p.Dev + alloc.BlockID(i), p.Birth}
		}
	}
}

// settle builds stacks, all in one.
func settle(t testing.TB, maps *meta.Maps, tops ...*Storey) {
	t.Helper()
	b := Builder{For: func(Owner) (*meta.Maps, meta.Birth, func(meta.Ptr)) { return maps, 1000, func(meta.Ptr) {} }}
	for _, o := range tops {
		if m, err := b.Settle(o); err != nil || m != b.Map(o) {
			t.Fatalf("%v, %v", m == b.Map(o), err)
		}
	}
	b.Install()
	for _, o := range tops {
		if !o.Settled() || o.Len() != 0 || o.Base() != b.Map(o) {
			t.Fatalf("it is not settled: %+v", o)
		}
	}
}

// storeyOn puts a random storey on a stack and its effect on what is shown.
func storeyOn(rng *rand.Rand, under *Storey, want []shown, id meta.Birth) *Storey {
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
		left, out := Cut(under, nil, lo, hi)
		return []*Storey{left, out}[k]
	}
	o := New(under, nil)
	for range rng.IntN(30) {
		lb := rng.Int64N(blocks)
		pc := Piece{Len: 1 + rng.Int64N(min(12, blocks-lb))}
		if rng.IntN(3) > 0 {
			// near each other on the device too, so that neighbours are joined
			pc.Dev, pc.Birth = alloc.BlockID(1000+lb+int64(rng.IntN(2))*5000), id
		}
		o.Set(lb, pc)
		show(want, lb, pc)
	}
	return o
}

func TestStacks(t *testing.T) {
	const blocks = 300
	maps := pages(t)
	lowest, first := base(t, maps, blocks)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		top, want := lowest, append([]shown{}, first...)
		storeys := rng.IntN(6)
		for i := range storeys {
			top = storeyOn(rng, top, want, meta.Birth(100+i))
		}
		if m, depth := top.Bottom(); depth != storeys || m != lowest.Base() {
			t.Fatalf("seed %d: %d storeys, want %d", seed, depth, storeys)
		}
		compare(t, rng, maps, top, want)
		if rng.IntN(2) == 0 { // a part of it is settled, and what stands on that shows the same
			part := top
			for range rng.IntN(storeys + 1) {
				if !part.Settled() {
					part = part.under
				}
			}
			settle(t, maps, part)
			compare(t, rng, maps, top, want)
		}
		settle(t, maps, top)
		compare(t, rng, maps, top, want)
		if m, ok := top.Plain(); !ok || m != top.Base() {
			t.Fatalf("seed %d: something lies over a settled map", seed)
		}
	}
}

// compare looks up and counts at random, and compares with what is shown block by block.
func compare(t *testing.T, rng *rand.Rand, maps *meta.Maps, top *Storey, want []shown) {
	t.Helper()
	blocks := int64(len(want))
	for range 100 {
		lb := rng.Int64N(blocks)
		most := 1 + rng.Int64N(blocks-lb)
		q, miss := top.Lookup(maps, lb, most)
		if miss || q.Len < 1 || q.Len > most {
			t.Fatalf("lookup of %d+%d: %+v, miss %v", lb, most, q, miss)
		}
		for i := range q.Len {
			got := shown{}
			if q.Dev != 0 {
				got = shown{q.Dev + alloc.BlockID(i), q.Birth}
			}
			if got != want[lb+i] {
				t.Fatalf("block %d is %+v, want %+v", lb+i, got, want[lb+i])
			}
		}
		hi := lb + rng.Int64N(blocks-lb+1)
		var n, mapped int64
		for _, s := range want[lb:hi] {
			if s.dev != 0 {
				mapped++
			}
		}
		for at := lb; at < hi; { // in pieces of any size
			steps := 1 + rng.IntN(9)
			k, end, miss := top.Count(maps, at, hi, &steps)
			if miss >= 0 || end <= at || end > hi || steps < 0 || steps > 0 && end < hi {
				t.Fatalf("counted [%d, %d) up to %d, miss %d, %d steps left", at, hi, end, miss, steps)
			}
			n, at = n+k, end
		}
		if n != mapped {
			t.Fatalf("%d mapped in [%d, %d), want %d", n, lb, hi, mapped)
		}
	}
}

// Entries are disjoint, and neighbours that continue each other are one.
func TestJoins(t *testing.T) {
	one := func(lb int64, n int64, dev alloc.BlockID, birth meta.Birth) func(*Storey) {
		return func(o *Storey) { o.Set(lb, Piece{n, dev, birth}) }
	}
	for _, c := range []struct {
		what string
		sets []func(*Storey)
		want int
	}{
		{"one after the other", []func(*Storey){one(0, 2, 10, 1), one(2, 2, 12, 1)}, 1},
		{"one before the other", []func(*Storey){one(2, 2, 12, 1), one(0, 2, 10, 1)}, 1},
		{"a gap filled", []func(*Storey){one(0, 2, 10, 1), one(4, 2, 14, 1), one(2, 2, 12, 1)}, 1},
		{"elsewhere on the device", []func(*Storey){one(0, 2, 10, 1), one(2, 2, 13, 1)}, 2},
		{"another birth", []func(*Storey){one(0, 2, 10, 1), one(2, 2, 12, 2)}, 2},
		{"holes", []func(*Storey){one(0, 2, 0, 0), one(2, 2, 0, 0)}, 1},
		{"a hole behind blocks", []func(*Storey){one(0, 2, 10, 1), one(2, 2, 0, 1)}, 2},
		{"the middle replaced", []func(*Storey){one(0, 6, 10, 1), one(2, 2, 50, 1)}, 3},
		{"the middle put back", []func(*Storey){one(0, 6, 10, 1), one(2, 2, 50, 1), one(2, 2, 12, 1)}, 1},
		{"all replaced", []func(*Storey){one(0, 1, 10, 1), one(2, 1, 20, 1), one(4, 1, 30, 1), one(0, 9, 40, 1)}, 1},
	} {
		o := New(Settled(meta.Map{}), nil)
		for _, set := range c.sets {
			set(o)
		}
		if o.Len() != c.want {
			t.Errorf("%s: %d entries, want %d", c.what, o.Len(), c.want)
		}
	}
}

// A cut that comes to nothing leaves no storey: what lay over it goes into the one below, if both are of one head.
func TestSwallow(t *testing.T) {
	maps := pages(t)
	lowest, want := base(t, maps, 300)
	rng := rand.New(rand.NewPCG(3, 3))
	below := New(lowest, "head")
	top := New(below, "head")
	for i, o := range []*Storey{below, top} {
		for range 20 {
			p := Piece{Len: 1 + rng.Int64N(20), Dev: alloc.BlockID(50000 + rng.Int64N(100)), Birth: meta.Birth(50 + i)}
			at := rng.Int64N(280)
			o.Set(at, p)
			show(want, at, p)
		}
	}
	other := New(below, "another")
	if other.SwallowSome(below, 1); other.under != below {
		t.Error("the storey of another head was swallowed")
	}
	for top.SwallowSome(below, 1) {
		compare(t, rng, maps, top, want)
	}
	if _, depth := top.Bottom(); depth != 1 {
		t.Errorf("%d storeys", depth)
	}
	compare(t, rng, maps, top, want)
}

// What a failed build has made is forgotten: no storey has changed.
func TestBuildThatFails(t *testing.T) {
	maps := pages(t)
	lowest, want := base(t, maps, 300)
	below := New(lowest, "fails")
	top := New(below, "never asked")
	below.Set(3, Piece{Len: 1, Dev: 9, Birth: 1})
	show(want, 3, Piece{Len: 1, Dev: 9, Birth: 1})
	top.Set(4, Piece{Len: 1})
	show(want, 4, Piece{Len: 1})
	b := Builder{For: func(o Owner) (*meta.Maps, meta.Birth, func(meta.Ptr)) {
		if o != "fails" {
			t.Errorf("asked for %v", o)
		}
		return maps, 0, func(meta.Ptr) {} // births above the layer's are refused
	}}
	if _, err := b.Settle(top); !errors.Is(err, meta.ErrInvalid) || len(b.made) != 0 {
		t.Errorf("%v, %d made", err, len(b.made))
	}
	if top.Settled() || below.Settled() {
		t.Error("a storey was settled")
	}
	compare(t, rand.New(rand.NewPCG(1, 4)), maps, top, want)
}

// A lookup through 4 storeys of 1,000 entries each.
func BenchmarkLookup(b *testing.B) {
	maps := pages(b)
	top, _ := base(b, maps, 300)
	rng := rand.New(rand.NewPCG(1, 5))
	for range 4 {
		top = New(top, nil)
		for range 1000 {
			top.Set(rng.Int64N(1<<20), Piece{Len: 1 + rng.Int64N(4), Dev: 70000, Birth: 1})
		}
	}
	for b.Loop() {
		if q, miss := top.Lookup(maps, rng.Int64N(1<<20), 256); miss || q.Len == 0 {
			b.Fatal(q, miss)
		}
	}
}
