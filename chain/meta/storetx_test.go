package meta

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"slatefs/alloc"
)

// state is all that a transaction that is undone must leave as it was.
func (s *Store) state() map[string]any {
	out := map[string]any{"used": s.used, "free": s.free.Load(), "dirty": len(s.dirty), "sums": fmt.Sprint(s.sums)}
	for b, d := range s.dirty {
		out[fmt.Sprint("dirty ", b)] = []any{d.key, d.copies, d.sealed, d.freed}
	}
	for _, e := range s.ext {
		moved := e.moved
		for k := range moved {
			moved[k] &= e.used[k]
		}
		out[fmt.Sprint("extent ", e.start)] = []bitmap{e.used, e.free, e.pend, e.seal, e.hold, e.kept, e.words, e.disk, moved}
	}
	return out
}

// mess puts and frees pages at random; live are those in use.
func mess(t *testing.T, s *Store, rng *rand.Rand, live map[alloc.BlockID]Ptr, n int) {
	t.Helper()
	for range n {
		if rng.IntN(5) < 2 {
			if len(live) == 0 {
				continue
			}
			p := live[slices.Sorted(maps.Keys(live))[rng.IntN(len(live))]]
			delete(live, p.Addr)
			switch rng.IntN(3) {
			case 0:
				s.Free(p)
			case 1:
				s.FreeSensitive(p)
			case 2:
				for _, b := range copies(p) {
					s.FreeAddr(b)
				}
			}
			continue
		}
		p, err := s.Put(rawPage(rng.Uint64()), rng.IntN(2) == 0, 0, nil)
		if errors.Is(err, ErrNoPages) {
			continue
		}
		must(t, err)
		live[p.Addr] = p
	}
}

func TestUndoLeavesNothing(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := NewStore(newDisk(), testTotal, 1<<20)
		addExtents(t, s, 4, 32)
		live := map[alloc.BlockID]Ptr{}
		for range 6 {
			mess(t, s, rng, live, 30)
			if rng.IntN(3) == 0 {
				checkpoint(t, s)
				mess(t, s, rng, live, 10)
			}
			was := s.state()
			before := maps.Clone(live)
			s.Begin()
			mess(t, s, rng, live, 40)
			s.Undo()
			if is := s.state(); !reflect.DeepEqual(was, is) {
				for k := range was {
					if !reflect.DeepEqual(was[k], is[k]) {
						t.Errorf("seed %d: %s: was %v, is %v", seed, k, was[k], is[k])
					}
				}
				t.Fatalf("seed %d: undo left something", seed)
			}
			live = before
			for _, p := range live {
				if _, err := s.Get(p, rawNumber); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			must(t, s.Err())
		}
	}
}

func TestSealedTransactionHolds(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		d := newDisk()
		s := NewStore(d, testTotal, 1<<20)
		addExtents(t, s, 16, 32)
		live := map[alloc.BlockID]Ptr{}
		for range 6 {
			mess(t, s, rng, live, 20)
			s.Begin()
			mess(t, s, rng, live, 20)
			root := checkpoint(t, s)
			must(t, s.Err())
			s.Undo() // of nothing
			o := reopen(t, d, root)
			want := mapCopies(s)
			for _, p := range live {
				want += p.Copies()
				if _, err := o.Get(p, rawNumber); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if s.UsedPages() != want || o.UsedPages() != want || s.DirtyPages() != 0 {
				t.Fatalf("seed %d: %d pages in use, %d on the device, want %d; %d dirty", seed, s.UsedPages(), o.UsedPages(), want, s.DirtyPages())
			}
		}
	}
}

func TestFailedSealCanBeUndone(t *testing.T) {
	s := NewStore(newDisk(), testTotal, 1<<20)
	addExtents(t, s, 1, 32)
	a := put(t, s, 1, false)
	checkpoint(t, s)
	was := s.state()
	s.Begin()
	s.Free(a)
	for { // until nothing is left for the free map
		if _, err := s.Put(rawPage(2), false, 0, nil); err != nil {
			break
		}
	}
	if _, err := s.Seal(); !errors.Is(err, ErrNoPages) {
		t.Fatalf("seal without pages: %v", err)
	}
	s.Undo()
	if is := s.state(); !reflect.DeepEqual(was, is) {
		t.Fatalf("was %v\nis  %v", was, is)
	}
	wantNumber(t, s, a, 1)
}
