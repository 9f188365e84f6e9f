package daemon

import (
	"context"
	"errors"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// undestroy brings back what was destroyed and is kept.
func (s *Service) undestroy(_ context.Context, who control.Peer, args control.UndestroyArgs) (string, error) {
	at := place{name: args.Name}
	if args.New != nil {
		var err error
		if at, err = s.free(*args.New); err != nil {
			return "", err
		}
	}
	a, err := s.Pool.Undestroy(reqOf(who), args.ID, at.dir, at.name)
	switch {
	case errors.Is(err, chain.ErrExist):
		return "", show.Hinted(err, "slatefs undestroy %d %s NEWNAME", args.ID, s.Dir)
	case err != nil:
		return "", s.explain(0, err)
	}
	s.changedName(place{a.Parent, a.Name})
	s.did(who, "id", args.ID, "volume", s.abs(a.Ino))
	return s.abs(a.Ino), nil
}

// keptSince lists what is kept and was not before.
func (s *Service) keptSince(last uint64) (rows []control.Row) {
	l := lister{Service: s, args: control.ListArgs{Types: []string{control.TypeDestroyed}}}
	l.destroyed("")
	for _, r := range l.rows {
		if uint64(*r.ID) > last {
			rows = append(rows, r)
		}
	}
	return rows
}
