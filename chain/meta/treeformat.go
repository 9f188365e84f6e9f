package meta

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// Pages of a B+tree. A leaf (KindTreeLeaf, level 0):
//
//	offset size
//	0      16   Header: count = entries, Tag = the family's Kind
//	16     ...  entries in ascending order, each
//	            uvarint  Key.Hi - that of the entry before (0 before the first)
//	            uvarint  Key.Lo - that of the entry before if Hi is the same, else Key.Lo
//	            uvarint  length of the value, at most 1024
//	            ...      value
//
// An inner page (KindTreeInner, level 1 and up):
//
//	0      16   Header: count = children, at most 63, Tag = the family's Kind
//	16     64   child 0: Key.Hi, Key.Lo of its first entry, Ptr, entries, weight
//	...
//
// All little-endian; zeros to the end of the page. All pages have twins.
const (
	innerMax  = (PageSize - HeaderSize) / childSize
	childSize = 16 + PtrSize + 16
	leafBytes = PageSize - HeaderSize
)

// ref is a page as its parent knows it. key is that of its first entry.
type ref struct {
	key             Key
	ptr             Ptr
	entries, weight uint64
}

// leafNode is a decoded leaf: immutable.
type leafNode struct {
	tag  byte
	keys []Key
	ends []uint16 // where each value ends in vals
	vals []byte
}

// Size is the memory held, in bytes.
func (n *leafNode) Size() int { return 80 + 16*cap(n.keys) + 2*cap(n.ends) + cap(n.vals) }

func (n *leafNode) val(i int) []byte {
	start := uint16(0)
	if i > 0 {
		start = n.ends[i-1]
	}
	return n.vals[start:n.ends[i]:n.ends[i]]
}

// search is the index of the first key at or above k.
func (n *leafNode) search(k Key) int {
	return sort.Search(len(n.keys), func(i int) bool { return !n.keys[i].Less(k) })
}

// innerNode is a decoded inner page: immutable.
type innerNode struct {
	tag   byte
	level uint8
	kids  []ref
}

// Size is the memory held, in bytes.
func (n *innerNode) Size() int { return 32 + 64*cap(n.kids) }

// child is the index of the child where k is or would be; -1: before the first.
func (n *innerNode) child(k Key) int { return childOf(n.kids, k) }

func childOf(kids []ref, k Key) int {
	return sort.Search(len(kids), func(i int) bool { return k.Less(kids[i].key) }) - 1
}

func encodeInner(tag byte, level int, kids []ref) []byte {
	page := make([]byte, PageSize)
	Header{Kind: KindTreeInner, Level: uint8(level), Count: uint16(len(kids)), Tag: tag}.Marshal(page)
	for i, c := range kids {
		b := page[HeaderSize+i*childSize:]
		binary.LittleEndian.PutUint64(b, c.key.Hi)
		binary.LittleEndian.PutUint64(b[8:], c.key.Lo)
		c.ptr.Marshal(b[16:])
		binary.LittleEndian.PutUint64(b[48:], c.entries)
		binary.LittleEndian.PutUint64(b[56:], c.weight)
	}
	return page
}

func decodeInner(page []byte) (*innerNode, error) {
	h, err := UnmarshalHeader(page)
	if err != nil {
		return nil, err
	}
	if h.Kind != KindTreeInner || h.Level == 0 || h.Count == 0 || h.Count > innerMax {
		return nil, fmt.Errorf("%v page at level %d with %d children: %w", h.Kind, h.Level, h.Count, ErrCorrupt)
	}
	n := &innerNode{tag: h.Tag, level: h.Level, kids: make([]ref, h.Count)}
	for i := range n.kids {
		b := page[HeaderSize+i*childSize:]
		c := ref{
			key:     Key{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])},
			ptr:     UnmarshalPtr(b[16:]),
			entries: binary.LittleEndian.Uint64(b[48:]),
			weight:  binary.LittleEndian.Uint64(b[56:]),
		}
		if c.ptr.IsNil() || c.entries == 0 {
			return nil, fmt.Errorf("child %d is empty: %w", i, ErrCorrupt)
		}
		if i > 0 && !n.kids[i-1].key.Less(c.key) {
			return nil, fmt.Errorf("child %d: key does not rise: %w", i, ErrCorrupt)
		}
		n.kids[i] = c
	}
	return n, nil
}

