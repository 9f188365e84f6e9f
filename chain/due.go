package chain

import (
	"time"

	"slatefs/chain/omap"
)

// timeKey orders by a time; id tells apart what has the same.
func timeKey(t time.Time, id uint64) omap.Key {
	return omap.Key{Hi: uint64(t.UnixMicro()) ^ 1<<63, Lo: id}
}

// dueKey is timeKey of a time that must have come: no part of a microsecond is left of it.
func dueKey(t time.Time, id uint64) omap.Key { return timeKey(t.Add(time.Microsecond-1), id) }
