package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/erase"
	"slatefs/fs/death"
)

// openPool opens the device, takes both locks, and opens the pool.
func (d *Daemon) openPool(c Config) (*blockdev.File, error) {
	dev, release, err := d.host.Reach(context.Background(), c.Pool, blockdev.Options{ReadOnly: c.ReadOnly}, true)
	if err != nil {
		return nil, err
	}
	d.undo = append(d.undo, d.keepUndone(release))
	death.At(death.Device)
	// The UUID comes first: opening for writing recovers, which must not happen below another daemon.
	name, id, err := host.Identify(dev)
	if err != nil {
		return nil, err
	}
	if err := d.takeLock(id); err != nil {
		return nil, err
	}
	death.At(death.Locked)
	if err := d.host.CopyOf(context.Background(), id, c.Pool.Device); err != nil && !c.Adopt {
		return nil, err
	}
	d.live = host.Live{
		UUID: id, Name: name, Device: c.Pool.Device, Identity: dev.Identity(), PID: os.Getpid(), Started: d.now(),
		Socket: d.host.SocketPath(id), Version: control.Version(), Log: c.Log,
		Supervisor: d.home.Supervisor(),
	}
	if last, ok := d.host.Live(id); ok && d.parked != nil { // commands find the mount also if this one does not come to serve it
		d.live.Dir, d.live.MountDev = last.Dir, last.MountDev
	}
	d.sayWhere()
	d.slots = &slots{dev: dev, pool: id, log: d.log}
	lost := chain.LostSuperblocks(dev, id)
	if err := d.open(dev, c); err != nil {
		return nil, host.TakeOverHint(err, name)
	}
	death.At(death.Replay)
	for _, text := range lost {
		d.warn("the device has lost a superblock, the pool was opened by the other one", errors.New(text))
	}
	d.slots.note(lost)
	d.undo = append(d.undo, d.closePool)
	return dev, nil
}

// closePool closes it: for a successor, if one goes on with the mount.
func (d *Daemon) closePool() error {
	if d.stay {
		return chain.HandOver(d.pool)
	}
	return d.pool.Close()
}

// takeLock takes the lock of the pool, or goes on with the last daemon's. It is undone last: when it is free, everything else is.
func (d *Daemon) takeLock(id uuid.UUID) (err error) {
	if d.parked != nil {
		d.lock, err = d.host.AdoptLock(id, d.home.File(LockName))
	} else {
		d.lock, err = d.host.LockPool(id)
	}
	if err != nil {
		return err
	}
	d.undo = append([]func() error{d.keepUndone(d.lock.Release)}, d.undo...)
	if d.home != nil && d.parked == nil {
		if err := d.home.Keep(LockName, d.lock.File()); err != nil {
			d.noHome(err)
		}
	}
	return nil
}

// open opens the pool: held by this host from then on, or for reading only, which needs that no other host writes to it.
func (d *Daemon) open(dev *blockdev.File, c Config) (err error) {
	o := chain.Options{Properties: control.Served, Now: d.now, Logger: d.log, ReadOnly: c.ReadOnly, TakeOver: c.TakeOver}
	o.CacheBytes = sharesOf(c.Memory).cache
	if o.ReadOnly {
		i, err := chain.Identify(dev)
		if err == nil && !c.TakeOver {
			err = d.host.HeldElsewhere(i.Name, i.Host)
		}
		if err != nil {
			return err
		}
	} else if o.Host, err = d.host.AsHolder(d.now()); err != nil {
		if dev.IsBlockDevice() { // which other hosts may reach
			return err
		}
		d.warn("the pool does not say who holds it", err)
		o.Host = nil
	}
	if err := d.tail(&o); err != nil {
		return err
	}
	d.pool, err = chain.Open(dev, o)
	return err
}

// readSettings reads what this host does for the pool, and tells what the pool itself says of that, which means nothing.
func (d *Daemon) readSettings() *host.Settings {
	own, err := ReadSettings(d.host, d.live.UUID)
	if err != nil {
		d.warn("what this host does for the pool is not done: its settings cannot be read", err)
	}
	stray, err := d.pool.Stray()
	if err != nil {
		d.warn("properties", err)
	}
	for _, name := range stray {
		d.warn("a property of the host stands in the pool, and is passed over",
			fmt.Errorf("slatefs set %s=… %s sets it here, slatefs inherit %s %s takes it out of the pool", name, d.live.Name, name, d.live.Name))
	}
	return own
}

// startEraser makes the eraser and gives it to the pool for writers that wait.
func (d *Daemon) startEraser(dev *blockdev.File, s *Service) (err error) {
	words := chain.How{Program: "slatefs " + control.Version(), Device: DeviceName(dev)}
	d.eraser, err = erase.New(dev, Logged{d.pool, words}, erase.Config{Clock: erase.NewClock(d.now), Logger: d.log})
	if err != nil {
		return err
	}
	s.Dev, s.Eraser = dev, d.eraser
	d.pool.SetZeroNow(d.eraser.Now)
	return s.applyProps()
}

// publish tells clients where the daemon is, now and after its end. The pool is served all the same if that fails.
func (d *Daemon) publish() {
	d.sayWhere()
	if _, err := d.host.KnownAs(d.live.UUID); err == nil && d.pool.ReadOnly() {
		return // it may be read through a loop device or a snapshot: that is not its place
	}
	if err := d.host.Remember(host.Known{UUID: d.live.UUID, Name: d.live.Name, Device: d.live.Device, Dir: d.live.Dir}); err != nil {
		d.warn("the pool is mounted, but its name is not known here after its end", err)
	}
}

// sayWhere tells clients where the daemon is.
func (d *Daemon) sayWhere() {
	if err := d.lock.Publish(d.live); err != nil {
		d.warn("commands will not find the daemon of this pool; umount(8) and SIGTERM end it", err)
	}
}

// warn tells, in the log and to who starts the daemon, what keeps it from nothing.
func (d *Daemon) warn(text string, err error) {
	d.log.Warn(text, "pool", d.live.Name, "error", err)
	if d.live.Log != "" { // else the log is what he sees
		d.host.Warn("%s: %v", text, err)
	}
}

// openToGroup lets a group of the host ask this daemon. That it cannot keeps nobody from the pool.
func (d *Daemon) openToGroup(c Config) {
	if c.Group == "" {
		return
	}
	gid, err := host.GroupID(c.Group)
	if err == nil {
		err = d.control.Open(control.Group{GID: gid, As: c.As})
	}
	if err == nil {
		err = d.host.Share(d.live, gid)
	}
	if err != nil {
		d.warn("members of group "+c.Group+" can't ask the daemon", err)
	}
}
