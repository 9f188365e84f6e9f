package meta

import (
	"encoding/binary"
	"fmt"

	"slatefs/alloc"
)

// Birth numbers the layers of a pool in the order of their making, and so says how old a page or a run of blocks is: what
// is written to a layer is born in it. It has 48 bits; 0 is no layer.
type Birth uint64

// String prints the number with a fixed width, as users know layers.
func (b Birth) String() string { return fmt.Sprintf("%012x", uint64(b)) }

// PtrSize is the encoded size of a Ptr, in bytes.
const PtrSize = 32

// Ptr names one page and vouches for its content. The zero Ptr names none.
//
//	offset size
//	0      8    Addr   device block of the page; 0: no page
//	8      8    Twin   device block of the second copy; 0: none
//	16     8    Birth  layer in which the page was first written; 0: no layer
//	24     8    Sum    xxhash64 of the 4096 bytes of the page
//
// All little-endian.
type Ptr struct {
	Addr, Twin alloc.BlockID
	Birth      Birth
	Sum        uint64
}

// IsNil reports whether p names no page.
func (p Ptr) IsNil() bool { return p.Addr == 0 }

// String is for logs and errors.
func (p Ptr) String() string {
	return fmt.Sprintf("page %d (twin %d, birth %d, sum %016x)", p.Addr, p.Twin, p.Birth, p.Sum)
}

// Copies is the number of device blocks that the page takes: 0, 1 or 2.
func (p Ptr) Copies() int {
	switch {
	case p.Addr == 0:
		return 0
	case p.Twin == 0:
		return 1
	}
	return 2
}

// Marshal writes p into the first PtrSize bytes of b.
func (p Ptr) Marshal(b []byte) {
	binary.LittleEndian.PutUint64(b[0:8], uint64(p.Addr))
	binary.LittleEndian.PutUint64(b[8:16], uint64(p.Twin))
	binary.LittleEndian.PutUint64(b[16:24], uint64(p.Birth))
	binary.LittleEndian.PutUint64(b[24:32], p.Sum)
}

// UnmarshalPtr reads a Ptr from the first PtrSize bytes of b. It cannot fail:
// an address outside the pool is found by Get.
func UnmarshalPtr(b []byte) Ptr {
	return Ptr{
		Addr:  alloc.BlockID(binary.LittleEndian.Uint64(b[0:8])),
		Twin:  alloc.BlockID(binary.LittleEndian.Uint64(b[8:16])),
		Birth: Birth(binary.LittleEndian.Uint64(b[16:24])),
		Sum:   binary.LittleEndian.Uint64(b[24:32]),
	}
}
