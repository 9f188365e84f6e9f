package fs

import (
	"context"
	"log/slog"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Limits that are negotiated with the kernel.
const (
	maxWrite      = 1 << 20  // bytes in one READ or WRITE
	maxBackground = 128      // requests of asynchronous I/O
	maxInflight   = 96 << 20 // bytes in buffers of requests, of which each takes maxWrite
)

// fuseOptions are go-fuse's options, for every transport. The capabilities are those of the table in requests.go. There
// is no splice: it gives short reads inside a file.
func fuseOptions(o MountOptions) *fuse.MountOptions {
	level := slog.LevelWarn
	if o.Debug {
		level = slog.LevelDebug
	}
	m := &fuse.MountOptions{
		Name: fsName, FsName: o.FsName, AllowOther: o.AllowOther, Options: []string{"default_permissions"},
		MaxWrite: maxWrite, MaxBackground: maxBackground, MaxInflightRequestBytes: maxInflight,
		ExtraCapabilities:    asked(),
		DisabledCapabilities: ^asked(),
		DisableSplice:        true,
		Debug:                o.Debug,
		Logger:               slog.NewLogLogger(o.Logger.Handler(), level),
		PanicHandler:         die,
	}
	if os.Geteuid() == 0 {
		m.DirectMountStrict, m.AllowOther = true, true
		m.DirectMountFlags = mountFlags(o)
		return m
	}
	if o.ReadOnly {
		m.Options = append(m.Options, "ro")
	}
	if o.NoExec {
		m.Options = append(m.Options, "noexec")
	}
	return m
}

// mountFlags are those of mount(2).
func mountFlags(o MountOptions) uintptr {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if o.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if o.NoExec {
		flags |= unix.MS_NOEXEC
	}
	return flags
}

// die is called by go-fuse while it recovers from a panic in a handler. The panic goes on, with its stack, and nobody
// above recovers from it: the process ends with the request unanswered.
func die(cause any) fuse.Status { panic(cause) }

// classic is go-fuse's own server: a goroutine per request.
type classic struct{ srv *fuse.Server }

// newClassic mounts f.
func newClassic(f *FS, dir string, o MountOptions) (*classic, error) {
	srv, err := fuse.NewServer(f, dir, fuseOptions(o))
	if err != nil {
		return nil, err
	}
	return &classic{srv}, nil
}

func (c *classic) serve() { c.srv.Serve() }

// alive: nothing but the scheduler of goroutines, on which the caller runs, is between the kernel and the requests.
func (c *classic) alive(context.Context) error { return nil }

func (c *classic) notifyNode(node uint64) error { return notified(c.srv.InodeNotify(node, 0, 0)) }

func (c *classic) notifyName(dir uint64, name string) error {
	return notified(c.srv.EntryNotify(dir, name))
}

// notified is the outcome of a notification. ENOENT: the kernel has nothing cached.
func notified(st fuse.Status) error {
	if st == fuse.OK || st == fuse.ENOENT {
		return nil
	}
	return syscall.Errno(st)
}
