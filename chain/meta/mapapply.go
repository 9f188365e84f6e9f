package meta

import (
	"errors"
	"fmt"
)

// mapOp is one change of a map. It takes effect as a whole: until it is finished, no
// page that it replaces is reported, and if it fails, the pages that it made are freed.
type mapOp struct {
	ms    *Maps
	layer Birth // birth of the pages made
	made  []Ptr
	dead  []Ptr // replaced or dropped
	lost  []lostRegion
}

// lostRegion is a region whose page is damaged.
type lostRegion struct {
	base int64
	bits uint8
	err  error
}

// lostSum is the checksum in a pointer to what is lost.
const lostSum = ^uint64(0)

// lose makes e the entry of a lost region, if err says that its page is damaged and the
// caller goes on without.
func (o *mapOp) lose(e *mapEntry, base int64, bits uint8, err error) bool {
	if o.ms.OnLost == nil || !errors.Is(err, ErrCorrupt) {
		return false
	}
	if e.ptr.Sum != lostSum {
		e.ptr.Sum = lostSum
		o.lost = append(o.lost, lostRegion{base, bits, err})
	}
	return true
}

// finish ends the change and passes on its error.
func (o *mapOp) finish(err error, dead func(Ptr)) error {
	if err != nil {
		for _, p := range o.made {
			o.ms.Store.Free(p)
		}
		return err
	}
	for _, p := range o.dead {
		dead(p)
	}
	for _, l := range o.lost {
		o.ms.OnLost(l.base, l.bits, l.err)
	}
	return nil
}

// Apply sets pieces, which are sorted and disjoint, to what they say: mapped or hole. New
// pages are born in layer. Each page that was replaced or dropped is given to dead once,
// when all else is done; it belongs to the caller, who frees it or puts it into a dead
// list. A page whose content does not change is kept; runs that continue each other on
// the device and are of one birth are joined.
//
// Each page touched is read and written once; a leaf that is covered by one piece is not
// read. Holes over big subtrees read the inner pages below. On error nothing has changed
// and dead was not called: ErrInvalid for pieces out of order, overlapping, outside the
// map or the pool, or born after layer; ErrNoPages; ErrCorrupt.
func (ms *Maps) Apply(m Map, pieces []Piece, layer Birth, dead func(Ptr)) (Map, error) {
	bits, err := ms.checkPieces(m, pieces, layer)
	if err != nil {
		return Map{}, fmt.Errorf("meta: map apply: %w", err)
	}
	pieces = within(pieces, 0, 1<<bits)
	if bits == 0 || len(pieces) == 0 {
		return m, nil
	}
	o := &mapOp{ms: ms, layer: layer}
	root, ebits := m.root, m.Bits
	if ebits == 0 {
		root, ebits = mapHole, mapRegionBits
	}
	e, err := o.set(root, ebits, 0, bits, pieces)
	if err := o.finish(err, dead); err != nil {
		return Map{}, fmt.Errorf("meta: map apply: %w", err)
	}
	return newMap(bits, e), nil
}

// checkPieces verifies pieces and returns the bits of a map that holds them and m.
func (ms *Maps) checkPieces(m Map, pieces []Piece, layer Birth) (uint8, error) {
	bits, at, total := m.Bits, int64(0), uint64(ms.Store.Total())
	if layer > runMaxBirth {
		return 0, fmt.Errorf("layer %d: %w", layer, ErrInvalid)
	}
	for _, p := range pieces {
		if p.Start < at || p.Len <= 0 || p.Start > MapMaxBlocks || p.Len > MapMaxBlocks-p.Start {
			return 0, fmt.Errorf("blocks %d+%d after %d: %w", p.Start, p.Len, at, ErrInvalid)
		}
		at = p.End()
		if !p.Mapped {
			continue
		}
		dev := uint64(p.Dev)
		if dev == 0 || dev > runMaxDev || dev+uint64(p.Len) > min(total, runMaxDev+1) || p.Birth > layer {
			return 0, fmt.Errorf("blocks %d+%d at device block %d of %d, birth %d in layer %d: %w",
				p.Start, p.Len, dev, total, p.Birth, layer, ErrInvalid)
		}
		bits = max(bits, mapRegionBits)
		for at > 1<<bits {
			bits += mapSlotBits
		}
	}
	return bits, nil
}

