package meta

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"slatefs/alloc"
)

func TestTwinRepairs(t *testing.T) {
	for _, how := range []string{"flip", "eio"} {
		t.Run(how, func(t *testing.T) {
			d := newDisk()
			s := NewStore(d, testTotal, 0)
			addExtents(t, s, 2, 64)
			p := put(t, s, 4, true)
			s = reopen(t, d, checkpoint(t, s))
			var told []alloc.BlockID
			s.OnRepair = func(b alloc.BlockID) { told = append(told, b) }
			good := bytes.Clone(d.peek(p.Addr))
			if how == "flip" {
				d.flip(p.Addr, 5000)
			} else {
				d.fail = func(write bool, b int64) error {
					if !write && b == int64(p.Addr) {
						return errors.New("eio")
					}
					return nil
				}
			}
			wantNumber(t, s, p, 4)
			if s.Repairs() != 1 || len(told) != 1 || told[0] != p.Addr || !bytes.Equal(d.peek(p.Addr), good) {
				t.Fatalf("repairs %d, told %v", s.Repairs(), told)
			}
		})
	}
}

func TestBothCopiesBad(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 2, 64)
	p, lone := put(t, s, 4, true), put(t, s, 5, false)
	s = reopen(t, d, checkpoint(t, s))
	d.flip(p.Addr, 1)
	d.flip(p.Twin, 2)
	d.flip(lone.Addr, 3)
	for _, q := range []Ptr{p, lone, {}, {Addr: testTotal, Sum: 1}} {
		_, err := s.Get(q, rawNumber)
		var pe *PageError
		if !errors.Is(err, ErrCorrupt) || !errors.As(err, &pe) || pe.Addr != q.Addr || pe.Twin != q.Twin || pe.Error() == "" {
			t.Fatalf("%v: %v", q, err)
		}
	}
	if s.Repairs() != 0 {
		t.Fatal("something was repaired")
	}
	bad := errors.New("bad page")
	q := put(t, s, 6, false)
	if _, err := s.Get(q, func([]byte) (any, error) { return nil, bad }); !errors.Is(err, bad) || !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// A reader with an old pointer may find the twin's place not reused yet: the
// new page in the first place must not be overwritten with the old content.
func TestStaleReaderDoesNotRepair(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	must(t, s.AddExtent(alloc.Run{Start: 1000, Len: 8}))
	must(t, s.AddExtent(alloc.Run{Start: 2000, Len: 8}))
	old := put(t, s, 1, true)
	checkpoint(t, s)
	s.Free(old)
	checkpoint(t, s)
	for _, twin := range []bool{false, true} {
		var list []Ptr
		for reused := false; !reused; {
			p := put(t, s, uint64(len(list))+10, twin)
			list = append(list, p)
			reused = p.Addr == old.Addr || p.Twin == old.Addr
		}
		must(t, s.Flush())
		saved := d.peek(old.Twin)
		d.pages[int64(old.Twin)] = rawPage(1)
		wantNumber(t, s, old, 1)
		d.pages[int64(old.Twin)] = saved
		if s.Repairs() != 0 {
			t.Fatal("repaired with stale content")
		}
		last := list[len(list)-1]
		if twin {
			d.flip(last.Addr, 99)
			wantNumber(t, s, last, uint64(len(list))+9)
			if s.Repairs() != 1 {
				t.Fatal("a reused place is not repaired for its owner")
			}
		}
		for _, p := range list {
			s.Free(p)
		}
		checkpoint(t, s)
		checkpoint(t, s)
	}
}

