package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

func (a *app) umountCmd() *cobra.Command {
	var wait, force bool
	cmd := &cobra.Command{
		Use:   "umount [--wait|--force] DIR|POOL",
		Short: "Unmount a pool and end its daemon",
		Long: `Unmounts a pool, which is given by its mountpoint, its name or its device: a path below the mountpoint is refused, for what
ends is the whole pool. With files open it is refused, and says who holds them; with --wait it refuses new opens instead,
and ends after the last close. On return the daemon has ended and the device is free. A mount whose daemon was killed is
taken away. One that waits for another daemon is waited for; if none comes, --force gives the mount up: who uses it gets
errors, and what was not flushed is lost.`,
		Example: `  slatefs umount /mnt/lab
  slatefs umount --wait /mnt/lab       # after the last guest
  slatefs umount lab`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.umount(ctx, args[0], wait, force) }),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "refuse new opens, and wait for the last close")
	cmd.Flags().BoolVar(&force, "force", false, "give up a mount that no daemon comes to serve")
	return cmd
}

func (a *app) umount(ctx context.Context, arg string, wait, force bool) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	begun := time.Now()
	m, ok, err := f.Mountpoint(arg)
	if err != nil {
		return err
	}
	l, err := f.Ending(arg, m, ok)
	if ok && isDead(m.Dir) {
		if gone := detachDead(m.Dir); gone != nil || err != nil { // err: nobody has its pool
			return gone
		}
		return waitDying(ctx, l)
	}
	if err != nil {
		return err
	}
	res, err := askUmount(ctx, l, wait, begun.Add(answerWait))
	if force && errors.Is(err, control.ErrNoDaemon) {
		return giveUp(ctx, l)
	}
	if err != nil {
		return err
	}
	if res.Open > 0 {
		if err := a.note("pool %s: %d files are open; waiting for the last close", l.Name, res.Open); err != nil {
			return err
		}
	}
	return waitGone(ctx, l)
}

// answerWait is how long a mount may take to answer before its daemon is asked.
const answerWait = 5 * time.Second

// askUmount asks a daemon, and waits so long for one where the last has died.
func askUmount(ctx context.Context, l host.Live, wait bool, until time.Time) (res control.UmountResult, err error) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		res, err = control.Umount.Call(ctx, l, control.UmountArgs{Wait: wait})
		if !errors.Is(err, control.ErrNoDaemon) || time.Now().After(until) {
			return res, err
		}
		select {
		case <-ctx.Done():
			return res, ctx.Err()
		case <-t.C:
		}
	}
}

// giveUp ends a mount that no daemon serves: who keeps it for one is told to end, and takes along who uses it.
func giveUp(ctx context.Context, l host.Live) error {
	if err := l.EndSupervisor(); err != nil {
		return err
	}
	if err := waitGone(ctx, l); err != nil || !isDead(l.Dir) {
		return err
	}
	return detachDead(l.Dir)
}

// isDead tells a mount that its daemon has left.
func isDead(dir string) bool {
	return errors.Is(mounts.Answers(dir, answerWait), unix.ENOTCONN)
}

// detachDead takes a dead mount out of the tree, as it was mounted: by fusermount3 for ordinary users.
func detachDead(dir string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	out, err := exec.Command("fusermount3", "-u", "-z", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3: %s: %w", bytes.TrimSpace(out), err)
	}
	return nil
}

// waitGone waits until a daemon has given its lock back: device and mountpoint are free then.
func waitGone(ctx context.Context, l host.Live) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for l.Running() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("pool %s: its daemon, process %d, goes on ending: %w", l.Name, l.PID, ctx.Err())
		case <-t.C:
		}
	}
	for range supervisorTicks { // it has nothing more to do
		if l.Supervisor <= 0 || errors.Is(unix.Kill(l.Supervisor, 0), unix.ESRCH) {
			return nil
		}
		<-t.C
	}
	return nil
}

// waitDying waits until a process that was killed has let go of the pool: what it has in the kernel, as a ring, goes after the
// mount. One that takes longer than answerWait is not waited for.
func waitDying(ctx context.Context, l host.Live) error {
	soon, stop := context.WithTimeout(ctx, answerWait)
	defer stop()
	if err := waitGone(soon, l); ctx.Err() != nil {
		return err
	}
	return nil
}

// supervisorTicks is how long the end of a supervisor is waited for behind its daemon's, in ticks.
const supervisorTicks = 50

// warnOnce tells something on stderr that keeps nothing from being done, once in a command.
func (a *app) warnOnce(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(a.warned, text) {
		return
	}
	a.warned = append(a.warned, text)
	_ = a.note("warning: %s", text) //nolint:errcheck // what is warned of keeps nothing from being done
}

// note tells something on stderr. Texts among the arguments are escaped.
func (a *app) note(format string, args ...any) error {
	_, err := io.WriteString(a.stderr, show.Printable("slatefs: "+format+"\n", args...))
	return err
}
