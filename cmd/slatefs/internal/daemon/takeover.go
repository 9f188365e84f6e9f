package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/fs"
	"slatefs/fs/park"
)

// What is kept of a daemon beside what fs keeps.
const (
	LockName  = "pool-lock" // the lock of the pool: nobody else takes it between two daemons
	tailName  = "pool-tail" // records that are not durable yet (chain/tail)
	crashName = "crash"     // what the daemon said when it ended by a fault of its own
)

// Inherits tells whether a home has what a daemon needs that goes on where another ended. If something is missing the rest is
// dropped, before anybody looks for the pool: it is locked as long as its lock is kept.
func Inherits(h *home.Home) (bool, error) {
	if h.Has(LockName, crashName, park.FuseName, park.InitName, park.OpensName) {
		return true, nil
	}
	return false, h.Gone()
}

// inherit looks what the last daemon left; nil: nothing, or not all. Then it is dropped, and its mount with it.
func (d *Daemon) inherit() (*fs.Parked, error) {
	if all, err := Inherits(d.home); !all {
		return nil, err
	}
	init, err := park.ReadInit(d.home.File(park.InitName))
	if err != nil {
		return nil, err
	}
	if err := fs.Readable(init); err != nil {
		return nil, err
	}
	memory, err := park.OpenMemory(d.home.File(park.OpensName))
	if err != nil {
		return nil, err
	}
	p := &fs.Parked{Fuse: d.home.File(park.FuseName), Init: init, Memory: memory}
	for f := d.home.File(park.CloneName(0)); f != nil; f = d.home.File(park.CloneName(len(p.Clones))) {
		p.Clones = append(p.Clones, f)
	}
	return p, nil
}

// crashShown is how much of what a daemon said at its end goes to the log.
const crashShown = 4 << 10

// noteCrash tells whether the last daemon ended by a fault of its own, and has what this one would say at such an end kept.
func (d *Daemon) noteCrash() (byFault bool, err error) {
	f := d.home.File(crashName)
	if f == nil {
		if f, err = d.fresh(crashName); err != nil {
			return false, err
		}
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, crashShown))
	if err != nil {
		return false, err
	}
	if byFault = len(text) > 0; byFault {
		d.log.Error("the last daemon ended by a fault of its own", "said", string(text))
	}
	_, err = f.Seek(0, io.SeekStart)
	return byFault, errors.Join(err, f.Truncate(0), debug.SetCrashOutput(f, debug.CrashOptions{}))
}

// fresh makes a memory file and has it kept.
func (d *Daemon) fresh(name string) (*os.File, error) {
	f, err := park.MemFile(name)
	if err != nil {
		return nil, err
	}
	if err := d.home.Keep(name, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d.home.File(name), f.Close()
}

// takeHome finds out whether this daemon goes on where another ended, and has kept what a successor of this one needs. What is
// not kept is no error: the mount then ends with its daemon.
func (d *Daemon) takeHome() (err error) {
	if d.home == nil {
		return nil
	}
	if d.parked, err = d.inherit(); err != nil {
		return fmt.Errorf("what the last daemon left: %w", err)
	}
	d.stay = d.parked != nil
	byFault, err := d.noteCrash()
	if err != nil {
		if d.stay {
			return err
		}
		d.noHome(err)
		return nil
	}
	if d.stay {
		d.parked.ByFault = byFault
	}
	return nil
}

// noHome goes on without anybody who keeps files.
func (d *Daemon) noHome(why error) {
	d.log.Warn("the mount will end with its daemon: nobody keeps its files", "error", why)
	if err := d.home.Drop(); err != nil {
		d.log.Debug("what was kept", "error", err)
	}
	d.home = nil
}

// tail fills in what the pool inherits, and what its next owner may.
func (d *Daemon) tail(o *chain.Options) error {
	if d.parked != nil {
		o.Opened, o.Watched = d.parked.Opened(), true
	}
	if d.home == nil || o.ReadOnly {
		return nil
	}
	if d.parked != nil {
		o.Inherit, o.Tail = true, d.home.File(tailName)
		if o.Tail == nil {
			return fmt.Errorf("the last daemon left no records: %w", park.ErrFormat)
		}
		return nil
	}
	f, err := d.fresh(tailName)
	if err != nil {
		d.noHome(err)
		return nil
	}
	o.Tail = f
	return nil
}

// keepUndone is an undo that is left out when somebody goes on with what was done.
func (d *Daemon) keepUndone(undo func() error) func() error {
	return func() error {
		if d.stay {
			return nil
		}
		return undo()
	}
}
