package certificate

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
)

// RecordOf is a record of a pool's log as people read it.
func RecordOf(pool string, id uuid.UUID, r *evidence.Row) control.EraseRecord {
	const unit = evidence.BlockSize
	e := control.EraseRecord{
		Pool: pool, PoolUUID: id, Device: r.How.Device, Volume: r.Path, Snapshot: r.Name, Reason: r.Reason, Who: r.Who, Policy: control.EraseZero,
		Freed: r.Freed * unit, Erased: (r.Erased - r.Released) * unit, Released: r.Released * unit, Kept: r.Kept * unit, KeptBy: r.KeptBy,
		Method: r.How.Method, Verify: r.How.Verify, Program: r.How.Program,
		Since: momentOf(r.Since), First: momentOf(r.First), Last: momentOf(r.Last),
	}
	switch r.Kind {
	case evidence.Job:
		e.ID = r.Number
	case evidence.Day, evidence.Nothing:
		e.Day = time.Unix(int64(r.Number)*86400, 0).UTC().Format(time.DateOnly)
	case evidence.Cut, evidence.Closed: // have no number
	}
	if r.None {
		e.Policy = control.EraseNone
	}
	if r.Volume != 0 {
		e.VolumeUUID = evidence.VolumeUUID(id, r.Volume).String()
	}
	for _, l := range r.Layers {
		e.Layers = append(e.Layers, evidence.LayerUUID(id, l).String())
	}
	who := strings.SplitN(r.Who, ", ", 3)
	if uid, err := strconv.ParseUint(strings.TrimPrefix(who[0], "uid "), 10, 32); err == nil {
		e.UID = new(uint32(uid))
		who = append(who, "", "")
		e.Command, e.Actor = who[1], who[2]
	}
	return e
}

// momentOf is a time in UTC, or nil for none.
func momentOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
