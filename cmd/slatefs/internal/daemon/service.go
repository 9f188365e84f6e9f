package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/erase"
	"slatefs/fs"
)

// Service answers the operations that work on a pool.
type Service struct {
	Pool   *chain.Pool
	Eraser *erase.Eraser
	View   view
	Log    *slog.Logger
	Dir    string // the mountpoint
	Now    func() time.Time
	grower *Grower // nil: the pool does not grow
	Dev    eraseDevice
	Own    *host.Settings   // what this host does for the pool
	Signer *Signer          // nil: there are no certificates
	verify *blockdev.Verify // the mount option, which goes before the property; nil: not given

	setting  sync.Mutex // one change of properties at a time
	auditing sync.Mutex
	checking sync.Mutex
	mapping  sync.Mutex

	chronicle *chronicle // nil: nobody notes events
	autosnap  *autosnap  // nil: nobody makes snapshots by themselves

	notOwn    func(path string) error // nil: there is no mount
	cutBefore int64                   // const: records that had left the erase log at the mount, and were not exported
}

// view is what the service needs of the mount: it is told what was changed beside it, and asked who has files open.
// Neither touches a file below the mount.
type view interface {
	Changed(ino chain.Ino) error
	ChangedName(dir chain.Ino, name string) error
	Holders(ino chain.Ino) ([]fs.Holder, error)
	Answered() [fs.Kinds]fs.Answered
	VolumeUse(ino chain.Ino) fs.VolumeUse
	PagesHeld() (h fs.HeldPages, any bool)
}

// mountView is the view of a mount.
type mountView struct {
	*fs.FS
	srv *fs.Server
}

// Holders tells who has a volume or its snapshots open.
func (m mountView) Holders(ino chain.Ino) ([]fs.Holder, error) { return m.srv.Holders(ino) }

// HandleAll answers the operations that work on the pool.
func (s *Service) HandleAll(c *control.Server) {
	control.Handle(c, control.Create, refusable(s, s.create))
	control.Handle(c, control.Resize, refusable(s, s.resize))
	control.Handle(c, control.Rename, refusable(s, s.rename))
	control.Handle(c, control.Snapshot, refusable(s, s.snapshot))
	control.Handle(c, control.Rollback, refusable(s, s.rollback))
	control.Handle(c, control.Clone, refusable(s, s.clone))
	control.Handle(c, control.Tag, refusable(s, s.tag))
	control.Handle(c, control.Holds, s.holds)
	control.Handle(c, control.Destroy, s.destroy)
	control.Handle(c, control.Undestroy, refusable(s, s.undestroy))
	control.Handle(c, control.List, s.list)
	control.Handle(c, control.Tree, s.tree)
	control.Handle(c, control.Set, refusable(s, s.setProps))
	control.Handle(c, control.Get, s.getProps)
	control.Handle(c, control.Map, s.spaceMap)
	control.Handle(c, control.Jobs, s.jobs)
	control.Handle(c, control.Drain, s.drain)
	control.Handle(c, control.First, s.first)
	control.Handle(c, control.Prove, s.evidence)
	control.HandleStream(c, control.EraseRecs, s.eraseRecords)
	control.HandleStream(c, control.Events, s.events)
	control.Handle(c, control.Certify, s.certify)
	control.HandleStream(c, control.Check, s.check)
	control.Handle(c, control.Dump, s.dump)
	control.HandleStream(c, control.DumpAll, s.dumpAll)
	control.HandleStream(c, control.Audit, s.audit)
}

// reqOf is who asks, and for what, as the pool notes it.
func reqOf(who control.Peer) chain.Req {
	r := chain.Req{UID: who.UID, GID: who.GID, PID: who.PID, Actor: "slatefs " + who.Op}
	if who.Actor != "" {
		r.Actor += ", " + who.Actor
	}
	return r
}

func isVolume(o control.Object, a chain.Attr) error {
	switch a.Type {
	case chain.TypeFile:
		return nil
	case chain.TypeDir:
		return fmt.Errorf("%s: %w, want a volume", o.Arg, chain.ErrIsDir)
	case chain.TypeSymlink:
		return fmt.Errorf("%s: is a symlink, want a volume", o.Arg)
	}
	return fmt.Errorf("%s: file type %d: %w", o.Arg, a.Type, chain.ErrInvalid)
}