func TestCheck(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 1<<20)
	addExtents(t, s, 2, 64)
	p := put(t, s, 4, true)
	if bad := s.Check(p); bad != nil {
		t.Fatalf("dirty: %v", bad)
	}
	checkpoint(t, s)
	if bad := append(s.Check(p), s.Check(Ptr{})...); bad != nil {
		t.Fatal(bad)
	}
	d.flip(p.Twin, 7)
	if bad := s.Check(p); fmt.Sprint(bad) != fmt.Sprint([]alloc.BlockID{p.Twin}) || s.Repairs() != 1 {
		t.Fatalf("%v, %d repairs", bad, s.Repairs())
	}
	if bad := s.Check(p); bad != nil {
		t.Fatal(bad)
	}
	d.flip(p.Twin, 7)
	d.flip(p.Addr, 7)
	if bad := s.Check(p); len(bad) != 2 {
		t.Fatal(bad)
	}
}

// Any bit of the free map that is flipped in one copy is repaired; in both it
// is ErrCorrupt.
func TestLoadMapFlips(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	for i := range 100 { // two chunks, one index page
		must(t, s.AddExtent(alloc.Run{Start: alloc.BlockID(1000 + 10*i), Len: 8}))
	}
	root := checkpoint(t, s)
	var pages []Ptr
	s.MapPages(func(p Ptr) { pages = append(pages, p) })
	if len(pages) != 3 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, p := range pages {
		for _, bit := range []int{0, 17, 40, 130, 200, 2000, 8 * (PageSize - 1)} {
			d.flip(p.Addr, bit)
			s2 := reopen(t, d, root)
			if s2.Repairs() != 1 || s2.FreePages() != s.FreePages() {
				t.Fatalf("%v bit %d: %d repairs", p, bit, s2.Repairs())
			}
			d.flip(p.Addr, bit)
			d.flip(p.Twin, bit)
			if err := NewStore(d, testTotal, 0).LoadMap(root); !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			d.flip(p.Addr, bit)
			d.flip(p.Twin, bit)
		}
	}
	if err := NewStore(d, 1500, 0).LoadMap(root); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a pool that is too small: %v", err)
	}
	must(t, NewStore(d, testTotal, 0).LoadMap(Ptr{}))
}

func TestCacheIsBounded(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 256<<10)
	addExtents(t, s, 8, 250)
	var list []Ptr
	for i := range 1500 {
		list = append(list, put(t, s, uint64(i), false))
	}
	must(t, s.Flush())
	for i, p := range list {
		wantNumber(t, s, list[0], 0)
		wantNumber(t, s, p, uint64(i))
	}
	if n := s.CacheBytes(); n > 256<<10 || n < 128<<10 {
		t.Fatalf("cache of %d bytes", n)
	}
	if _, ok := s.Cached(list[0]); !ok {
		t.Fatal("what is used all the time was evicted")
	}
	if a := testing.AllocsPerRun(100, func() { s.Cached(list[0]) }); a != 0 {
		t.Fatalf("%v allocations", a)
	}
	s.SetCacheBytes(0)
	if n := s.CacheBytes(); n != 0 {
		t.Fatalf("cache of %d bytes", n)
	}
}

// Readers run beside the writer: what is in use and unchanged is always read
// right, whether it is dirty, being written, cached or on the device.
func TestReadersBesideFlush(t *testing.T) {
	s := NewStore(newDisk(), testTotal, 64<<10)
	addExtents(t, s, 4, 250)
	var list []Ptr
	for i := range 50 {
		list = append(list, put(t, s, uint64(i), i%2 == 0))
	}
	stop, errs := make(chan struct{}), make(chan error, 4)
	for range cap(errs) {
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					errs <- nil
					return
				default:
				}
				n := i % len(list)
				if v, err := s.Get(list[n], rawNumber); err != nil || v != uint64(n) {
					errs <- fmt.Errorf("page %d: %v, %w", n, v, err)
					return
				}
			}
		}()
	}
	for i := range 50 {
		p, q := put(t, s, uint64(i), true), put(t, s, uint64(i), true)
		s.Free(p)
		checkpoint(t, s)
		s.FreeSensitive(q)
	}
	close(stop)
	for range cap(errs) {
		must(t, <-errs)
	}
}
