package daemon

import (
	"context"
	"errors"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// list makes the rows of what is asked for: the pool and all that is in it if nothing is named. What is named twice is listed once.
func (s *Service) list(ctx context.Context, who control.Peer, args control.ListArgs) (rows []control.Row, err error) {
	if err := who.MayName(len(args.Objects)); err != nil {
		return nil, err
	}
	rows = []control.Row{}
	if len(args.Objects) == 0 {
		args.Objects, args.Recursive = []control.Object{{}}, true
	}
	l := lister{Service: s, args: args, erasing: s.Pool.Erasing()}
	levels := l.levels()
	type named struct {
		ino  chain.Ino
		snap string
	}
	seen := map[named]bool{}
	for _, o := range args.Objects {
		a, snap, err := s.find(o, either)
		if err != nil {
			return nil, err
		}
		if seen[named{a.Ino, snap}] {
			continue
		}
		seen[named{a.Ino, snap}] = true
		switch {
		case a.Type == chain.TypeDir && snap == "":
			at := s.Pool.Path(a.Ino)
			if err = l.dir(ctx, a.Ino, path.Join(l.Dir, at), levels); err == nil {
				l.destroyed(at)
			}
		case snap != "":
			err = l.group(ctx, o, a, snap)
		case isVolume(o, a) != nil:
			err = isVolume(o, a)
		default:
			err = l.volume(a.Ino, s.abs(a.Ino), levels)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(rows, l.rows...), nil
}

// lister collects rows.
type lister struct {
	*Service
	args    control.ListArgs
	erasing map[chain.Ino]chain.Erasing
	rows    []control.Row
}

// destroyed lists what was destroyed below a directory and is kept.
func (l *lister) destroyed(dir string) {
	if !l.wants(control.TypeDestroyed) {
		return
	}
	for _, d := range l.Pool.Destroyed() {
		if dir != "" && !strings.HasPrefix(d.Volume, dir+"/") {
			continue
		}
		l.rows = append(l.rows, control.Row{
			Name: path.Join(l.Dir, control.Subject(d.Volume, d.Snapshot)), Type: control.TypeDestroyed,
			ID: new(int64(d.ID)), Size: &d.Size, Used: &d.Frees,
			Destroyed: &d.When, Goes: &d.Until, Who: d.Who,
		})
	}
}

func (l *lister) wants(typ string) bool { return slices.Contains(l.args.Types, typ) }

// levels are how many are listed below what is named.
func (l *lister) levels() int64 {
	switch {
	case l.args.Levels != nil:
		return *l.args.Levels
	case l.args.Recursive:
		return math.MaxInt64
	}
	return 1
}

// dir lists a directory, which is called name: its own row, and so many levels of what is in it, by name. The engine is
// asked once for each row, and for no path: they follow from the names on the way.
func (l *lister) dir(ctx context.Context, ino chain.Ino, name string, levels int64) error {
	if err := l.dirRow(ino, name); err != nil || levels < 1 {
		return err
	}
	entries, err := l.entries(ino)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := path.Join(name, e.Name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Type == chain.TypeFile:
			err = l.volume(e.Ino, at, levels-1)
		case e.Type == chain.TypeDir:
			err = l.dir(ctx, e.Ino, at, levels-1)
		}
		if err != nil && !errors.Is(err, chain.ErrNotFound) { // it went meanwhile
			return err
		}
	}
	return nil
}

// dirRow adds the row of a directory; the root's is the pool's.
func (l *lister) dirRow(ino chain.Ino, name string) error {
	typ := control.TypeDirectory
	if ino == chain.RootIno {
		typ = control.TypePool
	}
	if !l.wants(typ) {
		return nil
	}
	i, err := l.Pool.DirInfo(ino)
	if err != nil {
		return err
	}
	r := control.Row{
		Name: name, Type: typ, Refer: &i.UsedDS, Written: &i.UsedDS, UsedChild: &i.UsedChild, UsedSnap: new(int64),
		Created: timeOrNil(i.Btime), Reserv: &i.Reservation, Quota: &i.Quota,
	}
	putSpace(&r, &i.Space)
	if typ == control.TypePool {
		u := l.Pool.Usage()
		r.Size, r.Snapshots, r.Freeing, r.Erasing = &u.Total, new(int64(u.Snapshots)), &u.Freeing, new(u.Dirty+u.Failed)
		r.MetaProm, r.Created, r.Reserv, r.Quota = &u.MetaPromised, nil, nil, nil
	}
	l.rows = append(l.rows, r)
	return nil
}

// putSpace fills what volumes, directories and the pool have in common.
func putSpace(r *control.Row, s *chain.Space) {
	r.Used, r.Avail, r.UsedDS, r.UsedRef, r.MetaProm = &s.Used, &s.Avail, &s.UsedDS, &s.UsedRefreserv, &s.MetaPromised
	r.Metadata = &s.Words
}

// volume lists a volume and its snapshots, as far as their types are wanted. Where levels are asked for its snapshots are one.
func (l *lister) volume(ino chain.Ino, name string, levels int64) error {
	if l.wants(control.TypeVolume) {
		i, err := l.Pool.VolumeInfo(ino)
		if err != nil {
			return err
		}
		e := l.erasing[ino]
		r := control.Row{
			Name: name, Type: control.TypeVolume, Size: &i.Size, Refer: &i.Refer, Written: &i.Written, UsedSnap: &i.UsedSnap,
			UsedChild: new(int64), Refres: &i.Refreservation, Reserv: &i.Reservation, Quota: &i.Quota, Refquota: &i.Refquota,
			Freeing: &e.Freeing, Erasing: &e.Dirty, Origin: absOrigin(l.Dir, i.Origin), Created: timeOrNil(i.Created),
			Snapshots: new(int64(i.Snapshots)),
		}
		putSpace(&r, &i.Space)
		l.rows = append(l.rows, r)
	}
	if !l.wants(control.TypeSnapshot) || l.args.Levels != nil && levels < 1 {
		return nil
	}
	snaps, err := l.Pool.Snapshots(ino)
	for _, n := range snaps {
		l.rows = append(l.rows, l.snapshotRow(name, n))
	}
	return err
}

// group lists snapshots by name, of a volume or of those in a directory.
func (l *lister) group(ctx context.Context, o control.Object, a chain.Attr, snaps string) error {
	group, err := l.Service.group(ctx, o, a, snaps, l.args.Recursive)
	if err != nil {
		return err
	}
	for _, g := range group {
		list, err := l.Pool.Snapshots(g.Vol)
		if err != nil {
			return err
		}
		of, had := l.abs(g.Vol), len(l.rows)
		for _, n := range list {
			if slices.Contains(g.Names, n.Name) {
				l.rows = append(l.rows, l.snapshotRow(of, n))
			}
		}
		if len(l.rows)-had < len(g.Names) && a.Type != chain.TypeDir { // of a directory's one went meanwhile
			return named(o, chain.ErrNotFound)
		}
	}
	return nil
}

func (s *Service) snapshotRow(of string, n chain.SnapInfo) control.Row {
	r := control.Row{
		Name: of + "@" + n.Name, Type: control.TypeSnapshot, Size: &n.Size, Used: &n.Used, Refer: &n.Refer, Written: &n.Written,
		Created: timeOrNil(n.Created), UserRefs: new(int64(len(n.Tags))),
	}
	for _, t := range n.Tags {
		r.Holds = append(r.Holds, t.Name)
	}
	for _, c := range n.Clones {
		r.Clones = append(r.Clones, path.Join(s.Dir, c))
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
func (s *Service) tree(ctx context.Context, _ control.Peer, o control.Object) (trees []control.TreeInfo, err error) {
	a, snap, err := s.find(o, either)
	if err != nil {
		return nil, err
	}
	seen := map[chain.LayerID]bool{}
	add := func(ino chain.Ino) error {
		layers, err := s.Pool.Tree(ino)
		if err != nil || len(layers) == 0 || seen[layers[0].ID] {
			return err
		}
		seen[layers[0].ID] = true
		t := control.TreeInfo{Volume: s.abs(ino)}
		for _, l := range layers {
			t.Layers, t.Owners = append(t.Layers, layerInfoOf(l)), append(t.Owners, s.owner(l))
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

func layerInfoOf(l chain.LayerInfo) control.Layer {
	i := control.Layer{
		ID: l.ID.String(), Parent: l.Parent.String(), Name: l.Name, Head: l.Head, Nameless: l.Nameless, Deferred: l.Deferred,
		Size: l.Size, Written: l.Written, Refer: l.Refer, Created: l.Created,
	}
	for _, id := range l.Children {
		i.Children = append(i.Children, id.String())
	}
	return i
}

// owner is the path of the volume that a layer belongs to; a layer may outlive its volume.
func (s *Service) owner(l chain.LayerInfo) string {
	if _, err := s.Pool.GetAttr(l.Volume); err != nil {
		return ""
	}
	return s.abs(l.Volume)
}
