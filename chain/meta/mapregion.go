package meta

import "slices"

// mapMergeRuns is the most runs that two halves may hold to become one leaf again: well
// below what splits a leaf, so that no leaf is split and merged in turn.
const mapMergeRuns = mapLeafRuns / 2

// mapUnit is a unit of a region of 13 bits while the region is rebuilt.
type mapUnit struct {
	base    int64
	bits    uint8
	e       mapEntry // as it was; invalid if changed
	changed bool     // pieces replaces e
	known   bool     // pieces is what the unit holds
	pieces  []Piece  // mapped, sorted, joined
}

// units takes a region apart. Leaves are not read.
func (o *mapOp) units(e *mapEntry, base int64) ([]mapUnit, error) {
	if e.kind != slotInner {
		return []mapUnit{newMapUnit(*e, base, mapRegionBits)}, nil
	}
	n, err := o.ms.inner(e, base, mapRegionBits)
	if err != nil {
		return nil, err
	}
	us := make([]mapUnit, 0, mapSlots)
	err = n.each(func(c *mapEntry, cbase int64, cbits uint8) error {
		us = append(us, newMapUnit(*c, cbase, cbits))
		return nil
	})
	return us, err
}

func newMapUnit(e mapEntry, base int64, bits uint8) mapUnit {
	u := mapUnit{base: base, bits: bits, e: e, known: e.kind != slotLeaf}
	if e.kind == slotRun {
		u.pieces = []Piece{e.run.piece(base)}
	}
	return u
}

func (u *mapUnit) end() int64 { return u.base + 1<<u.bits }

// load returns the pieces of the unit, reading its leaf.
func (o *mapOp) load(u *mapUnit) ([]Piece, error) {
	if u.known {
		return u.pieces, nil
	}
	runs, err := o.ms.runs(&u.e, u.base, u.bits)
	if err != nil {
		return nil, err
	}
	ps := make([]Piece, len(runs))
	for i, r := range runs {
		ps[i] = r.piece(u.base)
	}
	return ps, nil
}

// setRegion is set for a region of 13 bits.
func (o *mapOp) setRegion(e *mapEntry, base int64, ps []Piece) (mapEntry, error) {
	us, err := o.units(e, base)
	if err != nil {
		if o.lose(e, base, mapRegionBits, err) {
			return *e, nil
		}
		return mapEntry{}, err
	}
	changed := false
	for i := range us {
		u := &us[i]
		sub := within(ps, u.base, u.end())
		if len(sub) == 0 {
			continue
		}
		whole := !u.known && covers(sub[0], u.base, u.bits) // the leaf goes, and need not be readable
		var old []Piece
		if !whole {
			if old, err = o.load(u); err != nil {
				was := len(o.lost)
				if !o.lose(&u.e, u.base, u.bits, err) {
					return mapEntry{}, err
				}
				changed = changed || len(o.lost) > was
				continue
			}
		}
		now := overlay(old, sub, u.base, u.end())
		if !whole && slices.Equal(old, now) {
			continue
		}
		o.kill(&u.e)
		u.changed, u.known, u.pieces = true, true, now
		changed = true
	}
	if !changed {
		return *e, nil
	}
	if e.kind == slotInner {
		o.kill(e)
	}
	return o.build(us, base)
}

// build makes the entry of a region of 13 bits from units that cover it.
func (o *mapOp) build(us []mapUnit, base int64) (mapEntry, error) {
	var done []mapUnit
	for _, u := range us {
		done = settle(done, u)
	}
	n := newInner(base, mapRegionBits)
	for i := range done {
		u := &done[i]
		e := u.e
		e.span = 0
		if u.changed {
			var err error
			if e, err = o.putRuns(u.pieces, u.base, u.bits); err != nil {
				return mapEntry{}, err
			}
		}
		if u.bits == mapRegionBits {
			return e, nil
		}
		n.place(e, u.base, u.bits)
	}
	return o.putInner(n)
}

// settle adds u to the units before it: split in halves while it has too many runs for
// a leaf, joined with its other half where they fit.
func settle(done []mapUnit, u mapUnit) []mapUnit {
	if len(u.pieces) > mapLeafRuns {
		mid := u.base + 1<<(u.bits-1)
		for _, lo := range []int64{u.base, mid} {
			h := mapUnit{base: lo, bits: u.bits - 1, changed: true, known: true}
			h.pieces = overlay(u.pieces, nil, lo, h.end())
			done = settle(done, h)
		}
		return done
	}
	for len(done) > 0 && u.bits < mapRegionBits && mergeable(&done[len(done)-1], &u) {
		l := &done[len(done)-1]
		done = done[:len(done)-1]
		u = mapUnit{base: l.base, bits: l.bits + 1, changed: true, known: true, pieces: mergedPieces(l, &u)}
	}
	return append(done, u)
}

// mergeable reports whether l and r are the halves of one unit that should be one: if
// that needs no leaf, or one of them is a leaf that is being rewritten.
func mergeable(l, r *mapUnit) bool {
	if l.bits != r.bits || l.end() != r.base || l.base&(1<<(l.bits+1)-1) != 0 || !l.known || !r.known {
		return false
	}
	n := len(l.pieces) + len(r.pieces)
	if n > 0 && n <= 2 {
		n = len(mergedPieces(l, r))
	}
	return n <= 1 || n <= mapMergeRuns && (len(l.pieces) > 1 || len(r.pieces) > 1)
}

func mergedPieces(l, r *mapUnit) []Piece {
	out := slices.Clone(l.pieces)
	for _, p := range r.pieces {
		out = appendPiece(out, p)
	}
	return out
}
