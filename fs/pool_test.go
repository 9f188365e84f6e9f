package fs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// patience is how long a test waits for what a busy machine may take long for.
const patience = 5 * time.Minute

const poolBytes = 96 << 20

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// variant is a transport and what the pool lies on.
type variant struct {
	name string
	loop bool // event loops: two of them on a pool file, so that each is served beside others; else one
	file bool // a pool file, else memory: then a loop has no ring
}

var (
	classicInMemory = variant{name: "classic"}
	variants        = []variant{classicInMemory, {"loop", true, true}, {"plain", true, false}}
)

func (v variant) options() (o MountOptions) {
	o.Transport = Classic
	if v.loop {
		o.Transport, o.Loops = Loop, 1
		if v.file {
			o.Loops = 2
		}
	}
	return o
}

// onTransports runs a test on every transport.
func onTransports(t *testing.T, test func(*testing.T, variant)) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			if v.loop && os.Geteuid() != 0 {
				t.Skip("the event loop needs root")
			}
			test(t, v)
		})
	}
}

// newPool makes a pool that lives as long as the test. The disk is nil if it is a file.
func newPool(t testing.TB, v variant) (*chain.Pool, *devtest.Disk) {
	t.Helper()
	f := chain.Format{Name: "test", Zeroed: true, Now: time.Now}
	if !v.file {
		d := devtest.New(poolBytes, 512)
		must(t, chain.Create(d, f))
		return openPool(t, d), d
	}
	d, err := blockdev.Create(filepath.Join(t.TempDir(), "pool"), poolBytes, true)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	must(t, chain.Create(d, f))
	return openPool(t, watchedFile{d}), nil
}

// openPool opens the pool on a disk until the end of the test, with its housekeeping and an eraser.
func openPool(t testing.TB, d blockdev.Device) *chain.Pool {
	t.Helper()
	p, err := chain.Open(d, chain.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("housekeeping: %v", err)
		}
	})
	wg.Go(func() { runEraser(ctx, t, p, d) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		r, err := p.Check(context.Background())
		must(t, err)
		for _, e := range append(r.Errors, r.Leaks...) {
			t.Errorf("check: %s", e)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// mountPool mounts a new pool until the end of the test.
func mountPool(t testing.TB, v variant) (*Server, *chain.Pool, *devtest.Disk) {
	t.Helper()
	p, d := newPool(t, v)
	return mountOn(t, p, t.TempDir(), v.options()), p, d
}

// mountOn mounts a pool. A mount that can't be unmounted at the end fails the test and is aborted.
func mountOn(t testing.TB, p *chain.Pool, dir string, o MountOptions) *Server {
	t.Helper()
	if fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		t.Skipf("/dev/fuse: %v", err)
	} else {
		_ = unix.Close(fd)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Mount(p, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	hung := explainHang(t, s)
	t.Cleanup(func() {
		hung()
		for end := time.Now().Add(patience); ; { // RELEASE comes after close(2) has returned
			if err = s.Unmount(); err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("unmount: %v", err)
			_ = s.Detach()
			abort(t, s)
		}
		select {
		case <-s.Done():
		case <-time.After(patience):
			t.Error("the server does not end after the unmount")
			abort(t, s)
		}
	})
	stopPolls(t, s.Dir())
	return s
}

// abort ends a connection whatever hangs in it.
func abort(t testing.TB, s *Server) {
	const ctl = "/sys/fs/fuse/connections"
	_ = unix.Mount("fusectl", ctl, "fusectl", 0, "")
	_, minor, _ := strings.Cut(s.id.Dev, ":")
	if err := os.WriteFile(filepath.Join(ctl, minor, "abort"), []byte("1"), 0); err != nil {
		t.Logf("abort: %v", err)
	}
}

// stopPolls makes the kernel learn that there is no POLL here, by a system call that the Go scheduler knows of: os.Open
// would block a processor in epoll_ctl, and the server lives in this process.
func stopPolls(t testing.TB, dir string) {
	fd, err := unix.Open(filepath.Join(dir, pollHack), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	_ = unix.Close(fd)
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr fails the test unless err is want.
func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
