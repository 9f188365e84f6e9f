package meta

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"slatefs/alloc"
)

// Device is what the store needs of the pool's device. Offsets and lengths are
// multiples of PageSize.
type Device interface {
	// ReadAt reads len(p) bytes or returns an error.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes len(p) bytes or returns an error; on error any part of
	// them may have been written.
	WriteAt(p []byte, off int64) (int, error)
}

// Store owns the metadata extents of a pool and gives pages out of them.
//
// A page of an extent is in one of these states: used; free; *pend* (freed
// since the last Seal); *seal* (freed before it, waits for Durable); *hold*
// (waits for Scrub); *kept* (waits for the end of a Pin). Only free pages are
// handed out.
//
// Get and Cached are safe at any time. The others are for the one writer;
// Flush and Scrub may run beside it.
type Store struct {
	// Refill is called once when Put finds no free page, without any lock; it
	// may call AddExtent. Set before the first use; may be nil.
	Refill func() error
	// OnRepair is told of every copy that was rewritten from its twin. It is
	// called with no lock held. Set before the first use; may be nil.
	OnRepair func(alloc.BlockID)

	// ReadOnly: a damaged copy counts as repaired and is not rewritten. Set before the first use.
	ReadOnly bool

	dev     Device
	total   atomic.Int64
	repairs atomic.Uint64
	misses  atomic.Int64
	cache   *cache

	flushMu sync.Mutex // one Flush or Scrub at a time; taken before mu

	mu    sync.Mutex   // guards what follows; the cache's locks are below it
	ext   []*extent    // by address
	order []*extent    // as added: this is their order in the free map
	free  atomic.Int64 // pages; written under mu, read without
	spare atomic.Int64 // pages that are free as soon as the pin is broken; as free
	used  int
	near  int                          // index in ext where pages are taken
	far   int                          // the same for twins
	dirty map[alloc.BlockID]*dirtyPage // by each copy that is to be written
	sums  map[alloc.BlockID]uint32     // see repair
	bad   error                        // first wrong Free: no checkpoint after it
	tx    *tx                          // nil: none
	pin   *Pin                         // nil: none

	levels [][]Ptr // the free map's pages: chunks, index pages, ... root
}

// dirtyPage is a page that is not on the device yet.
type dirtyPage struct {
	key    cacheKey
	raw    []byte
	copies int  // still to be written
	sealed bool // a checkpoint may reach it, or Flush is writing it: not dropped if it is freed now
	freed  bool // freed since then
}

// NewStore makes a store without extents over the pool of total blocks whose
// decoded clean pages take at most cacheBytes. It does no I/O.
func NewStore(dev Device, total, cacheBytes int64) *Store {
	s := &Store{
		dev:   dev,
		cache: newCache(cacheBytes),
		dirty: make(map[alloc.BlockID]*dirtyPage),
		sums:  make(map[alloc.BlockID]uint32),
	}
	s.total.Store(total)
	return s
}

// SetTotal tells the store that the pool now has total blocks.
func (s *Store) SetTotal(total int64) { s.total.Store(total) }

// Total is the size of the pool, in blocks.
func (s *Store) Total() int64 { return s.total.Load() }

// SetCacheBytes changes the bound of the cache.
func (s *Store) SetCacheBytes(n int64) { s.cache.setLimit(n) }

// CacheBytes is what clean decoded pages take now.
func (s *Store) CacheBytes() int64 {
	bytes, _, _ := s.cache.stats()
	return bytes
}

// CacheStats is what the cache did since the store was made. It takes the cache's locks, which are leaves, one after the other.
type CacheStats struct {
	Bytes, Limit int64 // what clean decoded pages take now, and may take
	Hits         int64 // pages that were found in memory
	Misses       int64 // pages that were read from the device
}

// CacheStats tells what the cache did.
func (s *Store) CacheStats() CacheStats {
	c := CacheStats{Misses: s.misses.Load()}
	c.Bytes, c.Limit, c.Hits = s.cache.stats()
	return c
}

// Repairs counts the copies that were rewritten from their twins.
func (s *Store) Repairs() uint64 { return s.repairs.Load() }

