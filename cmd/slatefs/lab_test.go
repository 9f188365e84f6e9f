package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/erase"
	"slatefs/fs"
	"slatefs/fs/mounts"
)

func init() { time.Local = time.UTC } // what is printed must not depend on the host

// lab is a pool that is served as by a daemon, but for the mount: /lab is only in the commands' mount table. So that
// every command runs in this process, as any user.
type lab struct {
	t    *testing.T
	app  *app
	out  bytes.Buffer
	text stderr
	pool *chain.Pool
	view *fakeView
	live host.Live
	own  *host.Settings
	disk *devtest.Disk

	clock *steps // of all but the eraser
	fails bool   // the pool is made to, and its end says so
}

// stderr collects what is written to it. Several may write at once, as a log does beside a progress bar.
type stderr struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *stderr) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *stderr) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *stderr) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

// fakeView notes what the mount would be told.
type fakeView struct {
	mu      sync.Mutex
	names   []string
	inos    []chain.Ino
	holders []fs.Holder
	pages   fs.HeldPages // since is zero: none are held
	err     error
}

func (v *fakeView) Changed(ino chain.Ino) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inos = append(v.inos, ino)
	return v.err
}

func (v *fakeView) ChangedName(_ chain.Ino, name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.names = append(v.names, name)
	return v.err
}

func (v *fakeView) Holders(chain.Ino) ([]fs.Holder, error) { return v.holders, nil }

// Answered: of each kind as many as its number, each of a millisecond; a tenth of the kind's number failed.
func (v *fakeView) Answered() (all [fs.Kinds]fs.Answered) {
	for k := range all {
		all[k].Bytes, all[k].Failed, all[k].Time = int64(k)*4096, int64(k)/10, time.Duration(k)*time.Millisecond
		all[k].Slots[7] = int64(k)
	}
	return all
}

func (v *fakeView) VolumeUse(chain.Ino) fs.VolumeUse {
	return fs.VolumeUse{Read: fs.Use{Count: 10, Bytes: 40960, Time: 10 * time.Millisecond}}
}

func (v *fakeView) PagesHeld() (fs.HeldPages, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pages, !v.pages.Since.IsZero()
}

// steps is a clock that shows another second at each look.
type steps struct {
	mu sync.Mutex
	t  time.Time
}

func (s *steps) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t = s.t.Add(time.Second)
	return s.t
}

// skip lets time pass.
func (s *steps) skip(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t = s.t.Add(d)
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabOf(t, 64<<20)
}

// newLabOf is a lab with a pool of a size, in bytes.
func newLabOf(t *testing.T, size int64) *lab {
	t.Helper()
	disk := devtest.New(size, 512)
	if err := chain.Create(disk, chain.Format{Name: "lab", UUID: uuid.UUID{9}, Zeroed: true, Now: (&steps{t: labTime}).now}); err != nil {
		t.Fatal(err)
	}
	return labOn(t, disk)
}

// labTime is when all begins.
var labTime = time.Unix(1_700_000_000, 0)

// again is a lab of the pool as a checkpoint leaves it, on another device: nothing of it is in memory. breaks may damage that device.
func (l *lab) again(breaks func(*devtest.Disk)) *lab {
	l.t.Helper()
	if err := l.pool.Checkpoint(); err != nil {
		l.t.Fatal(err)
	}
	disk := l.disk.Clone()
	breaks(disk)
	return labOn(l.t, disk)
}

// labOn is a lab of the pool on a device.
func labOn(t *testing.T, disk *devtest.Disk) *lab {
	t.Helper()
	clock := &steps{t: labTime}
	l := &lab{t: t, view: &fakeView{}, disk: disk, clock: clock}
	h := testHost(t)
	l.app = &app{stdin: strings.NewReader(""), stdout: &l.out, stderr: &l.text, host: h, now: clock.now, completeWithin: patience}
	l.app.host.OnWarning, l.app.host.OnNote = l.app.warnOnce, l.app.note
	l.app.mounts = func() (mounts.Table, error) {
		return mounts.Table{{Dir: "/", Root: "/", Dev: "1:1"}, {Dir: "/lab", Root: "/", Dev: "0:99", Type: mounts.Type, Source: "lab"}}, nil
	}
	var err error
	if l.pool, err = chain.Open(l.disk, chain.Options{Properties: control.Served, Now: clock.now}); err != nil {
		t.Fatal(err)
	}
	l.serve(h)
	return l
}

