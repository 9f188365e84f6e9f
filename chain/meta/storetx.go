package meta

import "slatefs/alloc"

// tx is what Undo takes back: the pages that were put since Begin, and those from before that were freed since.
type tx struct {
	made  map[alloc.BlockID]struct{} // copies
	freed []freedCopy
	stays map[*dirtyPage]struct{} // freed, from before, and on no device yet: they would be dropped else
}

// freedCopy is a page from before the transaction as it was before it was freed.
type freedCopy struct {
	b     alloc.BlockID
	sum   uint32
	known bool // the sum
	moved bool
}

// Begin starts a transaction: everything that is put and freed until the next Seal takes effect with that, or is taken
// back by Undo, as if nothing had happened. One at a time; it is the one writer's. What is freed meanwhile stays where
// it is, so that readers of the old roots, and Undo, find it.
func (s *Store) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = &tx{made: map[alloc.BlockID]struct{}{}, stays: map[*dirtyPage]struct{}{}}
}

// Undo takes back what was put and freed since Begin. Extents that were added stay. Without a transaction it does
// nothing.
func (s *Store) Undo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tx
	if t == nil {
		return
	}
	s.tx = nil
	for b := range t.made {
		s.freeLocked(b, false) // dirty and never sealed: it is dropped
	}
	for _, f := range t.freed {
		e, i := s.findLocked(f.b)
		e.pend.clear(i)
		e.words.clear(i)
		e.used.set(i)
		s.used++
		if !f.moved {
			e.moved.clear(i)
		}
		if f.known {
			s.sums[f.b] = f.sum
		}
		if d := s.dirty[f.b]; d != nil {
			d.freed = false
		}
	}
	for d := range t.stays {
		d.sealed = false
	}
}

// put notes copies that the transaction put.
func (t *tx) put(p Ptr) {
	if t == nil {
		return
	}
	for _, b := range copies(p) {
		t.made[b] = struct{}{}
	}
}

// free notes that a copy is freed which is in use. One that the transaction put is forgotten; one from before is made to
// stay, even if it is on no device yet.
func (t *tx) free(s *Store, b alloc.BlockID, e *extent, i int) {
	if t == nil {
		return
	}
	if _, mine := t.made[b]; mine {
		delete(t.made, b)
		return
	}
	sum, known := s.sums[b]
	t.freed = append(t.freed, freedCopy{b, sum, known, e.moved.has(i)})
	if d := s.dirty[b]; d != nil && !d.sealed {
		d.sealed = true
		t.stays[d] = struct{}{}
	}
}

// keepLocked ends a transaction that was sealed. What it freed and was on no device is free at once.
func (s *Store) keepLocked(t *tx) {
	if t == nil {
		return
	}
	for _, f := range t.freed {
		d := s.dirty[f.b]
		if _, drop := t.stays[d]; !drop {
			continue
		}
		e, i := s.findLocked(f.b)
		e.seal.clear(i)
		e.words.clear(i)
		s.freedLocked(e, i)
		s.forgetLocked(f.b, d)
	}
}
