package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

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
			if !halfMade(s.Pool, path.Base(s.Pool.Path(ino)), ino) { // its snapshots are those of its images
				vols = append(vols, ino)
			}
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

// rollback makes a volume what a snapshot shows, or each volume of a directory that has it.
func (s *Service) rollback(ctx context.Context, who control.Peer, args control.RollbackArgs) ([]string, error) {
	a, snap, err := s.snapshotOf(args.Object)
	if err != nil {
		return nil, err
	}
	group, err := s.group(ctx, args.Object, a, snap, args.Recursive)
	if err != nil {
		return nil, err
	}
	vols := volumesOf(group)
	if args.Dry {
		return forecastOf(s.Pool.ForecastRollback(vols[0], snap, args.Force, vols[1:]...))
	}
	err = s.patient(ctx, vols[0], func() error { return s.Pool.Rollback(reqOf(who), vols[0], snap, args.Force, vols[1:]...) })
	var names []string
	for _, ino := range doneOf(vols, err) {
		s.changed(ino)
		names = append(names, s.abs(ino))
	}
	if len(names) > 0 {
		s.didSome(who, err, "volume", several(names), "to", snap, "forced", args.Force)
	}
	return nil, hintBusy(s.explain(vols[0], err), "close it, or roll back under its users with --force")
}

// doneOf are those of some volumes, which are changed in this order, that are changed where that ended with err.
func doneOf(vols []chain.Ino, err error) []chain.Ino {
	var part *chain.PartError
	switch {
	case err == nil:
		return vols
	case errors.As(err, &part):
		return vols[:part.Done]
	}
	return nil
}

// hintBusy hints at the way out of what is busy.
func hintBusy(err error, hint string) error {
	if errors.Is(err, chain.ErrBusy) {
		return show.Hinted(err, "%s", hint)
	}
	return err
}

// clone makes a new volume of a snapshot, or of a volume as it is now, or in a directory one of each volume of another.
func (s *Service) clone(ctx context.Context, who control.Peer, args control.CloneArgs) (control.None, error) {
	a, snap, err := s.find(args.Object, either)
	if err != nil {
		return control.None{}, err
	}
	if a.Type == chain.TypeDir && snap != "" {
		return control.None{}, s.cloneGroup(ctx, who, args, a, snap)
	}
	if err := isVolume(args.Object, a); err != nil {
		return control.None{}, err
	}
	to, err := s.free(args.New)
	if err != nil {
		return control.None{}, err
	}
	if err := s.cloneOne(who, a.Ino, snap, to, args.Settings); err != nil {
		return control.None{}, err
	}
	of := s.abs(a.Ino)
	if snap != "" {
		of += "@" + snap
	}
	at, err := s.Pool.Lookup(to.dir, to.name)
	s.did(who, "volume", s.abs(at.Ino), "of", of, "properties", settingsText(args.Settings))
	return control.None{}, err
}

// cloneOne makes a volume with its properties, or nothing.
func (s *Service) cloneOne(who control.Peer, ino chain.Ino, snap string, to place, settings []control.Setting) error {
	clone, err := s.Pool.Clone(reqOf(who), ino, snap, to.dir, to.name)
	if err != nil {
		return s.explain(ino, err)
	}
	if err := s.Pool.SetProps(reqOf(who), clone.Ino, EngineSettings(settings)...); err != nil {
		return errors.Join(s.explain(clone.Ino, err), s.Pool.Undo(reqOf(who), to.dir, to.name))
	}
	s.changedName(to)
	return nil
}

