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

// FILE@SNAPS and DIR@SNAPS name snapshots: of a volume, or of each volume in a directory that has them. SNAPS are parts with commas
// between: a name, or a range A%B, A%, %B or %, from A to B in the order of their making, both included. A name has no % in it.

// group resolves them. Of a directory's volumes those that have none are passed over; that nobody has one is ErrNotFound.
func (s *Service) group(ctx context.Context, o control.Object, a chain.Attr, snaps string, recursive bool) ([]chain.SnapsOf, error) {
	var group []chain.SnapsOf
	if a.Type != chain.TypeDir {
		if err := isVolume(o, a); err != nil {
			return nil, err
		}
		names, err := s.picked(a.Ino, snaps, true)
		return []chain.SnapsOf{{Vol: a.Ino, Names: names}}, err
	}
	err := s.eachVolume(ctx, a.Ino, recursive, func(ino chain.Ino) error {
		names, err := s.picked(ino, snaps, false)
		if len(names) > 0 {
			group = append(group, chain.SnapsOf{Vol: ino, Names: names})
		}
		return err
	})
	if err != nil || len(group) > 0 {
		return group, err
	}
	err = fmt.Errorf("%s: no volume in that directory has such a snapshot: %w", o.Arg, chain.ErrNotFound)
	if !recursive {
		err = show.Hinted(err, "-r looks below it as well")
	}
	return nil, err
}

// picked are the snapshots of a volume that are named. All of them must be there, or else only those are taken that are: of a range
// all or nothing.
func (s *Service) picked(ino chain.Ino, snaps string, all bool) (names []string, err error) {
	var have []string // in the order of their making; nil: not looked at
	for part := range strings.SplitSeq(snaps, ",") {
		first, last, isRange := strings.Cut(part, "%")
		if !isRange {
			if all || s.Pool.HasSnapshot(ino, part) {
				names = append(names, part)
			}
			continue
		}
		if have == nil {
			if have, err = s.snapNames(ino); err != nil {
				return nil, err
			}
		}
		some, err := between(have, first, last)
		if err != nil && all || err == errOrder { //nolint:errorlint // it is made below
			return nil, fmt.Errorf("%s@%s: %w", s.abs(ino), part, err)
		}
		names = append(names, some...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(n string) bool {
		twice := seen[n]
		seen[n] = true
		return twice
	}), nil
}

// snapNames are the names of a volume's snapshots, oldest first.
func (s *Service) snapNames(ino chain.Ino) ([]string, error) {
	list, err := s.Pool.Snapshots(ino)
	names := make([]string, 0, len(list))
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names, err
}

var errOrder = fmt.Errorf("the first one was made after the last one: %w", chain.ErrInvalid)

// between are those from first to last, both included; an empty one is the oldest, or the newest.
func between(have []string, first, last string) ([]string, error) {
	from, to := 0, len(have)-1
	if first != "" {
		from = slices.Index(have, first)
	}
	if last != "" {
		to = slices.Index(have, last)
	}
	switch {
	case from < 0:
		return nil, fmt.Errorf("snapshot %s: %w", first, chain.ErrNotFound)
	case to < 0:
		return nil, fmt.Errorf("snapshot %s: %w", last, chain.ErrNotFound)
	case from > to:
		return nil, errOrder
	}
	return have[from : to+1], nil
}

// volumesOf are the volumes of a group.
func volumesOf(group []chain.SnapsOf) (vols []chain.Ino) {
	for _, g := range group {
		vols = append(vols, g.Vol)
	}
	return vols
}

// eachOf lists what a group names, as users see it.
func (s *Service) eachOf(group []chain.SnapsOf) (list []string) {
	for _, g := range group {
		of := s.abs(g.Vol) + "@"
		for _, n := range g.Names {
			list = append(list, of+n)
		}
	}
	return list
}

// cloneGroup makes a volume of each snapshot of a group, in a directory that is there, by the names that they have below their own.
// One that cannot be made takes back those before it.
func (s *Service) cloneGroup(ctx context.Context, who control.Peer, args control.CloneArgs, a chain.Attr, snap string) (err error) {
	group, err := s.group(ctx, args.Object, a, snap, args.Recursive)
	if err != nil {
		return err
	}
	into, err := s.directory(args.New)
	if err != nil {
		return err
	}
	from := s.Pool.Path(a.Ino)
	var to []control.Object
	for _, g := range group {
		rel := strings.TrimPrefix(strings.TrimPrefix(s.Pool.Path(g.Vol), from), "/")
		o := control.Object{Arg: path.Join(args.New.Arg, rel), Path: path.Join(args.New.Path, rel)}
		if _, err := s.Pool.Resolve(o.Path); err == nil {
			return fmt.Errorf("%s: %w", o.Arg, chain.ErrExist)
		}
		to = append(to, o)
	}
	var made []place
	var names []string
	defer func() {
		if err == nil {
			return
		}
		for _, p := range slices.Backward(made) {
			err = errors.Join(err, s.Pool.Undo(reqOf(who), p.dir, p.name))
			s.changedName(p)
		}
	}()
	for i, g := range group {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		at, err := s.belowDir(who, into, args.New, to[i])
		if err != nil {
			return err
		}
		if err := s.cloneOne(who, g.Vol, snap, at, args.Settings); err != nil {
			return err
		}
		made, names = append(made, at), append(names, path.Join(s.Dir, to[i].Path))
	}
	s.did(who, "volume", several(names), "of", s.abs(a.Ino)+"@"+snap, "properties", settingsText(args.Settings))
	return nil
}

// directory resolves what must be a directory.
func (s *Service) directory(o control.Object) (chain.Ino, error) {
	a, err := s.Pool.Resolve(o.Path)
	switch {
	case err != nil:
		return 0, show.Hinted(fmt.Errorf("%s: %w", o.Arg, err), "mkdir %s", o.Arg)
	case a.Type != chain.TypeDir:
		return 0, fmt.Errorf("%s: %w", o.Arg, chain.ErrNotDir)
	}
	return a.Ino, nil
}

// belowDir is the place of a name below a directory; the directories between are made.
func (s *Service) belowDir(who control.Peer, into chain.Ino, top, o control.Object) (place, error) {
	names := strings.Split(strings.TrimPrefix(strings.TrimPrefix(o.Path, top.Path), "/"), "/")
	at := place{into, names[len(names)-1]}
	for _, name := range names[:len(names)-1] {
		a, err := s.Pool.Lookup(at.dir, name)
		if errors.Is(err, chain.ErrNotFound) {
			a, err = s.Pool.Mkdir(reqOf(who), at.dir, name, 0o755)
			s.changedName(place{at.dir, name})
		}
		if err != nil {
			return at, err
		}
		at.dir = a.Ino
	}
	return at, nil
}
