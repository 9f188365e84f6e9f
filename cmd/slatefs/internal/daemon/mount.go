package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs"
	"slatefs/fs/mounts"
)

// mount mounts the pool.
func (d *Daemon) mount(c Config) (err error) {
	o := fs.MountOptions{AllowOther: c.AllowOther, FsName: d.live.Name, Debug: c.Debug, Logger: d.log}
	o.Transport, o.ReadOnly, o.NoExec, o.NonEmpty = c.Transport, c.ReadOnly, c.NoExec, c.NonEmpty
	o.Loops, o.Buffers = c.Loops, sharesOf(c.Memory).buffers
	if o.Parked = d.parked; d.home != nil {
		o.Keep = d.home.Keep
	}
	d.srv, err = fs.Mount(d.pool, c.Dir, o)
	if errors.Is(err, chain.ErrNotEmpty) {
		return show.Hinted(err, "-o nonempty mounts all the same")
	}
	if err != nil {
		return err
	}
	d.undo = append(d.undo, d.keepUndone(d.unmountUnserved))
	if _, none := d.srv.Takeover(); none != nil && d.home != nil {
		d.noHome(none)
		d.host.Warn("%v: pool %s", none, d.live.Name)
	}
	own, err := mounts.Own()
	if err != nil {
		return err
	}
	m, ok := own.On(d.srv.Dir())
	if !ok && d.parked != nil { // it was taken out of the tree, and has users
		d.live.Dir, d.live.MountDev = d.srv.Dir(), ""
		return nil
	}
	if !ok {
		return fmt.Errorf("%s: the mount is gone already", d.srv.Dir())
	}
	d.live.Dir, d.live.MountDev = m.Dir, m.Dev
	return nil
}

// unmountUnserved takes back a mount that nobody serves.
func (d *Daemon) unmountUnserved() error {
	if d.served {
		return nil
	}
	return d.srv.Detach()
}

// begin has requests answered. Who takes a mount over does that as soon as nothing that they need is missing: its users wait. All
// that only commands need comes after it.
func (d *Daemon) begin() { d.begun.Do(func() { go d.srv.Serve() }) }

// pauseUnserved has users wait again, when a successor's start fails after begin: the pool can be closed then. It waits for what is in
// work as long as that takes, unless the mount goes.
func (d *Daemon) pauseUnserved() error {
	if d.served {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.srv.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := d.srv.Pause(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// requestEnd asks the mount to go after the last close.
func (d *Daemon) requestEnd() {
	d.ends.Do(func() { close(d.draining) })
	select {
	case d.end <- struct{}{}:
	default:
	}
}

// How long to wait for users of a mount that is detached: without open volumes they only have a directory of it.
const detachWait = 2 * time.Second

// serveMount is the mount's part: it ends the daemon when the mount is gone, or drained after requestEnd.
func (d *Daemon) serveMount(ctx context.Context) error {
	d.begin()
	for {
		select {
		case <-d.srv.Done():
			return errOver
		case r := <-d.reloads:
			err := d.stopServing(ctx, r.program)
			if r.answer <- err; err == nil {
				return errOver
			}
			continue
		case <-d.end:
			if d.drain(ctx) {
				return errOver
			}
		case <-ctx.Done():
		}
		return d.detach()
	}
}

// drainLook is how often a drain looks who is waited for: it reads all of /proc.
const drainLook = 5 * time.Second

// drain refuses new opens and waits for the last close, says who is waited for, and unmounts. False: ctx ended first.
func (d *Daemon) drain(ctx context.Context) bool {
	d.srv.Drain(true)
	look := time.NewTicker(drainLook)
	defer look.Stop()
	said := ""
	for {
		if n := d.srv.OpenFiles(); n > 0 {
			said = d.sayHolders(n, said)
		}
		select {
		case <-look.C:
			continue
		case <-d.srv.Done():
			return true
		case <-ctx.Done():
			return false
		case <-d.srv.Drained():
		}
		if err := d.detach(); err != nil {
			d.log.Error("unmount", "error", err)
		}
		return true
	}
}

// sayHolders says who is waited for, unless that was said.
func (d *Daemon) sayHolders(n int, said string) string {
	holders := holdersText(d.srv.Holders(0))
	text := fmt.Sprintf("waits for the last close of %d files, open by %s", n, holders)
	if text != said {
		d.log.Warn("the pool will be unmounted after the last close; new opens are refused", "open", n, "holders", holders)
		d.manager.tell(text)
	}
	return text
}

// detach takes the mount away. Who still has a directory of it open, or is in one, must not keep the daemon.
func (d *Daemon) detach() error {
	if d.srv.Unmount() != nil {
		if err := d.srv.Detach(); err != nil {
			return err
		}
	}
	select {
	case <-d.srv.Done():
	case <-time.After(detachWait):
		d.log.Warn("directories of the mount are in use still, and lost to their users")
	}
	return nil
}

// umount unmounts if nothing is open, or else, if asked to, after the last close.
func (d *Daemon) umount(ctx context.Context, who control.Peer, args control.UmountArgs) (control.UmountResult, error) {
	if args.Wait {
		d.requestEnd()
	}
	n := d.srv.Drain(true)
	for try := 0; n > 0 && !args.Wait && try < 20 && ctx.Err() == nil; try++ { // as Service.patient
		if holders, err := d.srv.Holders(0); err != nil || len(holders) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
		n = d.srv.OpenFiles()
	}
	if args.Wait {
		d.log.Info("changed by a command", "command", who.Op, "pool", d.live.Name, "by", who.String(), "wait", true, "open", n)
		return control.UmountResult{Open: n}, nil
	}
	if n > 0 {
		d.srv.Drain(false)
		return control.UmountResult{}, show.Hinted(fmt.Errorf("%s: busy: open by %s", d.live.Dir, holdersText(d.srv.Holders(0))),
			"slatefs umount --wait %s refuses new opens and ends after the last close", d.live.Dir)
	}
	if err := d.srv.Unmount(); err != nil {
		d.srv.Drain(false)
		return control.UmountResult{}, show.Hinted(err, "some process has its working directory below %s", d.live.Dir)
	}
	d.log.Info("changed by a command", "command", who.Op, "pool", d.live.Name, "by", who.String())
	return control.UmountResult{}, nil
}