// entry is a key with its value, on the way into a leaf.
type entry struct {
	key Key
	val []byte
}

// entrySize is the encoded size of e after the key prev.
func entrySize(prev Key, e entry) int {
	hi, lo := keyDelta(prev, e.key)
	return uvarintLen(hi) + uvarintLen(lo) + uvarintLen(uint64(len(e.val))) + len(e.val)
}

func keyDelta(prev, k Key) (hi, lo uint64) {
	if k.Hi == prev.Hi {
		return 0, k.Lo - prev.Lo
	}
	return k.Hi - prev.Hi, k.Lo
}

func uvarintLen(x uint64) int {
	n := 1
	for ; x >= 0x80; x >>= 7 {
		n++
	}
	return n
}

// encodeLeaf needs entries that fit a page.
func encodeLeaf(tag byte, ents []entry) []byte {
	page := make([]byte, PageSize)
	Header{Kind: KindTreeLeaf, Count: uint16(len(ents)), Tag: tag}.Marshal(page)
	b := page[:HeaderSize]
	var prev Key
	for _, e := range ents {
		hi, lo := keyDelta(prev, e.key)
		b = binary.AppendUvarint(b, hi)
		b = binary.AppendUvarint(b, lo)
		b = binary.AppendUvarint(b, uint64(len(e.val)))
		b = append(b, e.val...)
		prev = e.key
	}
	if len(b) > PageSize {
		panic("meta: a leaf was made larger than a page")
	}
	return page
}

// newLeaf is what decodeLeaf makes of encodeLeaf's page.
func newLeaf(tag byte, ents []entry) *leafNode {
	size := 0
	for _, e := range ents {
		size += len(e.val)
	}
	n := &leafNode{tag: tag, keys: make([]Key, len(ents)), ends: make([]uint16, len(ents)), vals: make([]byte, 0, size)}
	for i, e := range ents {
		n.keys[i] = e.key
		n.vals = append(n.vals, e.val...)
		n.ends[i] = uint16(len(n.vals))
	}
	return n
}

func decodeLeaf(page []byte) (*leafNode, error) {
	h, err := UnmarshalHeader(page)
	if err != nil {
		return nil, err
	}
	if h.Kind != KindTreeLeaf || h.Level != 0 || h.Count == 0 || h.Count > leafBytes/3 {
		return nil, fmt.Errorf("%v page at level %d with %d entries: %w", h.Kind, h.Level, h.Count, ErrCorrupt)
	}
	ents := make([]entry, h.Count)
	b, prev := page[HeaderSize:], Key{}
	for i := range ents {
		if ents[i], b, err = decodeEntry(b, prev, i == 0); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		prev = ents[i].key
	}
	return newLeaf(h.Tag, ents), nil
}

// decodeEntry reads one entry and returns the rest of b.
func decodeEntry(b []byte, prev Key, first bool) (entry, []byte, error) {
	var x [3]uint64
	for i := range x {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return entry{}, nil, fmt.Errorf("bad varint: %w", ErrCorrupt)
		}
		x[i], b = v, b[n:]
	}
	k := Key{prev.Hi + x[0], x[1]}
	if x[0] == 0 {
		k.Lo += prev.Lo
	}
	if !first && !prev.Less(k) || k.Hi < prev.Hi {
		return entry{}, nil, fmt.Errorf("key does not rise: %w", ErrCorrupt)
	}
	if x[2] > MaxValue || x[2] > uint64(len(b)) {
		return entry{}, nil, fmt.Errorf("value of %d bytes: %w", x[2], ErrCorrupt)
	}
	return entry{k, b[:x[2]]}, b[x[2]:], nil
}
