package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/fs/death"
	"slatefs/fs/mounts"
)

// fsName is the subtype of the mount: with it, its type is mounts.Type.
const fsName = "slatefs"

// MountOptions say how to mount. The zero value is ready for use.
type MountOptions struct {
	AllowOther bool         // other users may use the mount; always so when root mounts
	FsName     string       // source of the mount; the pool's name if empty
	Debug      bool         // log every request at level debug
	Logger     *slog.Logger // nil discards
	ReadOnly   bool         // mount -o ro; a pool that was opened for reading is always mounted so
	NoExec     bool         // mount -o noexec
	NonEmpty   bool         // also over a directory that holds something
	Buffers    int64        // bytes that buffers of requests may take, at least 8 MiB do; 0: maxInflight, which is the most
	Transport  Transport    // how requests are served; Loop is ErrUnsupported unless root mounts
	Loops      int          // event loops of Loop, at most 8, and no more than have buffers; 0: a quarter of the processors

	// Keep is given what a successor of this process needs (package park), and returns when it is kept. Nil: there is none.
	Keep   func(name string, f *os.File) error
	Parked *Parked // go on with this, do not mount; the pool was opened with what is open
}

// Server is one mount of a pool. All methods may be called concurrently; none touches a file below the mount.
type Server struct {
	fs  *FS
	dir string // absolute, without symlinks
	id  mounts.Mount

	t        transport
	kind     Transport     // what t is
	noLoop   error         // why t is not the loop, where Auto was asked for
	started  atomic.Bool   // Serve was called
	done     chan struct{} // closed when the mount is gone
	unmounts sync.Mutex    // one attempt at a time
	gone     bool          // one succeeded: what is mounted on dir now is somebody else's; guarded by unmounts
}

// Mount mounts a pool on a directory. On return the mount is there, and waits for Serve to answer. A dead mount of the
// same pool on dir, left by a daemon that was killed, is detached first. On error nothing is mounted.
//
// Root mounts with mount(2), anybody else with fusermount3; permissions are checked by the kernel.
func Mount(p *chain.Pool, dir string, o MountOptions) (*Server, error) {
	if o.FsName == "" {
		o.FsName = p.Name()
	}
	if o.Logger == nil {
		o.Logger = discard
	}
	o.ReadOnly = o.ReadOnly || p.ReadOnly()
	if o.Parked != nil {
		return resume(p, o)
	}
	dir, err := mountPoint(dir, o.FsName)
	if err == nil && !o.NonEmpty {
		err = empty(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("fs: mount: %w", err)
	}
	s := newServer(p, dir, o)
	if err = s.connect(o); err != nil {
		return nil, fmt.Errorf("fs: mount: %s: %w", dir, err)
	}
	if s.id, err = findMount(mounts.Proc, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("fs: mount: %w", err), s.Detach())
	}
	n := notifier(s.t)
	s.fs.notify.Store(&n)
	return s, nil
}

func newServer(p *chain.Pool, dir string, o MountOptions) *Server {
	return &Server{fs: New(p, o.Logger), dir: dir, done: make(chan struct{})}
}

// resume goes on with a mount that another process has left. On error it is as it was left. A mount that was detached from its
// directory has users still, or it would be gone: it is served, and has no place.
func resume(p *chain.Pool, o MountOptions) (s *Server, err error) {
	s = newServer(p, o.Parked.Init.Dir, o)
	if err = s.connect(o); err != nil {
		return nil, fmt.Errorf("fs: takeover: %s: %w", s.dir, err)
	}
	death.At(death.Agreed)
	if err := s.fs.inherit(o.Parked); err != nil {
		return nil, fmt.Errorf("fs: %w", err)
	}
	death.At(death.Opens)
	if s.id, err = findMount(mounts.Proc, s.dir); err != nil || s.id.Source != o.FsName {
		o.Logger.Warn("fs: the mount has no directory any more; it is served until the last close", "dir", s.dir, "error", err)
		s.gone = true
	}
	o.Parked.Memory.TakeOver(o.Parked.ByFault)
	death.At(death.Counted)
	if err := s.t.resend(); err != nil {
		return nil, fmt.Errorf("fs: takeover: %w", err)
	}
	death.At(death.Sent)
	n := notifier(s.t)
	s.fs.notify.Store(&n)
	return s, nil
}

// Takeover is how often another process went on with the mount, and nil if one could now; else why not.
func (s *Server) Takeover() (times int, err error) {
	return s.fs.files.memory.Takeovers(), s.fs.parkErr
}

// FS is what the mount shows. Commands tell it what they changed.
func (s *Server) FS() *FS { return s.fs }

// Dir is the directory that the pool is mounted on, absolute and without symlinks.
func (s *Server) Dir() string { return s.dir }

