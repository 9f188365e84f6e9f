package meta

import (
	"encoding/binary"
	"errors"
	"fmt"

	"slatefs/alloc"
)

// PageSize is the size of every page, in bytes; it equals the block size.
const PageSize = alloc.BlockSize

// HeaderSize is the size of the header that every page but a group page begins
// with, in bytes.
const HeaderSize = 16

const (
	pageMagic   = 0x5A17
	pageVersion = 1
)

var (
	// ErrCorrupt is wrapped by every error that metadata on the device causes:
	// a checksum that does not match in any copy, or content that cannot be.
	ErrCorrupt = errors.New("metadata is corrupt")
	// ErrNoPages says that the store has no free page and could not be refilled.
	// Nothing was changed.
	ErrNoPages = errors.New("no free metadata page")
	// ErrInvalid says that the caller's arguments cannot be; nothing was changed.
	ErrInvalid = errors.New("invalid argument")
)

// Kind says what a page holds. Zero is no kind.
type Kind uint8

// The kinds of pages. Group pages are raw: all their bytes are states, they
// have no header, and their kind is known from who points at them.
const (
	KindMapInner   Kind = 1
	KindMapLeaf    Kind = 2
	KindTreeInner  Kind = 3
	KindTreeLeaf   Kind = 4
	KindGroup      Kind = 5
	KindStore      Kind = 6
	KindStoreIndex Kind = 7
)

// String is the kind's name in logs and errors.
func (k Kind) String() string {
	switch k {
	case KindMapInner:
		return "map inner"
	case KindMapLeaf:
		return "map leaf"
	case KindTreeInner:
		return "tree inner"
	case KindTreeLeaf:
		return "tree leaf"
	case KindGroup:
		return "group"
	case KindStore:
		return "store"
	case KindStoreIndex:
		return "store index"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Header is the beginning of a page.
//
//	offset size
//	0      2    magic    0x5A17
//	2      1    Kind
//	3      1    Level    0 at the leaves; a child's is its parent's - 1
//	4      2    Count    entries in the page
//	6      1    Tag      trees: the family; maps: the region's size, as a power of two of blocks
//	7      1    version  1
//	8      8    Base     maps: first logical block of the region; else 0
//
// All little-endian. The checksum of the whole page is in the pointer to it.
type Header struct {
	Kind  Kind
	Level uint8
	Count uint16
	Tag   uint8
	Base  uint64
}

// Marshal writes h into the first HeaderSize bytes of page.
func (h Header) Marshal(page []byte) {
	binary.LittleEndian.PutUint16(page[0:2], pageMagic)
	page[2] = uint8(h.Kind)
	page[3] = h.Level
	binary.LittleEndian.PutUint16(page[4:6], h.Count)
	page[6] = h.Tag
	page[7] = pageVersion
	binary.LittleEndian.PutUint64(page[8:16], h.Base)
}

// UnmarshalHeader reads the header of a page. Another length than PageSize,
// magic or version is an error that wraps ErrCorrupt.
func UnmarshalHeader(page []byte) (Header, error) {
	if len(page) != PageSize {
		return Header{}, fmt.Errorf("page of %d bytes: %w", len(page), ErrCorrupt)
	}
	if m := binary.LittleEndian.Uint16(page[0:2]); m != pageMagic {
		return Header{}, fmt.Errorf("page magic %#04x: %w", m, ErrCorrupt)
	}
	if page[7] != pageVersion {
		return Header{}, fmt.Errorf("page version %d: %w", page[7], ErrCorrupt)
	}
	return Header{
		Kind:  Kind(page[2]),
		Level: page[3],
		Count: binary.LittleEndian.Uint16(page[4:6]),
		Tag:   page[6],
		Base:  binary.LittleEndian.Uint64(page[8:16]),
	}, nil
}

// PageError is a page that cannot be had from any of its copies. It wraps
// ErrCorrupt, unless a copy could not even be read: that one may be right.
type PageError struct {
	Addr, Twin alloc.BlockID
	Reason     error // what the first copy's read, checksum or decoding said; never nil

	unread bool // of a copy nothing is known
}

// Error names the page and the reason.
func (e *PageError) Error() string {
	if e.Twin == 0 {
		return fmt.Sprintf("meta: page %d: %v", e.Addr, e.Reason)
	}
	return fmt.Sprintf("meta: page %d (twin %d): %v", e.Addr, e.Twin, e.Reason)
}

// Unwrap gives the reason, and ErrCorrupt where it is known that no copy is right.
func (e *PageError) Unwrap() []error {
	if e.unread {
		return []error{e.Reason}
	}
	return []error{ErrCorrupt, e.Reason}
}
