package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"slatefs/alloc"
)

// disk is a device in memory of which every write is durable at once: the worst
// case for pages that are reused too early.
type disk struct {
	mu     sync.Mutex
	pages  map[int64][]byte
	writes int
	fail   func(write bool, block int64) error
}

func newDisk() *disk { return &disk{pages: make(map[int64][]byte)} }

func (d *disk) each(p []byte, off int64, write bool, fn func(b int64, p []byte)) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off%PageSize != 0 || len(p)%PageSize != 0 {
		return 0, fmt.Errorf("misaligned %d+%d", off, len(p))
	}
	for n := 0; n < len(p); n += PageSize {
		b := (off + int64(n)) / PageSize
		if d.fail != nil {
			if err := d.fail(write, b); err != nil {
				return n, err
			}
		}
		fn(b, p[n:n+PageSize])
	}
	return len(p), nil
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	return d.each(p, off, false, func(b int64, p []byte) {
		clear(p)
		copy(p, d.pages[b])
	})
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	d.writes++
	d.mu.Unlock()
	return d.each(p, off, true, func(b int64, p []byte) { d.pages[b] = bytes.Clone(p) })
}

func (d *disk) flip(b alloc.BlockID, bit int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := bytes.Clone(d.pages[int64(b)])
	p[bit/8] ^= 1 << (bit % 8)
	d.pages[int64(b)] = p
}

func (d *disk) peek(b alloc.BlockID) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pages[int64(b)]
}

const testTotal = 1 << 20

// rawPage is a page with a number in it; decoding gives it back.
func rawPage(n uint64) []byte {
	p := make([]byte, PageSize)
	Header{Kind: KindGroup}.Marshal(p)
	binary.LittleEndian.PutUint64(p[100:], n)
	return p
}

func rawNumber(p []byte) (any, error) { return binary.LittleEndian.Uint64(p[100:]), nil }

func addExtents(t tester, s *Store, n int, size int64) {
	t.Helper()
	for i := range n {
		must(t, s.AddExtent(alloc.Run{Start: alloc.BlockID(1000 + 1000*i), Len: size}))
	}
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t tester, s *Store, n uint64, twin bool) Ptr {
	t.Helper()
	p, err := s.Put(rawPage(n), twin, 7, nil)
	must(t, err)
	return p
}

// checkpoint makes everything durable and returns the root.
func checkpoint(t tester, s *Store) Ptr {
	t.Helper()
	root, err := s.Seal()
	must(t, err)
	must(t, s.Flush())
	s.Durable()
	must(t, s.Scrub())
	return root
}

func wantNumber(t tester, s *Store, p Ptr, n uint64) {
	t.Helper()
	v, err := s.Get(p, rawNumber)
	must(t, err)
	if v != n {
		t.Fatalf("%v: got %v, want %d", p, v, n)
	}
}

func reopen(t tester, d *disk, root Ptr) *Store {
	t.Helper()
	s := NewStore(d, testTotal, 1<<20)
	must(t, s.LoadMap(root))
	return s
}

func TestPutGetFlushReopen(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 3, 64)
	a, b := put(t, s, 1, false), put(t, s, 2, true)
	wantNumber(t, s, a, 1)
	wantNumber(t, s, b, 2)
	if a.Twin != 0 || b.Twin == 0 || a.Birth != 7 {
		t.Fatalf("a %v, b %v", a, b)
	}
	if x, y := b.Addr/1000, b.Twin/1000; x == y {
		t.Fatalf("twin in the same extent: %v", b)
	}
	root := checkpoint(t, s)
	if s.DirtyPages() != 0 {
		t.Fatalf("%d dirty pages after the checkpoint", s.DirtyPages())
	}
	s2 := reopen(t, d, root)
	wantNumber(t, s2, a, 1)
	wantNumber(t, s2, b, 2)
	if v, ok := s2.Cached(b); !ok || v != uint64(2) {
		t.Fatal("not cached after Get")
	}
	if s2.UsedPages() != s.UsedPages() || s2.FreePages() != s.FreePages() {
		t.Fatalf("used %d free %d, want %d %d", s2.UsedPages(), s2.FreePages(), s.UsedPages(), s.FreePages())
	}
	if again, err := s2.Seal(); err != nil || again != root || s2.DirtyPages() != 0 {
		t.Fatalf("a Seal without changes: %v, %v", again, err)
	}
	if got, want := fmt.Sprint(s2.Extents()), fmt.Sprint(s.Extents()); got != want {
		t.Fatalf("extents %s, want %s", got, want)
	}
}

func TestFlushMergesNeighbours(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 256)
	for i := range 100 {
		put(t, s, uint64(i), true)
	}
	must(t, s.Flush())
	if d.writes > 2 {
		t.Fatalf("%d writes for two rows of pages", d.writes)
	}
}

