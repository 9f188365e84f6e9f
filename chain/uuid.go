package chain

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/uuid"
)

// A UUID names a pool, a volume or a layer for ever: in the erase log it outlives what it names.

// derived is the UUID, version 8, of something with a permanent number in the pool. Nothing is stored for it: it is the SHA-256,
// cut off, of the pool's UUID, the kind, and the number, big-endian, which is never used again.
func (co *core) derived(kind string, number uint64) uuid.UUID {
	return uuid.NewHash(sha256.New(), co.uuid, binary.BigEndian.AppendUint64([]byte(kind), number), 8)
}

func (co *core) volumeUUID(ino Ino) uuid.UUID { return co.derived("volume", uint64(ino)) }

func (co *core) layerUUID(id LayerID) uuid.UUID { return co.derived("layer", uint64(id)) }
