package daemon

import (
	"context"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

func eraseRecordOf(r chain.EraseRecord) control.EraseRecord {
	e := control.EraseRecord{
		ID: r.ID, Day: r.Day, Pool: r.Pool, PoolUUID: r.PoolUUID, Device: r.Device, Volume: r.Volume, Snapshot: r.Snapshot,
		Reason: r.Reason, Who: r.Who, Policy: control.EraseZero, Freed: r.Freed, Erased: r.Erased, Released: r.Released, Failed: r.Failed,
		Kept: r.Kept, KeptBy: r.KeptBy, Method: r.Method, Verify: r.Verify, Program: r.Program,
		Since: timeOrNil(r.Since), First: timeOrNil(r.First), Last: timeOrNil(r.Last),
		Deadline: r.Within.Seconds(), Late: r.Late, Longest: r.Longest.Seconds(),
	}
	if r.None {
		e.Policy = control.EraseNone
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
func (s *Service) eraseLog(context.Context, control.Peer, control.None) ([]control.EraseRecord, error) {
	recs, err := s.Pool.EraseLog()
	out := make([]control.EraseRecord, len(recs))
	for i, r := range recs {
		out[i] = eraseRecordOf(r)
	}
	return out, err
}

// first puts an erase job before all others.
func (s *Service) first(_ context.Context, who control.Peer, args control.FirstArgs) (control.None, error) {
	err := s.Pool.EraseFirst(reqOf(who), args.ID)
	if err == nil {
		s.did(who, "job", args.ID)
	}
	return control.None{}, err
}
