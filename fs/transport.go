package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// Transport is a way from the kernel to the pool and back.
type Transport uint8

// The transports. Auto is Loop where that works on this kernel and this device, else Classic. Loop serves all requests on one
// thread, by io_uring; it is for root. Classic serves each request on a goroutine that waits for the device. What was agreed on
// with the kernel is the same, so either goes on with a connection that the other has left.
const (
	Auto Transport = iota
	Loop
	Classic
)

var transportNames = [...]string{Auto: "auto", Loop: "loop", Classic: "classic"}

// String is the word for it in the option transport= and in messages.
func (t Transport) String() string { return transportNames[t] }

// ParseTransport reads auto, loop or classic.
func ParseTransport(s string) (Transport, error) {
	for t, name := range transportNames {
		if s == name {
			return Transport(t), nil
		}
	}
	return 0, fmt.Errorf("transport %q: one of %s: %w", s, strings.Join(transportNames[:], ", "), chain.ErrInvalid)
}

// transport carries requests between /dev/fuse and an FS. Whoever makes one has answered INIT.
type transport interface {
	notifier
	// serve answers requests until the mount is gone and all requests are done. It is called once.
	serve()
	// alive returns nil soon, whatever the device does, if requests are taken from the kernel, or the mount is gone; ctx's error if
	// nothing is heard before its end.
	alive(ctx context.Context) error
	// pause stops serving: on return nothing is in work. If ctx ends before, it serves on, with ctx's error; nothing is left of that.
	pause(ctx context.Context) error
	// resend has the kernel send again what another process has read and not answered. It comes before serve.
	resend() error
}

// connect mounts the file system of s, or goes on with its mount, by the transport that is asked for, or the better one that works.
func (s *Server) connect(o MountOptions) (err error) {
	if s.kind = o.Transport; s.kind == Auto {
		if s.noLoop = tryRing(s.fs.pool.Device(), blockdev.NewRing); s.noLoop == nil {
			s.kind = Loop
		} else {
			s.kind = Classic
		}
	}
	if s.kind == Loop {
		s.t, err = newLoops(s.fs, s.dir, o)
	} else {
		s.t, err = newClassic(s.fs, s.dir, o)
	}
	if err != nil {
		return err
	}
	args := []any{"transport", s.kind.String(), "loops", s.Loops(), "dir", s.dir}
	if s.noLoop != nil {
		args = append(args, "no_loop", s.noLoop)
	}
	o.Logger.Info("fs: requests are served", args...)
	return nil
}

// Transport is how requests are served, and, if it is Classic for want of the loop, why there is none.
func (s *Server) Transport() (t Transport, noLoop error) { return s.kind, s.noLoop }

// tryRing is nil where an event loop works: for root, on a kernel that gives a ring, and on a device that the ring can read.
func tryRing(dev blockdev.Device, newRing func(uint32) (*blockdev.Ring, error)) error {
	file, ok := dev.(ringFile)
	switch {
	case os.Geteuid() != 0:
		return fmt.Errorf("only for root: %w", chain.ErrUnsupported)
	case !ok:
		return fmt.Errorf("not a file: %w", chain.ErrUnsupported)
	}
	runtime.LockOSThread() // a Ring belongs to one thread
	defer runtime.UnlockOSThread()
	ring, err := newRing(ringEntries)
	if err != nil {
		return fmt.Errorf("%w%s", err, ringHint(err))
	}
	return errors.Join(readByRing(ring, file), ring.Close())
}

// readByRing reads the first block of a device, and polls, as the loop does.
func readByRing(ring *blockdev.Ring, file ringFile) error {
	bell, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(bell) }() //nolint:errcheck // nothing was written to it
	buf := blockdev.Aligned(blockSize)
	err = errors.Join(ring.Push(blockdev.ReadSQE(file.Fd(), buf, 0, 1)), ring.Push(blockdev.PollSQE(bell, unix.POLLIN, 2)))
	for ended := 0; err == nil && ended < 2; {
		if err = ring.Enter(1); err != nil {
			return err
		}
		for c, ok := ring.Next(); ok; c, ok = ring.Next() {
			if ended++; c.Err() != nil {
				err = fmt.Errorf("io_uring: %w", c.Err())
			}
		}
	}
	return err
}

// ringHint is what an operator can do about a ring that is refused.
func ringHint(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(b)) != "0" {
			return "; the sysctl kernel.io_uring_disabled is " + strings.TrimSpace(string(b))
		}
		return "; a filter of system calls (seccomp) forbids it"
	case errors.Is(err, unix.ENOMEM):
		return "; LimitMEMLOCK= (RLIMIT_MEMLOCK) is too small"
	case errors.Is(err, unix.ENOSYS):
		return "; this kernel has none, or a filter of system calls (seccomp) hides it"
	}
	return ""
}
