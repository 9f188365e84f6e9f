package meta

import (
	"encoding/binary"
	"fmt"
)

// slotKind says what stands in a slot of an inner page, or at the root of a map. Zero is
// never valid on disk; in memory it is the root of the empty map.
type slotKind uint8

const (
	slotHole  slotKind = 1 // the unit is all hole
	slotRun   slotKind = 2 // the unit holds one run and no page
	slotLeaf  slotKind = 3 // the unit has a leaf page
	slotInner slotKind = 4 // the unit has an inner page
	slotCont  slotKind = 5 // the slot belongs to the unit that starts in an earlier one
)

// mapEntry is a slot. Its unit is one slot, or in an inner page of 13 bits 1 << span
// aligned slots of which the first holds everything and the others are slotCont.
//
//	offset size
//	0      1    kind
//	1      1    span
//	2      6    zero
//	8      8    mapped blocks below; 0 for hole and cont
//	16     32   leaf, inner: Ptr. run: 16 bytes of run, 16 zero. else zero
type mapEntry struct {
	kind  slotKind
	span  uint8
	count uint64
	ptr   Ptr    // leaf and inner
	run   mapRun // run; counts from the start of the unit
}

const mapSlotSize = 48

var mapHole = mapEntry{kind: slotHole}

func (e *mapEntry) marshal(b []byte) {
	b[0], b[1] = byte(e.kind), e.span
	binary.LittleEndian.PutUint64(b[8:], e.count)
	switch e.kind {
	case slotRun:
		binary.LittleEndian.PutUint64(b[16:], e.run.lo)
		binary.LittleEndian.PutUint64(b[24:], e.run.hi)
	case slotLeaf, slotInner:
		e.ptr.Marshal(b[16:48])
	case slotHole, slotCont:
	}
}

// unmarshal decodes a slot; what it means for its place is for validate.
func (e *mapEntry) unmarshal(b []byte) error {
	le := binary.LittleEndian
	*e = mapEntry{kind: slotKind(b[0]), span: b[1], count: le.Uint64(b[8:])}
	rest := b[16:48]
	switch e.kind {
	case slotRun:
		e.run = mapRun{le.Uint64(b[16:]), le.Uint64(b[24:])}
		rest = b[32:48]
	case slotLeaf, slotInner:
		e.ptr = UnmarshalPtr(b[16:48])
		rest = nil
	case slotHole, slotCont:
	default:
		return fmt.Errorf("slot of kind %d: %w", b[0], ErrCorrupt)
	}
	if le.Uint64(b)>>16 != 0 || !allZero(rest) {
		return fmt.Errorf("slot with stray bits: %w", ErrCorrupt)
	}
	return nil
}

// validate checks an entry that stands for a unit of bits.
func (e *mapEntry) validate(bits uint8) error {
	switch e.kind {
	case slotHole, slotCont:
		if e.count != 0 {
			return fmt.Errorf("hole counts %d blocks: %w", e.count, ErrCorrupt)
		}
	case slotRun:
		if bits > mapRegionBits {
			return fmt.Errorf("run for %d bits: %w", bits, ErrCorrupt)
		}
		if err := e.run.validate(0, bits); err != nil {
			return err
		}
		if e.count != uint64(e.run.blocks()) {
			return fmt.Errorf("run of %d blocks counts %d: %w", e.run.blocks(), e.count, ErrCorrupt)
		}
	case slotLeaf, slotInner:
		leaf := e.kind == slotLeaf
		if leaf && bits > mapRegionBits || !leaf && !isMapBits(bits) {
			return fmt.Errorf("page of kind %d for %d bits: %w", e.kind, bits, ErrCorrupt)
		}
		if e.ptr.Addr == 0 || e.count == 0 || e.count > 1<<bits {
			return fmt.Errorf("page at %d counts %d of 1<<%d blocks: %w", e.ptr.Addr, e.count, bits, ErrCorrupt)
		}
	default:
		return fmt.Errorf("slot of kind %d: %w", e.kind, ErrCorrupt)
	}
	return nil
}

// mapFacts is what a page says of itself, for comparison with the slot above it.
type mapFacts struct {
	base   int64  // first logical block of the region
	bits   uint8  // the region is 1 << bits blocks
	count  uint64 // mapped blocks below
	birth  Birth  // youngest birth of a run or page in it
	devEnd uint64 // first device block after all that it names
}

func (f *mapFacts) addRun(r mapRun) {
	f.count += uint64(r.blocks())
	f.birth = max(f.birth, r.birth())
	f.devEnd = max(f.devEnd, r.devEnd())
}

func (f *mapFacts) addEntry(e *mapEntry) {
	switch e.kind {
	case slotRun:
		f.addRun(e.run)
	case slotLeaf, slotInner:
		f.count += e.count
		f.birth = max(f.birth, e.ptr.Birth)
		f.devEnd = max(f.devEnd, uint64(e.ptr.Addr)+1, uint64(e.ptr.Twin)+1)
	case slotHole, slotCont:
	}
}

// mapLeaf is a leaf page, decoded. Immutable once it is put.
type mapLeaf struct {
	mapFacts
	runs []mapRun // sorted, disjoint, at least one; they count from base
}

// mapInner is an inner page, decoded. Immutable once it is put.
type mapInner struct {
	mapFacts
	slots [mapSlots]mapEntry
}

// Size is the memory that the decoded page takes, in bytes.
func (l *mapLeaf) Size() int { return 80 + runSize*cap(l.runs) }

// Size is the memory that the decoded page takes, in bytes.
func (n *mapInner) Size() int { return 64 + 72*mapSlots }

// slotBits says how many blocks (1 << slotBits) one slot stands for.
func (n *mapInner) slotBits() uint8 { return n.bits - mapSlotBits }

// unit returns the unit that contains block lb of the page's region.
func (n *mapInner) unit(lb int64) (e *mapEntry, base int64, bits uint8) {
	sb := n.slotBits()
	i := int((lb - n.base) >> sb)
	i &^= 1<<n.slots[i].span - 1
	e = &n.slots[i]
	return e, n.base + int64(i)<<sb, sb + e.span
}

// each calls fn for every unit of the page, in order, until it returns an error.
func (n *mapInner) each(fn func(e *mapEntry, base int64, bits uint8) error) error {
	for at, end := n.base, n.base+1<<n.bits; at < end; {
		e, base, bits := n.unit(at)
		if err := fn(e, base, bits); err != nil {
			return err
		}
		at = base + 1<<bits
	}
	return nil
}

// newInner returns a page of holes, to be filled by place and sealed by Put.
func newInner(base int64, bits uint8) *mapInner {
	n := &mapInner{mapFacts: mapFacts{base: base, bits: bits}}
	for i := range n.slots {
		n.slots[i] = mapHole
	}
	return n
}

// place puts a unit that starts at block base into the page.
func (n *mapInner) place(e mapEntry, base int64, bits uint8) {
	i := int((base - n.base) >> n.slotBits())
	e.span = bits - n.slotBits()
	n.slots[i] = e
	for j := 1; j < 1<<e.span; j++ {
		n.slots[i+j] = mapEntry{kind: slotCont, span: e.span}
	}
}

// sum computes the facts of a page from its slots.
func (n *mapInner) sum() {
	n.mapFacts = mapFacts{base: n.base, bits: n.bits}
	for i := range n.slots {
		n.addEntry(&n.slots[i])
	}
}
