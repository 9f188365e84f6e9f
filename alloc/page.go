package alloc

import (
	"encoding/binary"
	"fmt"
)

// A group page, as on disk and in memory: groupBlocks/4 bytes, two bits per block.
//
//	byte     0                   1                    groupBlocks/4 - 1
//	bits     76  54  32  10      76  54  32  10
//	block     3   2   1   0       7   6   5   4  ...
//
// The value of the two bits is a State. Bits of blocks past the end of the pool are 0.
// There is no header: the pointer to the page vouches for it. Slot i is the
// little-endian uint32 at byte 4*i, its first block in the lowest bits.
type page []byte

const (
	blocksPerByte = 4
	slotBytes     = SlotBlocks / blocksPerByte
	lowBits       = 0x55555555 // the lower bit of each block of a slot
)

func newPage(groupBlocks, size int, st State) page {
	pg := make(page, groupBlocks/blocksPerByte)
	if st != 0 {
		pg.fill(0, size, st)
	}
	return pg
}

func (pg page) state(i int) State {
	return State(pg[i/blocksPerByte]>>(i%blocksPerByte*2)) & 3
}

// fill sets n blocks from lo on to st.
func (pg page) fill(lo, n int, st State) {
	pattern := byte(st) * 0x55
	for i := lo; i < lo+n; {
		if i%blocksPerByte == 0 && lo+n-i >= blocksPerByte {
			pg[i/blocksPerByte] = pattern
			i += blocksPerByte
			continue
		}
		shift := i % blocksPerByte * 2
		b := &pg[i/blocksPerByte]
		*b = *b&^(3<<shift) | byte(st)<<shift
		i++
	}
}

// mismatch returns the first of n blocks from lo on that is not in st, or -1.
func (pg page) mismatch(lo, n int, st State) int {
	pattern := byte(st) * 0x55
	for i := lo; i < lo+n; {
		if i%blocksPerByte == 0 && lo+n-i >= blocksPerByte && pg[i/blocksPerByte] == pattern {
			i += blocksPerByte
			continue
		}
		if pg.state(i) != st {
			return i
		}
		i++
	}
	return -1
}

// runs calls fn for each maximal run of blocks in st among the first size blocks, in
// order, until fn returns false.
func (pg page) runs(size int, st State, fn func(lo, n int) bool) {
	pattern := uint32(st) * lowBits
	start := -1 // of the open run
	end := func(i int) bool {
		if start < 0 {
			return true
		}
		lo := start
		start = -1
		return fn(lo, i-lo)
	}
	for i := 0; i < size; i += SlotBlocks {
		x := binary.LittleEndian.Uint32(pg[i/blocksPerByte:]) ^ pattern
		other := (x | x>>1) & lowBits // a bit for each block that is not in st
		switch {
		case other == lowBits:
			if !end(i) {
				return
			}
		case other == 0 && size-i >= SlotBlocks:
			if start < 0 {
				start = i
			}
		default:
			for j := i; j < min(i+SlotBlocks, size); j++ {
				if other>>((j-i)*2)&1 == 0 {
					if start < 0 {
						start = j
					}
				} else if !end(j) {
					return
				}
			}
		}
	}
	end(size)
}

// count returns the number of blocks in each state among the first size blocks.
func (pg page) count(size int) tally {
	var t tally
	for i := range size {
		t[pg.state(i)]++
	}
	return t
}

// validate checks the length of a page that was read, and the blocks past the end.
func (pg page) validate(groupBlocks, size int) error {
	if len(pg) != groupBlocks/blocksPerByte {
		return fmt.Errorf("page of %d bytes, want %d: %w", len(pg), groupBlocks/blocksPerByte, ErrCorrupt)
	}
	if i := pg.mismatch(size, groupBlocks-size, InUse); i >= 0 {
		return fmt.Errorf("block %d of group past the end is %v: %w", i, pg.state(i), ErrCorrupt)
	}
	return nil
}
