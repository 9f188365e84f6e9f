package daemon

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs"
	"slatefs/fs/death"
	"slatefs/fs/park"
)

// Bounds of a reload: what the new program may take to say that it can go on, a checkpoint that nobody waits for, and the requests in
// work to end.
const (
	probeTime = 30 * time.Second
	aheadTime = 10 * time.Second
	pauseTime = 30 * time.Second
)

// ProbeCommand is the hidden command by which a program says whether it could go on with a pool that another one serves. It is
// given the pool's device, and the file InitName as its first one.
const ProbeCommand = "__probe"

// Probe is that.
func Probe(device string, init *os.File) error {
	i, err := park.ReadInit(init)
	if err == nil {
		err = fs.Readable(i)
	}
	if err == nil {
		_, err = host.Peek(device)
	}
	return err
}

// ReloadError ends a daemon that goes on as another program: the pool is closed, and the mount waits.
type ReloadError struct {
	Home    *home.Home
	Program string
}

func (e *ReloadError) Error() string { return "goes on as " + e.Program }

// reload has the program that is installed go on where this one is. What can be found out before is: then this daemon goes on.
func (d *Daemon) reload(ctx context.Context, who control.Peer, _ control.None) (string, error) {
	if err := d.mayReload(); err != nil {
		return "", err
	}
	if _, none := d.takeover(); none != nil {
		return "", show.Hinted(fmt.Errorf("pool %s: %w", d.live.Name, none),
			"slatefs umount and slatefs mount, without guests, do the same")
	}
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	soon, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(soon, path, ProbeCommand, "--", d.live.Device)
	cmd.ExtraFiles = []*os.File{d.home.File(park.InitName)}
	cmd.WaitDelay = hookGrace
	out, err := cmd.CombinedOutput()
	if out = bytes.TrimSpace(out); err != nil {
		return "", fmt.Errorf("%s can't go on, and the daemon stays as it is: %s: %w", path, out, err)
	}
	d.log.Info("changed by a command", "command", who.Op, "pool", d.live.Name, "by", who.String(), "program", path, "version", string(out))
	d.checkpointAhead(ctx)
	return string(out), d.askReload(ctx, path)
}

// checkpointAhead takes a checkpoint while requests are answered: the one at the pool's close, for which they wait, then has little to
// do, however much was written. What does not come in time, or fails, is the close's.
func (d *Daemon) checkpointAhead(ctx context.Context) {
	if d.pool.ReadOnly() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, aheadTime)
	defer cancel()
	d.ahead.call(ctx, 0, func() {
		if err := d.pool.Checkpoint(); err != nil {
			d.log.Warn("no checkpoint before the reload: the pause will be longer", "pool", d.live.Name, "error", err)
		}
	})
}

// reloadRequest asks the mount to be stopped for a program. It is answered once: nil if it is.
type reloadRequest struct {
	program string
	answer  chan error // capacity 1
}

// askReload has the mount stopped for a program; nil: it is, and the daemon goes on as that, or as what another one asked for.
func (d *Daemon) askReload(ctx context.Context, program string) error {
	if err := d.mayReload(); err != nil {
		return err
	}
	r := reloadRequest{program, make(chan error, 1)}
	select {
	case d.reloads <- r:
		return <-r.answer
	case <-d.goes:
		return nil
	case <-d.draining:
		return d.mayReload()
	case <-d.srv.Done():
		return fmt.Errorf("pool %s: the mount is over", d.live.Name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mayReload: a mount that is about to end goes on as no other program, whose start would let everybody in again.
func (d *Daemon) mayReload() error {
	select {
	case <-d.draining:
		return show.Hinted(fmt.Errorf("pool %s: it is being unmounted, and waits for the last close of %d files, open by %s: no reload",
			d.live.Name, d.srv.OpenFiles(), holdersText(d.srv.Holders(0))), "mounted again it has the program that is installed then")
	default:
		return nil
	}
}

// takeover is how often another process went on with the mount, and nil if one could now; else why not.
func (d *Daemon) takeover() (times int, none error) {
	times, none = d.srv.Takeover()
	return times, cmp.Or(none, d.home.Keeps())
}

// stopServing is the mount's end of a reload. On error what is in work did not end in time, and it serves on.
func (d *Daemon) stopServing(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, pauseTime)
	defer cancel()
	d.manager.tell("goes on as "+program, reloading())
	if err := d.srv.Pause(ctx); err != nil {
		d.log.Error("no reload: requests that wait for the device did not end", "error", err)
		d.manager.tell("serves pool "+d.live.Name+" on "+d.live.Dir, ready)
		return fmt.Errorf("pool %s: requests that wait for the device did not end within %v, and the daemon stays as it is: %w",
			d.live.Name, pauseTime, err)
	}
	death.At(death.Paused)
	d.next = program
	close(d.goes)
	return nil
}
