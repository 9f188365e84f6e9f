package meta

import (
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"slatefs/alloc"
	"slatefs/chain/fault"
)

// Cached returns the decoded page if it is in memory. It does no I/O and
// allocates nothing.
func (s *Store) Cached(p Ptr) (any, bool) {
	val, _ := s.cache.get(cacheKey{p.Addr, p.Sum})
	return val, val != nil
}

// Get returns the decoded page: from memory, else from the device. decode gets
// PageSize verified bytes which it may keep but not change; what it returns is
// shared by all callers and may not be changed either. When no copy has the
// content that p vouches for, or decode refuses it, the error is a *PageError: a
// fault of that one page. Where a copy could not be read at all it may be there
// the next time, and the fault is transient.
func (s *Store) Get(p Ptr, decode func([]byte) (any, error)) (any, error) {
	key := cacheKey{p.Addr, p.Sum}
	val, raw := s.cache.get(key)
	if val != nil {
		return val, nil
	}
	if raw == nil {
		var err error
		s.misses.Add(1)
		if raw, _, err = s.read(p); err != nil {
			return nil, err
		}
	}
	val, err := decode(raw)
	if err != nil {
		return nil, damaged(p, err)
	}
	s.cache.add(key, val)
	return val, nil
}

// read gets the verified bytes of a page from the device; second tells that
// only the twin had them.
func (s *Store) read(p Ptr) (page []byte, second bool, err error) {
	page = make([]byte, PageSize)
	first := s.readCopy(page, p.Addr, p.Sum)
	if first == nil {
		return page, false, nil
	}
	if p.Twin == 0 {
		return nil, false, damaged(p, first)
	}
	other := s.readCopy(page, p.Twin, p.Sum)
	if other == nil {
		s.repair(p, p.Addr, page)
		return page, true, nil
	}
	return nil, false, damaged(p, first, other)
}

// errUnread is wrapped by what readCopy says of a copy that the device did not
// give. What it gave and is wrong is another matter.
var errUnread = errors.New("read")

// damaged is the error of a page of which no copy serves.
func damaged(p Ptr, copies ...error) error {
	e := &PageError{Addr: p.Addr, Twin: p.Twin, Reason: copies[0]}
	for _, err := range copies {
		e.unread = e.unread || errors.Is(err, errUnread)
	}
	if e.unread {
		return fault.Mark(fault.Transient, e)
	}
	return fault.Mark(fault.Object, e)
}

func (s *Store) readCopy(page []byte, b alloc.BlockID, sum uint64) error {
	if b == 0 || uint64(b) >= uint64(s.total.Load()) {
		return fmt.Errorf("address outside the pool of %d blocks", s.total.Load())
	}
	var got uint64
	for range 2 { // what a cable turned is right the second time
		n, err := s.dev.ReadAt(page, int64(b)*PageSize)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnread, err)
		}
		if n != PageSize {
			return fmt.Errorf("%w: %d bytes of %d", errUnread, n, PageSize)
		}
		if got = xxhash.Sum64(page); got == sum {
			return nil
		}
	}
	return fmt.Errorf("checksum %016x, want %016x", got, sum)
}

// Check reads the copies of a page from the device, not from memory, and
// returns the addresses that do not have the content that p vouches for. A page
// that is dirty is not on the device yet and has none. A copy that is bad is
// rewritten from a good one.
func (s *Store) Check(p Ptr) (bad []alloc.BlockID) {
	if p.IsNil() {
		return nil
	}
	s.mu.Lock()
	dirty := s.dirty[p.Addr] != nil
	s.mu.Unlock()
	if dirty {
		return nil
	}
	var good []byte
	for _, b := range copies(p) {
		page := make([]byte, PageSize)
		if s.readCopy(page, b, p.Sum) != nil {
			bad = append(bad, b)
			continue
		}
		good = page
	}
	if good != nil && len(bad) > 0 {
		s.repair(p, bad[0], good)
	}
	return bad
}

// repair rewrites copy b of p, which is bad, with the content that its other
// copy has. It is best effort: the page was read, and that is what counts.
//
// The reader may hold a root that was replaced, and b may have been reused: it
// is rewritten only if it still belongs to p. An address that was never freed
// since the store was opened does; for the others with twins sums knows whose
// they are. The lock keeps b from being freed while it is written.
func (s *Store) repair(p Ptr, b alloc.BlockID, page []byte) {
	if s.ReadOnly {
		s.repairs.Add(1)
		return
	}
	if !s.rewrite(p, b, page) {
		return
	}
	s.repairs.Add(1)
	if s.OnRepair != nil {
		s.OnRepair(b)
	}
}

func (s *Store) rewrite(p Ptr, b alloc.BlockID, page []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, i := s.findLocked(b)
	if e == nil || !e.used.has(i) || s.dirty[b] != nil {
		return false
	}
	if sum, ok := s.sums[b]; e.moved.has(i) && (!ok || sum != uint32(p.Sum)) {
		return false
	}
	n, err := s.dev.WriteAt(page, int64(b)*PageSize)
	return err == nil && n == PageSize
}

// noteSumLocked remembers whose content a reused address has.
func (s *Store) noteSumLocked(b alloc.BlockID, sum uint64) {
	if e, i := s.findLocked(b); e != nil && e.moved.has(i) {
		s.sums[b] = uint32(sum)
	}
}
