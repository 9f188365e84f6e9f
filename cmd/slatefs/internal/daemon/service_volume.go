package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// entries lists a directory by name.
func (s *Service) entries(dir chain.Ino) (list []chain.DirEntry, err error) {
	err = s.Pool.ReadDir(dir, 0, func(e chain.DirEntry) bool {
		list = append(list, e)
		return true
	})
	slices.SortFunc(list, func(a, b chain.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// create makes volumes of a size. Those before one that is refused stay.
func (s *Service) create(ctx context.Context, who control.Peer, args control.CreateArgs) (list []string, err error) {
	if err := who.MayName(len(args.Objects)); err != nil {
		return nil, err
	}
	for _, o := range args.Objects {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		at, err := s.free(o)
		if err != nil {
			return nil, err
		}
		f := s.Pool.ForecastCreate(at.dir, at.name, args.Size, EngineSettings(args.Settings)...)
		if f.Err != nil && !errors.Is(f.Err, chain.ErrNoSpace) { // which the background may free
			return nil, s.explain(0, f.Err)
		}
		if args.Dry {
			one, err := forecastOf(f)
			if err != nil {
				return nil, err
			}
			list = append(list, one...)
			continue
		}
		a, err := s.Pool.Create(reqOf(who), at.dir, at.name, args.Mode)
		if err != nil {
			return nil, s.explain(0, err)
		}
		s.changedName(at)
		err = s.Pool.SetProps(reqOf(who), a.Ino, EngineSettings(args.Settings)...)
		if err == nil {
			err = s.truncate(a.Ino, args.Size)
		}
		if err != nil {
			return nil, errors.Join(s.explain(a.Ino, err), s.Pool.Undo(reqOf(who), at.dir, at.name))
		}
		s.did(who, "volume", s.abs(a.Ino), "size", show.FormatSize(args.Size), "properties", settingsText(args.Settings))
	}
	return list, s.Pool.Flush()
}

func (s *Service) truncate(ino chain.Ino, size int64) error {
	v, err := s.Pool.Volume(ino)
	if err != nil {
		return err
	}
	return v.Truncate(size)
}

// resize sets the size of a volume, or grows it by something.
func (s *Service) resize(ctx context.Context, who control.Peer, args control.ResizeArgs) ([]string, error) {
	a, err := s.volume(args.Object)
	if err != nil {
		return nil, err
	}
	want := args.Size
	if args.Grow {
		want += a.Size
	}
	if want < a.Size && !args.AllowCut {
		return nil, show.Hinted(fmt.Errorf("%s: has %s, %s is less", args.Object.Arg, show.FormatSize(a.Size), show.FormatSize(want)),
			"resize --shrink cuts off, and frees, what lies past the new end")
	}
	if want < 0 || want > chain.MaxSize {
		return nil, fmt.Errorf("%s: a size of %s, the largest is %s: %w", args.Object.Arg, show.FormatSize(want), show.FormatSize(chain.MaxSize), chain.ErrTooBig)
	}
	if args.Dry {
		return forecastOf(s.Pool.ForecastResize(a.Ino, want, args.Force))
	}
	v, err := s.Pool.Volume(a.Ino)
	if err != nil {
		return nil, err
	}
	if err := s.patient(ctx, a.Ino, func() error { return v.Resize(want, args.Force) }); err != nil {
		return nil, hintBusy(s.explain(a.Ino, err), "close it, or cut it under its users with --force")
	}
	s.changed(a.Ino)
	s.did(who, "volume", s.abs(a.Ino), "from", show.FormatSize(a.Size), "to", show.FormatSize(want))
	return nil, s.Pool.Flush()
}

// rename gives a volume another name or directory, or a snapshot another name, or those of a directory's volumes.
func (s *Service) rename(ctx context.Context, who control.Peer, args control.RenameArgs) (control.None, error) {
	a, snap, err := s.find(args.Object, either)
	if err != nil {
		return control.None{}, err
	}
	if snap != "" {
		if args.Name == "" {
			return control.None{}, fmt.Errorf("%s: is a snapshot, and stays with its volume: give only the new NAME", args.Object.Arg)
		}
		group, err := s.group(ctx, args.Object, a, snap, args.Recursive)
		if err != nil {
			return control.None{}, err
		}
		vols := volumesOf(group)
		err = s.Pool.RenameSnapshot(reqOf(who), vols[0], snap, args.Name, vols[1:]...)
		if done := doneOf(vols, err); len(done) > 0 {
			s.didSome(who, err, "snapshot", several(s.eachOf(group[:len(done)])), "to", args.Name)
		}
		return control.None{}, err
	}
	if err := isVolume(args.Object, a); err != nil {
		return control.None{}, err
	}
	if args.New.Arg == "" {
		return control.None{}, fmt.Errorf("%s: is a volume, and %s not in its pool", args.Object.Arg, args.Name)
	}
	to, err := s.free(args.New)
	if err != nil {
		return control.None{}, err
	}
	from := s.abs(a.Ino)
	if err := s.Pool.Rename(reqOf(who), a.Parent, a.Name, to.dir, to.name, chain.RenameNoReplace); err != nil {
		return control.None{}, s.explain(a.Ino, err)
	}
	s.changedName(place{a.Parent, a.Name})
	s.changedName(to)
	s.did(who, "volume", from, "to", s.abs(a.Ino))
	return control.None{}, s.Pool.Flush()
}