// Put takes a page with its final content (PageSize bytes; they belong to the
// store from now on and may not be changed) and gives it an address, and with
// twin a second one in another extent where there is room. The page is dirty:
// Get finds it, Flush writes it. decoded is what Get shall return for it; when
// nil, Get decodes the bytes.
//
// On error nothing has changed: ErrNoPages when no page was free even after
// Refill, or Refill's own error.
func (s *Store) Put(page []byte, twin bool, birth Birth, decoded any) (Ptr, error) {
	if len(page) != PageSize {
		return Ptr{}, fmt.Errorf("meta: put: page of %d bytes: %w", len(page), ErrInvalid)
	}
	p := Ptr{Birth: birth, Sum: xxhash.Sum64(page)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.takeLocked(&p, twin) && (!s.breakPinLocked() || !s.takeLocked(&p, twin)) {
		if err := s.refillLocked(); err != nil {
			return Ptr{}, fmt.Errorf("meta: put: %w", err)
		}
		if !s.takeLocked(&p, twin) {
			return Ptr{}, fmt.Errorf("meta: put: %w", ErrNoPages)
		}
	}
	s.addDirtyLocked(p, page, decoded)
	s.tx.put(p)
	return p, nil
}

// refillLocked calls the hook with the lock dropped.
func (s *Store) refillLocked() error {
	if s.Refill == nil {
		return nil
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	return s.Refill()
}

func (s *Store) addDirtyLocked(p Ptr, page []byte, decoded any) {
	d := &dirtyPage{key: cacheKey{p.Addr, p.Sum}, raw: page, copies: p.Copies()}
	s.dirty[p.Addr] = d
	if p.Twin != 0 {
		s.dirty[p.Twin] = d
		s.noteSumLocked(p.Addr, p.Sum)
		s.noteSumLocked(p.Twin, p.Sum)
	}
	s.cache.pin(d.key, page, decoded)
}

// Free gives both copies of a page back. A page that no checkpoint can reach is
// dropped and its place is reusable at once; any other one after the next
// Durable. A page that is not in use is not freed: that is remembered, and Err
// and Seal return it.
func (s *Store) Free(p Ptr) { s.freePtr(p, false) }

// FreeSensitive is Free for a page with the operator's words in it: its place
// is reusable only after a Scrub has overwritten it.
func (s *Store) FreeSensitive(p Ptr) { s.freePtr(p, true) }

// FreeAddr is Free for one copy of a page that is known by address only.
func (s *Store) FreeAddr(b alloc.BlockID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freeLocked(b, false)
}

func (s *Store) freePtr(p Ptr, sensitive bool) {
	if p.IsNil() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clean := s.dirty[p.Addr] == nil
	s.freeLocked(p.Addr, sensitive)
	if p.Twin != 0 {
		s.freeLocked(p.Twin, sensitive)
	}
	if clean {
		s.cache.drop(cacheKey{p.Addr, p.Sum})
	}
}

// freeLocked frees one copy.
func (s *Store) freeLocked(b alloc.BlockID, sensitive bool) {
	e, i := s.findLocked(b)
	if e == nil || !e.used.has(i) {
		if s.bad == nil {
			s.bad = fmt.Errorf("meta: free: page %d is not in use: %w", b, ErrCorrupt)
		}
		return
	}
	s.tx.free(s, b, e, i)
	e.used.clear(i)
	e.moved.set(i)
	s.used--
	delete(s.sums, b)
	d := s.dirty[b]
	if d == nil || d.sealed {
		e.pend.set(i)
		if sensitive {
			e.words.set(i)
		}
		if d != nil {
			d.freed = true
		}
		return
	}
	s.freedLocked(e, i)
	s.forgetLocked(b, d)
}

// forgetLocked drops one copy that was never written.
func (s *Store) forgetLocked(b alloc.BlockID, d *dirtyPage) {
	delete(s.dirty, b)
	d.copies--
	if d.copies == 0 {
		s.cache.drop(d.key)
	}
}

// Err is the first wrong Free, or nil. It wraps ErrCorrupt.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad
}

// FreePages is the number of pages that may be handed out now, those that a pin keeps included: Put breaks it. It waits for
// nobody.
func (s *Store) FreePages() int { return int(s.free.Load() + s.spare.Load()) }

// ScrubPages is the number of pages that Scrub makes free.
func (s *Store) ScrubPages() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ext {
		n += e.hold.count()
	}
	return n
}

// UsedPages is the number of pages in use, every copy counted, the free map's
// own pages included.
func (s *Store) UsedPages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// DirtyPages is the number of copies that Flush would write.
func (s *Store) DirtyPages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty)
}

// InUse reports whether the block is a page in use.
func (s *Store) InUse(b alloc.BlockID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, i := s.findLocked(b)
	return e != nil && e.used.has(i)
}