// serve runs what a daemon runs, until the test's end.
func (l *lab) serve(h host.Host) {
	t := l.t
	words := chain.How{Program: "slatefs test", Device: "lab.pool (ino-1)"}
	eraser, err := erase.New(l.disk, daemon.Logged{Pool: l.pool, Words: words}, erase.Config{Rate: 0, Method: blockdev.Overwrite, Clock: erase.NewClock(time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	l.pool.SetZeroNow(eraser.Now)
	if l.own, err = daemon.ReadSettings(h, uuid.UUID{9}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := &daemon.Service{Pool: l.pool, Own: l.own, Eraser: eraser, View: l.view, Log: log, Dir: "/lab", Now: l.app.now, Dev: l.disk}
	s.Signer = daemon.NewSigner(h, l.pool, l.own, log, l.app.now)
	srv := control.NewServer(s.Log)
	s.HandleAll(srv)
	l.live = host.Live{UUID: uuid.UUID{9}, Name: "lab", Device: "/nowhere/lab.pool", Dir: "/lab", MountDev: "0:99", PID: 4711, Socket: h.SocketPath(uuid.UUID{9})}
	control.Handle(srv, control.Info, func(context.Context, control.Peer, control.None) (control.PoolInfo, error) {
		i := s.Info()
		i.Live = l.live
		return i, nil
	})
	control.Handle(srv, control.Metrics, func(ctx context.Context, _ control.Peer, args control.MetricsArgs) (control.PoolMetrics, error) {
		m, err := s.Metrics(ctx, args)
		m.Info.Live = l.live
		return m, err
	})
	lock, err := h.LockPool(uuid.UUID{9})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := h.SocketDir(uuid.UUID{9})
	if err := errors.Join(err, srv.Listen(socket), lock.Publish(l.live), h.Register(host.Known{UUID: uuid.UUID{9}, Name: "lab", Device: l.live.Device, Dir: "/lab"})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	control.Handle(srv, control.Umount, func(context.Context, control.Peer, control.UmountArgs) (control.UmountResult, error) {
		cancel()
		return control.UmountResult{}, nil
	})
	var stops []func() error
	run := func(fn func(context.Context) error) {
		own, cancel := context.WithCancel(context.Background())
		over := make(chan error, 1)
		go func() { over <- fn(own) }()
		stops = append(stops, func() error {
			cancel()
			return <-over
		})
	}
	run(l.pool.Run)
	run(eraser.Run)
	run(srv.Serve)
	go func() {
		<-ctx.Done()
		var err error
		for _, stop := range slices.Backward(stops) {
			err = errors.Join(err, stop())
		}
		done <- errors.Join(err, l.pool.Close(), lock.Release())
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !l.fails {
			t.Error(err)
		}
	})
}

// run runs a command line and returns what it printed.
func (l *lab) run(line string) (stdout, stderr string, code int) {
	l.out.Reset()
	l.text.Reset()
	err := l.app.execute(l.t.Context(), strings.Split(line, " "))
	code = show.Report(&l.text, err)
	return l.out.String(), l.text.String(), code
}

// ok runs a command that must succeed.
func (l *lab) ok(line string) string {
	l.t.Helper()
	out, text, code := l.run(line)
	if code != show.ExitDone {
		l.t.Fatalf("slatefs %s: exit code %d\n%s", line, code, text)
	}
	return out
}

// refused runs a command that must fail with a code and a text.
func (l *lab) refused(code int, want, line string) {
	l.t.Helper()
	out, text, got := l.run(line)
	if got != code || !strings.Contains(text, want) || !strings.HasPrefix(text, "slatefs: error: ") || out != "" {
		l.t.Errorf("slatefs %s: exit code %d\n%s%s\nwant %d and %q", line, got, out, text, code, want)
	}
}

// troubled runs a command whose exit code says that there is something to tell, and returns what it printed.
func (l *lab) troubled(line string) string {
	l.t.Helper()
	out, text, code := l.run(line)
	if code != show.ExitFailed || text != "" {
		l.t.Fatalf("slatefs %s: exit code %d, %s", line, code, text)
	}
	return out
}

// write writes a byte to blocks of a volume.
func (l *lab) write(file string, at, blocks int64, b byte) {
	l.t.Helper()
	if _, err := l.volume(file).WriteAt(bytes.Repeat([]byte{b}, int(blocks)*chain.BlockSize), at*chain.BlockSize); err != nil {
		l.t.Fatal(err)
	}
}

// volume is an open volume.
func (l *lab) volume(file string) *chain.Volume {
	l.t.Helper()
	a, err := l.pool.Resolve(file)
	if err != nil {
		l.t.Fatal(err)
	}
	v, err := l.pool.Volume(a.Ino)
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}

// first is the first byte of a volume.
func (l *lab) first(file string) byte {
	l.t.Helper()
	a, err := l.pool.Resolve(file)
	if err != nil {
		l.t.Fatal(err)
	}
	v, err := l.pool.Volume(a.Ino)
	if err != nil {
		l.t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := v.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		l.t.Fatal(err)
	}
	return b[0]
}

func (l *lab) mkdir(path string) {
	l.t.Helper()
	dir, err := l.pool.Resolve(filepath.Dir(path))
	if err == nil {
		_, err = l.pool.Mkdir(chain.Req{}, dir.Ino, filepath.Base(path), 0o755)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func testHost(t *testing.T) host.Host {
	t.Helper()
	run, err := os.MkdirTemp("", "s") // short: names of sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	return host.Host{State: t.TempDir(), Run: filepath.Join(run, "r"), Log: t.TempDir(), Conf: filepath.Join(t.TempDir(), "conf")}
}