// Serve answers requests until the mount is gone. It must be called once.
func (s *Server) Serve() {
	s.started.Store(true)
	watch := s.fs.pool.OnSnapChange(s.fs.snapChanged) // before anything is answered
	defer close(s.done)                               // last: who waits for it may mount the pool again
	defer s.fs.pool.OnSnapChange(nil)
	var passed sync.WaitGroup
	stop := make(chan struct{})
	passed.Go(func() { s.fs.passSnapNews(stop) })
	passed.Go(func() { s.fs.passSnapPages(watch, stop) })
	s.t.serve()
	close(stop)
	passed.Wait()
}

// Wait returns when Serve has ended.
func (s *Server) Wait() { <-s.done }

// Done is closed when Serve has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Alive tells whether requests are taken from the kernel: nil soon if they are, or the mount is gone, and the error of ctx if
// that ends first. It waits for no device, and for no request that does.
func (s *Server) Alive(ctx context.Context) error {
	select {
	case <-s.done:
		return nil
	default:
	}
	if !s.started.Load() {
		return nil
	}
	return s.t.alive(ctx)
}

// Drain stops new opens, which are then EBUSY, or takes one such stop back, and returns how many files are open. Opens are
// allowed again when each stop was taken back: who gives up ends no one else's drain.
func (s *Server) Drain(on bool) int { return s.fs.files.drain(on) }

// Drained is closed when the last file was closed after Drain(true).
func (s *Server) Drained() <-chan struct{} { return s.fs.files.done() }

// OpenFiles tells how many opens of volumes and snapshots there are.
func (s *Server) OpenFiles() int { return s.fs.files.count() }

// Unmount unmounts if nothing is open, else it is EBUSY. Serve then ends by itself.
func (s *Server) Unmount() error { return s.unmount(0) }

// Detach takes the mount out of the tree at once; open files go on. Serve ends with the last of them.
func (s *Server) Detach() error { return s.unmount(unix.MNT_DETACH) }

func (s *Server) unmount(flags int) error {
	s.unmounts.Lock()
	defer s.unmounts.Unlock()
	select {
	case <-s.done:
		return nil
	default:
	}
	if s.gone {
		return nil
	}
	if err := unmount(s.dir, flags); err != nil {
		return fmt.Errorf("fs: unmount: %s: %w", s.dir, err)
	}
	s.gone = true
	return nil
}

// unmount unmounts dir as it was mounted: by root itself, by fusermount3 for others.
func unmount(dir string, flags int) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, flags|unix.UMOUNT_NOFOLLOW)
	}
	args := []string{"-u", dir}
	if flags&unix.MNT_DETACH != 0 {
		args = []string{"-u", "-z", dir}
	}
	out, err := exec.Command("fusermount3", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3: %s: %w", out, err)
	}
	return nil
}

// answerWait is how long a mount that is in the way may take to answer.
const answerWait = 10 * time.Second

// mountPoint resolves dir without asking a file system that may be dead, and detaches a dead mount of this source.
func mountPoint(dir, source string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	up, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	at := filepath.Join(up, filepath.Base(abs))
	old, err := findMount(mounts.Proc, at)
	if errors.Is(err, chain.ErrNotFound) {
		return filepath.EvalSymlinks(at)
	}
	if err != nil {
		return "", err
	}
	switch err := mounts.Answers(at, answerWait); {
	case err == nil:
		return "", fmt.Errorf("%s: pool %s is mounted there: %w", at, old.Source, chain.ErrBusy)
	case (errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)) && old.Source == source:
		// The second: it died while this was asked.
		return at, unmount(at, unix.MNT_DETACH)
	default:
		return "", fmt.Errorf("%s: mount of pool %s: %w", at, old.Source, err)
	}
}

// findMount finds the mount of slatefs on a directory, the uppermost one; chain.ErrNotFound if there is none.
func findMount(proc, dir string) (mounts.Mount, error) {
	t, err := mounts.Read(proc, mounts.Self)
	if err != nil {
		return mounts.Mount{}, err
	}
	m, ok := t.On(dir)
	if !ok {
		return m, fmt.Errorf("%s: mount: %w", dir, chain.ErrNotFound)
	}
	return m, nil
}

// empty is chain.ErrNotEmpty for a directory that holds something, which a mount would hide. What may not be listed is not
// looked at.
func empty(dir string) error {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil //nolint:nilerr // mount(2) says whether that matters
	}
	names, err := f.Readdirnames(1)
	if err := errors.Join(f.Close(), ignoreEOF(err)); err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%s: holds %q, which the mount would hide: %w", dir, names[0], chain.ErrNotEmpty)
	}
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
