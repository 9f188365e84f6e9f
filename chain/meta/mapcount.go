package meta

// CountCached is the number of mapped blocks in [lo, hi), without I/O and without allocation: it looks at the pages at the two
// ends of the range only. miss is -1, or a block whose way has a page that is not in memory, or is not the page meant: Lookup
// of that block will read it, or name the error.
func (ms *Maps) CountCached(m Map, lo, hi int64) (n uint64, miss int64) {
	lo, hi = max(lo, 0), min(hi, m.end())
	if lo >= hi {
		return 0, -1
	}
	return ms.countIn(&m.root, 0, m.Bits, lo, hi)
}

func (ms *Maps) countIn(e *mapEntry, base int64, bits uint8, lo, hi int64) (n uint64, miss int64) {
	if lo <= base && base+1<<bits <= hi {
		return e.count, -1
	}
	switch e.kind {
	case slotInner, slotLeaf:
		v, err := ms.reach(e, base, bits, false)
		if v == nil || err != nil {
			return 0, max(lo, base)
		}
		if leaf, ok := v.(*mapLeaf); ok {
			return countRuns(leaf.runs, base, lo, hi), -1
		}
		in := v.(*mapInner) // vouched for
		for at := max(lo, base); at < min(hi, base+1<<bits); {
			c, cbase, cbits := in.unit(at)
			k, gap := ms.countIn(c, cbase, cbits, lo, hi)
			if n += k; gap >= 0 {
				return 0, gap
			}
			at = cbase + 1<<cbits
		}
		return n, -1
	case slotRun:
		one := [1]mapRun{e.run}
		return countRuns(one[:], base, lo, hi), -1
	case slotHole, slotCont:
	}
	return 0, -1
}

// countRuns is the number of blocks of runs of a region at base that lie in [lo, hi).
func countRuns(runs []mapRun, base, lo, hi int64) (n uint64) {
	for _, r := range runs {
		if p := r.piece(base); p.End() > lo && p.Start < hi {
			n += uint64(p.clip(lo, hi).Len)
		}
	}
	return n
}
