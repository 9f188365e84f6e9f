package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// UUID names a pool, a volume or a layer for ever: in the erase log it outlives what it names.
type UUID [16]byte

// String is the usual form: 8-4-4-4-12 hexadecimal digits.
func (u UUID) String() string {
	s := hex.EncodeToString(u[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", s[:8], s[8:12], s[12:16], s[16:20], s[20:])
}

// MarshalText is String, for JSON.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// derived is the UUID, version 8, of something with a permanent number in the pool. Nothing is stored for it: it follows
// from the pool's UUID and a number that is never used again.
func (p *Pool) derived(kind string, number uint64) (u UUID) {
	h := sha256.New()
	h.Write(p.uuid[:])
	h.Write([]byte(kind))
	h.Write(binary.BigEndian.AppendUint64(nil, number))
	copy(u[:], h.Sum(nil))
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return u
}

// VolumeUUID is the UUID of a volume, a destroyed one too.
func (p *Pool) VolumeUUID(ino Ino) UUID { return p.derived("volume", uint64(ino)) }

// LayerUUID is the UUID of a layer, and so of a snapshot.
func (p *Pool) LayerUUID(id LayerID) UUID { return p.derived("layer", uint64(id)) }
