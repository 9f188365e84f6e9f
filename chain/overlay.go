package chain

import (
	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// overlay is one storey of a map: what one head changed, over the storey below it. The lowest storey of every stack is
// settled: a complete map in pages. A checkpoint settles storeys from below; until then a lookup goes down the stack.
// So a map record changes memory only, when it is made and when it is replayed alike, and no page is read for it.
//
// Only the top storey of a head changes, under the plan lock; all others are immutable but for settle.
type overlay struct {
	layer   *layer // which was head when it was written; births of its pages
	under   *overlay
	entries omap.Map[piece] // by first logical block; disjoint
	kind    storey
	lo, hi  int64    // of a window and its rest
	pair    *overlay // the other one of the two
	base    meta.Map // when settled
	settled bool
}

type storey uint8

const (
	storeyEntries storey = iota
	storeyRest           // the map below with a hole in [lo, hi)
	storeyWindow         // the map below, seen in [lo, hi) only
)

// piece is a run of logical blocks: mapped to the device, or a hole (dev 0). Its start is its key.
type piece struct {
	n     int64
	dev   alloc.BlockID
	birth LayerID
}

// mapEnd is above every logical block.
const mapEnd = meta.MapMaxBlocks

// tail is what is left of p after its first k blocks.
func (p piece) tail(k int64) piece {
	p.n -= k
	if p.dev != 0 {
		p.dev += alloc.BlockID(k)
	}
	return p
}

func (p piece) head(k int64) piece { p.n = k; return p }

func at(lb int64) omap.Key           { return omap.Key{Hi: uint64(lb)} }
func start(k omap.Key) int64         { return int64(k.Hi) }
func settledMap(m meta.Map) *overlay { return &overlay{base: m, settled: true} }

// set lays p over [lb, lb+p.n). Neighbours that continue each other are joined.
func (o *overlay) set(lb int64, p piece) {
	end := lb + p.n
	if k, q, ok := o.entries.Floor(at(lb)); ok && start(k)+q.n > lb {
		if s := start(k); s < lb {
			o.entries.Set(k, q.head(lb-s))
		}
		if start(k)+q.n > end {
			o.entries.Set(at(end), q.tail(end-start(k)))
		}
	}
	for {
		k, q, ok := o.entries.Ceil(at(lb))
		if !ok || start(k) >= end {
			break
		}
		o.entries.Delete(k)
		if start(k)+q.n > end {
			o.entries.Set(at(end), q.tail(end-start(k)))
		}
	}
	if k, q, ok := o.entries.Floor(at(lb)); ok && start(k)+q.n == lb && q.continuedBy(p) {
		lb, p = start(k), piece{q.n + p.n, q.dev, q.birth}
	}
	if q, ok := o.entries.Get(at(end)); ok && p.continuedBy(q) {
		o.entries.Delete(at(end))
		p.n += q.n
	}
	o.entries.Set(at(lb), p)
}

func (p piece) continuedBy(q piece) bool {
	if p.birth != q.birth {
		return false
	}
	if p.dev == 0 || q.dev == 0 {
		return p.dev == q.dev
	}
	return p.dev+alloc.BlockID(p.n) == q.dev
}

// lookup finds the piece at lb, cut to at most max blocks. It goes down the stack; miss is set when a page must be
// read first.
func (o *overlay) lookup(maps *meta.Maps, lb, max int64) (p piece, miss bool) {
	for !o.settled {
		switch o.kind {
		case storeyEntries:
			if k, q, ok := o.entries.Floor(at(lb)); ok && start(k)+q.n > lb {
				q = q.tail(lb - start(k))
				return q.head(min(q.n, max)), false
			}
			if k, _, ok := o.entries.Ceil(at(lb)); ok {
				max = min(max, start(k)-lb)
			}
		case storeyRest, storeyWindow:
			inside := o.lo <= lb && lb < o.hi
			switch {
			case inside:
				max = min(max, o.hi-lb)
			case lb < o.lo:
				max = min(max, o.lo-lb)
			}
			if inside == (o.kind == storeyRest) {
				return piece{n: max}, false
			}
		}
		o = o.under
	}
	q, miss := maps.LookupCached(o.base, lb, max)
	if miss {
		return piece{}, true
	}
	p = piece{n: q.Len}
	if q.Mapped {
		p.dev, p.birth = q.Dev, q.Birth
	}
	return p, false
}

// plain is the map that the stack shows, if nothing lies over the settled one.
func (o *overlay) plain() (m meta.Map, ok bool) {
	for ; !o.settled; o = o.under {
		if o.kind != storeyEntries || o.entries.Len() > 0 {
			return meta.Map{}, false
		}
	}
	return o.base, true
}

// bottom is the map under the stack, depth the number of storeys over it.
func (o *overlay) bottom() (m meta.Map, depth int) {
	for !o.settled {
		o, depth = o.under, depth+1
	}
	return o.base, depth
}

// count counts the mapped blocks of [lo, hi) up to end, with pages that are in memory, in at most so many steps: an entry and
// a range of the settled map are one each. miss is -1, or the block whose way has a page in the settled map that must be read
// before it goes on.
func (o *overlay) count(maps *meta.Maps, lo, hi int64, steps *int) (n, end, miss int64) {
	switch {
	case lo >= hi:
		return 0, hi, -1
	case o.settled:
		return countSettled(maps, o.base, lo, hi, steps)
	case o.kind == storeyEntries:
		return o.countEntries(maps, lo, hi, steps)
	}
	parts := [2][2]int64{{lo, min(hi, o.lo)}, {max(lo, o.hi), hi}} // of the map below, around the hole
	if o.kind == storeyWindow {
		parts = [2][2]int64{{max(lo, o.lo), min(hi, o.hi)}}
	}
	for _, r := range parts {
		if r[0] >= r[1] {
			continue
		}
		k, at, miss := o.under.count(maps, r[0], r[1], steps)
		if n += k; at < r[1] {
			return n, at, miss
		}
	}
	return n, hi, -1
}

func countSettled(maps *meta.Maps, m meta.Map, lo, hi int64, steps *int) (n, end, miss int64) {
	if *steps <= 0 {
		return 0, lo, -1
	}
	*steps--
	k, miss := maps.CountCached(m, lo, hi)
	if miss >= 0 {
		return 0, lo, miss
	}
	return int64(k), hi, -1
}

func (o *overlay) countEntries(maps *meta.Maps, lo, hi int64, steps *int) (n, end, miss int64) {
	pos, miss := lo, int64(-1)
	gap := func(to int64) bool { // what no entry covers, up to to
		var k int64
		if pos < to {
			k, pos, miss = o.under.count(maps, pos, to, steps)
			n += k
		}
		return pos >= to
	}
	from := lo
	if k, q, ok := o.entries.Floor(at(lo)); ok && start(k)+q.n > lo {
		from = start(k)
	}
	whole := true
	o.entries.Ascend(at(from), func(k omap.Key, q piece) bool {
		s, e := start(k), min(start(k)+q.n, hi)
		if s >= hi {
			return false
		}
		if whole = gap(s) && *steps > 0; !whole {
			return false
		}
		*steps--
		if q.dev != 0 {
			n += e - pos
		}
		pos = e
		return true
	})
	if whole {
		gap(hi)
	}
	return n, pos, miss
}
