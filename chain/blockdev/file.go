package blockdev

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// DirectMode says whether a File uses O_DIRECT.
type DirectMode uint8

// The modes. With DirectAuto the whole File is direct if the file system takes
// it, else the whole File is cached.
const (
	DirectAuto DirectMode = iota
	DirectNever
)

// Options say how to Open. The zero value: for writing, direct where possible.
type Options struct {
	ReadOnly bool // shared lock; every change is ErrReadOnly
	Direct   DirectMode
}

// File is a Device over a regular file (a pool file), a block device or an LV.
// It holds the lock of its open file until Close, or until the process and its
// last I/O have ended.
type File struct {
	path     string
	fd       int
	block    bool   // a block device, else a regular file
	direct   bool   // opened with O_DIRECT
	readOnly bool   // opened with Options.ReadOnly
	sector   int    // bytes
	memAlign int    // bytes; buffers that begin elsewhere are bounced
	identity string // see Identity
	size     atomic.Int64
	failed   atomic.Pointer[error] // what the first failed sync left: final
	failures failures

	inUse  sync.RWMutex // shared by each I/O; exclusive by Close, so that no I/O meets a reused fd
	closed bool         // guarded by inUse
	syncMu sync.Mutex   // one sync at a time, see syncOnce
	growMu sync.Mutex   // one Grow at a time
}

var _ Device = (*File)(nil)

// Open opens the regular file or block device at path and takes its lock,
// exclusive, or shared with Options.ReadOnly. Errors: ErrLocked, ErrKind, or of
// the kernel.
func Open(path string, o Options) (*File, error) {
	f, err := openFile(path, o)
	if err != nil {
		return nil, fmt.Errorf("blockdev: open: %s: %w", path, err)
	}
	return f, nil
}

func openFile(path string, o Options) (*File, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Stat(path, &st) }); err != nil {
		return nil, err
	}
	if err := checkKind(&st); err != nil { // before open: opening a FIFO would wait
		return nil, err
	}
	flags := unix.O_RDWR
	if o.ReadOnly {
		flags = unix.O_RDONLY
	}
	f := &File{path: path, readOnly: o.ReadOnly, direct: o.Direct == DirectAuto}
	if err := f.open(flags); err != nil {
		return nil, err
	}
	return f, nil
}

// open opens the fd, locks it, and learns what it is. On error nothing is left
// open.
func (f *File) open(flags int) error {
	var fd int
	err := error(unix.EINVAL)
	if f.direct {
		fd, err = openRetry(f.path, flags|unix.O_DIRECT, 0)
	}
	if errors.Is(err, unix.EINVAL) { // not wanted, or this file system has none
		f.direct = false
		fd, err = openRetry(f.path, flags, 0)
	}
	if err != nil {
		return err
	}
	f.fd = fd
	for _, step := range []func() error{f.lock, f.probe} {
		if err := step(); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
	}
	return nil
}

// lock takes the lock of the open file that does the I/O.
func (f *File) lock() error {
	how := unix.LOCK_EX
	if f.readOnly {
		how = unix.LOCK_SH
	}
	err := ignoringEINTR(func() error { return unix.Flock(f.fd, how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Create makes a pool file of size bytes that did not exist and opens it for
// writing. Unless sparse, all of it is written with zeros: blocks which a file
// system only allocates cost on first write. On return the file and its name
// are durable; on error there is no file. size is a multiple of PageSize.
func Create(path string, size int64, sparse bool) (*File, error) {
	f, err := createFile(path, size, sparse)
	if err != nil {
		return nil, fmt.Errorf("blockdev: create: %s: %d bytes: %w", path, size, err)
	}
	return f, nil
}

func createFile(path string, size int64, sparse bool) (*File, error) {
	if size <= 0 || size%PageSize != 0 {
		return nil, fmt.Errorf("%w (%d)", ErrMisaligned, PageSize)
	}
	// Made here and opened below: a file system without O_DIRECT may refuse the
	// flag only after it has made the file.
	fd, err := openRetry(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Close(fd); err != nil {
		return nil, errors.Join(err, unix.Unlink(path))
	}
	f, err := openFile(path, Options{})
	if err != nil {
		return nil, errors.Join(err, unix.Unlink(path))
	}
	if err := f.fill(size, sparse); err != nil {
		return nil, errors.Join(err, f.Close(), unix.Unlink(path))
	}
	return f, nil
}

// fill gives a new pool file its size and makes it and its name durable.
func (f *File) fill(size int64, sparse bool) error {
	if sparse {
		if err := ignoringEINTR(func() error { return unix.Ftruncate(f.fd, size) }); err != nil {
			return err
		}
		f.size.Store(size)
	} else if err := f.Grow(size); err != nil {
		return err
	}
	if err := ignoringEINTR(func() error { return unix.Fsync(f.fd) }); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

func syncDir(dir string) error {
	fd, err := openRetry(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(ignoringEINTR(func() error { return unix.Fsync(fd) }), unix.Close(fd))
}

// Close waits for the I/O in flight, ends the File and gives its lock back. It
// does not sync. A second Close is ErrClosed.
func (f *File) Close() error {
	f.inUse.Lock()
	defer f.inUse.Unlock()
	if f.closed {
		return fmt.Errorf("blockdev: close: %s: %w", f.path, ErrClosed)
	}
	f.closed = true
	if err := unix.Close(f.fd); err != nil {
		return fmt.Errorf("blockdev: close: %s: %w", f.path, err)
	}
	return nil
}

// Fd is the open file, for a Ring. It belongs to the File: the caller ends its
// I/O before Close. What is written through it is not held back by a failed
// Sync; a failed sync through it is for the caller to treat as final.
func (f *File) Fd() int { return f.fd }

// Pwrite is one pwrite, as a Ring carries it out: it may write less than all of
// p, which begins at a multiple of MemAlign if the File is Direct. It belongs
// with Fd: the caller ends it before Close, and what it writes is not held back
// by a failed Sync. Its error is the kernel's, and counted (NoteFailure).
func (f *File) Pwrite(p []byte, off int64) (int, error) {
	n, err := unix.Pwrite(f.fd, p, off)
	if err != nil {
		f.NoteFailure(true, err)
	}
	return n, err
}

// Direct tells whether I/O goes past the page cache; then buffers for a Ring
// begin at a multiple of MemAlign.
func (f *File) Direct() bool { return f.direct }

// MemAlign is the alignment in bytes of buffers that are not bounced.
func (f *File) MemAlign() int { return f.memAlign }

// IsBlockDevice tells a block device or LV from a pool file.
func (f *File) IsBlockDevice() bool { return f.block }

// Identity names what is open, whatever path led to it: "dev-MAJOR:MINOR" for a
// block device, "ino-ST_DEV:ST_INO" for a file.
func (f *File) Identity() string { return f.identity }

// Path is the path given to Open or Create.
func (f *File) Path() string { return f.path }

// Size is the size in bytes, rounded down to whole sectors.
func (f *File) Size() int64 { return f.size.Load() }

// SectorSize is the unit of I/O in bytes: 512 or 4096.
func (f *File) SectorSize() int { return f.sector }
