package overlay

import (
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Lookup finds the piece at lb, cut to at most max blocks. It goes down the stack; miss is set when a page must be
// read first.
func (o *Storey) Lookup(maps *meta.Maps, lb, max int64) (p Piece, miss bool) {
	for !o.settled {
		switch o.kind {
		case entries:
			if k, q, ok := o.entries.Floor(at(lb)); ok && start(k)+q.Len > lb {
				q = q.Tail(lb - start(k))
				return q.Head(min(q.Len, max)), false
			}
			if k, _, ok := o.entries.Ceil(at(lb)); ok {
				max = min(max, start(k)-lb)
			}
		case rest, window:
			inside := o.lo <= lb && lb < o.hi
			switch {
			case inside:
				max = min(max, o.hi-lb)
			case lb < o.lo:
				max = min(max, o.lo-lb)
			}
			if inside == (o.kind == rest) {
				return Piece{Len: max}, false
			}
		}
		o = o.under
	}
	q, miss := maps.LookupCached(o.base, lb, max)
	if miss {
		return Piece{}, true
	}
	p = Piece{Len: q.Len}
	if q.Mapped {
		p.Dev, p.Birth = q.Dev, q.Birth
	}
	return p, false
}

// Plain is the map that the stack shows, if nothing lies over the settled one.
func (o *Storey) Plain() (m meta.Map, ok bool) {
	for ; !o.settled; o = o.under {
		if o.kind != entries || o.entries.Len() > 0 {
			return meta.Map{}, false
		}
	}
	return o.base, true
}

// Bottom is the map under the stack, depth the number of storeys over it.
func (o *Storey) Bottom() (m meta.Map, depth int) {
	for !o.settled {
		o, depth = o.under, depth+1
	}
	return o.base, depth
}

// Count counts the mapped blocks of [lo, hi) up to end, with pages that are in memory, in at most so many steps: an entry and
// a range of the settled map are one each. miss is -1, or the block whose way has a page in the settled map that must be read
// before it goes on.
func (o *Storey) Count(maps *meta.Maps, lo, hi int64, steps *int) (n, end, miss int64) {
	switch {
	case lo >= hi:
		return 0, hi, -1
	case o.settled:
		return countSettled(maps, o.base, lo, hi, steps)
	case o.kind == entries:
		return o.countEntries(maps, lo, hi, steps)
	}
	parts := [2][2]int64{{lo, min(hi, o.lo)}, {max(lo, o.hi), hi}} // of the map below, around the hole
	if o.kind == window {
		parts = [2][2]int64{{max(lo, o.lo), min(hi, o.hi)}}
	}
	for _, r := range parts {
		if r[0] >= r[1] {
			continue
		}
		k, at, miss := o.under.Count(maps, r[0], r[1], steps)
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

func (o *Storey) countEntries(maps *meta.Maps, lo, hi int64, steps *int) (n, end, miss int64) {
	pos, miss := lo, int64(-1)
	gap := func(to int64) bool { // what no entry covers, up to to
		var k int64
		if pos < to {
			k, pos, miss = o.under.Count(maps, pos, to, steps)
			n += k
		}
		return pos >= to
	}
	from := lo
	if k, q, ok := o.entries.Floor(at(lo)); ok && start(k)+q.Len > lo {
		from = start(k)
	}
	whole := true
	o.entries.Ascend(at(from), func(k omap.Key, q Piece) bool {
		s, e := start(k), min(start(k)+q.Len, hi)
		if s >= hi {
			return false
		}
		if whole = gap(s) && *steps > 0; !whole {
			return false
		}
		*steps--
		if q.Dev != 0 {
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

// Pieces calls piece for what the storeys over the settled map have in [lo, hi), in order of where it begins, and base for the
// ranges in between that the settled map has. Holes of storeys are not told. An error of either ends it and is returned as it is.
func (o *Storey) Pieces(lo, hi int64, piece func(lb int64, p Piece) error, base func(m meta.Map, lo, hi int64) error) error {
	switch {
	case lo >= hi:
		return nil
	case o.settled:
		return base(o.base, lo, hi)
	case o.kind == rest:
		if err := o.under.Pieces(lo, min(hi, o.lo), piece, base); err != nil {
			return err
		}
		return o.under.Pieces(max(lo, o.hi), hi, piece, base)
	case o.kind == window:
		return o.under.Pieces(max(lo, o.lo), min(hi, o.hi), piece, base)
	}
	pos := lo
	if k, q, ok := o.entries.Floor(at(lo)); ok {
		if end := min(start(k)+q.Len, hi); end > lo {
			if err := tell(piece, lo, q.Tail(lo-start(k)).Head(end-lo)); err != nil {
				return err
			}
			pos = end
		}
	}
	var err error
	o.entries.Ascend(at(pos), func(k omap.Key, q Piece) bool {
		s := start(k)
		if s >= hi {
			return false
		}
		if err = o.under.Pieces(pos, s, piece, base); err == nil {
			pos = min(s+q.Len, hi)
			err = tell(piece, s, q.Head(pos-s))
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return o.under.Pieces(pos, hi, piece, base)
}

func tell(piece func(int64, Piece) error, lb int64, p Piece) error {
	if p.Dev == 0 {
		return nil
	}
	return piece(lb, p)
}
