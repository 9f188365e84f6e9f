package meta

import (
	"fmt"

	"slatefs/alloc"
)

// What a killed process freed, or wrote for a checkpoint that never came to be, lies in pages that are free, and nobody
// knows which of them hold the operator's words. So all that are free when a pool is opened are looked at once.

// scrubPages bounds the pages that are read, and overwritten if they are not zero, under one hold of the lock; and
// scrubAtOnce those of one Scrub.
const (
	scrubPages  = 16
	scrubAtOnce = 4096
)

// Distrust notes that pages which are free now may hold anything: Scrub will make them zero, unless they are used
// before. It is for the opening of a pool, after the last AddExtent of replay.
func (s *Store) Distrust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ext {
		e.old = e.free
	}
}

// scrubOld makes some of the free pages that Distrust noted zero, without a sync. The lock is held while they are
// written, so that none of them is handed out meanwhile. flushMu is held.
func (s *Store) scrubOld() error {
	buf := make([]byte, scrubPages*PageSize)
	for left := scrubAtOnce; left > 0; left -= scrubPages {
		more, err := s.scrubRun(buf)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// scrubRun looks at one run of pages; false: there is none. After an error they are not tried again: whoever gets them
// overwrites them.
func (s *Store) scrubRun(buf []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ext {
		for k := range e.old {
			e.old[k] &= e.free[k]
		}
		first := e.old.first()
		if first < 0 {
			continue
		}
		n := 0
		for n < scrubPages && first+n < e.n && e.old.has(first+n) {
			e.old.clear(first + n)
			n++
		}
		return true, s.makeZero(e.start+alloc.BlockID(first), buf[:n*PageSize])
	}
	return false, nil
}

// makeZero overwrites pages if they are not zero.
func (s *Store) makeZero(b alloc.BlockID, buf []byte) error {
	if _, err := s.dev.ReadAt(buf, int64(b)*PageSize); err == nil && allZero(buf) {
		return nil
	}
	clear(buf)
	if err := s.write(buf, b); err != nil {
		return fmt.Errorf("meta: scrub: %w", err)
	}
	return nil
}
