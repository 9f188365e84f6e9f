package host

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

// Live is what the daemon of a pool says of itself, in a file beside the lock that it holds.
type Live struct {
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

	Supervisor int `json:"supervisor,omitempty"` // process that starts the daemon again when it dies; 0: none, or systemd

	lock   string // the lock file that this was read from
	shared bool   // with a group, of which this user is: he can't look whether the lock is held
}

// Lock is the lock of a pool on this host, by its UUID. The lock on the device's open file does not exclude the
// same pool through a loop device; this one does.
//
// The lock file is empty: it is locked, so it can't be replaced, and what is written in place can be read half-written.
type Lock struct {
	f    *os.File
	path string
}

// lockPath is the lock file of a pool.
func (h Host) lockPath(id uuid.UUID) string { return filepath.Join(h.Run, id.String()+lockSuffix) }

const (
	lockSuffix = ".lock"
	liveSuffix = ".json"
)

// livePath is where the holder of a lock file says what it serves. It counts only while the lock is held.
func livePath(lock string) string { return strings.TrimSuffix(lock, lockSuffix) + liveSuffix }

// LockPool takes the lock of a pool; a holder is named in the error, which
// is ErrInUse. The file stays when the lock is gone: who holds
// it counts, not that it is there.
func (h Host) LockPool(id uuid.UUID) (*Lock, error) {
	if err := privateDir(h.Run); err != nil {
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
		if err = RemoveIfThere(livePath(path)); err == nil { // of one that was killed, and is not the holder
			return &Lock{f, path}, nil
		}
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = ErrInUse
		if l, ok := readLive(path); ok {
			err = InUse(l)
		}
	}
	return nil, errors.Join(err, f.Close())
}

// ErrInUse is for a pool that another daemon has.
var ErrInUse = errors.New("in use by another process")

// InUse is ErrInUse with the holder's name.
func InUse(l Live) error {
	where := "not mounted yet"
	if l.Dir != "" {
		where = "mounted on " + l.Dir
	}
	return fmt.Errorf("pool %s is %s by process %d (device %s): %w", l.Name, where, l.PID, l.Device, ErrInUse)
}

// Publish says what the daemon serves, until Release or its death. Who reads sees all of it, or what was said before.
func (p *Lock) Publish(l Live) error {
	b, err := show.Encode(l)
	if err != nil {
		return err
	}
	return WriteWhole(livePath(p.path), append(b, '\n'), 0o600)
}

// AdoptLock goes on with the lock of a pool that another process has taken, and whose open file it left to this one. What was
// said of that process stays until Publish.
func (h Host) AdoptLock(id uuid.UUID, left *os.File) (*Lock, error) {
	path := h.lockPath(id)
	var mine, there unix.Stat_t
	if err := errors.Join(unix.Fstat(int(left.Fd()), &mine), unix.Stat(path, &there)); err != nil {
		return nil, fmt.Errorf("lock of pool %v: %w", id, err)
	}
	if mine.Dev != there.Dev || mine.Ino != there.Ino {
		return nil, fmt.Errorf("lock of pool %v: the file that was left is another one than %s: %w", id, path, ErrInUse)
	}
	fd, err := unix.FcntlInt(left.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of pool %v: %w", id, ErrInUse), f.Close())
	}
	return &Lock{f, path}, nil
}

// File is the file that is locked, for who keeps it for a successor. It stays the lock's.
func (p *Lock) File() *os.File { return p.f }

// Release gives the lock back, whoever has its file open still. It is to be called once.
func (p *Lock) Release() error {
	return errors.Join(RemoveIfThere(livePath(p.path)),
		unix.FcntlFlock(p.f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}), p.f.Close())
}

// readLive reads what the holder of a lock file serves; false: nobody holds it, or the holder is not that far.
func readLive(path string) (l Live, ok bool) {
	if !held(path) {
		return l, false
	}
	b, err := os.ReadFile(livePath(path))
	l.lock = path
	return l, err == nil && show.Decode(b, &l) == nil
}