// destroy destroys a volume, or snapshots of one or of those in a directory.
func (s *Service) destroy(ctx context.Context, who control.Peer, args control.DestroyArgs) (res control.DestroyResult, err error) {
	a, snap, err := s.find(args.Object, either)
	if err != nil {
		return res, err
	}
	o := chain.DestroyOptions{Snapshots: args.Snapshots, Clones: args.Clones, Defer: args.Deferred, Now: args.Now}
	plan := &destroyPlan{seen: map[chain.Ino]bool{}}
	var forecast func() (chain.DestroyForecast, error)
	var do func() error
	if snap == "" {
		if err := isVolume(args.Object, a); err != nil {
			return res, err
		}
		err = s.planWhole(ctx, plan, a, args)
		forecast = func() (chain.DestroyForecast, error) { return s.Pool.ForecastDestroy(a.Ino, nil, o) }
		do = func() error { // at each try: the import that had it open may have come to its end
			if args.Half && !halfMade(s.Pool, a.Name, a.Ino) {
				return fmt.Errorf("%s: no import left it: %w", args.Object.Arg, chain.ErrExist)
			}
			return s.Pool.DestroyVolume(reqOf(who), a.Ino, o)
		}
	} else {
		var group []chain.SnapsOf
		if group, err = s.group(ctx, args.Object, a, snap, args.Snapshots); err != nil {
			return res, err
		}
		err = s.planGroup(ctx, plan, group, args)
		forecast = func() (chain.DestroyForecast, error) { return s.Pool.ForecastGroup(group, o) }
		do = func() error { return s.Pool.DestroyGroup(reqOf(who), group, o) }
	}
	if err != nil {
		return res, err
	}
	if args.DryRun {
		plan.res.Forecast, err = s.forecastDestroy(forecast, o)
		return plan.res, s.explain(a.Ino, err)
	}
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	last := s.Pool.LastJob()
	err = s.patient(ctx, a.Ino, do)
	if err != nil && !inPart(err) {
		return res, s.explain(a.Ino, err)
	}
	gone := s.wentOf(plan, err != nil)
	plan.res.Kept = s.keptSince(last)
	s.didSome(who, err, "destroyed", several(gone), "kept", len(plan.res.Kept) > 0)
	if err != nil {
		return res, s.explain(a.Ino, err)
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
	return plan.res, nil
}

// halfMade tells whether an import makes a volume of that name, or has left it. Where the name says no, it looks up nothing.
func halfMade(p *chain.Pool, name string, ino chain.Ino) bool {
	if !control.HalfNamed(name) {
		return false
	}
	mark, err := p.GetXattr(ino, control.HalfAttr)
	return err == nil && control.HalfMade(name, uint64(ino), mark)
}

// destroyPlan is what a destroy takes with it, as told before it is done.
type destroyPlan struct {
	res  control.DestroyResult
	goes []goer // what res.Destroyed names, in this order
	seen map[chain.Ino]bool
}

// goer is a volume that is to go, with its place, or a snapshot of one.
type goer struct {
	at   place
	ino  chain.Ino
	snap string
}

// add plans that something goes, which users know by that name.
func (p *destroyPlan) add(g goer, name string) {
	p.goes, p.res.Destroyed = append(p.goes, g), append(p.res.Destroyed, name)
}

// wentOf tells the mount which names of volumes are gone by a plan that was carried out, and lists what is gone. some: not all of it
// need be.
func (s *Service) wentOf(p *destroyPlan, some bool) (names []string) {
	for i, g := range p.goes {
		if some && s.isThere(g) {
			continue
		}
		names = append(names, p.res.Destroyed[i])
		if g.snap == "" {
			s.changedName(g.at)
		}
	}
	return names
}

// isThere: it is found by its name still. Of what cannot be looked up the mount is told too much rather than too little.
func (s *Service) isThere(g goer) bool {
	if g.at != (place{}) { // a snapshot that goes with its volume goes with its name
		a, err := s.Pool.Lookup(g.at.dir, g.at.name)
		return err == nil && a.Ino == g.ino
	}
	return s.Pool.HasSnapshot(g.ino, g.snap)
}

// planWhole lists what will be destroyed with a volume.
func (s *Service) planWhole(ctx context.Context, p *destroyPlan, a chain.Attr, args control.DestroyArgs) error {
	snaps, err := s.Pool.Snapshots(a.Ino)
	if err != nil {
		return err
	}
	p.seen[a.Ino] = true
	of := s.abs(a.Ino) + "@"
	for _, n := range snaps {
		if args.Snapshots || args.Clones {
			p.add(goer{place{a.Parent, a.Name}, a.Ino, n.Name}, of+n.Name)
		}
		if args.Clones {
			if err := s.planClones(ctx, p, n); err != nil {
				return err
			}
		}
	}
	delete(p.seen, a.Ino)
	return s.planVolume(ctx, p, s.Pool.Path(a.Ino))
}

// planGroup lists what will be destroyed with snapshots. What that frees is told for all of them together.
func (s *Service) planGroup(ctx context.Context, p *destroyPlan, group []chain.SnapsOf, args control.DestroyArgs) error {
	for _, g := range group {
		of := s.abs(g.Vol) + "@"
		for _, n := range g.Names {
			p.add(goer{ino: g.Vol, snap: n}, of+n)
		}
	}
	if args.Clones {
		for _, g := range group {
			snaps, err := s.Pool.Snapshots(g.Vol)
			if err != nil {
				return err
			}
			for _, n := range snaps {
				if !slices.Contains(g.Names, n.Name) {
					continue
				}
				if err := s.planClones(ctx, p, n); err != nil {
					return err
				}
			}
		}
	}
	f, err := s.Pool.ForecastGroup(group, chain.DestroyOptions{Clones: args.Clones, Defer: args.Deferred})
	if err == nil { // else the destroy says why
		p.res.Reclaim = f.Freed
	}
	return nil
}

// planClones adds the clones of a snapshot.
func (s *Service) planClones(ctx context.Context, p *destroyPlan, n chain.SnapInfo) error {
	for _, clone := range n.Clones {
		if err := s.planVolume(ctx, p, clone); err != nil {
			return err
		}
	}
	return nil
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
	p.add(goer{at: place{a.Parent, a.Name}, ino: a.Ino}, path.Join(s.Dir, file))
	p.res.Reclaim += i.Used
	return nil
}
