package meta

import (
	"math/rand"
	"slices"
	"testing"

	"slatefs/alloc"
)

// A count adds up what the runs say, and says which page it lacks: when that has been read it gets further.
func TestMapCount(t *testing.T) {
	ms, _ := newTestMaps(t, 64<<10)
	rng := rand.New(rand.NewSource(3))
	var ps []Piece
	for lb := int64(0); len(ps) < 20000; lb += 2 + rng.Int63n(1<<14) {
		n := 1 + rng.Int63n(4)
		ps = append(ps, mapped(lb, n, alloc.BlockID(1+8*len(ps)), 3))
		lb += n
	}
	slices.SortFunc(ps, func(a, b Piece) int { return int(a.Start - b.Start) })
	var m Map
	for i := 0; i < len(ps); i += 64 {
		m = change(t, ms, m, ps[i:min(i+64, len(ps))], 3)
	}
	if err := ms.Store.Flush(); err != nil { // else its pages are held in memory
		t.Fatal(err)
	}
	ms.Store.SetCacheBytes(256 << 10)
	missed := 0
	for range 300 {
		lo := rng.Int63n(m.end())
		hi := lo + rng.Int63n(m.end()-lo+1)
		var want uint64
		for _, p := range ps {
			if p.End() > lo && p.Start < hi {
				want += uint64(p.clip(lo, hi).Len)
			}
		}
		n, miss := ms.CountCached(m, lo, hi)
		for tries := 0; miss >= 0; tries++ {
			if miss < lo || miss >= hi || tries > 2*mapLevels+2 {
				t.Fatalf("[%d, %d): miss at %d after %d", lo, hi, miss, tries)
			}
			missed++
			if _, err := ms.Lookup(m, miss, 1); err != nil {
				t.Fatal(err)
			}
			n, miss = ms.CountCached(m, lo, hi)
		}
		if n != want {
			t.Fatalf("%d mapped in [%d, %d), want %d", n, lo, hi, want)
		}
	}
	if missed == 0 {
		t.Error("no page was missed")
	}
}
