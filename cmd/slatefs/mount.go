package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/death"
	"slatefs/fs/mounts"
)

// takeOverText is what must be true before a pool is taken from its host; nothing here can find it out.
const takeOverText = `the pool is taken over. What held it must not write any more: the host is off, or fenced by the cluster or the storage.
One that only looks dead, and wakes up, notices before it acknowledges another flush, but what it wrote until then is lost or
in the way.`

const mountHelp = `Mounts a pool on a directory and serves it in the background, one daemon for each pool. A parent of the daemon starts it again if it
dies, and who uses the mount sees a pause. A logical volume is activated for it,
exclusively, and deactivated at the end. The daemon ends when the pool is unmounted: by slatefs umount, umount(8), or SIGTERM. On SIGTERM with files open it goes on, refuses new opens, logs who
holds the files, and ends after the last close. A mount that a killed daemon left on DIR is detached first.

The pool is then held by this host, and another one that reaches its device refuses it. After a crash of the host that
held it, --take-over takes it; that host must be off or fenced first.

What lies on the device must be the pool that this host knows by NAME. A copy of a pool has its UUID, and is refused while the
other is there: slatefs pool reguid makes it a pool of its own, --adopt makes it the one that is known.

--memory is what the daemon may take, all included: metadata, buffers of requests, what waits to be written, the program itself.
It is 256M, or less where the host's memory would not do for all pools that it knows: a quarter of it, divided by them. At least
64M are needed. With less, fewer large requests are served at once, and more metadata is read again. It takes what it uses.

Options for -o:
  ro                     for reading: nothing is written to the device, which may be read-only
  noexec                 no file in it is run as a program; nosuid and nodev hold always
  nonempty               also on a directory that holds something
  allow_other            other users may use the mount (always so for root's)
  memory=SIZE            as --memory; for fstab and the service
  verify=off|sample|full how much of what was erased is read back, in place of the property erase_verify
  transport=auto|loop|classic
                         how requests are served: by an event loop over io_uring (root only), by one goroutine each (classic), or by
                         the loop where kernel and device have it, else classic (the default); slatefs pool status says which, and why
  loops=auto|N           how many event loops, each on a thread of its own, 1 to 8: by itself a quarter of the processors. They share
                         the memory for requests, so there may be fewer with little of it; slatefs pool status says how many
  readers=GROUP          members of that group of the host may ask the daemon for what changes nothing: list, get, status, the erase log
  operators=GROUP        the same, and may change all that is in the pool: create, snapshot, rollback, destroy, set; one of the two
  debug                  log every request`

func (a *app) mountCmd() *cobra.Command {
	var (
		opts       []string
		foreground bool
		take       bool
		adopt      bool
		supervise  bool
		expect     string
		ready      int
		memory     string
	)
	cmd := &cobra.Command{
		Use:   "mount [-o OPT,…] [--memory SIZE] [--foreground] [--supervise] [--take-over] [--adopt] NAME|DEVICE|VG/LV DIR",
		Short: "Mount a pool on a directory",
		Long:  mountHelp,
		Example: `  slatefs mount lab /mnt/lab
  slatefs mount vg0/lab /mnt/lab                   # by its logical volume
  slatefs mount --memory 128M -o verify=sample lab /mnt/lab
  slatefs mount --foreground lab /mnt/lab          # for systemd: logs to stderr`,
		Args: arguments(2, 2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return plain(func(ctx context.Context, args []string) error {
			if foreground && supervise && cmd.Flags().Changed("supervise") {
				return a.supervise(ctx, ready)
			}
			a.host.Child = ready != 0
			if cmd.Flags().Changed("memory") {
				opts = append(opts, "memory="+memory)
			}
			keeper := a.findHome(foreground, ready)
			inherits, err := daemon.Inherits(keeper)
			if err != nil {
				return err
			}
			death.At(death.Given)
			c, err := a.mountConfig(ctx, args[0], args[1], opts, inherits)
			if err != nil {
				return err
			}
			c.Home = keeper
			if err := a.expect(&c, expect); err != nil {
				return err
			}
			c.Adopt = adopt
			if c.TakeOver = take; take && ready == 0 {
				if err := a.note(takeOverText); err != nil {
					return err
				}
			}
			if foreground {
				return a.serveForeground(ctx, c, ready)
			}
			return a.startBackground(ctx, c, opts, supervise)
		})(cmd, args)
	}
	cmd.Flags().StringSliceVarP(&opts, "options", "o", nil, "mount options, as `OPT,…`")
	cmd.Flags().StringVar(&memory, "memory", "", "what the daemon may take, as `SIZE`: 256M, or less on a small host")
	cmd.Flags().BoolVar(&foreground, "foreground", false, "stay in the foreground, log to stderr")
	cmd.Flags().BoolVar(&take, "take-over", false, "even if another host holds the pool, which must be off or fenced")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "even if the pool is a copy of one that is known here, whose place it takes")
	cmd.Flags().BoolVar(&supervise, "supervise", true, "a parent keeps the mount, and starts the daemon again when it dies; in the background unless =false")
	cmd.Flags().StringVar(&expect, "expect", "", "refuse any other pool than that of this UUID")
	mustHide(cmd, "expect")
	cmd.Flags().IntVar(&ready, "ready-fd", 0, "tell the parent on this file how it went")
	mustHide(cmd, "ready-fd")
	return cmd
}

