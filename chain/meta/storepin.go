package meta

// A pin keeps the pages of the last durable superblock for who reads all of them, while checkpoints go on: what they give back
// stays as it is, and is not handed out, until the pin goes. So it costs as many pages at most as there were, and nothing on disk
// says so: after a crash they are free. Nobody waits for who reads: a pin is broken when a page is needed and none is free
// else, or when it keeps more than it may.

// Pin is what Store.Pin returns.
type Pin struct {
	s      *Store
	limit  int // pages that it may keep
	kept   int
	broken bool
}

// Pin pins the pages that are in use, and those that the last durable superblock may reach. The caller sees to it that this is the one
// which he reads: no checkpoint is published meanwhile. There is one pin at a time.
func (s *Store) Pin(limit int) *Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ext {
		for k := range e.pin {
			e.pin[k] = e.used[k] | e.pend[k] | e.seal[k]
		}
	}
	s.pin = &Pin{s: s, limit: limit}
	return s.pin
}

// Release ends the pin, and tells whether all of it was kept until then: what was read is what was pinned. It may be called twice.
func (p *Pin) Release() (whole bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.unpinLocked(p)
	return !p.broken
}

// Broken tells whether pages were given back that the pin was to keep.
func (p *Pin) Broken() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.broken
}

// BreakPin ends a pin for who has it.
func (s *Store) BreakPin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakPinLocked()
}

// breakPinLocked tells whether pages were given back.
func (s *Store) breakPinLocked() bool {
	p := s.pin
	if p == nil {
		return false
	}
	p.broken = true
	s.unpinLocked(p)
	return p.kept > 0
}

func (s *Store) unpinLocked(p *Pin) {
	if s.pin != p {
		return
	}
	s.pin = nil
	s.spare.Store(0)
	for _, e := range s.ext {
		s.giveLocked(e, e.kept)
		e.pin, e.kept = bitmap{}, bitmap{}
	}
}

// giveLocked makes pages free that no superblock needs; those with words in them wait for Scrub.
func (s *Store) giveLocked(e *extent, pages bitmap) {
	for k := range pages {
		e.hold[k] |= pages[k] & e.words[k]
		e.free[k] |= pages[k] &^ e.words[k]
		e.words[k] &^= pages[k]
	}
	s.free.Add(int64(pages.count() - countBoth(pages, e.hold)))
}

// keepPinnedLocked sets apart those of pages that the pin keeps, and returns the others.
func (s *Store) keepPinnedLocked(e *extent, pages bitmap) (rest bitmap) {
	if s.pin == nil {
		return pages
	}
	words := countBoth(e.kept, e.words)
	for k := range pages {
		keep := pages[k] & e.pin[k]
		e.kept[k] |= keep
		e.pin[k] &^= keep // it cannot be in use again before it is given back
		rest[k] = pages[k] &^ keep
	}
	s.pin.kept += pages.count() - rest.count()
	s.spare.Add(int64(pages.count() - rest.count() - countBoth(e.kept, e.words) + words))
	return rest
}
