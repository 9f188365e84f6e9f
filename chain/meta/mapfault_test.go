package meta

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"slatefs/alloc"
)

// limitedMaps has room for n more pages and no refill.
func limitedMaps(t *testing.T, n int64) *Maps {
	s := NewStore(&mapTestDev{pages: map[int64][]byte{}}, mapTestTotal, 1<<20)
	if err := s.AddExtent(alloc.Run{Start: mapTestStore, Len: n}); err != nil {
		t.Fatal(err)
	}
	return &Maps{Store: s}
}

// Whatever page cannot be had, a change that fails changes nothing.
func TestMapNoPages(t *testing.T) {
	var first, second []Piece
	for i := range int64(300) {
		first = append(first, mapped(i*3000, 1, alloc.BlockID(1+2*i), 1))
		second = append(second, mapped(i*3000+7, 1, alloc.BlockID(5000+2*i), 2))
	}
	fails := 0
	for n := int64(1); n <= 600; n += 13 {
		ms := limitedMaps(t, n)
		dead := func(Ptr) { t.Error("dead page in a change that failed") }
		m, err := ms.Apply(Map{}, first, 1, dead)
		if err != nil {
			if fails++; !errors.Is(err, ErrNoPages) || ms.Store.UsedPages() != 0 || m != (Map{}) {
				t.Fatalf("%d pages: %d in use: %v", n, ms.Store.UsedPages(), err)
			}
			continue
		}
		used := ms.Store.UsedPages()
		tries := []func(func(Ptr)) error{
			func(dead func(Ptr)) error {
				_, err := ms.Apply(m, second, 2, dead)
				return err
			},
			func(dead func(Ptr)) error {
				_, _, err := ms.Cut(m, 3000*100-5, 3000*200+5, 2, dead)
				return err
			},
		}
		for i, try := range tries {
			var lost []Ptr
			err := try(func(p Ptr) { lost = append(lost, p) })
			if err == nil {
				break // there is room: its pages stay, and nothing fails from here on
			}
			fails++
			if !errors.Is(err, ErrNoPages) || len(lost) > 0 || ms.Store.UsedPages() != used {
				t.Fatalf("%d pages, try %d: %d dead, %d in use, %d before: %v", n, i, len(lost), ms.Store.UsedPages(), used, err)
			}
			if got := mapRuns(t, ms, m); !slices.Equal(got, first) {
				t.Fatalf("%d pages, try %d: the old map changed", n, i)
			}
		}
	}
	if fails < 15 {
		t.Errorf("only %d failures", fails)
	}
}

