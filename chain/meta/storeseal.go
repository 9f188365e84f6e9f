package meta

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// sealPlan is the new shape of the free map: fresh pages have addresses, but no
// content yet.
type sealPlan struct {
	levels [][]Ptr
	fresh  [][]bool
	taken  []Ptr // to be given back if there are not enough pages
	old    []Ptr // freed, in use again then
}

// Seal is the last thing that a checkpoint makes: the pages of the free map, in
// which what was freed until now is free. It returns the root for the
// superblock (nil while the store has no extents). Every page that is dirty now
// belongs to the checkpoint: Flush must have written it before the superblock
// is. Refill is not called. A transaction ends: what it put and freed holds.
//
// On error (ErrNoPages; what Err returns) nothing has changed.
func (s *Store) Seal() (Ptr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad != nil {
		return Ptr{}, fmt.Errorf("meta: seal: %w", s.bad)
	}
	t := s.tx
	s.tx = nil // what follows has its own way back
	p, err := s.planSealLocked()
	if err != nil {
		s.undoSealLocked(p)
		s.tx = t
		return Ptr{}, fmt.Errorf("meta: seal: %w", err)
	}
	s.writeMapLocked(p)
	for _, d := range s.dirty {
		d.sealed = true
	}
	for _, e := range s.ext {
		for k := range e.pend {
			e.seal[k] |= e.pend[k]
		}
		e.pend = bitmap{}
		e.disk, e.known = e.used, true
	}
	s.keepLocked(t)
	return s.rootLocked(), nil
}

func (s *Store) rootLocked() Ptr {
	if len(s.levels) == 0 {
		return Ptr{}
	}
	return s.levels[len(s.levels)-1][0]
}

// planSealLocked gives new addresses to the chunks that changed and to the
// index pages above them. Each address taken or freed changes a chunk, so it
// goes on until none is left that changed and has its old address.
func (s *Store) planSealLocked() (*sealPlan, error) {
	p := &sealPlan{}
	for n := (len(s.order) + chunkExtents - 1) / chunkExtents; n > 0; n = (n + indexPtrs - 1) / indexPtrs {
		p.levels = append(p.levels, make([]Ptr, n))
		p.fresh = append(p.fresh, make([]bool, n))
		if n == 1 {
			break
		}
	}
	if len(p.levels) > maxMapLevel+1 {
		return p, fmt.Errorf("%d extents: %w", len(s.order), ErrInvalid)
	}
	for again := true; again; {
		again = false
		for level := range p.levels {
			for i := range p.levels[level] {
				if p.fresh[level][i] || !s.staleLocked(p, level, i) {
					continue
				}
				if !s.renewLocked(p, level, i) {
					return p, ErrNoPages
				}
				again = true
			}
		}
	}
	return p, nil
}

// staleLocked: the page's content on the device is not what it must be.
func (s *Store) staleLocked(p *sealPlan, level, i int) bool {
	if level >= len(s.levels) || i >= len(s.levels[level]) {
		return true
	}
	if level == 0 {
		for _, e := range s.chunkLocked(i) {
			if !e.known || e.used != e.disk {
				return true
			}
		}
		return false
	}
	below := p.fresh[level-1]
	for k := i * indexPtrs; k < min((i+1)*indexPtrs, len(below)); k++ {
		if below[k] {
			return true
		}
	}
	return false
}

func (s *Store) chunkLocked(i int) []*extent {
	return s.order[i*chunkExtents : min((i+1)*chunkExtents, len(s.order))]
}

// renewLocked takes an address for the page and frees the old one.
func (s *Store) renewLocked(p *sealPlan, level, i int) bool {
	var ptr Ptr
	if !s.takeLocked(&ptr, true) {
		return false
	}
	p.fresh[level][i] = true
	p.levels[level][i] = ptr
	p.taken = append(p.taken, ptr)
	if level < len(s.levels) && i < len(s.levels[level]) {
		old := s.levels[level][i]
		s.freeLocked(old.Addr, false)
		s.freeLocked(old.Twin, false)
		p.old = append(p.old, old)
	}
	return true
}

// undoSealLocked: the addresses taken are free, the old pages in use.
func (s *Store) undoSealLocked(p *sealPlan) {
	for _, t := range p.taken {
		for _, b := range copies(t) {
			e, i := s.findLocked(b)
			e.used.clear(i)
			s.used--
			s.freedLocked(e, i)
		}
	}
	for _, o := range p.old {
		for _, b := range copies(o) {
			e, i := s.findLocked(b)
			e.pend.clear(i)
			e.used.set(i)
			s.used++
			if d := s.dirty[b]; d != nil {
				d.freed = false
			}
			s.noteSumLocked(b, o.Sum)
		}
	}
}

// writeMapLocked encodes the fresh pages, from the chunks up, and makes the
// plan the present map.
func (s *Store) writeMapLocked(p *sealPlan) {
	for level := range p.levels {
		for i := range p.levels[level] {
			if !p.fresh[level][i] {
				p.levels[level][i] = s.levels[level][i]
				continue
			}
			var page []byte
			if level == 0 {
				page = encodeChunk(s.chunkLocked(i))
			} else {
				below := p.levels[level-1]
				page = encodeIndex(level, below[i*indexPtrs:min((i+1)*indexPtrs, len(below))])
			}
			ptr := &p.levels[level][i]
			ptr.Sum = xxhash.Sum64(page)
			s.addDirtyLocked(*ptr, page, nil)
		}
	}
	s.levels = p.levels
}

// MapPages reports every page of the free map as of the last Seal or LoadMap.
func (s *Store) MapPages(fn func(Ptr)) {
	s.mu.Lock()
	levels := s.levels
	s.mu.Unlock()
	for _, level := range levels {
		for _, p := range level {
			fn(p)
		}
	}
}