// place is a name in a directory that is free.
type place struct {
	dir  chain.Ino
	name string
}

// free resolves where a new volume is to be; its directory must exist, and the name must not.
func (s *Service) free(o control.Object) (place, error) {
	dir, name := path.Split(o.Path)
	if name == "" || o.Snap != "" {
		return place{}, fmt.Errorf("%s: %w", o.Arg, chain.ErrExist)
	}
	a, err := s.Pool.Resolve(dir)
	if err != nil {
		return place{}, show.Hinted(fmt.Errorf("%s: its directory: %w", o.Arg, err), "mkdir %s", path.Dir(o.Arg))
	}
	if a.Type != chain.TypeDir {
		return place{}, fmt.Errorf("%s: its directory: %w", o.Arg, chain.ErrNotDir)
	}
	if _, err := s.Pool.Lookup(a.Ino, name); err == nil {
		return place{}, fmt.Errorf("%s: %w", o.Arg, chain.ErrExist)
	} else if !errors.Is(err, chain.ErrNotFound) {
		return place{}, err
	}
	return place{a.Ino, name}, nil
}

// changed tells the mount of new content or size. What was done is done: a mount that can't be told is only logged.
func (s *Service) changed(ino chain.Ino) {
	if err := s.View.Changed(ino); err != nil {
		s.Log.Warn("the mount could not be told of a change", "volume", s.Pool.Path(ino), "error", err)
	}
}

// changedName tells the mount of a name that came or went.
func (s *Service) changedName(p place) {
	if err := s.View.ChangedName(p.dir, p.name); err != nil {
		s.Log.Warn("the mount could not be told of a change", "name", p.name, "error", err)
	}
}

// patient tries again what is refused as busy while nobody is found who holds it, for up to a second: the kernel tells
// of a close only after close(2) has returned. What is done in part is not tried again: it would be asked of what is gone.
func (s *Service) patient(ctx context.Context, ino chain.Ino, do func() error) error {
	const pause, tries = 50 * time.Millisecond, 20
	for try := 0; ; try++ {
		err := do()
		var busy *chain.BusyError
		if !errors.As(err, &busy) || inPart(err) || try == tries {
			return err
		}
		if holders, findErr := s.View.Holders(s.busyIno(busy, ino)); findErr != nil || len(holders) > 0 {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// busyIno is the inode that a BusyError names, or else.
func (s *Service) busyIno(busy *chain.BusyError, otherwise chain.Ino) chain.Ino {
	if a, err := s.Pool.Resolve(busy.What); err == nil {
		return a.Ino
	}
	return otherwise
}

// explain adds to a refusal what helps: the holders of what is busy, the flag that is missing.
func (s *Service) explain(ino chain.Ino, err error) error {
	var busy *chain.BusyError
	switch {
	case errors.As(err, &busy):
		return fmt.Errorf("%w, by %s", err, holdersText(s.View.Holders(s.busyIno(busy, ino))))
	case errors.Is(err, chain.ErrHasSnapshots):
		return show.Hinted(err, "destroy -r takes the snapshots along")
	case errors.Is(err, chain.ErrHasClones):
		return show.Hinted(err, "destroy -R takes the clones along, -d lets them live")
	case errors.Is(err, chain.ErrTagged):
		return show.Hinted(err, "slatefs release TAG FILE@NAME ends that; slatefs holds shows since when it is")
	case errors.Is(err, chain.ErrNoSpace):
		return show.Hinted(err, "slatefs erase status %s shows what is still being erased", s.Dir)
	}
	return err
}

// abs is the path of an inode as users see it.
func (s *Service) abs(ino chain.Ino) string { return path.Join(s.Dir, s.Pool.Path(ino)) }

// eachVolume calls fn for the volumes in a directory, by name, and below it if asked to.
func (s *Service) eachVolume(ctx context.Context, dir chain.Ino, recursive bool, fn func(chain.Ino) error) error {
	entries, err := s.entries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Type == chain.TypeFile:
			err = fn(e.Ino)
		case e.Type == chain.TypeDir && recursive:
			err = s.eachVolume(ctx, e.Ino, true, fn)
		}
		if err != nil && !errors.Is(err, chain.ErrNotFound) { // it went meanwhile
			return err
		}
	}
	return nil
}
