package journal

import (
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/cespare/xxhash/v2"
)

// A batch, little-endian, at a multiple of the unit, wrapping around the end of
// the ring:
//
//	 0                8        12       16
//	+----------------+--------+--------+
//	| magic          | version| length |   length: payload bytes
//	+----------------+--------+--------+
//	| seq            | gen             |   gen: of the superblock that it follows
//	+----------------+-----------------+
//	| prev           | sum             |   prev: the sum of batch seq-1
//	+----------------+-----------------+
//	| payload, length bytes ...        |
//	| zeros up to the next unit        |   not covered by sum
//	+----------------------------------+
//
// sum is xxhash64 over the salt (8 bytes), the header with sum as zero, and the
// payload.
const (
	magic = "slatejnl"
	// Version is the format of the batches that Append writes.
	Version    = 1
	headerSize = 48
	sumOffset  = 40
)

// header is the first headerSize bytes of a batch, without the magic.
type header struct {
	version, length     uint32
	seq, gen, prev, sum uint64
}

// encode fills b, the batch's whole place in the ring, and returns its sum.
func encode(b []byte, h header, payload []byte, salt uint64) uint64 {
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], h.version)
	binary.LittleEndian.PutUint32(b[12:], h.length)
	binary.LittleEndian.PutUint64(b[16:], h.seq)
	binary.LittleEndian.PutUint64(b[24:], h.gen)
	binary.LittleEndian.PutUint64(b[32:], h.prev)
	n := copy(b[headerSize:], payload)
	clear(b[headerSize+n:])
	sum := checksum(b[:headerSize+n], salt)
	binary.LittleEndian.PutUint64(b[sumOffset:], sum)
	return sum
}

// decodeHeader returns the header in b, at least headerSize bytes; false where no
// batch begins. Nothing in it may be trusted before checksum agrees.
func decodeHeader(b []byte) (header, bool) {
	if string(b[:len(magic)]) != magic {
		return header{}, false
	}
	return header{
		version: binary.LittleEndian.Uint32(b[8:]),
		length:  binary.LittleEndian.Uint32(b[12:]),
		seq:     binary.LittleEndian.Uint64(b[16:]),
		gen:     binary.LittleEndian.Uint64(b[24:]),
		prev:    binary.LittleEndian.Uint64(b[32:]),
		sum:     binary.LittleEndian.Uint64(b[sumOffset:]),
	}, true
}

// checksum returns the sum of the batch b, header and payload without padding,
// whatever its sum field holds.
func checksum(b []byte, salt uint64) uint64 {
	var h hash.Hash64 = xxhash.New()
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], salt)
	h.Write(word[:])
	h.Write(b[:sumOffset])
	clear(word[:])
	h.Write(word[:])
	h.Write(b[headerSize:])
	return h.Sum64()
}

// Pos is a place between two batches: all up to Seq are before it. The zero Pos is
// the beginning of a new journal.
type Pos struct {
	Seq uint64 // number of the last batch before it; the first batch is 1
	Off int64  // ring offset, bytes, where batch Seq+1 goes
	Sum uint64 // checksum of batch Seq
}

// PosSize is the length in bytes of a marshaled Pos.
const PosSize = 24

// MarshalBinary returns PosSize bytes, little-endian; the error is always nil. A
// checksum is the containing structure's business.
//
//	 0        8        16       24
//	+--------+--------+--------+
//	| seq    | off    | sum    |
//	+--------+--------+--------+
func (p Pos) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, PosSize)
	b = binary.LittleEndian.AppendUint64(b, p.Seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Off))
	return binary.LittleEndian.AppendUint64(b, p.Sum), nil
}

// UnmarshalBinary reads what MarshalBinary returned. A wrong length or a negative
// offset wraps ErrCorrupt and leaves p alone; Open checks Off against the ring.
func (p *Pos) UnmarshalBinary(b []byte) error {
	if len(b) != PosSize {
		return fmt.Errorf("journal: position: %d bytes, want %d: %w", len(b), PosSize, ErrCorrupt)
	}
	q := Pos{
		Seq: binary.LittleEndian.Uint64(b),
		Off: int64(binary.LittleEndian.Uint64(b[8:])),
		Sum: binary.LittleEndian.Uint64(b[16:]),
	}
	if q.Off < 0 {
		return fmt.Errorf("journal: position: offset %d: %w", q.Off, ErrCorrupt)
	}
	*p = q
	return nil
}
