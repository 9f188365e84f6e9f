package meta

import (
	"errors"
	"testing"

	"slatefs/alloc"
)

// What Ahead has come to is in memory: who goes through the map reads nothing more from the device, but for pages that it could
// not read, which are named to him.
func TestMapAhead(t *testing.T) {
	ms, d := newTestMaps(t, 64<<20)
	var pieces []Piece
	for lb := int64(0); lb < 1<<21; lb += 64 { // leaves, and inner pages of leaves
		pieces = append(pieces, mapped(lb, 1, alloc.BlockID(1+2*lb), 3))
	}
	for lb := int64(1 << 22); lb < 1<<22+8192; lb++ {
		pieces = append(pieces, mapped(lb, 1, alloc.BlockID(1<<30+2*lb), 3))
	}
	m := change(t, ms, Map{}, pieces, 3)
	must(t, ms.Store.Flush())
	pages := len(mapPages(t, ms, m))

	const limit = 40
	all := func(int64, int64) bool { return true }
	ms.Store.SetCacheBytes(0)
	ms.Store.SetCacheBytes(64 << 20)
	var got []Piece
	calls, before := 0, d.reads
	for from := int64(0); from < m.end(); calls++ {
		to := ms.Ahead(m, from, limit, all)
		if to <= from {
			t.Fatalf("from %d to %d", from, to)
		}
		was := d.reads
		must(t, ms.Runs(m, from, to, func(p Piece) error { got = append(got, p); return nil }))
		if n := d.reads - was; n != 0 {
			t.Errorf("%d pages of [%d, %d) were read again", n, from, to)
		}
		from = to
	}
	if n := d.reads - before; n != pages || calls < pages/(limit+mapSlots) {
		t.Errorf("%d reads of %d pages in %d calls", n, pages, calls)
	}
	var n int64
	for _, p := range got {
		n += p.Len
	}
	if n != int64(len(pieces)) {
		t.Errorf("%d blocks, want %d", n, len(pieces))
	}

	ms.Store.SetCacheBytes(0)
	ms.Store.SetCacheBytes(64 << 20)
	was := d.reads
	one := func(lo, hi int64) bool { return lo < 1<<22+100 && hi > 1<<22 }
	if to := ms.Ahead(m, 0, limit, one); to != m.end() || d.reads-was > mapLevels+2 {
		t.Errorf("of one leaf, up to %d of %d: %d pages", to, m.end(), d.reads-was)
	}

	ms.Store.SetCacheBytes(0)
	ms.Store.SetCacheBytes(64 << 20)
	clear(d.pages) // nothing is there any more
	if to := ms.Ahead(m, 0, limit, all); to <= 0 {
		t.Errorf("to %d", to)
	}
	if err := ms.Runs(m, 0, m.end(), func(Piece) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a map that cannot be read: %v", err)
	}
	if to := ms.Ahead(Map{}, 7, limit, all); to != 8 {
		t.Errorf("of an empty map: %d", to)
	}
}
