package chain

import (
	"github.com/google/uuid"

	"slatefs/chain/evidence"
)

// A UUID names a pool, a volume or a layer for ever: in the erase log it outlives what it names.

func (co *core) volumeUUID(ino Ino) uuid.UUID { return evidence.VolumeUUID(co.uuid, uint64(ino)) }

func (co *core) layerUUID(id LayerID) uuid.UUID { return evidence.LayerUUID(co.uuid, id) }