func TestMapBadPieces(t *testing.T) {
	ms, _ := newTestMaps(t, 1<<20)
	ok := mapped(100, 10, 50, 2)
	for name, ps := range map[string][]Piece{
		"empty":         {{Start: 3}},
		"negative":      {{Start: -1, Len: 5}},
		"negative len":  {{Start: 1, Len: -5}},
		"order":         {ok, mapped(50, 1, 9, 2)},
		"overlap":       {ok, mapped(109, 1, 9, 2)},
		"too far":       {mapped(MapMaxBlocks-1, 2, 9, 2)},
		"overflow":      {mapped(1, 1<<62, 9, 2)},
		"block 0":       {mapped(1, 1, 0, 2)},
		"off the pool":  {mapped(1, 10, alloc.BlockID(mapTestTotal-9), 2)},
		"beyond 40 bit": {mapped(1, 1, 1<<40, 2)},
		"from future":   {mapped(1, 1, 9, 4)},
	} {
		if m, err := ms.Apply(Map{}, ps, 3, nil); !errors.Is(err, ErrInvalid) || m != (Map{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ms.Apply(Map{}, []Piece{ok}, 1<<48, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("layer of 49 bits: %v", err)
	}
	if _, err := ms.Lookup(Map{}, 0, 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("lookup of nothing: %v", err)
	}
	if _, _, err := ms.Cut(Map{}, 5, 4, 1, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("cut backwards: %v", err)
	}
	m, err := ms.Apply(Map{}, []Piece{ok, mapped(200, 1, 9, 3), mapped(9000, 1, 9, 3)}, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ms.Apply(m, []Piece{mapped(150, 1, 70, 1)}, 2, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("page older than its content: %v", err)
	}
}

// faultMap has a root of 19 bits, a leaf and a split region.
func faultMap(t *testing.T, ms *Maps) Map {
	var ps []Piece
	for i := range int64(400) {
		ps = append(ps, mapped(20*i, 1, alloc.BlockID(1+2*i), 1))
	}
	for i := range int64(50) {
		ps = append(ps, mapped(8192+20*i, 1, alloc.BlockID(1001+2*i), 1))
	}
	m, err := ms.Apply(Map{}, ps, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A page that is good by itself but not the one that its slot means is not followed.
func TestMapWrongPage(t *testing.T) {
	ms, _ := newTestMaps(t, 1<<20)
	m := faultMap(t, ms)
	n, err := ms.inner(&m.root, 0, 19)
	if err != nil {
		t.Fatal(err)
	}
	split, leaf := n.slots[0], n.slots[1]
	for name, c := range map[string]struct {
		e    mapEntry
		base int64
		bits uint8
	}{
		"another region": {leaf, 16384, 13},
		"smaller region": {leaf, 8192, 12},
		"count":          {mapEntry{kind: slotLeaf, count: 49, ptr: leaf.ptr}, 8192, 13},
		"leaf as inner":  {mapEntry{kind: slotInner, count: 50, ptr: leaf.ptr}, 8192, 13},
		"inner as leaf":  {mapEntry{kind: slotLeaf, count: split.count, ptr: split.ptr}, 0, 13},
		"its own parent": {m.root, 0, 13},
		"younger inside": {mapEntry{kind: slotLeaf, count: 50, ptr: Ptr{Addr: leaf.ptr.Addr, Sum: leaf.ptr.Sum}}, 8192, 13},
	} {
		if _, err := ms.page(&c.e, c.base, c.bits); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ms.Store.SetTotal(1000)
	if _, err := ms.page(&leaf, 8192, 13); !errors.Is(err, ErrCorrupt) {
		t.Errorf("run off the device: %v", err)
	}
	if _, miss := ms.LookupCached(m, 8192, 1); !miss {
		t.Error("wrong page answered from the cache")
	}
}

// A rotten leaf is a named error on its region; the rest goes on, and it can be overwritten and dropped.
func TestMapRottenLeaf(t *testing.T) {
	ms, d := newTestMaps(t, 0)
	m := faultMap(t, ms)
	if err := ms.Store.Flush(); err != nil {
		t.Fatal(err)
	}
	var leaf Ptr
	if err := ms.Pages(m, func(p Ptr, base int64, bits uint8) (bool, error) {
		if base == 8192 {
			leaf = p
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	d.pages[int64(leaf.Addr)*PageSize] = bytes.Repeat([]byte{1}, PageSize)
	none := func(Ptr) {}
	_, errLookup := ms.Lookup(m, 8200, 1)
	_, errApply := ms.Apply(m, []Piece{{Start: 8200, Len: 1}}, 1, none)
	_, _, errCut := ms.Cut(m, 8200, 9000, 1, none)
	errRuns := ms.Runs(m, 0, 9000, func(Piece) error { return nil })
	next, done, errStep := ms.Step(m, 0, 1<<20, func(Ptr) bool { return true }, func(Piece) {}, none)
	for _, err := range []error{errLookup, errApply, errCut, errRuns, errStep} {
		var pe *PageError
		if !errors.Is(err, ErrCorrupt) || !errors.As(err, &pe) || pe.Addr != leaf.Addr {
			t.Errorf("rotten leaf: %v", err)
		}
	}
	if next != 8192 || done {
		t.Errorf("step stopped at %d", next)
	}
	if p, err := ms.Lookup(m, 20, 1); err != nil || !p.Mapped {
		t.Errorf("other region: %+v: %v", p, err)
	}
	if _, err := ms.Apply(m, []Piece{mapped(8192, 8192, 1<<20, 1)}, 1, none); err != nil {
		t.Errorf("overwriting all of it: %v", err)
	}
	if _, err := ms.Apply(m, []Piece{{Start: 0, Len: 1 << 20}}, 1, none); err != nil {
		t.Errorf("dropping it: %v", err)
	}
}

// An error of a callback ends the walk and comes back as it is.
func TestMapCallbackErrors(t *testing.T) {
	ms, _ := newTestMaps(t, 1<<20)
	m := faultMap(t, ms)
	stop, n := errors.New("stop"), 0
	if err := ms.Runs(m, 0, 1<<40, func(Piece) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("runs: %v after %d", err, n)
	}
	n = 0
	if err := ms.Pages(m, func(Ptr, int64, uint8) (bool, error) { n++; return true, stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("pages: %v after %d", err, n)
	}
	n = 0
	if err := ms.Pages(m, func(Ptr, int64, uint8) (bool, error) { n++; return false, nil }); err != nil || n != 1 {
		t.Errorf("pages not descended: %v, %d", err, n)
	}
}
