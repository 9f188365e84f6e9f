package meta

import (
	"errors"
	"fmt"
	"slices"

	"slatefs/alloc"
)

// flushPages bounds one write of Flush, in pages.
const flushPages = 256

// copyToWrite is one copy of a dirty page.
type copyToWrite struct {
	addr alloc.BlockID
	page *dirtyPage
}

// Flush writes all dirty pages, neighbours in one write, without a sync. On
// success they are clean; on error all of them stay dirty.
func (s *Store) Flush() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	list := s.toWrite()
	buf := make([]byte, 0, PageSize*min(flushPages, len(list)))
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && n < flushPages && list[i+n].addr == list[i].addr+alloc.BlockID(n) {
			n++
		}
		buf = buf[:0]
		for _, c := range list[i : i+n] {
			buf = append(buf, c.page.raw...)
		}
		if err := s.write(buf, list[i].addr); err != nil {
			return fmt.Errorf("meta: flush: %w", err)
		}
		i += n
	}
	s.written(list)
	return nil
}

// toWrite is a snapshot of the dirty copies in device order. From here on none
// of them is dropped: its place could be reused while it is written.
func (s *Store) toWrite() []copyToWrite {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]copyToWrite, 0, len(s.dirty))
	for b, d := range s.dirty {
		d.sealed = true
		list = append(list, copyToWrite{b, d})
	}
	slices.SortFunc(list, func(a, b copyToWrite) int {
		if a.addr < b.addr {
			return -1
		}
		return 1
	})
	return list
}

// written makes clean what was written, unless it was dropped meanwhile.
func (s *Store) written(list []copyToWrite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range list {
		if s.dirty[c.addr] == c.page {
			s.cleanLocked(c.addr, c.page)
		}
	}
}

// cleanLocked: one copy is on the device.
func (s *Store) cleanLocked(b alloc.BlockID, d *dirtyPage) {
	delete(s.dirty, b)
	d.copies--
	switch {
	case d.copies > 0:
	case d.freed:
		s.cache.drop(d.key)
	default:
		s.cache.unpin(d.key)
	}
}

func (s *Store) write(p []byte, b alloc.BlockID) error {
	n, err := s.dev.WriteAt(p, int64(b)*PageSize)
	if err == nil && n != len(p) {
		err = fmt.Errorf("%d bytes of %d", n, len(p))
	}
	if err != nil {
		return fmt.Errorf("page %d+%d: %w", b, len(p)/PageSize, err)
	}
	return nil
}

// Durable is called when the superblock with the root of the last Seal is on
// the device: pages freed before that Seal become free, but those with words in
// them wait for Scrub.
func (s *Store) Durable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ext {
		if e.seal == (bitmap{}) {
			continue
		}
		s.giveLocked(e, s.keepPinnedLocked(e, e.seal))
		e.seal = bitmap{}
	}
	if s.pin != nil && s.pin.kept > s.pin.limit {
		s.breakPinLocked()
	}
}

func countBoth(a, b bitmap) int {
	for k := range a {
		a[k] &= b[k]
	}
	return a.count()
}

// Scrub overwrites with zeros what FreeSensitive gave back before the last
// durable Seal, and what was free when Distrust was called, without a sync, and makes it free. It tries every page and
// returns the errors together; a page that could not be overwritten is free all
// the same, because the next page there overwrites it.
func (s *Store) Scrub() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	var errs []error
	zero := make([]byte, PageSize)
	for _, b := range s.held() {
		if err := s.write(zero, b); err != nil {
			errs = append(errs, fmt.Errorf("meta: scrub: %w", err))
		}
		s.mu.Lock()
		if e, i := s.findLocked(b); e != nil && e.hold.has(i) {
			e.hold.clear(i)
			s.freedLocked(e, i)
		}
		s.mu.Unlock()
	}
	return errors.Join(append(errs, s.scrubOld())...)
}

// held lists the pages that wait for Scrub.
func (s *Store) held() []alloc.BlockID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []alloc.BlockID
	for _, e := range s.ext {
		for i := range e.n {
			if e.hold.has(i) {
				out = append(out, e.start+alloc.BlockID(i))
			}
		}
	}
	return out
}