func TestReuseOnlyAfterDurable(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	must(t, s.AddExtent(alloc.Run{Start: 1000, Len: 16}))
	old := put(t, s, 1, false)
	dropped := put(t, s, 2, false)
	s.Free(dropped)
	if p := put(t, s, 3, false); p.Addr != dropped.Addr {
		t.Fatalf("a page that was never written is not reused: %v", p)
	}
	checkpoint(t, s)
	s.Free(old)
	taken := func() bool {
		var list []Ptr
		found := false
		for s.FreePages() > 0 {
			p := put(t, s, 9, false)
			found = found || p.Addr == old.Addr
			list = append(list, p)
		}
		for _, p := range list {
			s.Free(p)
		}
		return found
	}
	if taken() {
		t.Fatal("reused before the Seal")
	}
	if _, err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	must(t, s.Flush())
	if taken() {
		t.Fatal("reused before Durable")
	}
	s.Durable()
	if !taken() {
		t.Fatal("not reused after Durable")
	}
}

func TestSealedPageIsNotDropped(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 64)
	p := put(t, s, 5, true)
	root, err := s.Seal()
	must(t, err)
	s.Free(p) // by the next generation, before this one is written
	q := put(t, s, 6, true)
	if q.Addr == p.Addr || q.Twin == p.Twin {
		t.Fatal("a sealed page's place was reused")
	}
	must(t, s.Flush())
	s.Durable()
	wantNumber(t, reopen(t, d, root), p, 5)
	root = checkpoint(t, s)
	if reopen(t, d, root).InUse(p.Addr) {
		t.Fatal("still in use a generation later")
	}
}

func TestRefillAndNoPages(t *testing.T) {
	s := NewStore(newDisk(), testTotal, 0)
	if _, err := s.Put(rawPage(1), true, 0, nil); !errors.Is(err, ErrNoPages) {
		t.Fatal(err)
	}
	calls := 0
	s.Refill = func() error {
		calls++
		return s.AddExtent(alloc.Run{Start: alloc.BlockID(1000 * calls), Len: 4})
	}
	for i := range 4 {
		put(t, s, uint64(i), true)
	}
	if calls != 2 || len(s.Extents()) != 2 {
		t.Fatalf("%d calls, extents %v", calls, s.Extents())
	}
	boom := errors.New("boom")
	s.Refill = func() error { return boom }
	if _, err := s.Put(rawPage(1), false, 0, nil); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	used := s.UsedPages()
	if _, err := s.Seal(); !errors.Is(err, ErrNoPages) {
		t.Fatal(err)
	}
	if s.UsedPages() != used || s.FreePages() != 0 {
		t.Fatal("a Seal that fails changed something")
	}
	must(t, s.AddExtent(alloc.Run{Start: 9000, Len: 4}))
	if _, err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(make([]byte, 7), false, 0, nil); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
}

// A Seal that fails half-way, with old pages of the map already given up,
// leaves the store as it was.
func TestSealFailureIsUndone(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	var keep []Ptr
	for i := range 200 { // three chunks and an index page
		must(t, s.AddExtent(alloc.Run{Start: alloc.BlockID(1000 + 10*i), Len: 2}))
	}
	for i := range 180 {
		keep = append(keep, put(t, s, uint64(i), true))
	}
	checkpoint(t, s)
	for s.FreePages() > 3 {
		keep = append(keep, put(t, s, 1, true))
	}
	used, free := s.UsedPages(), s.FreePages()
	if _, err := s.Seal(); !errors.Is(err, ErrNoPages) {
		t.Fatal(err)
	}
	if s.UsedPages() != used || s.FreePages() != free {
		t.Fatalf("used %d free %d, want %d %d", s.UsedPages(), s.FreePages(), used, free)
	}
	must(t, s.AddExtent(alloc.Run{Start: 9000, Len: 64}))
	root := checkpoint(t, s)
	s2 := reopen(t, d, root)
	if n := 2*len(keep) + mapCopies(s2); s2.UsedPages() != n {
		t.Fatalf("used %d, want %d", s2.UsedPages(), n)
	}
	for i := range 180 {
		wantNumber(t, s2, keep[i], uint64(i))
	}
}

func mapCopies(s *Store) int {
	n := 0
	s.MapPages(func(p Ptr) { n += p.Copies() })
	return n
}

