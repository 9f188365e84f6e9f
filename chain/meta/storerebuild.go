package meta

import (
	"fmt"

	"slatefs/alloc"
)

// Rebuild gives a new store, whose free map cannot be read, what is known of it otherwise: its extents, and the pages in use, every
// copy of them, which must lie there. All other pages are free. The next Seal writes a free map of its own.
//
// The caller knows every page that a superblock or the journal behind it leads to: what is free may be written over at once. Errors:
// those of AddExtent, and ErrInvalid for a page outside; the store is not usable then.
func (s *Store) Rebuild(extents []alloc.Run, used func(yield func(alloc.BlockID) bool)) error {
	for _, r := range extents {
		if err := s.AddExtent(r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := range used {
		e, i := s.findLocked(b)
		if e == nil || !e.free.has(i) {
			return fmt.Errorf("meta: rebuild: page %d lies in no extent, or twice: %w", b, ErrInvalid)
		}
		e.free.clear(i)
		e.used.set(i)
		s.free.Add(-1)
		s.used++
	}
	return nil
}
