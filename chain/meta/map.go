package meta

import (
	"encoding/binary"
	"fmt"

	"slatefs/alloc"
)

// Geometry of a map, in bits of blocks. A region is an aligned power of two of
// logical blocks; every page, slot and unit stands for one.
const (
	mapSlotBits   = 6                // an inner page has 64 slots
	mapSlots      = 1 << mapSlotBits // slots of an inner page
	mapRegionBits = 13               // the largest leaf: 8192 blocks, 32 MiB
	mapSliceBits  = 7                // one slot of an inner page of 13 bits: 128 blocks
	mapMaxBits    = 37               // the largest map: 512 TiB
	mapLevels     = 5                // inner pages on the longest path: 37, 31, 25, 19, 13
)

// MapMaxBlocks is the number of logical blocks that a map can address.
const MapMaxBlocks = int64(1) << mapMaxBits

// MapSize is the length of a marshalled Map in bytes.
const MapSize = 64

// Piece is a run of logical blocks of a map that is all hole, or mapped to
// consecutive blocks of the device and of one birth.
type Piece struct {
	Start, Len int64         // logical blocks
	Dev        alloc.BlockID // device block of Start; 0 in a hole
	Birth      Birth         // number of the layer that wrote it; 0 in a hole
	Mapped     bool
}

// End is the first logical block after the piece.
func (p Piece) End() int64 { return p.Start + p.Len }

// clip returns the part of p in [lo, hi), which must not be empty.
func (p Piece) clip(lo, hi int64) Piece {
	if d := lo - p.Start; d > 0 {
		p.Start, p.Len = lo, p.Len-d
		if p.Mapped {
			p.Dev += alloc.BlockID(d)
		}
	}
	p.Len = min(p.Len, hi-p.Start)
	return p
}

// joins reports whether q continues p, so that both are one piece.
func (p Piece) joins(q Piece) bool {
	if p.End() != q.Start || p.Mapped != q.Mapped {
		return false
	}
	return !p.Mapped || p.Birth == q.Birth && p.Dev+alloc.BlockID(p.Len) == q.Dev
}

// Map is the complete map of one head or snapshot: a copy-on-write radix tree from
// logical blocks to runs on the device. It is a value; the zero value is the empty map.
// The pages below it never change.
type Map struct {
	// Bits says that the map covers blocks below 1 << Bits: 0 (empty map), 13, 19, 25, 31 or 37.
	// Whatever lies beyond is a hole.
	Bits uint8
	root mapEntry
}

// Count is the number of mapped blocks.
func (m Map) Count() uint64 { return m.root.count }

// newMap makes a value of a root; a map without a mapped block is the zero value.
func newMap(bits uint8, root mapEntry) Map {
	if root.count == 0 {
		return Map{}
	}
	return Map{Bits: bits, root: root}
}

// end is the first logical block which the tree does not cover.
func (m Map) end() int64 {
	if m.Bits == 0 {
		return 0
	}
	return 1 << m.Bits
}

// Marshal encodes the map in MapSize bytes, little-endian. Its checksum is that of
// the page or record which holds it. The empty map is all zero.
//
//	offset size
//	0      1    bits (0, 13, 19, 25, 31, 37)
//	1      7    zero
//	8      48   root, as a slot of an inner page
//	56     8    zero
func (m Map) Marshal() [MapSize]byte {
	var b [MapSize]byte
	if m.Bits != 0 {
		b[0] = m.Bits
		m.root.marshal(b[8 : 8+mapSlotSize])
	}
	return b
}

// UnmarshalMap decodes what Marshal wrote. The error wraps ErrCorrupt.
func UnmarshalMap(b []byte) (Map, error) {
	if len(b) != MapSize {
		return Map{}, fmt.Errorf("meta: map: %d bytes, want %d: %w", len(b), MapSize, ErrCorrupt)
	}
	if binary.LittleEndian.Uint64(b) != uint64(b[0]) || binary.LittleEndian.Uint64(b[56:]) != 0 {
		return Map{}, fmt.Errorf("meta: map: stray bits: %w", ErrCorrupt)
	}
	m := Map{Bits: b[0]}
	if m.Bits == 0 {
		if [MapSize]byte(b) != ([MapSize]byte{}) {
			return Map{}, fmt.Errorf("meta: map: empty but for its root: %w", ErrCorrupt)
		}
		return m, nil
	}
	if !isMapBits(m.Bits) {
		return Map{}, fmt.Errorf("meta: map: of %d bits: %w", m.Bits, ErrCorrupt)
	}
	if err := m.root.unmarshal(b[8 : 8+mapSlotSize]); err != nil {
		return Map{}, fmt.Errorf("meta: map: root: %w", err)
	}
	if m.root.kind == slotHole || m.root.kind == slotCont || m.root.span != 0 {
		return Map{}, fmt.Errorf("meta: map: root is no root: %w", ErrCorrupt)
	}
	if err := m.root.validate(m.Bits); err != nil {
		return Map{}, fmt.Errorf("meta: map: root: %w", err)
	}
	return m, nil
}

// isMapBits reports whether an inner page (or a map) of that many bits exists.
func isMapBits(bits uint8) bool {
	return bits >= mapRegionBits && bits <= mapMaxBits && (bits-mapRegionBits)%mapSlotBits == 0
}

// Maps reads and changes maps whose pages lie in Store.
//
// Invariants, verified by every reader:
//   - Pages are immutable; a change makes new pages up to a new root, born in the
//     layer given, and names the pages that it replaced. No page holds anything born
//     after it.
//   - What a slot says of the page below it (region, count of mapped blocks) is what the
//     page says of itself, so that neither a cycle nor an overlap can be followed.
//   - Runs are sorted, inside their region, disjoint, and on the device.
//
// Maps has no state. Any number of readers may run beside one writer (the caller's
// structure lock); they see the roots that were given to them.
type Maps struct {
	Store *Store
	// Fetch gets, for look-ups that read nothing, a page that is not in the cache. An error: it is missed. Nil: it always is.
	Fetch func(p Ptr, decode func([]byte) (any, error)) (any, error)
	// OnLost: a change that must read a damaged page goes on without it. What its
	// region holds is lost, and what the change would have set there too: the map
	// names the page with a checksum that no page has, so that nothing old is ever
	// seen there again. It is told once, when all else is done, of the region of bits
	// at base. Nil: a damaged page is an error.
	OnLost func(base int64, bits uint8, err error)
}
