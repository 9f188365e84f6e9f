package meta

import (
	"fmt"
	"slices"

	"slatefs/alloc"
)

// LoadMap reads the free map of the superblock's root into a new store: nothing
// was added, put or freed before. A nil root is a store without extents. On
// error the store is not usable.
func (s *Store) LoadMap(root Ptr) error {
	if root.IsNil() {
		return nil
	}
	l := mapLoader{s: s}
	if err := l.load(root); err != nil {
		return fmt.Errorf("meta: load map: %w", err)
	}
	if err := s.adopt(&l); err != nil {
		return fmt.Errorf("meta: load map: %w", err)
	}
	for _, p := range l.rotten {
		s.Check(p) // now that the store knows the page as its own
	}
	return nil
}

// mapLoader collects the pages of the free map, level by level.
type mapLoader struct {
	s      *Store
	levels [][]Ptr // root first
	order  []*extent
	rotten []Ptr // only the twin was good
}

func (l *mapLoader) load(root Ptr) error {
	page, err := l.read(root)
	if err != nil {
		return err
	}
	h, err := UnmarshalHeader(page)
	if err != nil {
		return &PageError{Addr: root.Addr, Twin: root.Twin, Reason: err}
	}
	if h.Level > maxMapLevel {
		return &PageError{
			Addr: root.Addr, Twin: root.Twin,
			Reason: fmt.Errorf("free map of %d levels: %w", h.Level, ErrCorrupt),
		}
	}
	l.levels = [][]Ptr{{root}}
	for level := int(h.Level); level > 0; level-- {
		if err := l.loadIndex(level); err != nil {
			return err
		}
	}
	return l.loadChunks()
}

// loadIndex reads the index pages of a level; the pages below become the next.
func (l *mapLoader) loadIndex(level int) error {
	var below []Ptr
	this := l.levels[len(l.levels)-1]
	for i, p := range this {
		page, err := l.read(p)
		if err != nil {
			return err
		}
		ptrs, err := decodeIndex(page, level)
		if err == nil && i < len(this)-1 && len(ptrs) != indexPtrs {
			err = fmt.Errorf("index page with %d pointers before the last one: %w", len(ptrs), ErrCorrupt)
		}
		if err != nil {
			return &PageError{Addr: p.Addr, Twin: p.Twin, Reason: err}
		}
		below = append(below, ptrs...)
		if int64(len(below)) > l.s.Total() {
			return fmt.Errorf("free map with more pages than the pool: %w", ErrCorrupt)
		}
	}
	l.levels = append(l.levels, below)
	return nil
}

func (l *mapLoader) loadChunks() error {
	chunks := l.levels[len(l.levels)-1]
	for i, p := range chunks {
		page, err := l.read(p)
		if err != nil {
			return err
		}
		ext, err := decodeChunk(page, l.s.Total())
		if err == nil && i < len(chunks)-1 && len(ext) != chunkExtents {
			err = fmt.Errorf("chunk of %d extents before the last one: %w", len(ext), ErrCorrupt)
		}
		if err != nil {
			return &PageError{Addr: p.Addr, Twin: p.Twin, Reason: err}
		}
		l.order = append(l.order, ext...)
	}
	return nil
}

func (l *mapLoader) read(p Ptr) ([]byte, error) {
	page, second, err := l.s.read(p)
	if second {
		l.rotten = append(l.rotten, p)
	}
	return page, err
}

// adopt makes what was read the state of the store. Extents may not overlap,
// and the free map's own pages must be in use by it.
func (s *Store) adopt(l *mapLoader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = l.order
	s.ext = slices.Clone(l.order)
	slices.SortFunc(s.ext, func(a, b *extent) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	for i, e := range s.ext {
		if i > 0 && s.ext[i-1].end() > e.start {
			return fmt.Errorf("extents %d and %d overlap: %w", s.ext[i-1].start, e.start, ErrCorrupt)
		}
		s.free.Add(int64(e.free.count()))
		s.used += e.used.count()
	}
	slices.Reverse(l.levels)
	s.levels = l.levels
	for _, level := range l.levels {
		for _, p := range level {
			for _, b := range copies(p) {
				if e, i := s.findLocked(b); e == nil || !e.used.has(i) {
					return fmt.Errorf("page %d of the free map is not in use: %w", b, ErrCorrupt)
				}
			}
		}
	}
	return nil
}

// copies lists the addresses of a page.
func copies(p Ptr) []alloc.BlockID {
	return []alloc.BlockID{p.Addr, p.Twin}[:p.Copies()]
}