// findHome finds who keeps the files of a daemon: a supervisor, or a service manager that has started it in the foreground.
func (a *app) findHome(foreground bool, ready int) *home.Home {
	if !foreground {
		return nil
	}
	h := home.Find()
	if ready != 0 && h.Supervisor() == 0 { // what its environment says was meant for who started it
		home.Forget()
		return nil
	}
	return h
}

// expect makes a daemon in the background serve the pool that its parent has looked up, and no other.
func (a *app) expect(c *daemon.Config, id string) (err error) {
	if id == "" {
		return nil
	}
	if c.Pool.UUID, err = uuid.Parse(id); err != nil {
		return err
	}
	if k, err := a.host.KnownAs(c.Pool.UUID); err == nil {
		c.Pool.Name = k.Name
	}
	return nil
}

// mustHide keeps a flag out of help texts.
func mustHide(cmd *cobra.Command, flag string) {
	if err := cmd.Flags().MarkHidden(flag); err != nil {
		panic(err) // a flag of that name was just made
	}
}

// mountConfig finds the pool and parses the options.
func (a *app) mountConfig(ctx context.Context, pool, dir string, opts []string, inherits bool) (c daemon.Config, err error) {
	c.Host, c.Now = a.host, a.now
	if c.Options, err = parseMountOptions(opts); err != nil {
		return c, err
	}
	if c.Memory == 0 {
		c.Memory = daemon.DefaultMemory(len(a.host.KnownPools()))
	}
	if dir == "" {
		return c, show.Hinted(show.Usagef("mount: the name of the directory is empty"),
			"slatefs@NAME.service takes it from /etc/slatefs/NAME.env, a line DIR=/mnt/…")
	}
	f, err := a.finder()
	if err != nil {
		return c, err
	}
	ref, err := f.Pool(pool)
	if err != nil {
		return c, err
	}
	if inherits {
		ref.Live = nil // it is the daemon before this one
	} else if err := mayOpenTo(c.Group); err != nil {
		return c, err
	}
	if ref.Live != nil {
		if err := a.waitEnding(ctx, *ref.Live); err != nil {
			return c, err
		}
		if f, err = a.finder(); err != nil {
			return c, err
		}
		if ref, err = f.Pool(pool); err != nil {
			return c, err
		}
	}
	if err := a.host.RefuseUnfinished(ctx, f, ref); err != nil {
		return c, err
	}
	c.Pool = ref
	if c.Pool.Device, err = filepath.Abs(ref.Device); err != nil {
		return c, err
	}
	c.Dir, err = filepath.Abs(dir)
	return c, err
}

// endingWait is how long a daemon may take to end whose mount is gone.
const endingWait = 30 * time.Second

// waitEnding waits for the end of a daemon whose mount umount(8) has taken away: it closes the pool then. That of a mount is in the
// way of another.
func (a *app) waitEnding(ctx context.Context, l host.Live) error {
	table, err := a.mounts()
	if err != nil {
		return err
	}
	if l.Dir == "" || slices.ContainsFunc(table, func(m mounts.Mount) bool { return m.Dev == l.MountDev }) {
		return host.InUse(l)
	}
	ctx, cancel := context.WithTimeout(ctx, endingWait)
	defer cancel()
	if waitGone(ctx, l) != nil {
		return host.InUse(l)
	}
	return nil
}

// serveForeground is the daemon: it tells the parent, if there is one, that the pool is mounted, and serves it.
func (a *app) serveForeground(ctx context.Context, c daemon.Config, readyFD int) error {
	if err := daemon.Harden(c.Memory); err != nil {
		return err
	}
	switch {
	case readyFD > 0:
		return a.serveBackground(ctx, c, os.NewFile(uintptr(readyFD), "ready"))
	case readyFD == noParent:
		return a.serveBackground(ctx, c, nil)
	}
	log := daemon.NewLateLog(a.stderr)
	defer log.Flush()
	d, err := daemon.Start(c, logger(log, c.Debug))
	if err != nil {
		return a.backToOld(c, err)
	}
	return a.serve(ctx, d)
}

// logger writes a daemon's log.
func logger(w io.Writer, debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
