package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// FILE@NAME is a snapshot, and may be the name of a volume as well. What a command can mean decides: one that wants a snapshot
// is not stopped by such a volume, and one that wants a volume not by the snapshot. Where it may mean either, and both are
// there, it is refused, with both readings; DIR/.snap/FILE@NAME means a snapshot only.

// meaning is what a command wants.
type meaning uint8

const (
	aSnapshot   meaning = iota // that exists
	newSnapshot                // of a volume or directory
	aVolume                    // or a directory
	either
)

// readings are the two ways to read an object.
type readings struct {
	whole, file       chain.Attr
	snap              string // of file
	wholeErr, fileErr error
}

// read looks up both. The error of one that cannot be is set. DIR/.snap/FILE@NAME is a snapshot only, and so is an object that
// says its snapshot apart.
func (s *Service) read(o control.Object) (r readings) {
	file, snap, ok := control.SplitSnapshot(o.Path)
	ok = ok && !strings.Contains(snap, "/")
	r.wholeErr = chain.ErrNotFound
	switch {
	case o.Snap != "":
		file, snap, ok = o.Path, o.Snap, true
	case path.Base(path.Dir(file)) == chain.SnapDir && ok:
		file = path.Join(path.Dir(path.Dir(file)), path.Base(file))
	default:
		r.whole, r.wholeErr = s.Pool.Resolve(o.Path)
	}
	r.snap, r.fileErr = snap, chain.ErrNotFound
	if ok {
		r.file, r.fileErr = s.Pool.Resolve(file)
	}
	return r
}

// absent tells an error that leaves the other reading.
func absent(err error) bool {
	for _, e := range []error{chain.ErrNotFound, chain.ErrNotDir, chain.ErrPerm, chain.ErrNameTooLong} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// find resolves FILE, FILE@NAME, DIR or DIR@NAME. snap is empty for what exists by its whole path; that a snapshot exists is
// not said.
func (s *Service) find(o control.Object, want meaning) (a chain.Attr, snap string, err error) {
	r := s.read(o)
	whole, split := r.wholeErr == nil, r.fileErr == nil
	switch {
	case !whole && !absent(r.wholeErr):
		return a, "", named(o, r.wholeErr)
	case whole && split && want == either && s.hasSnapshot(r.file, r.snap):
		return a, "", ambiguous(o)
	case whole && split && want == newSnapshot:
		return a, "", twoVolumes(o)
	case split && (want == aSnapshot || !whole):
		return r.file, r.snap, nil
	case whole:
		return r.whole, "", nil
	case errors.Is(r.wholeErr, chain.ErrNotFound): // which says less
		return a, "", named(o, r.fileErr)
	}
	return a, "", named(o, r.wholeErr)
}

// hasSnapshot tells whether a volume, or one below a directory, has one of several snapshots.
func (s *Service) hasSnapshot(a chain.Attr, snaps string) bool {
	some := func(ino chain.Ino) bool {
		names, err := s.picked(ino, snaps, false)
		return err != nil || len(names) > 0
	}
	if a.Type != chain.TypeDir {
		return a.Type == chain.TypeFile && some(a.Ino)
	}
	has := false
	err := s.eachVolume(context.Background(), a.Ino, true, func(ino chain.Ino) error {
		has = has || some(ino)
		return nil
	})
	return err != nil || has
}

// ambiguous refuses an object that has two meanings.
func ambiguous(o control.Object) error {
	file, snap, _ := control.SplitSnapshot(o.Arg)
	return show.Hinted(fmt.Errorf("%s: is the name of a volume, and the snapshot %s of %s", o.Arg, snap, file),
		"%s means the snapshot; for the volume use rm(1), or give it another name with mv(1)",
		path.Join(path.Dir(o.Arg), chain.SnapDir, path.Base(o.Arg)))
}

// twoVolumes refuses to make a snapshot when two volumes can be meant.
func twoVolumes(o control.Object) error {
	file, snap, _ := control.SplitSnapshot(o.Arg)
	return show.Hinted(fmt.Errorf("%s: want FILE@NAME, and this is a name that exists, and would be the snapshot %s of %s", o.Arg, snap, file),
		"%s means the snapshot of %s; one of what exists is %s@NAME", path.Join(path.Dir(o.Arg), chain.SnapDir, path.Base(o.Arg)), file, o.Arg)
}

// named says for which argument something was not found.
func named(o control.Object, err error) error {
	if errors.Is(err, chain.ErrNotFound) {
		return fmt.Errorf("%s: %w", o.Arg, chain.ErrNotFound)
	}
	return err
}

// volume resolves what must be a volume.
func (s *Service) volume(o control.Object) (chain.Attr, error) {
	a, snap, err := s.find(o, aVolume)
	switch {
	case err != nil:
		return a, err
	case snap != "":
		return a, fmt.Errorf("%s: is a snapshot, want a volume", o.Arg)
	}
	return a, isVolume(o, a)
}

// snapshotOf resolves what must be FILE@NAME or DIR@NAME. That the snapshot exists is not checked.
func (s *Service) snapshotOf(o control.Object) (chain.Attr, string, error) {
	a, snap, err := s.find(o, aSnapshot)
	switch {
	case err != nil:
		return a, "", err
	case snap == "":
		return a, "", fmt.Errorf("%s: is no snapshot, want FILE@NAME", o.Arg)
	case a.Type == chain.TypeDir:
		return a, snap, nil
	}
	return a, snap, isVolume(o, a)
}
