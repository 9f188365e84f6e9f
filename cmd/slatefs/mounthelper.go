package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// mount(8) and umount(8) know no slatefs: for the types slatefs and fuse.slatefs they call /sbin/mount.TYPE and
// /sbin/umount.TYPE, which are this program by other names. What they are called with is in mount(8), "External helpers".

// helpers are what this program is by names other than slatefs: each makes a command of a helper's arguments.
var helpers = map[string]func(a *app, ctx context.Context, args []string) error{
	"mount.slatefs":       (*app).mountHelper,
	"mount.fuse.slatefs":  (*app).mountHelper,
	"umount.slatefs":      (*app).umountHelper,
	"umount.fuse.slatefs": (*app).umountHelper,
}

// Exit codes of mount(8), which it takes from its helpers.
const (
	mountUsage  = 1
	mountFailed = 32
)

// exitCode is what a program that was called by a name exits with, where slatefs exits with code.
func exitCode(name string, code int) int {
	if helpers[filepath.Base(name)] == nil {
		return code
	}
	switch code {
	case show.ExitUsage:
		return mountUsage
	case show.ExitFailed:
		return mountFailed
	}
	return code
}

// mountHelper is mount.slatefs POOL DIR [-sfnv] [-o OPT,…] [-t TYPE].
func (a *app) mountHelper(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("mount.slatefs", pflag.ContinueOnError)
	f.SetOutput(a.stderr)
	options := f.StringP("options", "o", "", "mount options, as `OPT,…`")
	fake := f.BoolP("fake", "f", false, "do all but mount")
	f.BoolP("sloppy", "s", false, "for other file systems: options that are unknown here are refused all the same")
	f.BoolP("no-mtab", "n", false, "nothing: there is no mtab")
	f.BoolP("verbose", "v", false, "nothing: what there is to say is said")
	f.StringP("type", "t", "", "nothing: there is one `TYPE`")
	switch err := f.Parse(args); {
	case err != nil:
		return &show.UsageError{Err: err}
	case f.NArg() != 2:
		return show.Usagef("usage: mount.slatefs POOL DIR [-o OPT,…]; mount(8) calls it so")
	case *fake:
		_, err := parseMountOptions(splitOptions(*options))
		return err
	}
	return a.execute(ctx, []string{"mount", "--options", *options, "--", f.Arg(0), f.Arg(1)})
}

// umountHelper is umount.slatefs DIR [-flnrv] [-t TYPE]. The daemon is asked, which names who is in the way, and has ended on
// return; what is not its own mount, as a bind mount of a directory in it, is taken away as of any file system.
func (a *app) umountHelper(ctx context.Context, args []string) error {
	f := pflag.NewFlagSet("umount.slatefs", pflag.ContinueOnError)
	f.SetOutput(a.stderr)
	lazy := f.BoolP("lazy", "l", false, "take the directory away now, and end with the last close")
	force := f.BoolP("force", "f", false, "refused")
	f.BoolP("no-mtab", "n", false, "nothing: there is no mtab")
	f.BoolP("read-only", "r", false, "nothing: a pool is not mounted anew for reading")
	f.BoolP("verbose", "v", false, "nothing: what there is to say is said")
	f.StringP("type", "t", "", "nothing: there is one `TYPE`")
	switch err := f.Parse(args); {
	case err != nil:
		return &show.UsageError{Err: err}
	case f.NArg() != 1:
		return show.Usagef("usage: umount.slatefs DIR [-l]; umount(8) calls it so")
	case *force:
		return show.Hinted(fmt.Errorf("%s: -f would make the I/O of its guests fail", f.Arg(0)), "umount -i -f does it all the same")
	}
	dir := f.Arg(0)
	if !*lazy && a.isPools(dir) {
		return a.umount(ctx, dir, false, false)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if *lazy {
		flags |= unix.MNT_DETACH
	}
	if err := unix.Unmount(dir, flags); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// isPools tells whether a directory is where a pool of this user's daemons is mounted, or its daemon is dead.
func (a *app) isPools(dir string) bool {
	find, err := a.finder()
	if err != nil {
		return false
	}
	m, ok, err := find.Mountpoint(dir)
	if err != nil || !ok {
		return false
	}
	if isDead(m.Dir) {
		return true
	}
	_, err = find.Ending(dir, m, ok)
	return err == nil
}
