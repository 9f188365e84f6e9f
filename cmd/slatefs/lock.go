package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/show"
)

// live is what the daemon of a pool says of itself, in a file beside the lock that it holds.
type live struct {
	UUID     uuid.UUID `json:"uuid"`
	Name     string    `json:"name"`
	Device   string    `json:"device"`     // absolute path
	Identity string    `json:"identity"`   // blockdev.File.Identity
	Dir      string    `json:"mountpoint"` // empty until mounted
	MountDev string    `json:"mount_dev"`  // "major:minor" of the mount, the same in every mount namespace
	Socket   string    `json:"socket"`     // control socket
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Log      string    `json:"log"` // log file; empty: stderr
	Version  string    `json:"version"`
	lock     string    // the lock file that this was read from
}

// poolLock is the lock of a pool on this host, by its UUID. The lock on the device's open file does not exclude the
// same pool through a loop device; this one does.
//
// The lock file is empty: it is locked, so it can't be replaced, and what is written in place can be read half-written.
type poolLock struct{ f *os.File }

// lockPath is the lock file of a pool.
func (h host) lockPath(id uuid.UUID) string { return filepath.Join(h.run, id.String()+lockSuffix) }

const (
	lockSuffix = ".lock"
	liveSuffix = ".json"
)

// livePath is where the holder of a lock file says what it serves. It counts only while the lock is held.
func livePath(lock string) string { return strings.TrimSuffix(lock, lockSuffix) + liveSuffix }

// lockPool takes the lock of a pool; a holder is named in the error. The file stays when the lock is gone: who holds
// it counts, not that it is there.
func (h host) lockPool(id uuid.UUID) (*poolLock, error) {
	if err := privateDir(h.run); err != nil {
		return nil, err
	}
	path := h.lockPath(id)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// Of the open file, not of the process: a second open in this process is refused as well.
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err == nil {
		if err = removeIfThere(livePath(path)); err == nil { // of one that was killed, and is not the holder
			return &poolLock{f}, nil
		}
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = errPoolInUse
		if l, ok := readLive(path); ok {
			err = inUse(l)
		}
	}
	return nil, errors.Join(err, f.Close())
}

// errPoolInUse: another daemon has the pool.
var errPoolInUse = errors.New("in use by another process")

// inUse is errPoolInUse with the holder's name.
func inUse(l live) error {
	where := "not mounted yet"
	if l.Dir != "" {
		where = "mounted on " + l.Dir
	}
	return fmt.Errorf("pool %s is %s by process %d (device %s): %w", l.Name, where, l.PID, l.Device, errPoolInUse)
}

// publish says what the daemon serves.
func (p *poolLock) publish(l live) error {
	b, err := show.Encode(l)
	if err != nil {
		return err
	}
	return writeWhole(livePath(p.f.Name()), append(b, '\n'), 0o600)
}

// release gives the lock back.
func (p *poolLock) release() error {
	return errors.Join(removeIfThere(livePath(p.f.Name())), p.f.Close())
}

// readLive reads what the holder of a lock file serves; false: nobody holds it, or the holder is not that far.
func readLive(path string) (l live, ok bool) {
	if !held(path) {
		return l, false
	}
	b, err := os.ReadFile(livePath(path))
	l.lock = path
	return l, err == nil && show.Decode(b, &l) == nil
}

// held tells whether somebody holds a lock file, without taking it even for a moment.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	q := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &q)
	return errors.Join(err, f.Close()) == nil && q.Type != unix.F_UNLCK
}

// daemons lists the daemons that run on this host for this user.
func (h host) daemons() []live {
	if !owned(h.run, os.Geteuid()) {
		return nil // there is none, or somebody else pretends
	}
	paths, err := filepath.Glob(filepath.Join(h.run, "*"+lockSuffix))
	if err != nil {
		return nil // the pattern is constant: it is well-formed
	}
	var list []live
	for _, p := range paths {
		if l, ok := readLive(p); ok {
			list = append(list, l)
		}
	}
	return list
}

// lockWait is how long to wait for a lock that no daemon holds: the I/O of a killed one ends in the kernel some time
// after its process, and the lock with it.
const lockWait = 5 * time.Second

// openDevice opens a pool's device; if a daemon has it locked the error names that.
func (h host) openDevice(path string, o blockdev.Options) (*blockdev.File, error) {
	const step = 20 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		f, err := blockdev.Open(path, o)
		if !errors.Is(err, blockdev.ErrLocked) {
			return f, err
		}
		if l, ok := h.holder(path); ok {
			return nil, inUse(l)
		}
		if waited >= lockWait {
			return nil, err
		}
		time.Sleep(step)
	}
}

// holder is the daemon that serves a device.
func (h host) holder(path string) (live, bool) {
	id, err := identity(path)
	if err != nil {
		return live{}, false
	}
	for _, l := range h.daemons() {
		if l.Identity == id {
			return l, true
		}
	}
	return live{}, false
}

// identity is what blockdev.File.Identity would say of a path, without opening it.
func identity(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return fmt.Sprintf("dev-%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
	}
	return fmt.Sprintf("ino-%d:%d", st.Dev, st.Ino), nil
}