// set returns the entry for the region of bits at base after ps, the pieces that touch
// it. e stands for the first 1 << ebits blocks of the region, the rest is a hole: a map
// that grows gets its new levels here.
func (o *mapOp) set(e mapEntry, ebits uint8, base int64, bits uint8, ps []Piece) (mapEntry, error) {
	grow := ebits < bits
	if len(ps) == 0 && !grow {
		return e, nil
	}
	if len(ps) == 1 && !ps[0].Mapped && covers(ps[0], base, bits) {
		return mapHole, o.drop(&e, base, ebits)
	}
	if bits == mapRegionBits {
		return o.setRegion(&e, base, ps)
	}
	old := newInner(base, bits)
	if !grow && e.kind == slotInner {
		var err error
		if old, err = o.ms.inner(&e, base, bits); err != nil {
			if o.lose(&e, base, bits, err) {
				return e, nil
			}
			return mapEntry{}, err
		}
	}
	n, sb := *old, bits-mapSlotBits
	for i := range n.slots {
		lo := base + int64(i)<<sb
		ce, cbits := old.slots[i], sb
		if grow && i == 0 {
			ce, cbits = e, ebits
		}
		ne, err := o.set(ce, cbits, lo, sb, within(ps, lo, lo+1<<sb))
		if err != nil {
			return mapEntry{}, err
		}
		n.slots[i] = ne
	}
	if !grow && n.slots == old.slots {
		return e, nil
	}
	if !grow {
		o.kill(&e)
	}
	return o.putInner(&n)
}

// covers reports whether p covers the whole region of bits at base.
func covers(p Piece, base int64, bits uint8) bool {
	return p.Start <= base && p.End() >= base+1<<bits
}

// kill remembers the page of e, if it has one, as replaced.
func (o *mapOp) kill(e *mapEntry) {
	if e.kind == slotLeaf || e.kind == slotInner {
		o.dead = append(o.dead, e.ptr)
	}
}

// drop kills all pages of e, reading its inner ones.
func (o *mapOp) drop(e *mapEntry, base int64, bits uint8) error {
	o.kill(e)
	if e.kind != slotInner {
		return nil
	}
	n, err := o.ms.inner(e, base, bits)
	if err != nil {
		if o.lose(e, base, bits, err) { // what lies below stays in use: nobody knows what it is
			return nil
		}
		return err
	}
	return n.each(o.drop)
}

// putInner makes a page of n, which it owns from now on. All hole needs no page.
func (o *mapOp) putInner(n *mapInner) (mapEntry, error) {
	n.sum()
	if n.count == 0 {
		return mapHole, nil
	}
	return o.put(mapEntry{kind: slotInner, count: n.count}, &n.mapFacts, n.encode(), n)
}

// putRuns makes an entry for at most mapLeafRuns mapped pieces of a region of at most
// 13 bits.
func (o *mapOp) putRuns(ps []Piece, base int64, bits uint8) (mapEntry, error) {
	switch len(ps) {
	case 0:
		return mapHole, nil
	case 1:
		return mapEntry{kind: slotRun, count: uint64(ps[0].Len), run: packRun(ps[0], base)}, nil
	}
	l := &mapLeaf{mapFacts: mapFacts{base: base, bits: bits}, runs: make([]mapRun, len(ps))}
	for i, p := range ps {
		l.runs[i] = packRun(p, base)
		l.addRun(l.runs[i])
	}
	return o.put(mapEntry{kind: slotLeaf, count: l.count}, &l.mapFacts, l.encode(), l)
}

func (o *mapOp) put(e mapEntry, f *mapFacts, page []byte, decoded any) (mapEntry, error) {
	if f.birth > o.layer {
		return mapEntry{}, fmt.Errorf("region of %d bits at %d: birth %d in layer %d: %w",
			f.bits, f.base, f.birth, o.layer, ErrInvalid)
	}
	p, err := o.ms.Store.Put(page, e.kind == slotInner, o.layer, decoded)
	if err != nil {
		return mapEntry{}, fmt.Errorf("region of %d bits at %d: %w", f.bits, f.base, err)
	}
	o.made = append(o.made, p)
	e.ptr = p
	return e, nil
}
