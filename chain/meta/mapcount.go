package meta

import "fmt"

// CountRange is the number of mapped blocks in [lo, hi). It reads the pages at the two ends of the range only.
func (ms *Maps) CountRange(m Map, lo, hi int64) (uint64, error) {
	lo, hi = max(lo, 0), min(hi, m.end())
	if lo >= hi {
		return 0, nil
	}
	n, err := ms.countIn(&m.root, 0, m.Bits, lo, hi)
	if err != nil {
		return 0, fmt.Errorf("meta: map count: blocks %d to %d: %w", lo, hi, err)
	}
	return n, nil
}

func (ms *Maps) countIn(e *mapEntry, base int64, bits uint8, lo, hi int64) (n uint64, err error) {
	if lo <= base && base+1<<bits <= hi {
		return e.count, nil
	}
	switch e.kind {
	case slotInner:
		in, err := ms.inner(e, base, bits)
		if err != nil {
			return 0, err
		}
		err = in.each(func(c *mapEntry, cbase int64, cbits uint8) error {
			if cbase >= hi || cbase+1<<cbits <= lo {
				return nil
			}
			k, err := ms.countIn(c, cbase, cbits, lo, hi)
			n += k
			return err
		})
		return n, err
	case slotLeaf, slotRun:
		runs, err := ms.runs(e, base, bits)
		for _, r := range runs {
			if p := r.piece(base); p.End() > lo && p.Start < hi {
				n += uint64(p.clip(lo, hi).Len)
			}
		}
		return n, err
	case slotHole, slotCont:
	}
	return 0, nil
}
