// Package home is where the files of a daemon live on when it ends: with who started it, which gives them to its successor. That
// is systemd, by its file descriptor store, or a supervisor (supervisor.go); both speak sd_notify(3), so a daemon sees one thing.
//
// What holds here:
//
//   - A file that was kept is kept: Keep returns when whoever keeps it has said so.
//   - A daemon is given files by who started it, or by the program that it was before (Exec), and by nobody else.
//   - What a daemon keeps it drops when it ends for good: nobody goes on with what is over.
package home

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Environment of a daemon, beside what systemd says.
const (
	supervisorEnv = "SLATEFS_SUPERVISOR" // process number of the supervisor
	firstFile     = 3
)

// Home keeps files. A nil Home keeps none. All methods may be called concurrently.
type Home struct {
	socket string
	pid    int // of a supervisor; 0: it is systemd

	mu    sync.Mutex
	files map[string]*os.File // guarded by mu: what is kept, and open here
}

// Find finds the home of this process by its environment; nil: there is none. It takes the files that it was given.
func Find() *Home {
	h := &Home{socket: os.Getenv("NOTIFY_SOCKET"), files: map[string]*os.File{}}
	parent, err := strconv.Atoi(os.Getenv(supervisorEnv))
	supervised := err == nil && parent == os.Getppid()
	if supervised {
		h.pid = parent
	}
	pid, given := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name) //nolint:errcheck // it has no bad characters
	}
	if n, err := strconv.Atoi(given); err == nil && (pid == strconv.Itoa(os.Getpid()) || pid == "" && supervised) {
		for i := range n {
			unix.CloseOnExec(firstFile + i)
			if i < len(names) {
				h.files[names[i]] = os.NewFile(uintptr(firstFile+i), names[i])
			}
		}
	}
	if h.socket == "" && len(h.files) == 0 {
		return nil
	}
	return h
}

// Forget makes this process one that nobody keeps anything for, whatever its environment says.
func Forget() {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", supervisorEnv} {
		_ = os.Unsetenv(name) //nolint:errcheck // as above
	}
}

// Supervisor is the process that keeps the files; 0: it is systemd, or there is none.
func (h *Home) Supervisor() int {
	if h == nil {
		return 0
	}
	return h.pid
}

// File is a file that is kept; nil: there is none of that name. It stays the home's.
func (h *Home) File(name string) *os.File {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files[name]
}

// Has tells whether there are files of all of these names.
func (h *Home) Has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return h.File(n) == nil })
}

// ErrNone is why a file is not kept: nobody does.
var ErrNone = errors.New("nobody keeps files for this process")

// keepState has systemd keep a file whatever becomes of it: it polls them else, and is woken by each request that comes by
// /dev/fuse, and drops that when the mount has gone, which the successor is to hear.
const keepState = "FDSTORE=1\nFDPOLL=0\nFDNAME="

// Keeps is ErrNone when nobody keeps the files any more: the supervisor has ended.
func (h *Home) Keeps() error {
	if h == nil || h.pid != 0 && h.pid != os.Getppid() {
		return ErrNone
	}
	return nil
}

// Keep has a file kept by a name, and returns when it is. The caller closes his own.
func (h *Home) Keep(name string, f *os.File) error {
	if h == nil || h.socket == "" {
		return ErrNone
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	own := os.NewFile(uintptr(fd), name)
	if err = h.tell(keepState+name, own); err == nil {
		err = h.barrier()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep %s: %w", name, err), own.Close())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.files[name]; old != nil {
		_ = old.Close() //nolint:errcheck // it was replaced
	}
	h.files[name] = own
	return nil
}

// Gone drops all files, and returns when nobody has them for this process any more.
func (h *Home) Gone() error {
	if h == nil || !h.keeps() {
		return nil
	}
	return errors.Join(h.Drop(), h.barrier())
}

func (h *Home) keeps() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.socket != "" && len(h.files) > 0
}

// Drop ends it for all files.
func (h *Home) Drop() (err error) {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, f := range h.files {
		if h.socket != "" {
			err = errors.Join(err, h.tell("FDSTOREREMOVE=1\nFDNAME="+name))
		}
		err = errors.Join(err, f.Close())
	}
	clear(h.files)
	return err
}

// Tell tells who keeps the files a state, as sd_notify(3) has it.
func (h *Home) Tell(state string) error {
	if h == nil || h.socket == "" {
		return nil
	}
	return h.tell(state)
}

func (h *Home) tell(state string, files ...*os.File) error {
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err = unix.Sendmsg(socket, []byte(state), rights, &unix.SockaddrUnix{Name: h.socket}, unix.MSG_NOSIGNAL)
	return errors.Join(err, unix.Close(socket))
}

// barrierWait bounds how long whoever keeps the files may take.
const barrierWait = 5 * time.Second

// barrier waits until all that was told before has arrived: whoever keeps the files closes the end of a pipe then.
func (h *Home) barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() //nolint:errcheck // nothing comes of it
	err = h.tell("BARRIER=1", w)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(barrierWait)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); os.IsTimeout(err) {
		return err
	}
	return nil
}

// Exec makes this process another program, which is given the files. It returns on error only.
func (h *Home) Exec(path string, args, env []string) error {
	h.mu.Lock()
	names := slices.Sorted(maps.Keys(h.files))
	var fds []int
	for _, n := range names {
		fds = append(fds, int(h.files[n].Fd()))
	}
	h.mu.Unlock()
	// First above all places that they are to take, then there.
	for i, fd := range fds {
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFile+len(fds))
		if err != nil {
			return fmt.Errorf("exec %s: %w", path, err)
		}
		fds[i] = high
	}
	for i, fd := range fds {
		if err := unix.Dup3(fd, firstFile+i, 0); err != nil {
			return fmt.Errorf("exec %s: %w", path, err)
		}
	}
	env = append(slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, "LISTEN_") }),
		"LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDS="+strconv.Itoa(len(fds)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	return fmt.Errorf("exec %s: %w", path, unix.Exec(path, args, env))
}
