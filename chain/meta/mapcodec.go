package meta

import (
	"encoding/binary"
	"fmt"
)

// A page of a map is a header (see Header) and its entries. Level is 0 in a leaf, 1 in
// an inner page of 13 bits, one more for each 6 bits; Tag is the bits of the region;
// Base its first block.
//
//	offset size
//	0      16   header; Count: runs of a leaf, 1 to 255; slots of an inner page, 64
//	16     ...  leaf: runs of 16 bytes (see mapRun). inner: slots of 48 bytes (see mapEntry)
//	...         zero up to 4096
//
// The pointer above carries the checksum, over the whole page.
const mapLeafRuns = (PageSize - HeaderSize) / runSize // 255

// mapPageLevel is the level of an inner page.
func mapPageLevel(bits uint8) uint8 { return 1 + (bits-mapRegionBits)/mapSlotBits }

func (l *mapLeaf) encode() []byte {
	b := make([]byte, PageSize)
	Header{Kind: KindMapLeaf, Count: uint16(len(l.runs)), Tag: l.bits, Base: uint64(l.base)}.Marshal(b)
	for i, r := range l.runs {
		binary.LittleEndian.PutUint64(b[HeaderSize+runSize*i:], r.lo)
		binary.LittleEndian.PutUint64(b[HeaderSize+runSize*i+8:], r.hi)
	}
	return b
}

func (n *mapInner) encode() []byte {
	b := make([]byte, PageSize)
	Header{Kind: KindMapInner, Level: mapPageLevel(n.bits), Count: mapSlots, Tag: n.bits, Base: uint64(n.base)}.Marshal(b)
	for i := range n.slots {
		n.slots[i].marshal(b[HeaderSize+mapSlotSize*i:][:mapSlotSize])
	}
	return b
}

// decodeMapPage decodes and validates a leaf or inner page by itself. Whether it is
// the page that its pointer's owner means is checked by page.
func decodeMapPage(b []byte) (any, error) {
	h, err := UnmarshalHeader(b)
	if err != nil {
		return nil, fmt.Errorf("map page: %w", err)
	}
	if h.Tag > mapMaxBits || h.Base >= uint64(MapMaxBlocks) || h.Base&(1<<h.Tag-1) != 0 {
		return nil, fmt.Errorf("map page: region of %d bits at %d: %w", h.Tag, h.Base, ErrCorrupt)
	}
	switch h.Kind {
	case KindMapLeaf:
		return decodeMapLeaf(b, h)
	case KindMapInner:
		return decodeMapInner(b, h)
	case KindTreeInner, KindTreeLeaf, KindGroup, KindStore, KindStoreIndex:
	}
	return nil, fmt.Errorf("map page: is a %v: %w", h.Kind, ErrCorrupt)
}

func decodeMapLeaf(b []byte, h Header) (any, error) {
	f, count := mapFacts{base: int64(h.Base), bits: h.Tag}, int(h.Count)
	if h.Level != 0 || f.bits < mapSliceBits || f.bits > mapRegionBits || count < 1 || count > mapLeafRuns {
		return nil, fmt.Errorf("map leaf: %d runs for %d bits: %w", count, f.bits, ErrCorrupt)
	}
	l := &mapLeaf{mapFacts: f, runs: make([]mapRun, count)}
	from := int64(0)
	for i := range l.runs {
		at := b[HeaderSize+runSize*i:]
		r := mapRun{binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint64(at[8:])}
		if err := r.validate(from, f.bits); err != nil {
			return nil, fmt.Errorf("map leaf: region at %d: %w", f.base, err)
		}
		l.runs[i], from = r, r.end()
		l.addRun(r)
	}
	if !allZero(b[HeaderSize+runSize*count:]) {
		return nil, fmt.Errorf("map leaf: region at %d: bytes after the runs: %w", f.base, ErrCorrupt)
	}
	return l, nil
}

