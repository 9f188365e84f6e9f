package daemon

import (
	"context"
	"errors"
	"fmt"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// tag gives snapshots a tag that holds them, or takes it from them, and tells how many that changed.
func (s *Service) tag(ctx context.Context, who control.Peer, args control.TagArgs) (int, error) {
	if err := who.MayName(len(args.Objects)); err != nil {
		return 0, err
	}
	if err := chain.CheckTag(args.Tag); err != nil {
		return 0, err
	}
	var group []chain.SnapsOf
	for _, o := range args.Objects {
		a, snap, err := s.snapshotOf(o)
		if err != nil {
			return 0, err
		}
		more, err := s.group(ctx, o, a, snap, args.Recursive)
		if err != nil {
			return 0, err
		}
		group = append(group, more...)
	}
	n, err := s.Pool.TagSnapshots(reqOf(who), group, args.Tag, !args.Off)
	if err == nil || inPart(err) {
		s.didSome(who, err, "tag", args.Tag, "snapshots", several(s.eachOf(group)), "changed", n)
	}
	return n, s.explain(0, err)
}

// holds lists the tags of snapshots.
func (s *Service) holds(ctx context.Context, who control.Peer, args control.HoldsArgs) ([]control.Hold, error) {
	if err := who.MayName(len(args.Objects)); err != nil {
		return nil, err
	}
	list := []control.Hold{}
	for _, o := range args.Objects {
		a, snap, err := s.find(o, either)
		if err != nil {
			return nil, err
		}
		all := snap == ""
		if all {
			snap = "%"
		}
		group, err := s.group(ctx, o, a, snap, args.Recursive)
		if err != nil && (!all || !errors.Is(err, chain.ErrNotFound)) {
			return nil, err
		}
		for _, g := range group {
			more, err := s.holdsOf(g)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
		}
	}
	return list, nil
}

// holdsOf lists the tags of snapshots of one volume.
func (s *Service) holdsOf(g chain.SnapsOf) (list []control.Hold, err error) {
	snaps, err := s.Pool.Snapshots(g.Vol)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.abs(g.Vol), err)
	}
	asked := map[string]bool{}
	for _, name := range g.Names {
		asked[name] = true
	}
	of := s.abs(g.Vol) + "@"
	for _, n := range snaps {
		for _, t := range n.Tags {
			if asked[n.Name] {
				list = append(list, control.Hold{Name: of + n.Name, Tag: t.Name, Since: t.When})
			}
		}
	}
	return list, nil
}
