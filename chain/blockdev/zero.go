package blockdev

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// growStep is how many bytes a pool file gains between two syncs, so that I/O of
// others never waits behind more.
const growStep = 4 << 20

// Methods are the methods of this device, the best first. On a block device
// Unmap is among them if the device says that it zeroes by itself. On a pool
// file Release is there beside Overwrite, and does not erase.
func (f *File) Methods() []Method {
	switch {
	case !f.block:
		return []Method{Overwrite, Release}
	case f.WriteZeroesMax() > 0:
		return []Method{Zeroout, Unmap, Overwrite}
	}
	return []Method{Zeroout, Overwrite}
}

// Zero makes n bytes at off read as zeros by m, not durably; see Device. A
// method of the other kind of device is ErrMethod, and so is one that the kernel
// does not have for this device; nothing falls back to another method, but for
// the two kernel interfaces of Zeroout.
func (f *File) Zero(off, n int64, m Method) error {
	op := "zero by " + m.String()
	if err := f.begin(true); err != nil {
		return f.wrap(op, n, off, err)
	}
	defer f.inUse.RUnlock()
	err := CheckRange(off, n, f.Size(), f.sector)
	if err == nil && n > 0 {
		if err = f.zero(off, n, m); err != nil {
			f.NoteFailure(true, err)
		}
	}
	return f.wrap(op, n, off, err)
}

func (f *File) zero(off, n int64, m Method) error {
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	switch {
	case m == Overwrite:
		return f.overwrite(off, n)
	case m == Zeroout && f.block:
		return f.zeroout(off, n)
	case m == Unmap && f.block, m == Release && !f.block:
		return f.fallocate(punch, off, n)
	}
	return ErrMethod
}

func (f *File) overwrite(off, n int64) error {
	for n > 0 {
		p := zeros()[:min(n, bounceBytes)]
		if err := f.writeChunk(p, off); err != nil {
			return err
		}
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return nil
}

func (f *File) zeroout(off, n int64) error {
	r := [2]uint64{uint64(off), uint64(n)}
	err := ioctlPtr(f.fd, unix.BLKZEROOUT, unsafe.Pointer(&r))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return f.fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}
	return err
}

func (f *File) fallocate(mode uint32, off, n int64) error {
	err := ignoringEINTR(func() error { return unix.Fallocate(f.fd, mode, off, n) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w", ErrMethod, err)
	}
	return err
}

// Grow makes the device at least size bytes; see Device. A pool file is written
// with zeros, 4 MiB at a time, each synced before Size shows it and before the
// next: what Size shows is durably zero. Of a block device only the size is read
// again; it may be more than was asked for.
func (f *File) Grow(size int64) error {
	err := f.begin(true)
	if err == nil {
		defer f.inUse.RUnlock()
		f.growMu.Lock()
		defer f.growMu.Unlock()
		err = f.grow(size)
	}
	if err != nil {
		return fmt.Errorf("blockdev: grow: %s: from %d to %d bytes: %w", f.path, f.Size(), size, judge(err))
	}
	return nil
}

// Cut reads the size of a block device again, which somebody else has made smaller. Nothing may be in flight behind the new
// end.
func (f *File) Cut() error {
	if err := f.begin(false); err != nil {
		return fmt.Errorf("blockdev: cut: %s: %w", f.path, err)
	}
	defer f.inUse.RUnlock()
	f.growMu.Lock()
	defer f.growMu.Unlock()
	size, err := f.readSize()
	if err != nil {
		return fmt.Errorf("blockdev: cut: %s: %w", f.path, err)
	}
	f.size.Store(size)
	return nil
}

func (f *File) grow(size int64) error {
	if size < f.Size() {
		return ErrTooSmall
	}
	if f.block {
		now, err := f.readSize()
		if err != nil {
			return err
		}
		if now < size {
			return fmt.Errorf("%w: it has %d bytes", ErrTooSmall, now)
		}
		f.size.Store(now)
		return nil
	}
	if err := CheckRange(size, 0, size, f.sector); err != nil {
		return err
	}
	for at := f.Size(); at < size; {
		n := min(size-at, growStep)
		if err := f.overwrite(at, n); err != nil {
			return err
		}
		if err := f.syncOnce(); err != nil {
			return err
		}
		at += n
		f.size.Store(at)
	}
	return nil
}
