package meta

import (
	"encoding/binary"
	"fmt"

	"slatefs/alloc"
)

// The free map on the device.
//
// A chunk page (KindStore) describes extents in the order in which they were
// added:
//
//	offset size
//	0      16   Header: level 0, count = extents in the chunk, at most 96
//	16     42   extent 0
//	...
//
//	extent:
//	0      8    first block of the extent
//	8      2    blocks in it, 1 to 256
//	10     32   bit i%64 of word i/64: page i is in use; 0 past the end
//
// An index page (KindStoreIndex) names the pages of the level below, in order:
//
//	0      16   Header: level = that of the pages below + 1, count = at most 127
//	16     32   Ptr 0
//	...
//
// The root is the one page of the highest level; a store of at most 96 extents
// has a chunk as root. All little-endian; all pages have twins.
const (
	chunkExtents = (PageSize - HeaderSize) / extentSize
	extentSize   = 10 + ExtentPages/8
	indexPtrs    = (PageSize - HeaderSize) / PtrSize
	maxMapLevel  = 4
)

// encodeChunk writes the state of the extents as it will be when the checkpoint
// is durable: what was freed before it is free.
func encodeChunk(ext []*extent) []byte {
	page := make([]byte, PageSize)
	Header{Kind: KindStore, Count: uint16(len(ext))}.Marshal(page)
	for k, e := range ext {
		b := page[HeaderSize+k*extentSize:]
		binary.LittleEndian.PutUint64(b, uint64(e.start))
		binary.LittleEndian.PutUint16(b[8:], uint16(e.n))
		for w, x := range e.used {
			binary.LittleEndian.PutUint64(b[10+8*w:], x)
		}
	}
	return page
}

// decodeChunk reads the extents of a chunk. Whether they overlap is not known
// here.
func decodeChunk(page []byte, total int64) ([]*extent, error) {
	h, err := UnmarshalHeader(page)
	if err != nil {
		return nil, err
	}
	if h.Kind != KindStore || h.Level != 0 || h.Count == 0 || h.Count > chunkExtents {
		return nil, fmt.Errorf("%v page at level %d with %d extents: %w", h.Kind, h.Level, h.Count, ErrCorrupt)
	}
	out := make([]*extent, h.Count)
	for k := range out {
		b := page[HeaderSize+k*extentSize:]
		start, n := binary.LittleEndian.Uint64(b), int(binary.LittleEndian.Uint16(b[8:]))
		e := &extent{start: alloc.BlockID(start), n: n, known: true}
		if n == 0 || n > ExtentPages || start == 0 || start > uint64(total) || uint64(n) > uint64(total)-start {
			return nil, fmt.Errorf("extent %d+%d of %d blocks: %w", start, n, total, ErrCorrupt)
		}
		all := lowBits(n)
		for w := range e.used {
			e.used[w] = binary.LittleEndian.Uint64(b[10+8*w:])
			if e.used[w]&^all[w] != 0 {
				return nil, fmt.Errorf("extent %d+%d: bits past its end: %w", start, n, ErrCorrupt)
			}
			e.free[w] = all[w] &^ e.used[w]
		}
		e.disk = e.used
		out[k] = e
	}
	return out, nil
}

func encodeIndex(level int, ptrs []Ptr) []byte {
	page := make([]byte, PageSize)
	Header{Kind: KindStoreIndex, Level: uint8(level), Count: uint16(len(ptrs))}.Marshal(page)
	for k, p := range ptrs {
		p.Marshal(page[HeaderSize+k*PtrSize:])
	}
	return page
}

// decodeIndex reads the pointers of an index page of that level.
func decodeIndex(page []byte, level int) ([]Ptr, error) {
	h, err := UnmarshalHeader(page)
	if err != nil {
		return nil, err
	}
	if h.Kind != KindStoreIndex || int(h.Level) != level || h.Count == 0 || h.Count > indexPtrs {
		return nil, fmt.Errorf("%v page at level %d with %d pointers, want index at %d: %w",
			h.Kind, h.Level, h.Count, level, ErrCorrupt)
	}
	out := make([]Ptr, h.Count)
	for k := range out {
		out[k] = UnmarshalPtr(page[HeaderSize+k*PtrSize:])
	}
	return out, nil
}
