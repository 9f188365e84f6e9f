package meta

import "fmt"

// Differ calls fn for the regions [lo, hi) in which two maps may differ, in order. Everywhere else they share their pages,
// or hold the same runs; what is shared is not read. An error of fn ends it and is returned as it is.
func (ms *Maps) Differ(a, b Map, fn func(lo, hi int64) error) error {
	switch {
	case a == b:
		return nil
	case a.Bits != b.Bits:
		return fn(0, max(a.end(), b.end()))
	}
	return ms.differ(&a.root, &b.root, 0, a.Bits, fn)
}

func (ms *Maps) differ(x, y *mapEntry, base int64, bits uint8, fn func(lo, hi int64) error) error {
	end := base + 1<<bits
	switch {
	case *x == *y:
		return nil
	case x.kind != slotInner || y.kind != slotInner:
		return fn(base, end)
	}
	m, err := ms.inner(x, base, bits)
	if err != nil {
		return fmt.Errorf("meta: map differ: %w", err)
	}
	n, err := ms.inner(y, base, bits)
	if err != nil {
		return fmt.Errorf("meta: map differ: %w", err)
	}
	for at := base; at < end; {
		// Both units begin here: of two that overlap the larger one was passed whole.
		c, _, cbits := m.unit(at)
		d, _, dbits := n.unit(at)
		next := at + 1<<max(cbits, dbits)
		if cbits == dbits {
			err = ms.differ(c, d, at, cbits, fn)
		} else {
			err = fn(at, next)
		}
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}
