package meta

import "fmt"

// Cut takes blocks [lo, hi) out of a map: rest is m with a hole there, cut is m with
// holes everywhere else. Subtrees inside move to cut as they are, without being visited,
// so that the cost is O(height) whatever the range. The pages on the two paths to lo and
// hi are made anew for both, born in layer, and the old ones given to dead, as by Apply.
// On error nothing has changed and dead was not called.
func (ms *Maps) Cut(m Map, lo, hi int64, layer Birth, dead func(Ptr)) (rest, cut Map, err error) {
	if lo < 0 || hi < lo || layer > runMaxBirth {
		return Map{}, Map{}, fmt.Errorf("meta: map cut: blocks %d to %d in layer %d: %w", lo, hi, layer, ErrInvalid)
	}
	if m.Bits == 0 || lo == hi {
		return m, Map{}, nil
	}
	o := &mapOp{ms: ms, layer: layer}
	re, ce, err := o.cut(m.root, 0, m.Bits, lo, hi)
	if err := o.finish(err, dead); err != nil {
		return Map{}, Map{}, fmt.Errorf("meta: map cut: %w", err)
	}
	return newMap(m.Bits, re), newMap(m.Bits, ce), nil
}

// cut takes [lo, hi) out of the entry for the region of bits at base.
func (o *mapOp) cut(e mapEntry, base int64, bits uint8, lo, hi int64) (rest, cut mapEntry, err error) {
	end := base + 1<<bits
	switch {
	case e.kind == slotHole || hi <= base || lo >= end:
		return e, mapHole, nil
	case lo <= base && hi >= end:
		return mapHole, e, nil
	case bits == mapRegionBits:
		return o.cutRegion(&e, base, lo, hi)
	}
	lost := len(o.lost)
	old, err := o.ms.inner(&e, base, bits)
	if err != nil {
		if o.lose(&e, base, bits, err) {
			return e, mapHole, nil
		}
		return mapEntry{}, mapEntry{}, err
	}
	r, c := *old, *old
	sb := bits - mapSlotBits
	for i := range old.slots {
		r.slots[i], c.slots[i], err = o.cut(old.slots[i], base+int64(i)<<sb, sb, lo, hi)
		if err != nil {
			return mapEntry{}, mapEntry{}, err
		}
	}
	r.sum()
	c.sum()
	if c.count == 0 && len(o.lost) == lost {
		return e, mapHole, nil
	}
	if r.count == 0 {
		return mapHole, e, nil
	}
	o.kill(&e)
	if rest, err = o.putInner(&r); err != nil {
		return mapEntry{}, mapEntry{}, err
	}
	cut, err = o.putInner(&c)
	return rest, cut, err
}

// cutRegion is cut for a region of 13 bits which is not inside or outside as a whole.
func (o *mapOp) cutRegion(e *mapEntry, base, lo, hi int64) (rest, cut mapEntry, err error) {
	lost := len(o.lost)
	us, err := o.units(e, base)
	if err != nil {
		if o.lose(e, base, mapRegionBits, err) {
			return *e, mapHole, nil
		}
		return mapEntry{}, mapEntry{}, err
	}
	rs, cs := make([]mapUnit, len(us)), make([]mapUnit, len(us))
	var rn, cn int64 // blocks on either side
	for i := range us {
		if rs[i], cs[i], err = o.cutUnit(&us[i], lo, hi); err != nil {
			return mapEntry{}, mapEntry{}, err
		}
		rn += rs[i].count()
		cn += cs[i].count()
	}
	if cn == 0 && len(o.lost) == lost {
		return *e, mapHole, nil
	}
	if rn == 0 {
		return mapHole, *e, nil
	}
	if e.kind == slotInner {
		o.kill(e)
	}
	for i := range us {
		if rs[i].changed && cs[i].changed {
			o.kill(&us[i].e)
		}
	}
	if rest, err = o.build(rs, base); err != nil {
		return mapEntry{}, mapEntry{}, err
	}
	cut, err = o.build(cs, base)
	return rest, cut, err
}

// cutUnit divides a unit. Where all of it goes to one side, that is the unit as it was;
// else both are changed, and its leaf is not yet dead.
func (o *mapOp) cutUnit(u *mapUnit, lo, hi int64) (rest, cut mapUnit, err error) {
	none := newMapUnit(mapHole, u.base, u.bits)
	lo, hi = max(lo, u.base), min(hi, u.end())
	if lo >= hi {
		return *u, none, nil
	}
	if lo == u.base && hi == u.end() {
		return none, *u, nil
	}
	ps, err := o.load(u)
	if err != nil {
		if o.lose(&u.e, u.base, u.bits, err) {
			return *u, none, nil
		}
		return mapUnit{}, mapUnit{}, err
	}
	in := overlay(ps, nil, lo, hi)
	if len(in) == 0 {
		return *u, none, nil
	}
	out := overlay(ps, []Piece{{Start: lo, Len: hi - lo}}, u.base, u.end())
	if len(out) == 0 {
		return none, *u, nil
	}
	rest, cut = none, none
	rest.changed, rest.pieces = true, out
	cut.changed, cut.pieces = true, in
	return rest, cut, nil
}

// count is the number of mapped blocks of the unit.
func (u *mapUnit) count() int64 {
	if !u.changed {
		return int64(u.e.count)
	}
	n := int64(0)
	for _, p := range u.pieces {
		n += p.Len
	}
	return n
}
