package main

import (
	"context"
	"path"
	"slices"
	"time"

	"slatefs/chain"
)

// list makes the rows of what is asked for: the pool and all its volumes if nothing is named.
func (s *service) list(ctx context.Context, _ peer, args listArgs) (rows []row, err error) {
	rows = []row{}
	if len(args.Objects) == 0 {
		args.Objects, args.Recursive = []object{{}}, true
	}
	for _, o := range args.Objects {
		a, snap, err := s.find(o)
		if err != nil {
			return nil, err
		}
		var more []row
		switch {
		case a.Type == chain.TypeDir && snap == "":
			more, err = s.listDir(ctx, a, args)
		case isVolume(o, a) != nil:
			err = isVolume(o, a)
		case snap != "":
			more, err = s.listSnapshot(a.Ino, snap)
		default:
			more, err = s.listVolume(a.Ino, args)
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// listDir lists a directory; the root's own row is the pool's.
func (s *service) listDir(ctx context.Context, a chain.Attr, args listArgs) (rows []row, err error) {
	if a.Ino == chain.RootIno && slices.Contains(args.Types, typePool) {
		rows = append(rows, s.poolRow())
	}
	err = s.eachVolume(ctx, a.Ino, args.Recursive, func(ino chain.Ino) error {
		more, err := s.listVolume(ino, args)
		rows = append(rows, more...)
		return err
	})
	return rows, err
}

func (s *service) poolRow() row {
	u := s.pool.Usage()
	return row{
		Name: s.dir, Type: typePool, Size: &u.Total, Used: new(u.Live + u.Meta), Avail: &u.Avail, Refer: &u.Live, Written: &u.Live,
		Snapshots: new(int64(u.Snapshots)),
	}
}

// listVolume lists a volume and its snapshots, as far as their types are wanted.
func (s *service) listVolume(ino chain.Ino, args listArgs) (rows []row, err error) {
	i, err := s.pool.VolumeInfo(ino)
	if err != nil {
		return nil, err
	}
	if slices.Contains(args.Types, typeVolume) {
		rows = append(rows, row{
			Name: s.abs(ino), Type: typeVolume, Size: &i.Size, Used: &i.Used, Avail: &i.Avail,
			Refer: &i.Refer, Written: &i.Written, UsedSnap: &i.UsedSnap, Origin: absOrigin(s.dir, i.Origin),
			Created: timeOrNil(i.Created), Snapshots: new(int64(i.Snapshots)),
		})
	}
	if !slices.Contains(args.Types, typeSnapshot) {
		return rows, nil
	}
	snaps, err := s.pool.Snapshots(ino)
	for _, n := range snaps {
		rows = append(rows, s.snapshotRow(ino, n))
	}
	return rows, err
}

// listSnapshot lists one snapshot.
func (s *service) listSnapshot(ino chain.Ino, name string) ([]row, error) {
	snaps, err := s.pool.Snapshots(ino)
	if err != nil {
		return nil, err
	}
	for _, n := range snaps {
		if n.Name == name {
			return []row{s.snapshotRow(ino, n)}, nil
		}
	}
	return nil, named(object{Arg: s.abs(ino) + "@" + name}, chain.ErrNotFound)
}

func (s *service) snapshotRow(ino chain.Ino, n chain.SnapInfo) row {
	r := row{
		Name: s.abs(ino) + "@" + n.Name, Type: typeSnapshot, Size: &n.Size, Used: &n.Used, Refer: &n.Refer, Written: &n.Written,
		Created: timeOrNil(n.Created),
	}
	for _, c := range n.Clones {
		r.Clones = append(r.Clones, path.Join(s.dir, c))
	}
	return r
}

// timeOrNil is nil for a time that nobody has noted.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func absOrigin(dir, origin string) string {
	if origin == "" {
		return ""
	}
	return path.Join(dir, origin)
}

// tree lists the layers of the chains that are asked for, each chain once.
func (s *service) tree(ctx context.Context, _ peer, o object) (trees []treeInfo, err error) {
	a, snap, err := s.find(o)
	if err != nil {
		return nil, err
	}
	seen := map[chain.LayerID]bool{}
	add := func(ino chain.Ino) error {
		layers, err := s.pool.Tree(ino)
		if err != nil || len(layers) == 0 || seen[layers[0].ID] {
			return err
		}
		seen[layers[0].ID] = true
		t := treeInfo{Volume: s.abs(ino), Layers: layers}
		for _, l := range layers {
			t.Owners = append(t.Owners, s.owner(l))
		}
		trees = append(trees, t)
		return nil
	}
	if a.Type == chain.TypeDir && snap == "" {
		return trees, s.eachVolume(ctx, a.Ino, true, add)
	}
	if err := isVolume(o, a); err != nil {
		return nil, err
	}
	return trees, add(a.Ino)
}

// owner is the path of the volume that a layer belongs to; a layer may outlive its volume.
func (s *service) owner(l chain.LayerInfo) string {
	if _, err := s.pool.GetAttr(l.Volume); err != nil {
		return ""
	}
	return s.abs(l.Volume)
}
