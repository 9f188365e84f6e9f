package daemon

import (
	"context"
	"errors"
	"strings"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/schedule"
)

// thin takes away what no rule of a set's plan keeps. all: nothing failed. What is held, and what clones hang on, stays.
func (a *autosnap) thin(ctx context.Context, s *snapSet, now time.Time) (all bool) {
	all = true
	var group []chain.SnapsOf
	for _, ino := range s.vols {
		if ctx.Err() != nil {
			return false
		}
		list, err := a.pool.Snapshots(ino)
		if errors.Is(err, chain.ErrNotFound) {
			continue
		}
		if err != nil {
			a.refused(ino, "automatic snapshots can't be listed", err)
			all = false
			continue
		}
		if names := going(s.plan, list, now); len(names) > 0 {
			group = append(group, chain.SnapsOf{Vol: ino, Names: names})
		}
	}
	if len(group) == 0 {
		return all
	}
	err := a.destroy(group)
	for _, g := range group {
		if err == nil || ctx.Err() != nil || a.pool.Failed() != nil {
			break
		}
		one := a.destroy([]chain.SnapsOf{g}) // one fault, one victim
		if one == nil || errors.Is(one, chain.ErrNotFound) || errors.Is(one, chain.ErrTagged) || errors.Is(one, chain.ErrHasClones) {
			continue // it is gone, or somebody needs it now: the next time it is passed over
		}
		a.refused(g.Vol, "automatic snapshots "+strings.Join(g.Names, ", ")+" could not be destroyed", one)
		all = false
	}
	return all
}

func (a *autosnap) destroy(group []chain.SnapsOf) error {
	err := a.pool.DestroyGroup(chain.Req{Actor: schedule.PropAutosnap}, group, chain.DestroyOptions{})
	n := 0
	for _, g := range group {
		n += len(g.Names)
	}
	var part *chain.PartError
	if errors.As(err, &part) {
		n = part.Done
	}
	if err == nil || part != nil {
		a.log.Info("automatic snapshots had their time", "pool", a.pool.Name(), "snapshots", n, "volumes", len(group))
	}
	return err
}

// going are the snapshots of a volume that a plan does not keep, and nobody else does.
func going(plan schedule.Plan, list []chain.SnapInfo, now time.Time) (names []string) {
	var have []time.Time
	needed := map[time.Time]bool{}
	for _, n := range list {
		at, ok := schedule.TimeOf(n.Name)
		if !ok || !n.Auto {
			continue
		}
		have = append(have, at)
		needed[at] = len(n.Tags) > 0 || len(n.Clones) > 0
	}
	for _, at := range plan.Goes(now, have) {
		if !needed[at] {
			names = append(names, schedule.Name(at))
		}
	}
	return names
}
