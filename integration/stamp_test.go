package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"slatefs/chain/blockdev"
)

// Test data is stamped: every 512-byte sector tells which write it is of, and where it was written to. So a sector found
// anywhere, in a volume or on the device below the pool, can be judged alone.
//
//	offset 0    8 bytes  stampMagic
//	       8    8 bytes  number of the write, little-endian, > 0
//	      16    8 bytes  where: volume number << 48 | sector of the volume
//	      24  488 bytes  the first 24 again and again, the last time as far as it fits
const (
	sector    = 512
	block     = 4096
	stampSize = 24
)

var stampMagic = []byte("SLTmark\xf7")

// stamp is what a sector says.
type stamp struct {
	write uint64 // 0: the sector is zero
	where uint64
}

// place is the where of a sector of a volume.
func place(volume int, sec int64) uint64 { return uint64(volume)<<48 | uint64(sec) }

// stampSectors fills b, whole sectors, as write number w at byte off of a volume; w 0: with zeros.
func stampSectors(b []byte, volume int, off int64, w uint64) {
	if w == 0 {
		clear(b)
		return
	}
	for i := 0; i < len(b); i += sector {
		s := b[i : i+sector]
		copy(s, stampMagic)
		binary.LittleEndian.PutUint64(s[8:], w)
		binary.LittleEndian.PutUint64(s[16:], place(volume, (off+int64(i))/sector))
		for n := stampSize; n < sector; n *= 2 {
			copy(s[n:], s[:n])
		}
	}
}

// stamped makes n bytes of write w, aligned for O_DIRECT.
func stamped(n int, volume int, off int64, w uint64) []byte {
	b := blockdev.Aligned(n)
	stampSectors(b, volume, off, w)
	return b
}

// readStamp reads a sector. One that is neither zero nor whole is an error.
func readStamp(s []byte) (st stamp, err error) {
	if !bytes.HasPrefix(s, stampMagic) {
		if i := bytes.IndexFunc(s, func(r rune) bool { return r != 0 }); i >= 0 {
			return st, fmt.Errorf("neither zero nor stamped: %x… at byte %d", s[i:min(i+16, len(s))], i)
		}
		return st, nil
	}
	// Each byte is the one stampSize before it: doubling copies keep that.
	if !bytes.Equal(s[stampSize:], s[:len(s)-stampSize]) {
		return st, fmt.Errorf("torn inside: %x…", s[:stampSize])
	}
	return stamp{binary.LittleEndian.Uint64(s[8:]), binary.LittleEndian.Uint64(s[16:])}, nil
}
