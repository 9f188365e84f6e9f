package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/fs/death"
)

func (a *app) reloadCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reload POOL",
		Short: "Go on as the program that is installed now",
		Long: `Has the daemon of a pool go on as the program that is installed now, in the same process: after an upgrade of the package. Who uses
the mount sees a pause, and no error. The new program is asked first whether it can; if it can't, or does not come to serve, the
old one goes on. On return the new one serves.`,
		Example: `  slatefs reload lab
  slatefs reload /mnt/lab`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.reload(ctx, args[0]) }),
	}
}

// reloadWait is how long a new program may take to serve.
const reloadWait = 2 * time.Minute

func (a *app) reload(ctx context.Context, arg string) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	l, err := f.MountedPool(arg)
	if err != nil {
		return err
	}
	version, err := control.Reload.Call(ctx, l, control.None{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reloadWait)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		now, ok := a.host.Live(l.UUID)
		if ok && now.Started.After(l.Started) && now.Dir != "" {
			if _, err := control.Info.Call(ctx, now, control.None{}); err == nil {
				return a.served(now, version)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pool %s: no daemon serves it yet: %w", l.Name, ctx.Err())
		case <-t.C:
		}
	}
}

// served tells who serves a pool after a reload.
func (a *app) served(now host.Live, version string) error {
	if now.Version != version {
		return fmt.Errorf("pool %s: slatefs %s does not come to serve it; its log says why. slatefs %s goes on", now.Name, version, now.Version)
	}
	_, err := fmt.Fprintf(a.stdout, "pool %s: slatefs %s goes on, as process %d\n", now.Name, now.Version, now.PID)
	return err
}

func (a *app) probeCmd() *cobra.Command {
	return &cobra.Command{
		Use: daemon.ProbeCommand, Hidden: true, Args: arguments(1, 1),
		RunE: plain(func(_ context.Context, args []string) error {
			if err := daemon.Probe(args[0], os.NewFile(3, "init")); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.stdout, control.Version())
			return err
		}),
	}
}

// oldEnv names the file of the program that a daemon was before a reload, for as long as it may go back to it.
const oldEnv = "SLATEFS_RELOAD_OLD"

// serve runs a daemon to its end, or until it goes on as another program.
func (a *app) serve(ctx context.Context, d *daemon.Daemon) error {
	if old, err := strconv.Atoi(os.Getenv(oldEnv)); err == nil {
		_ = unix.Close(old)     //nolint:errcheck // it was only held
		_ = os.Unsetenv(oldEnv) //nolint:errcheck // as above
	}
	err := d.Serve(ctx)
	var r *daemon.ReloadError
	if !errors.As(err, &r) {
		return err
	}
	old, oldErr := unix.Open("/proc/self/exe", unix.O_RDONLY, 0) // not closed by exec
	if oldErr == nil {
		if high, dupErr := unix.FcntlInt(uintptr(old), unix.F_DUPFD, leastOld); dupErr == nil {
			err = become(r.Home, r.Program, append(os.Environ(), oldEnv+"="+strconv.Itoa(high)))
		}
	}
	return errors.Join(err, become(r.Home, "/proc/self/exe", os.Environ()))
}

// leastOld is a file number above those that are handed on.
const leastOld = 200

// backToOld goes back to the program that the daemon was before a reload, if there was one: this one can't go on.
func (a *app) backToOld(c daemon.Config, why error) error {
	old := os.Getenv(oldEnv)
	if old == "" {
		return why
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, oldEnv+"=") })
	return errors.Join(why, become(c.Home, "/proc/self/fd/"+old, env))
}

// become makes this process another program, with the same command line but for a parent that waits.
func become(h *home.Home, program string, env []string) error {
	death.At(death.Become)
	args := slices.Clone(os.Args)
	for i, arg := range args {
		if strings.HasPrefix(arg, "--ready-fd=") {
			args[i] = fmt.Sprintf("--ready-fd=%d", noParent)
		}
	}
	return h.Exec(program, args, env)
}
