package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func (a *app) umountCmd() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "umount [--wait] DIR",
		Short: "Unmount a pool and end its daemon",
		Long: `Unmounts a pool. With files open it is refused, and says who holds them; with --wait it refuses new opens instead,
and ends after the last close. On return the daemon has ended and the device is free. A mount whose daemon was killed is
taken away.`,
		Example: `  slatefs umount /mnt/lab
  slatefs umount --wait /mnt/lab       # after the last guest`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.umount(ctx, args[0], wait) }),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "refuse new opens, and wait for the last close")
	return cmd
}

func (a *app) umount(ctx context.Context, dir string, wait bool) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	if m, _, ok := f.locate(dir); ok && isDead(m.dir) {
		return detachDead(m.dir)
	}
	l, err := f.mountedPool(dir)
	if err != nil {
		return err
	}
	res, err := call[umountResult](ctx, l, opUmount, umountArgs{wait})
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

// isDead tells a mount that its daemon has left.
func isDead(dir string) bool {
	var st unix.Statfs_t
	return errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN)
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
func waitGone(ctx context.Context, l live) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for held(l.lock) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("pool %s: its daemon, process %d, goes on ending: %w", l.Name, l.PID, ctx.Err())
		case <-t.C:
		}
	}
	return nil
}

// note tells something on stderr.
func (a *app) note(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stderr, "slatefs: "+format+"\n", args...)
	return err
}
