package meta

import (
	"cmp"
	"slices"
	"sync"
)

// aheadAtOnce is how many pages Ahead reads at the same time.
const aheadAtOnce = 16

// mapAhead is one Ahead.
type mapAhead struct {
	ms    *Maps
	from  int64
	wants func(lo, hi int64) bool
	left  int // pages that may still be read
	to    int64
}

// aheadUnit is an entry, and the region that it stands for.
type aheadUnit struct {
	e    *mapEntry
	base int64
	bits uint8
}

// Ahead brings pages of a map to memory that stand for block from and what follows, many at once, for who is about to go through
// the map in order: one page after the other takes a device's latency each time. Only pages of regions [lo, hi) are read that
// wants says yes to. It stops after limit pages or some more, and returns the block up to which it has come, above from. What
// cannot be read is left out: who needs it reads it again, and is told. The cache must have room for limit pages.
func (ms *Maps) Ahead(m Map, from int64, limit int, wants func(lo, hi int64) bool) (to int64) {
	w := mapAhead{ms: ms, from: from, wants: wants, left: limit, to: m.end()}
	if from < m.end() && m.root.kind == slotInner {
		w.below(aheadUnit{&m.root, 0, m.Bits})
	}
	return max(w.to, from+1)
}

// below reads what is directly below an inner page, then what is below that.
func (w *mapAhead) below(u aheadUnit) {
	n, err := w.ms.inner(u.e, u.base, u.bits)
	if err != nil {
		return
	}
	var units, missing []aheadUnit
	_ = n.each(func(e *mapEntry, base int64, bits uint8) error { //nolint:errcheck // fn returns none
		if base+1<<bits <= w.from || e.kind != slotLeaf && e.kind != slotInner || !w.wants(base, base+1<<bits) {
			return nil
		}
		c := aheadUnit{e, base, bits}
		units = append(units, c)
		if _, ok := w.ms.Store.Cached(e.ptr); !ok {
			missing = append(missing, c)
		}
		return nil
	})
	w.read(missing)
	for _, c := range units {
		if c.e.kind != slotInner {
			continue
		}
		if w.left <= 0 {
			w.to = min(w.to, c.base)
			return
		}
		w.below(c)
	}
}

// read reads pages in the order of the device.
func (w *mapAhead) read(list []aheadUnit) {
	w.left -= len(list)
	slices.SortFunc(list, func(a, b aheadUnit) int { return cmp.Compare(a.e.ptr.Addr, b.e.ptr.Addr) })
	next := make(chan aheadUnit)
	var wg sync.WaitGroup
	for range min(aheadAtOnce, len(list)) {
		wg.Go(func() {
			for u := range next {
				_, _ = w.ms.page(u.e, u.base, u.bits) //nolint:errcheck // who needs it reads it again
			}
		})
	}
	for _, u := range list {
		next <- u
	}
	close(next)
	wg.Wait()
}