func TestAddExtent(t *testing.T) {
	s := NewStore(newDisk(), 10000, 0)
	must(t, s.AddExtent(alloc.Run{Start: 100, Len: 600}))
	must(t, s.AddExtent(alloc.Run{Start: 100, Len: 600}))
	if s.FreePages() != 600 || len(s.Extents()) != 3 {
		t.Fatalf("free %d, extents %v", s.FreePages(), s.Extents())
	}
	for _, r := range []alloc.Run{
		{Start: 0, Len: 4},
		{Start: 50, Len: 51},
		{Start: 699, Len: 4},
		{Start: 100, Len: 100},
		{Start: 9999, Len: 2},
		{Start: 5, Len: 0},
	} {
		if err := s.AddExtent(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: %v", r, err)
		}
	}
	s.SetTotal(20000)
	must(t, s.AddExtent(alloc.Run{Start: 9999, Len: 2}))
	if s.Total() != 20000 || s.FreePages() != 602 {
		t.Fatal("the pool did not grow")
	}
}

func TestWrongFreeStopsTheCheckpoint(t *testing.T) {
	s := NewStore(newDisk(), testTotal, 0)
	addExtents(t, s, 2, 64)
	p := put(t, s, 1, false)
	s.FreeAddr(p.Addr)
	must(t, s.Err())
	s.FreeAddr(p.Addr)
	if !errors.Is(s.Err(), ErrCorrupt) {
		t.Fatal(s.Err())
	}
	if _, err := s.Seal(); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestFreeAddrOfEachCopy(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 64)
	p, q := put(t, s, 1, true), put(t, s, 2, true)
	s.FreeAddr(p.Addr)
	wantNumber(t, s, p, 1)
	s.FreeAddr(p.Twin)
	if s.UsedPages() != 2 || s.DirtyPages() != 2 {
		t.Fatalf("used %d, dirty %d", s.UsedPages(), s.DirtyPages())
	}
	checkpoint(t, s)
	s.FreeAddr(q.Addr)
	s.FreeAddr(q.Twin)
	s2 := reopen(t, d, checkpoint(t, s))
	if s2.UsedPages() != mapCopies(s2) {
		t.Fatalf("used %d, map %d", s2.UsedPages(), mapCopies(s2))
	}
}

func TestScrub(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 16)
	p := put(t, s, 1, true)
	checkpoint(t, s)
	s.FreeSensitive(p)
	must(t, s.Scrub())
	_, err := s.Seal()
	must(t, err)
	must(t, s.Flush())
	free := s.FreePages()
	s.Durable()
	if bytes.Equal(d.peek(p.Addr), make([]byte, PageSize)) {
		t.Fatal("overwritten before the superblock was durable")
	}
	boom := errors.New("boom")
	d.fail = func(write bool, b int64) error {
		if write && b == int64(p.Twin) {
			return boom
		}
		return nil
	}
	if err := s.Scrub(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if !bytes.Equal(d.peek(p.Addr), make([]byte, PageSize)) {
		t.Fatal("not overwritten")
	}
	if s.FreePages() < free+2 {
		t.Fatalf("free %d, was %d", s.FreePages(), free)
	}
}

func TestFlushError(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 16)
	p := put(t, s, 1, true)
	boom := errors.New("boom")
	d.fail = func(write bool, _ int64) error { return boom }
	if err := s.Flush(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if s.DirtyPages() != 2 {
		t.Fatal("clean after a failed Flush")
	}
	wantNumber(t, s, p, 1)
	d.fail = nil
	must(t, s.Flush())
	wantNumber(t, s, p, 1)
}

// What was free when a store was opened is made zero once, unless it was used before.
func TestDistrust(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 16)
	var ps []Ptr
	for i := range uint64(20) {
		ps = append(ps, put(t, s, i+1, false))
	}
	checkpoint(t, s)
	for _, p := range ps[10:] {
		s.Free(p)
	}
	root := checkpoint(t, s)
	s2 := NewStore(d, testTotal, 0)
	must(t, s2.LoadMap(root))
	s2.Distrust()
	zero := make([]byte, PageSize)
	dirty := func() (n int) {
		for _, p := range ps[10:] {
			if !bytes.Equal(d.peek(p.Addr), zero) {
				n++
			}
		}
		return n
	}
	if dirty() != 10 {
		t.Fatalf("%d of 10 freed pages hold what they held", dirty())
	}
	p := put(t, s2, 99, false)
	must(t, s2.Flush())
	writes := 0
	d.fail = func(write bool, _ int64) error {
		if write {
			writes++
		}
		return nil
	}
	must(t, s2.Scrub())
	for _, q := range ps[10:] {
		if q.Addr != p.Addr && !bytes.Equal(d.peek(q.Addr), zero) {
			t.Errorf("page %d is free and was not overwritten", q.Addr)
		}
	}
	for i, q := range ps[:10] {
		wantNumber(t, s2, q, uint64(i+1))
	}
	wantNumber(t, s2, p, 99)
	first := writes
	must(t, s2.Scrub())
	if first == 0 || writes != first {
		t.Errorf("%d writes, then %d more", first, writes-first)
	}
}
