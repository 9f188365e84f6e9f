package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// snapshot freezes volumes under one name, at one instant. DIR@NAME means the volumes in DIR.
func (s *Service) snapshot(ctx context.Context, who control.Peer, args control.SnapshotArgs) ([]string, error) {
	var (
		vols []chain.Ino
		name string
	)
	for i, o := range args.Objects {
		a, snap, err := s.find(o, newSnapshot)
		if err != nil {
			return nil, err
		}
		switch {
		case snap == "":
			return nil, fmt.Errorf("%s: want FILE@NAME or DIR@NAME", o.Arg)
		case i > 0 && snap != name:
			return nil, fmt.Errorf("%s: volumes are frozen at one instant under one name, %s or %s", o.Arg, name, snap)
		}
		name = snap
		if a.Type != chain.TypeDir {
			if err := isVolume(o, a); err != nil {
				return nil, err
			}
			vols = append(vols, a.Ino)
			continue
		}
		before := len(vols)
		err = s.eachVolume(ctx, a.Ino, args.Recursive, func(ino chain.Ino) error {
			vols = append(vols, ino)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(vols) == before {
			return nil, show.Hinted(fmt.Errorf("%s: no volumes in that directory", o.Arg), "snapshot -r looks below it as well")
		}
	}
	if args.Dry {
		return forecastOf(s.Pool.ForecastSnapshot(vols, name))
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := s.Pool.Snapshot(reqOf(who), vols, name); err != nil {
		return nil, s.explain(0, err)
	}
	var of []string
	for _, ino := range vols {
		of = append(of, s.abs(ino))
	}
	s.did(who, "name", name, "of", several(of))
	return nil, nil
}

// rollback makes a volume what a snapshot shows.
func (s *Service) rollback(ctx context.Context, who control.Peer, args control.RollbackArgs) ([]string, error) {
	a, snap, err := s.snapshotOf(args.Object)
	if err != nil {
		return nil, err
	}
	if args.Dry {
		return forecastOf(s.Pool.ForecastRollback(a.Ino, snap, args.Force))
	}
	err = s.patient(ctx, a.Ino, func() error { return s.Pool.Rollback(reqOf(who), a.Ino, snap, args.Force) })
	if err != nil {
		return nil, hintBusy(s.explain(a.Ino, err), "close it, or roll back under its users with --force")
	}
	s.changed(a.Ino)
	s.did(who, "volume", s.abs(a.Ino), "to", snap, "forced", args.Force)
	return nil, nil
}

// hintBusy hints at the way out of what is busy.
func hintBusy(err error, hint string) error {
	if errors.Is(err, chain.ErrBusy) {
		return show.Hinted(err, "%s", hint)
	}
	return err
}

// clone makes a new volume of a snapshot, or of a volume as it is now.
func (s *Service) clone(_ context.Context, who control.Peer, args control.CloneArgs) (control.None, error) {
	a, snap, err := s.find(args.Object, either)
	if err != nil {
		return control.None{}, err
	}
	if err := isVolume(args.Object, a); err != nil {
		return control.None{}, err
	}
	to, err := s.free(args.New)
	if err != nil {
		return control.None{}, err
	}
	clone, err := s.Pool.Clone(reqOf(who), a.Ino, snap, to.dir, to.name)
	if err != nil {
		return control.None{}, s.explain(a.Ino, err)
	}
	if err := s.Pool.SetProps(reqOf(who), clone.Ino, EngineSettings(args.Settings)...); err != nil {
		return control.None{}, errors.Join(s.explain(clone.Ino, err), s.Pool.Undo(reqOf(who), to.dir, to.name))
	}
	s.changedName(to)
	of := s.abs(a.Ino)
	if snap != "" {
		of += "@" + snap
	}
	s.did(who, "volume", s.abs(clone.Ino), "of", of, "properties", settingsText(args.Settings))
	return control.None{}, nil
}

// destroy destroys a volume, or snapshots of one.
func (s *Service) destroy(ctx context.Context, who control.Peer, args control.DestroyArgs) (res control.DestroyResult, err error) {
	a, snap, err := s.find(args.Object, either)
	if err != nil {
		return res, err
	}
	if err := isVolume(args.Object, a); err != nil {
		return res, err
	}
	names := strings.Split(snap, ",")
	if snap == "" {
		names = nil
	}
	plan, err := s.planDestroy(ctx, a, names, args)
	if err != nil {
		return res, err
	}
	o := chain.DestroyOptions{Snapshots: args.Snapshots, Clones: args.Clones, Defer: args.Deferred, Now: args.Now}
	if args.DryRun {
		plan.res.Forecast, err = s.forecastDestroy(a.Ino, names, o)
		return plan.res, s.explain(a.Ino, err)
	}
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	last := s.Pool.LastJob()
	if snap == "" {
		err = s.patient(ctx, a.Ino, func() error { return s.Pool.DestroyVolume(reqOf(who), a.Ino, o) })
	} else {
		err = s.patient(ctx, a.Ino, func() error { return s.Pool.DestroySnapshots(reqOf(who), a.Ino, names, o) })
	}
	if err != nil {
		return res, s.explain(a.Ino, err)
	}
	for _, p := range plan.gone {
		s.changedName(p)
	}
	if args.Jobs { // some may be left to the housekeeping
		if err := s.Pool.EraseDrain(ctx); err != nil {
			return res, err
		}
	}
	for _, j := range s.Pool.EraseJobs() {
		if j.ID > last {
			plan.res.Jobs = append(plan.res.Jobs, j.ID)
		}
	}
	plan.res.Kept = s.keptSince(last)
	s.did(who, "destroyed", several(plan.res.Destroyed), "kept", len(plan.res.Kept) > 0)
	return plan.res, nil
}

// destroyPlan is what a destroy takes with it, as told before it is done.
type destroyPlan struct {
	res  control.DestroyResult
	gone []place // names of volumes
	seen map[chain.Ino]bool
}

// planDestroy lists what will be destroyed; names are of snapshots, none means the volume.
func (s *Service) planDestroy(ctx context.Context, a chain.Attr, names []string, args control.DestroyArgs) (*destroyPlan, error) {
	p := &destroyPlan{seen: map[chain.Ino]bool{a.Ino: true}}
	snaps, err := s.Pool.Snapshots(a.Ino)
	if err != nil {
		return nil, err
	}
	of := s.abs(a.Ino) + "@"
	for _, n := range snaps {
		whole := names == nil && (args.Snapshots || args.Clones)
		if !whole && !slices.Contains(names, n.Name) {
			continue
		}
		p.res.Destroyed = append(p.res.Destroyed, of+n.Name)
		if names != nil {
			p.res.Reclaim += n.Used
		}
		for _, clone := range n.Clones {
			if args.Clones {
				if err := s.planVolume(ctx, p, clone); err != nil {
					return nil, err
				}
			}
		}
	}
	if names == nil {
		delete(p.seen, a.Ino)
		return p, s.planVolume(ctx, p, s.Pool.Path(a.Ino))
	}
	return p, nil
}

// planVolume adds a volume, by its path from the root.
func (s *Service) planVolume(ctx context.Context, p *destroyPlan, file string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a, err := s.Pool.Resolve(file)
	if err != nil || p.seen[a.Ino] {
		return err
	}
	p.seen[a.Ino] = true
	i, err := s.Pool.VolumeInfo(a.Ino)
	if err != nil {
		return err
	}
	p.res.Destroyed = append(p.res.Destroyed, path.Join(s.Dir, file))
	p.res.Reclaim += i.Used
	p.gone = append(p.gone, place{a.Parent, a.Name})
	return nil
}
