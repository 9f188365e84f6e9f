package meta

import (
	"bytes"
	"sync"
	"testing"

	"slatefs/alloc"
)

// mapTestDev is a sparse device in memory.
type mapTestDev struct {
	mu    sync.Mutex
	pages map[int64][]byte
	reads int
}

func (d *mapTestDev) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	for i := 0; i < len(p); i += PageSize {
		if b, ok := d.pages[off+int64(i)]; ok {
			copy(p[i:i+PageSize], b)
		} else {
			clear(p[i : i+PageSize])
		}
	}
	return len(p), nil
}

func (d *mapTestDev) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(p); i += PageSize {
		d.pages[off+int64(i)] = bytes.Clone(p[i : i+PageSize])
	}
	return len(p), nil
}

const (
	mapTestTotal = int64(1) << 33 // blocks of the pool
	mapTestStore = 1 << 32        // the store's extents begin here, guest blocks below
)

// newTestMaps makes a store that grows when it is full.
func newTestMaps(t testing.TB, cacheBytes int64) (*Maps, *mapTestDev) {
	d := &mapTestDev{pages: map[int64][]byte{}}
	s := NewStore(d, mapTestTotal, cacheBytes)
	next := alloc.BlockID(mapTestStore)
	s.Refill = func() error {
		r := alloc.Run{Start: next, Len: ExtentPages}
		next += ExtentPages
		return s.AddExtent(r)
	}
	t.Cleanup(func() {
		if err := s.Err(); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	return &Maps{Store: s}, d
}

type mapFatal interface {
	Helper()
	Fatalf(string, ...any)
}

// mapPages returns the pages of a map.
func mapPages(t mapFatal, ms *Maps, m Map) map[Ptr]uint8 {
	t.Helper()
	out := map[Ptr]uint8{}
	err := ms.Pages(m, func(p Ptr, _ int64, bits uint8) (bool, error) {
		if _, ok := out[p]; ok {
			t.Fatalf("page %v is reached twice", p)
		}
		out[p] = bits
		return true, nil
	})
	if err != nil {
		t.Fatalf("pages: %v", err)
	}
	return out
}

// mapRuns returns the mapped pieces of a map, joined.
func mapRuns(t mapFatal, ms *Maps, m Map) []Piece {
	t.Helper()
	var out []Piece
	if err := ms.Runs(m, 0, MapMaxBlocks, func(p Piece) error {
		if n := len(out); n > 0 && out[n-1].End() > p.Start {
			t.Fatalf("%v after %v", p, out[n-1])
		}
		out = appendPiece(out, p)
		return nil
	}); err != nil {
		t.Fatalf("runs: %v", err)
	}
	return out
}

// checkMap verifies the shape of a map and that decoding its pages gives what is in memory.
func checkMap(t mapFatal, ms *Maps, m Map) {
	t.Helper()
	if m.Bits == 0 {
		if m != (Map{}) {
			t.Fatalf("empty map is not zero: %+v", m)
		}
		return
	}
	b := m.Marshal()
	back, err := UnmarshalMap(b[:])
	if err != nil || back != m {
		t.Fatalf("marshal: %+v became %+v: %v", m, back, err)
	}
	checkEntry(t, ms, &m.root, 0, m.Bits)
}

func checkEntry(t mapFatal, ms *Maps, e *mapEntry, base int64, bits uint8) {
	t.Helper()
	if e.kind != slotLeaf && e.kind != slotInner {
		return
	}
	v, err := ms.page(e, base, bits)
	if err != nil {
		t.Fatalf("page: %v", err)
	}
	if (e.ptr.Twin != 0) != (e.kind == slotInner) {
		t.Fatalf("twin of %v, kind %d", e.ptr, e.kind)
	}
	if l, ok := v.(*mapLeaf); ok {
		if len(l.runs) < 2 {
			t.Fatalf("leaf of %d runs at %d", len(l.runs), base)
		}
		for i := 1; i < len(l.runs); i++ {
			if l.runs[i-1].piece(base).joins(l.runs[i].piece(base)) {
				t.Fatalf("runs %d and %d of the leaf at %d are not joined", i-1, i, base)
			}
		}
		checkCodec(t, v, l.encode())
		return
	}
	n := v.(*mapInner)
	checkCodec(t, v, n.encode())
	_ = n.each(func(c *mapEntry, cbase int64, cbits uint8) error {
		checkEntry(t, ms, c, cbase, cbits)
		return nil
	})
}

func checkCodec(t mapFatal, v any, page []byte) {
	t.Helper()
	back, err := decodeMapPage(page)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	same := false
	switch p := back.(type) {
	case *mapLeaf:
		o := v.(*mapLeaf)
		same = p.mapFacts == o.mapFacts && bytes.Equal(p.encode(), o.encode())
	case *mapInner:
		same = *p == *v.(*mapInner)
	}
	if !same {
		t.Fatalf("a page of the map decodes to something else")
	}
}

// change applies pieces, frees what died and checks the accounting of pages.
func change(t mapFatal, ms *Maps, m Map, ps []Piece, layer Birth) Map {
	t.Helper()
	before := mapPages(t, ms, m)
	var dead []Ptr
	now, err := ms.Apply(m, ps, layer, func(p Ptr) { dead = append(dead, p) })
	if err != nil {
		t.Fatalf("apply %v: %v", ps, err)
	}
	account(t, ms, before, dead, layer, now)
	return now
}

// account checks that the pages before are those now or dead, and frees the dead.
func account(t mapFatal, ms *Maps, before map[Ptr]uint8, dead []Ptr, layer Birth, now ...Map) {
	t.Helper()
	after := map[Ptr]uint8{}
	for _, m := range now {
		for p, bits := range mapPages(t, ms, m) {
			if _, ok := after[p]; ok {
				t.Fatalf("page %v is in two maps", p)
			}
			after[p] = bits
			if _, old := before[p]; !old && p.Birth != layer {
				t.Fatalf("new page %v not born in layer %d", p, layer)
			}
		}
	}
	for _, p := range dead {
		if _, ok := before[p]; !ok {
			t.Fatalf("dead page %v was not in the map, or is dead twice", p)
		}
		if _, ok := after[p]; ok {
			t.Fatalf("dead page %v is in use", p)
		}
		delete(before, p)
		ms.Store.Free(p)
	}
	for p := range before {
		if _, ok := after[p]; !ok {
			t.Fatalf("page %v leaked", p)
		}
	}
}

// usedBy is what UsedPages must be.
func usedBy(t mapFatal, ms *Maps, maps ...Map) int {
	n := 0
	for _, m := range maps {
		for p := range mapPages(t, ms, m) {
			n += p.Copies()
		}
	}
	return n
}
