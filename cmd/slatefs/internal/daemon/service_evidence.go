package daemon

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Kinds of what evidence is asked of.
const (
	kindPool      = "pool"
	kindVolume    = "volume"
	kindSnapshot  = "snapshot"
	kindDirectory = "directory"
	kindOwner     = "owner"
	kindLayer     = "layer"
	kindJob       = "job"
)

// evidence says of each thing that is asked for what a certificate of it would come to.
func (s *Service) evidence(ctx context.Context, _ control.Peer, args control.EvidenceArgs) ([]control.Evidence, error) {
	asked := slices.Clone(args.Asked)
	for _, uid := range args.Owners {
		asked = append(asked, fmt.Sprintf("%s%d", ownerPrefix, uid))
	}
	var out []control.Evidence
	for _, q := range asked {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e, err := s.wouldBe(ctx, q)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (s *Service) evidenceOf(ctx context.Context, asked string) (control.Evidence, error) {
	subject, e, err := s.subjectOf(ctx, asked)
	if err != nil {
		return e, err
	}
	return s.prove(subject, e)
}

// prove asks the pool.
func (s *Service) prove(subject chain.Subject, e control.Evidence) (control.Evidence, error) {
	for _, v := range subject.Volumes {
		e.UUIDs = append(e.UUIDs, s.Pool.VolumeUUID(v).String())
	}
	if subject.Layer != 0 {
		e.UUIDs = append(e.UUIDs, s.Pool.LayerUUID(subject.Layer).String())
	}
	p, err := chain.EvidenceOf(s.Pool, subject)
	if err != nil {
		return e, fmt.Errorf("evidence of %s: %w", e.Asked, err)
	}
	e.Complete, e.Written, e.Zeroed, e.Released, e.Left = p.Complete, p.Written, p.Zeroed, p.Released, p.Left
	e.First, e.Last = timeOrNil(p.First), timeOrNil(p.Last)
	for _, r := range p.Remains {
		e.Remains = append(e.Remains, control.Remain{
			State: string(r.State), Bytes: r.Bytes, UpTo: r.UpTo, By: r.By, ID: r.ID, More: r.More,
		})
	}
	return e, nil
}

// subjectOf resolves what somebody asks evidence of: a UUID, the pool's name, FILE, FILE@NAME or a directory, from the root of the
// pool. What is not there any more is found by the path that it had last.
func (s *Service) subjectOf(ctx context.Context, asked string) (chain.Subject, control.Evidence, error) {
	e := control.Evidence{Asked: asked, Name: strings.Trim(asked, "/")}
	if id, err := uuid.Parse(asked); err == nil && !strings.Contains(asked, "/") {
		if err := s.oneMeaning(asked); err != nil {
			return chain.Subject{}, e, err
		}
		return s.subjectOfUUID(id, e)
	}
	o := control.Object{Arg: asked, Path: strings.Trim(asked, "/")}
	a, snap, err := s.find(o, either)
	switch {
	case err == nil && snap != "":
		return s.snapshotSubject(a, snap, e)
	case err == nil && a.Type == chain.TypeFile:
		e.Kind = kindVolume
		return chain.Subject{Volumes: []chain.Ino{a.Ino}}, e, nil
	case err == nil && a.Type == chain.TypeDir && a.Ino != chain.RootIno:
		e.Kind = kindDirectory
		return s.directorySubject(ctx, o.Path, a.Ino, e)
	case asked == s.Pool.Name() || err == nil && a.Ino == chain.RootIno:
		e.Kind, e.Name = kindPool, s.Pool.Name()
		return chain.Subject{Pool: true}, e, nil
	case err != nil && !errors.Is(err, chain.ErrNotFound):
		return chain.Subject{}, e, err
	}
	return s.goneSubject(ctx, o.Path, e)
}

func (s *Service) subjectOfUUID(id uuid.UUID, e control.Evidence) (chain.Subject, control.Evidence, error) {
	subject, err := chain.FindUUID(s.Pool, id)
	switch {
	case err != nil:
		return subject, e, err
	case subject.Pool:
		e.Kind, e.Name = kindPool, s.Pool.Name()
	case subject.Layer != 0:
		e.Kind = kindLayer
	default:
		e.Kind = kindVolume
		err = chain.EachVolumeEver(s.Pool, func(v chain.VolumeEver) error {
			if v.Ino == subject.Volumes[0] {
				e.Name = v.Path
			}
			return nil
		})
	}
	return subject, e, err
}

// snapshotSubject is a snapshot that is there, with what it shows of older ones.
func (s *Service) snapshotSubject(a chain.Attr, snap string, e control.Evidence) (chain.Subject, control.Evidence, error) {
	e.Kind = kindSnapshot
	infos, err := s.Pool.Snapshots(a.Ino)
	for _, i := range infos {
		if i.Name == snap {
			return chain.Subject{Layer: i.Layer, Shows: true}, e, nil
		}
	}
	if err == nil {
		err = show.Hinted(fmt.Errorf("%s: %w", e.Asked, chain.ErrNotFound),
			"a snapshot that was destroyed is found by its UUID: slatefs erase log -j %s", s.Pool.Name())
	}
	return chain.Subject{}, e, err
}

// directorySubject are the volumes that are in a directory, and those that were when they ended: by the path of then, or by the directory
// of
// then, which may have another path since. Where nobody knows the directory of then, it may be this one.
func (s *Service) directorySubject(ctx context.Context, dir string, ino chain.Ino, e control.Evidence) (
	chain.Subject, control.Evidence, error,
) {
	var subject chain.Subject
	err := chain.EachVolumeEver(s.Pool, func(v chain.VolumeEver) error {
		if strings.HasPrefix(v.Path, dir+"/") || slices.Contains(v.Dirs, ino) || slices.Contains(v.Dirs, 0) {
			subject.Volumes = append(subject.Volumes, v.Ino)
		}
		return ctx.Err()
	})
	return subject, e, err
}

// goneSubject is what had a path last: a volume, all of that name, or a directory. Of a directory it is all that was in it, by whatever
// name it had then: it may have had others before, or have another now.
func (s *Service) goneSubject(ctx context.Context, last string, e control.Evidence) (chain.Subject, control.Evidence, error) {
	var subject chain.Subject
	last = path.Clean(last)
	var all []chain.VolumeEver
	dirs := map[chain.Ino]bool{}
	err := chain.EachVolumeEver(s.Pool, func(v chain.VolumeEver) error {
		all = append(all, v)
		below, inside := strings.CutPrefix(v.Path, last+"/")
		if up := strings.Count(below, "/"); inside && up < len(v.Dirs) && v.Dirs[up] != chain.RootIno {
			dirs[v.Dirs[up]] = true
		}
		return ctx.Err()
	})
	e.Kind = kindVolume
	for _, v := range all {
		inside := strings.HasPrefix(v.Path, last+"/") || slices.ContainsFunc(v.Dirs, func(d chain.Ino) bool { return dirs[d] })
		if inside {
			e.Kind = kindDirectory
		}
		if inside || v.Path == last { // gone, or kept for undestroy
			subject.Volumes = append(subject.Volumes, v.Ino)
		}
	}
	if err == nil && len(subject.Volumes) == 0 {
		err = show.Hinted(fmt.Errorf("%s: %w, and nothing that was written to is known to have been there", e.Asked, chain.ErrNotFound),
			"slatefs erase log -j %s shows UUIDs of what was destroyed", s.Pool.Name())
	}
	return subject, e, err
}

// ownerEvidence is of all volumes that a user has, or had when they ended.
func (s *Service) ownerEvidence(ctx context.Context, uid uint32) (control.Evidence, error) {
	e := control.Evidence{Asked: fmt.Sprintf("owner %d", uid), Kind: kindOwner, Name: fmt.Sprintf("uid %d", uid)}
	var subject chain.Subject
	err := chain.EachVolumeEver(s.Pool, func(v chain.VolumeEver) error {
		if v.UID == uid {
			subject.Volumes = append(subject.Volumes, v.Ino)
		}
		return ctx.Err()
	})
	if err == nil && len(subject.Volumes) == 0 {
		err = fmt.Errorf("uid %d: no volume is known that is or was its: %w", uid, chain.ErrNotFound)
	}
	if err != nil {
		return e, err
	}
	return s.prove(subject, e)
}