func decodeMapInner(b []byte, h Header) (any, error) {
	f := mapFacts{base: int64(h.Base), bits: h.Tag}
	if !isMapBits(f.bits) || h.Level != mapPageLevel(f.bits) || h.Count != mapSlots || !allZero(b[HeaderSize+mapSlotSize*mapSlots:]) {
		return nil, fmt.Errorf("map inner: %d slots at level %d for %d bits: %w", h.Count, h.Level, f.bits, ErrCorrupt)
	}
	n := &mapInner{mapFacts: f}
	head := 0 // first slot of the current unit
	for i := range n.slots {
		e := &n.slots[i]
		err := e.unmarshal(b[HeaderSize+mapSlotSize*i:][:mapSlotSize])
		if err == nil {
			err = n.validateSlot(i, head)
		}
		if err != nil {
			return nil, fmt.Errorf("map inner: region at %d: slot %d: %w", f.base, i, err)
		}
		if e.kind != slotCont {
			head = i
		}
		n.addEntry(e)
	}
	if n.count == 0 {
		return nil, fmt.Errorf("map inner: region at %d: all hole: %w", f.base, ErrCorrupt)
	}
	return n, nil
}

// validateSlot checks slot i, when all before it were; head is the first slot of the unit before it.
func (n *mapInner) validateSlot(i, head int) error {
	e, h := &n.slots[i], &n.slots[head]
	if i > head && i < head+1<<h.span {
		if e.kind != slotCont || e.span != h.span {
			return fmt.Errorf("kind %d inside of the unit of slot %d: %w", e.kind, head, ErrCorrupt)
		}
		return e.validate(0)
	}
	limit := uint8(0) // units of more than a slot: only at 13 bits, at most half the page
	if n.bits == mapRegionBits {
		limit = mapSlotBits - 1
	}
	if e.kind == slotCont || e.span > limit || i&(1<<e.span-1) != 0 {
		return fmt.Errorf("kind %d for a unit of 1<<%d slots: %w", e.kind, e.span, ErrCorrupt)
	}
	return e.validate(n.slotBits() + e.span)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// page reads the page of a leaf or inner entry, which stands for the region of bits at
// base. The error wraps ErrCorrupt if it is not that page.
func (ms *Maps) page(e *mapEntry, base int64, bits uint8) (any, error) {
	v, err := ms.Store.Get(e.ptr, decodeMapPage)
	if err != nil {
		return nil, fmt.Errorf("meta: map: region of %d bits at %d: %w", bits, base, err)
	}
	return v, ms.vouch(v, e, base, bits)
}

// vouch checks a decoded page against the entry that names it: the store knows a page
// only by its address and checksum.
func (ms *Maps) vouch(v any, e *mapEntry, base int64, bits uint8) error {
	var f *mapFacts
	switch p := v.(type) {
	case *mapLeaf:
		if e.kind == slotLeaf {
			f = &p.mapFacts
		}
	case *mapInner:
		if e.kind == slotInner {
			f = &p.mapFacts
		}
	}
	if f == nil || f.base != base || f.bits != bits || f.count != e.count ||
		f.birth > e.ptr.Birth || f.devEnd > uint64(ms.Store.Total()) {
		return fmt.Errorf("meta: map: region of %d bits at %d: page at %d is not the one meant: %w",
			bits, base, e.ptr.Addr, ErrCorrupt)
	}
	return nil
}

// inner reads the page of an inner entry.
func (ms *Maps) inner(e *mapEntry, base int64, bits uint8) (*mapInner, error) {
	v, err := ms.page(e, base, bits)
	if err != nil {
		return nil, err
	}
	return v.(*mapInner), nil // vouched for
}

// runs returns the runs of a hole, run or leaf entry, reading its page.
func (ms *Maps) runs(e *mapEntry, base int64, bits uint8) ([]mapRun, error) {
	switch e.kind {
	case slotRun:
		return []mapRun{e.run}, nil
	case slotLeaf:
		v, err := ms.page(e, base, bits)
		if err != nil {
			return nil, err
		}
		return v.(*mapLeaf).runs, nil // vouched for
	case slotHole, slotInner, slotCont:
	}
	return nil, nil
}
