package meta

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"slatefs/alloc"
)

// whole: each page of an extent is in one state, and what is free was counted.
func (s *Store) whole(t *testing.T) {
	t.Helper()
	free, spare := 0, 0
	for _, e := range s.ext {
		for i := range e.n {
			n := 0
			for _, m := range []*bitmap{&e.used, &e.free, &e.pend, &e.seal, &e.hold, &e.kept} {
				if m.has(i) {
					n++
				}
			}
			if n != 1 {
				t.Fatalf("page %d is in %d states", e.start+alloc.BlockID(i), n)
			}
			if e.kept.has(i) && !e.words.has(i) {
				spare++
			}
		}
		free += e.free.count()
	}
	if s.FreePages() != free+spare {
		t.Fatalf("%d pages are free and %d kept, counted %d", free, spare, s.FreePages())
	}
}

// What a pin keeps reads as it did, whatever is put, freed, sealed and scrubbed meanwhile; when it goes nothing has been lost.
func TestPin(t *testing.T) {
	broken := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		d := newDisk()
		s := NewStore(d, testTotal, 1<<20)
		addExtents(t, s, 8, 32)
		live := map[alloc.BlockID]Ptr{}
		mess(t, s, rng, live, 40)
		root := checkpoint(t, s)
		then := slices.Collect(maps.Values(live))
		pin := s.Pin(2 + rng.IntN(40))
		for range 8 {
			mess(t, s, rng, live, 15)
			if rng.IntN(2) == 0 {
				s.Begin()
				mess(t, s, rng, live, 10)
			}
			checkpoint(t, s)
			must(t, s.Scrub())
			must(t, s.Err())
			s.whole(t)
			if pin.Broken() {
				continue
			}
			view := reopen(t, d, root) // of the checkpoint that was pinned
			for _, p := range then {
				if _, err := view.Get(p, rawNumber); err != nil {
					t.Fatalf("seed %d: a pinned page: %v", seed, err)
				}
			}
		}
		if !pin.Release() {
			broken++
		}
		pin.Release()
		s.whole(t)
		for range 2 {
			checkpoint(t, s)
			must(t, s.Scrub())
		}
		if used, free := s.UsedPages(), s.FreePages(); used+free > 8*32 || used+free < 8*32-20 {
			t.Fatalf("seed %d: %d pages are used and %d free, of %d", seed, used, free, 8*32)
		}
	}
	if broken == 0 || broken == 60 {
		t.Errorf("%d of 60 pins were broken", broken)
	}
}

// Nobody lacks a page that a pin keeps.
func TestPinGivesWay(t *testing.T) {
	s := NewStore(newDisk(), testTotal, 1<<20)
	addExtents(t, s, 2, 32)
	var all []Ptr
	for {
		p, err := s.Put(rawPage(1), false, 0, nil)
		if errors.Is(err, ErrNoPages) {
			break
		}
		must(t, err)
		if all = append(all, p); len(all) == 40 {
			break
		}
	}
	checkpoint(t, s)
	pin := s.Pin(1000)
	for _, p := range all {
		s.Free(p)
	}
	checkpoint(t, s)
	if pin.Broken() || s.FreePages() < 40 {
		t.Fatalf("broken %v, %d pages are free", pin.Broken(), s.FreePages())
	}
	for n := range 40 {
		if _, err := s.Put(rawPage(2), false, 0, nil); err != nil {
			t.Fatalf("page %d: %v", n, err)
		}
	}
	if pin.Release() {
		t.Error("it is told that the pin held")
	}
}
