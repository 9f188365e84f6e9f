package meta

import "fmt"

// mapWalk is one Step.
type mapWalk struct {
	ms    *Maps
	next  int64 // all before it is done
	left  int   // pieces and pages until the walk stops
	enter func(Ptr) bool
	run   func(Piece)
	leave func(Ptr)
}

// Step walks a map from block from on and reports the mapped pieces there, as the leaves
// hold them. Before a page is read, enter is asked; where it says false, all below is
// skipped. leave is told of every page that was entered, once, when the walk has passed
// the end of its region, after all pages below it.
//
// The walk stops between two units once the pieces reported and the pages left are limit
// in sum (a leaf is always reported whole). Call Step again with from = next to go on:
// the pages on the path to next are entered again; those whose region ended at or before
// it were left and are not read again, so that they may have been freed. done says that
// nothing remains. On error, all that was reported and left lies before next, from where
// the call may be repeated.
func (ms *Maps) Step(m Map, from int64, limit int,
	enter func(Ptr) bool, run func(Piece), leave func(Ptr),
) (next int64, done bool, err error) {
	w := &mapWalk{ms: ms, next: from, left: max(1, limit), enter: enter, run: run, leave: leave}
	if from < 0 {
		return from, false, fmt.Errorf("meta: map step: from block %d: %w", from, ErrInvalid)
	}
	if from < m.end() {
		if err := w.visit(&m.root, 0, m.Bits); err != nil {
			return w.next, false, fmt.Errorf("meta: map step: %w", err)
		}
	}
	return w.next, w.next >= m.end(), nil
}

// visit walks one unit, of which something lies at or after next. When the walk stops
// inside of it, next stays below its end.
func (w *mapWalk) visit(e *mapEntry, base int64, bits uint8) error {
	end := base + 1<<bits
	switch e.kind {
	case slotLeaf, slotInner:
		if !w.enter(e.ptr) {
			break
		}
		if e.kind == slotInner {
			if err := w.visitInner(e, base, bits); err != nil {
				return err
			}
			if w.next < end {
				return nil
			}
		} else if err := w.report(e, base, bits); err != nil {
			return err
		}
		w.leave(e.ptr)
		w.left--
	case slotRun:
		if err := w.report(e, base, bits); err != nil {
			return err
		}
	case slotHole, slotCont:
	}
	w.next = end
	return nil
}

// visitInner walks the units of an inner page; next is the page's end if all were passed.
func (w *mapWalk) visitInner(e *mapEntry, base int64, bits uint8) error {
	n, err := w.ms.inner(e, base, bits)
	if err != nil {
		return err
	}
	end := base + 1<<bits
	for w.next < end && w.left > 0 {
		c, cbase, cbits := n.unit(max(w.next, base))
		if err := w.visit(c, cbase, cbits); err != nil {
			return err
		}
	}
	return nil
}

// report calls run for the runs of a leaf or run entry.
func (w *mapWalk) report(e *mapEntry, base int64, bits uint8) error {
	runs, err := w.ms.runs(e, base, bits)
	if err != nil {
		return err
	}
	end, from := base+1<<bits, max(w.next, base)
	for _, r := range runs {
		if p := r.piece(base); p.End() > from {
			w.run(p.clip(max(from, p.Start), end))
			w.left--
		}
	}
	return nil
}

// Pages calls fn for every page, a page before those below it, with the region that it
// stands for: 1 << bits blocks from base on. Where fn returns false nothing below is
// visited; leaves are not read. An error of fn ends it and is returned as it is.
func (ms *Maps) Pages(m Map, fn func(p Ptr, base int64, bits uint8) (descend bool, err error)) error {
	if m.Bits == 0 {
		return nil
	}
	return ms.pages(&m.root, 0, m.Bits, fn)
}

func (ms *Maps) pages(e *mapEntry, base int64, bits uint8, fn func(Ptr, int64, uint8) (bool, error)) error {
	if e.kind != slotLeaf && e.kind != slotInner {
		return nil
	}
	down, err := fn(e.ptr, base, bits)
	if err != nil || !down || e.kind == slotLeaf {
		return err
	}
	n, err := ms.inner(e, base, bits)
	if err != nil {
		return err
	}
	return n.each(func(c *mapEntry, cbase int64, cbits uint8) error {
		return ms.pages(c, cbase, cbits, fn)
	})
}

// Runs calls fn for every mapped piece of [lo, hi), in order, as the leaves hold them:
// one may continue the one before. An error of fn ends it and is returned as it is.
func (ms *Maps) Runs(m Map, lo, hi int64, fn func(Piece) error) error {
	lo, hi = max(lo, 0), min(hi, m.end())
	if lo >= hi {
		return nil
	}
	return ms.runsIn(&m.root, 0, m.Bits, lo, hi, fn)
}

func (ms *Maps) runsIn(e *mapEntry, base int64, bits uint8, lo, hi int64, fn func(Piece) error) error {
	if base+1<<bits <= lo || base >= hi {
		return nil
	}
	if e.kind == slotInner {
		n, err := ms.inner(e, base, bits)
		if err != nil {
			return err
		}
		return n.each(func(c *mapEntry, cbase int64, cbits uint8) error {
			return ms.runsIn(c, cbase, cbits, lo, hi, fn)
		})
	}
	runs, err := ms.runs(e, base, bits)
	if err != nil {
		return err
	}
	for _, r := range runs {
		p := r.piece(base)
		if p.End() <= lo || p.Start >= hi {
			continue
		}
		if err := fn(p.clip(max(lo, p.Start), hi)); err != nil {
			return err
		}
	}
	return nil
}
