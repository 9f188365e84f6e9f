package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
)

// eraseRecord is a record of the erase log as -j, exports and the system journal have it. Numbers are bytes:
// freed = zeroed + released + failed + kept.
type eraseRecord struct {
	ID         uint64    `json:"id,omitempty"`  // of the job
	Day        string    `json:"day,omitempty"` // of what a volume overwrote and discarded in a day, UTC
	Pool       string    `json:"pool"`
	PoolUUID   uuid.UUID `json:"pool_uuid"`
	Device     string    `json:"device"`
	Volume     string    `json:"volume,omitempty"`
	VolumeUUID string    `json:"volume_uuid,omitempty"`
	Snapshot   string    `json:"snapshot,omitempty"`
	Layers     []string  `json:"layer_uuids,omitempty"`
	Reason     string    `json:"reason"`
	Who        string    `json:"who,omitempty"`
	UID        *uint32   `json:"uid,omitempty"`
	Command    string    `json:"command,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Policy     string    `json:"policy"`

	Freed    int64  `json:"freed"`
	Erased   int64  `json:"zeroed"`
	Released int64  `json:"released"`
	Failed   int64  `json:"failed"`
	Kept     int64  `json:"kept"`
	KeptBy   string `json:"kept_by,omitempty"`

	Method  string     `json:"method,omitempty"`
	Verify  string     `json:"verify,omitempty"`
	Program string     `json:"version,omitempty"`
	Since   *time.Time `json:"freed_at,omitempty"`
	First   *time.Time `json:"first_zeroed,omitempty"`
	Last    *time.Time `json:"last_zeroed,omitempty"`
}

// claimed: the record's zeroed blocks may be called erased.
func (e eraseRecord) claimed() bool { return e.Policy != chain.EraseNone && e.Released == 0 }

func eraseRecordOf(r chain.EraseRecord) eraseRecord {
	e := eraseRecord{
		ID: r.ID, Day: r.Day, Pool: r.Pool, PoolUUID: r.PoolUUID, Device: r.Device, Volume: r.Volume, Snapshot: r.Snapshot,
		Reason: r.Reason, Who: r.Who, Policy: chain.EraseZero, Freed: r.Freed, Erased: r.Erased, Released: r.Released, Failed: r.Failed,
		Kept: r.Kept, KeptBy: r.KeptBy, Method: r.Method, Verify: r.Verify, Program: r.Program,
		Since: timeOrNil(r.Since), First: timeOrNil(r.First), Last: timeOrNil(r.Last),
	}
	if r.None {
		e.Policy = chain.EraseNone
	}
	if r.VolumeUUID != (uuid.UUID{}) {
		e.VolumeUUID = r.VolumeUUID.String()
	}
	for _, l := range r.Layers {
		e.Layers = append(e.Layers, l.String())
	}
	who := strings.SplitN(r.Who, ", ", 3)
	if uid, err := strconv.ParseUint(strings.TrimPrefix(who[0], "uid "), 10, 32); err == nil && r.Who != "" {
		e.UID = new(uint32(uid))
		who = append(who, "", "")
		e.Command, e.Actor = who[1], who[2]
	}
	return e
}

// eraseLog lists the erase log.
func (s *service) eraseLog(context.Context, peer, none) ([]eraseRecord, error) {
	recs, err := s.pool.EraseLog()
	out := make([]eraseRecord, len(recs))
	for i, r := range recs {
		out[i] = eraseRecordOf(r)
	}
	return out, err
}

// first puts an erase job before all others.
func (s *service) first(_ context.Context, who peer, args firstArgs) (none, error) {
	err := s.pool.EraseFirst(who.req(), args.ID)
	if err == nil {
		s.did(who, "job", args.ID)
	}
	return none{}, err
}

type firstArgs struct{ ID uint64 }
