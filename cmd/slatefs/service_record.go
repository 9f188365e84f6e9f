package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
)

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
	err := s.pool.EraseFirst(reqOf(who), args.ID)
	if err == nil {
		s.did(who, "job", args.ID)
	}
	return none{}, err
}
