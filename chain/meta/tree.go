package meta

import (
	"encoding/binary"
	"fmt"
	"math"
)

// TreeSize is the encoded size of a Tree, in bytes.
const TreeSize = 56

const (
	// MaxValue bounds a value in a tree, in bytes.
	MaxValue = 1024
	// maxHeight is more than any tree that fits a pool of 4 PiB needs.
	maxHeight = 12
)

// Key is what trees are sorted by: Hi, then Lo.
type Key struct{ Hi, Lo uint64 }

// MaxKey is the greatest key.
var MaxKey = Key{math.MaxUint64, math.MaxUint64}

// Less reports whether k sorts before o.
func (k Key) Less(o Key) bool { return k.Hi < o.Hi || k.Hi == o.Hi && k.Lo < o.Lo }

// Tree is one immutable B+tree, a value. The zero Tree is empty.
//
//	offset size
//	0      32   Root
//	32     1    Height: levels of pages; 0: empty
//	33     7    zero
//	40     8    Entries
//	48     8    Weight: sum of the family's weight over the entries
//
// All little-endian.
type Tree struct {
	Root            Ptr
	Height          uint8
	Entries, Weight uint64
}

// Marshal writes t into the first TreeSize bytes of b.
func (t Tree) Marshal(b []byte) {
	clear(b[:TreeSize])
	t.Root.Marshal(b)
	b[32] = t.Height
	binary.LittleEndian.PutUint64(b[40:], t.Entries)
	binary.LittleEndian.PutUint64(b[48:], t.Weight)
}

// UnmarshalTree reads a Tree from the first TreeSize bytes of b. The error
// wraps ErrCorrupt.
func UnmarshalTree(b []byte) (Tree, error) {
	if len(b) < TreeSize {
		return Tree{}, fmt.Errorf("meta: tree of %d bytes: %w", len(b), ErrCorrupt)
	}
	t := Tree{
		Root:    UnmarshalPtr(b),
		Height:  b[32],
		Entries: binary.LittleEndian.Uint64(b[40:]),
		Weight:  binary.LittleEndian.Uint64(b[48:]),
	}
	return t, t.validate()
}

func (t Tree) validate() error {
	empty := t.Root.IsNil()
	if t.Height > maxHeight || empty != (t.Height == 0) || empty != (t.Entries == 0) || empty && t.Weight != 0 {
		return fmt.Errorf("meta: tree of height %d with %d entries at %d: %w", t.Height, t.Entries, t.Root.Addr, ErrCorrupt)
	}
	return nil
}

// root is the tree as the child of nothing. The key is not known.
func (t Tree) root() ref {
	return ref{ptr: t.Root, entries: t.Entries, weight: t.Weight}
}

// Family is what trees of one purpose have in common. Its methods that change a
// tree are for the one writer; the others are safe at any time for trees whose
// pages are not freed meanwhile.
//
// A method that changes a tree returns a new one and frees the pages that only
// the old one had; on error nothing has changed and the old one stays good.
type Family struct {
	Store *Store
	// Kind is a tag in each page: a page of another family is refused.
	Kind byte
	// Weight of an entry, summed up in the tree; nil: all zero. It must depend
	// on nothing else.
	Weight func(Key, []byte) uint64
	// Fetch gets pages, as Store.Get does; nil: Store.Get.
	Fetch func(p Ptr, decode func([]byte) (any, error)) (any, error)
	// Sensitive: pages hold the operator's words and are overwritten when freed.
	Sensitive bool
}

// Edit sets a key to a value of at most MaxValue bytes, or deletes it.
type Edit struct {
	Key    Key
	Val    []byte
	Delete bool
}

// cached is Store.Cached, for who does not fetch pages himself.
func (f *Family) cached(p Ptr) (any, bool) {
	if f.Fetch != nil {
		return nil, false
	}
	return f.Store.Cached(p)
}

// fetch gets a page.
func (f *Family) fetch(p Ptr, decode func([]byte) (any, error)) (any, error) {
	if f.Fetch != nil {
		return f.Fetch(p, decode)
	}
	return f.Store.Get(p, decode)
}

func (f *Family) weigh(k Key, v []byte) uint64 {
	if f.Weight == nil {
		return 0
	}
	return f.Weight(k, v)
}

func (f *Family) free(p Ptr) {
	if f.Sensitive {
		f.Store.FreeSensitive(p)
		return
	}
	f.Store.Free(p)
}

// Get returns the value of a key. The value may not be changed; it stays valid.
func (f *Family) Get(t Tree, k Key) ([]byte, bool, error) {
	got, v, ok, err := f.Floor(t, k)
	if err != nil || !ok || got != k {
		return nil, false, err
	}
	return v, true, nil
}

// Floor returns the greatest entry at or below k; false when there is none. The
// value may not be changed; it stays valid.
func (f *Family) Floor(t Tree, k Key) (Key, []byte, bool, error) {
	r := t.root()
	for level := int(t.Height) - 1; level > 0; level-- {
		n, err := f.inner(r, level)
		if err != nil {
			return Key{}, nil, false, err
		}
		i := n.child(k)
		if i < 0 {
			return Key{}, nil, false, nil
		}
		r = n.kids[i]
	}
	if t.Height == 0 {
		return Key{}, nil, false, nil
	}
	n, err := f.leaf(r)
	if err != nil {
		return Key{}, nil, false, err
	}
	i := n.search(k)
	if i == len(n.keys) || n.keys[i] != k {
		i--
	}
	if i < 0 {
		return Key{}, nil, false, nil
	}
	return n.keys[i], n.val(i), true, nil
}

// Last returns the greatest entry; false when the tree is empty.
func (f *Family) Last(t Tree) (Key, []byte, bool, error) { return f.Floor(t, MaxKey) }

// Weigh is the sum of the weights of the entries with lo <= key < hi. It reads
// O(height) pages.
func (f *Family) Weigh(t Tree, lo, hi Key) (uint64, error) {
	if !lo.Less(hi) {
		return 0, nil
	}
	a, err := f.weightBelow(t, lo)
	if err != nil {
		return 0, err
	}
	b, err := f.weightBelow(t, hi)
	return b - a, err
}

// weightBelow sums up what is left of the path to k.
func (f *Family) weightBelow(t Tree, k Key) (uint64, error) {
	var sum uint64
	r := t.root()
	for level := int(t.Height) - 1; level > 0; level-- {
		n, err := f.inner(r, level)
		if err != nil {
			return 0, err
		}
		i := n.child(k)
		if i < 0 {
			return sum, nil
		}
		for _, c := range n.kids[:i] {
			sum += c.weight
		}
		r = n.kids[i]
	}
	if t.Height == 0 {
		return 0, nil
	}
	n, err := f.leaf(r)
	if err != nil {
		return 0, err
	}
	for i := range n.search(k) {
		sum += f.weigh(n.keys[i], n.val(i))
	}
	return sum, nil
}
