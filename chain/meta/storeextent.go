package meta

import (
	"fmt"
	"math/bits"
	"sort"

	"slatefs/alloc"
)

// ExtentPages is the most pages that one extent of the free map has; what
// AddExtent is given is cut into pieces of that size.
const ExtentPages = 256

// bitmap has a bit for every page of an extent.
type bitmap [ExtentPages / 64]uint64

func (m *bitmap) has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }
func (m *bitmap) set(i int)      { m[i/64] |= 1 << (i % 64) }
func (m *bitmap) clear(i int)    { m[i/64] &^= 1 << (i % 64) }

func (m *bitmap) count() int {
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// first is the lowest set bit, or -1.
func (m *bitmap) first() int {
	for k, w := range m {
		if w != 0 {
			return k*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// lowBits has the first n bits set.
func lowBits(n int) (m bitmap) {
	for k := range m {
		switch {
		case n >= 64*(k+1):
			m[k] = ^uint64(0)
		case n > 64*k:
			m[k] = 1<<(n-64*k) - 1
		}
	}
	return m
}

// extent is a run of pages and their states; see Store. Each page has exactly
// one of the bits used, free, pend, seal, hold, kept.
type extent struct {
	start alloc.BlockID
	n     int

	used, free, pend, seal, hold bitmap

	pin, kept bitmap // to be kept when it is given back; kept: neither used, free, pend, seal nor hold, see Pin

	words bitmap // pend, seal or kept: must pass through hold
	old   bitmap // free since the store was opened, and may hold anything; see Distrust
	moved bitmap // was freed since the store was opened; see repair
	disk  bitmap // used, as the last sealed image says
	known bool   // the last sealed image has the extent
}

func (e *extent) end() alloc.BlockID { return e.start + alloc.BlockID(e.n) }

// AddExtent gives a run of clean blocks to the store. The record of the grant
// must be durable. Giving a run again changes nothing; one that touches an
// extent otherwise, or lies outside the pool, is refused with ErrInvalid.
func (s *Store) AddExtent(r alloc.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkExtentLocked(r); err != nil {
		return fmt.Errorf("meta: add extent: %w", err)
	}
	for r.Len > 0 {
		n := int(min(r.Len, ExtentPages))
		e := s.insertLocked(r.Start, n)
		if e != nil {
			e.free = lowBits(n)
			s.free.Add(int64(n))
		}
		r.Start += alloc.BlockID(n)
		r.Len -= int64(n)
	}
	return nil
}

// checkExtentLocked: every piece is an extent already or overlaps none.
func (s *Store) checkExtentLocked(r alloc.Run) error {
	if r.Start == 0 || r.Len <= 0 || int64(r.Start) < 0 || int64(r.Start) > s.total.Load()-r.Len {
		return fmt.Errorf("run %d+%d of %d blocks: %w", r.Start, r.Len, s.total.Load(), ErrInvalid)
	}
	for off := int64(0); off < r.Len; off += ExtentPages {
		start := r.Start + alloc.BlockID(off)
		n := int(min(r.Len-off, ExtentPages))
		i := s.searchLocked(start + alloc.BlockID(n) - 1)
		if i < 0 || s.ext[i].end() <= start {
			continue
		}
		if e := s.ext[i]; e.start != start || e.n != n {
			return fmt.Errorf("run %d+%d overlaps extent %d+%d: %w", start, n, e.start, e.n, ErrInvalid)
		}
	}
	return nil
}

// insertLocked returns nil when the extent is there already.
func (s *Store) insertLocked(start alloc.BlockID, n int) *extent {
	i := s.searchLocked(start)
	if i >= 0 && s.ext[i].start == start {
		return nil
	}
	e := &extent{start: start, n: n}
	s.order = append(s.order, e)
	s.ext = append(s.ext, nil)
	copy(s.ext[i+2:], s.ext[i+1:])
	s.ext[i+1] = e
	return e
}

// searchLocked is the index of the last extent that starts at or below b, or -1.
func (s *Store) searchLocked(b alloc.BlockID) int {
	return sort.Search(len(s.ext), func(i int) bool { return s.ext[i].start > b }) - 1
}

// findLocked gives the extent and the page's index in it, or nil.
func (s *Store) findLocked(b alloc.BlockID) (*extent, int) {
	i := s.searchLocked(b)
	if i < 0 || b >= s.ext[i].end() {
		return nil, 0
	}
	return s.ext[i], int(b - s.ext[i].start)
}

// Extents are the store's runs, in the order in which they were added.
func (s *Store) Extents() []alloc.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]alloc.Run, len(s.order))
	for i, e := range s.order {
		out[i] = alloc.Run{Start: e.start, Len: int64(e.n)}
	}
	return out
}

// takeLocked chooses the address, and with twin the twin's, of a new page. It
// takes nothing and returns false when there are not enough free pages.
//
// Pages are taken from one extent until it is full, so that what is written
// together lies together; twins likewise, from another extent, half the store
// away where that has room.
func (s *Store) takeLocked(p *Ptr, twin bool) bool {
	need := int64(1)
	if twin {
		need = 2
	}
	if s.free.Load() < need {
		return false
	}
	s.near = s.roomLocked(s.near, -1)
	p.Addr = s.takeFromLocked(s.near)
	if !twin {
		return true
	}
	if s.far == s.near || s.far >= len(s.ext) || s.ext[s.far].free == (bitmap{}) {
		s.far = s.roomLocked(s.near+(len(s.ext)+1)/2, s.near)
	}
	p.Twin = s.takeFromLocked(s.far)
	return true
}

// roomLocked finds an extent with a free page, from index i on and around; the
// one to avoid comes last. There must be one.
func (s *Store) roomLocked(i, avoid int) int {
	for range s.ext {
		i %= len(s.ext)
		if i != avoid && s.ext[i].free != (bitmap{}) {
			return i
		}
		i++
	}
	return avoid
}

func (s *Store) takeFromLocked(i int) alloc.BlockID {
	e := s.ext[i]
	k := e.free.first()
	e.free.clear(k)
	e.old.clear(k)
	e.used.set(k)
	s.free.Add(-1)
	s.used++
	return e.start + alloc.BlockID(k)
}

// freedLocked makes page i of e available.
func (s *Store) freedLocked(e *extent, i int) {
	e.free.set(i)
	s.free.Add(1)
}