// Live is what the daemon of a pool says of itself; false: there is none, or it is not that far.
func (h Host) Live(id uuid.UUID) (Live, bool) { return readLive(h.lockPath(id)) }

// Left is what a daemon said of itself that has ended without taking it back: by a signal, or a fault of its own. False: there is
// none, or one runs.
func (h Host) Left(id uuid.UUID) (l Live, ok bool) {
	path := h.lockPath(id)
	if !owned(h.Run, os.Geteuid()) || held(path) {
		return l, false
	}
	b, err := os.ReadFile(livePath(path))
	return l, err == nil && show.Decode(b, &l) == nil && l.Dir != ""
}

// Held tells whether somebody holds the lock of a pool.
func (h Host) Held(id uuid.UUID) bool { return held(h.lockPath(id)) }

// Running tells whether the daemon that said so still holds its lock. Who can't look is told that it does: the socket knows.
func (l Live) Running() bool { return l.shared || held(l.lock) }

// EndSupervisor tells the supervisor to end, which must be who holds the lock: else another process has its number.
func (l Live) EndSupervisor() error {
	fd, err := unix.PidfdOpen(l.Supervisor, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", l.Supervisor, err)
	}
	defer func() { _ = unix.Close(fd) }() //nolint:errcheck // it only names
	lock, err := filepath.Abs(l.lock)
	if err == nil {
		lock, err = filepath.EvalSymlinks(lock)
	}
	if err != nil {
		return err
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", l.Supervisor))
	if err != nil {
		return err
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && to == lock {
			return unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0)
		}
	}
	return fmt.Errorf("pool %s: process %d does not keep its lock", l.Name, l.Supervisor)
}

// IsCopy tells that a device with the UUID of a daemon's pool surely is another than the daemon's.
func (l Live) IsCopy(dev *blockdev.File) bool {
	return !dev.IsBlockDevice() && strings.HasPrefix(l.Identity, "ino-") && l.Identity != dev.Identity()
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

// Daemons lists the daemons that run on this host for this user, and those of root's that are open to a group that he is of.
func (h Host) Daemons() []Live {
	if !owned(h.Run, os.Geteuid()) {
		return h.shared() // there is none of his own, or somebody else pretends
	}
	paths, err := filepath.Glob(filepath.Join(h.Run, "*"+lockSuffix))
	if err != nil {
		return nil // the pattern is constant: it is well-formed
	}
	var list []Live
	for _, p := range paths {
		if l, ok := readLive(p); ok {
			list = append(list, l)
		}
	}
	return append(list, h.shared()...)
}

// lockWait is how long to wait for a lock that no daemon holds: the I/O of a killed one ends in the kernel some time
// after its process, and the lock with it.
const lockWait = 5 * time.Second

// OpenDevice opens a pool's device; if a daemon has it locked the error is ErrInUse, and names that. A lock that no daemon holds
// it waits for, a few seconds; then the error is blockdev.ErrLocked. The caller closes the device.
func (h Host) OpenDevice(path string, o blockdev.Options) (*blockdev.File, error) {
	const step = 20 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		f, err := blockdev.Open(path, o)
		if !errors.Is(err, blockdev.ErrLocked) {
			return f, err
		}
		if l, ok := h.holder(path); ok {
			return nil, InUse(l)
		}
		if waited >= lockWait {
			return nil, err
		}
		time.Sleep(step)
	}
}

// holder is the daemon that serves a device.
func (h Host) holder(path string) (Live, bool) {
	id, err := DeviceIdentity(path)
	if err != nil {
		return Live{}, false
	}
	for _, l := range h.Daemons() {
		if l.Identity == id {
			return l, true
		}
	}
	return Live{}, false
}

// DeviceIdentity is what blockdev.File.Identity would say of a path, without opening it.
func DeviceIdentity(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return fmt.Sprintf("dev-%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
	}
	return fmt.Sprintf("ino-%d:%d", st.Dev, st.Ino), nil
}
