package blockdev

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A pool file with holes has blocks that its host does not have yet. What is written into a hole takes space of the host,
// and where there is none, because its file system is full, or a quota or a limit of file sizes bounds the file, the write
// is an error that HostFull knows.

// HostFull tells whether err says that the host has no space for what was to be written: ENOSPC, EDQUOT of its quota, or
// EFBIG of a limit of file sizes.
func HostFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// Sparse tells whether this is a file that may have holes: the host has given it fewer bytes than it is long.
func (f *File) Sparse() bool {
	if f.block || f.begin(false) != nil {
		return false
	}
	defer f.inUse.RUnlock()
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstat(f.fd, &st) })
	return err == nil && st.Blocks*512 < st.Size
}

// prepareStep is how many bytes one write of Prepare has.
const prepareStep = 1 << 20

// Prepare writes zeros into the holes of a pool file in [off, off+n), so that later writes there need no space of the
// host, and find allocated extents: on ext4 a 4 KiB write into a hole costs three times as much as one into an extent
// that was written. The range must read zero already and nobody may be writing to it. It does not sync.
//
// It returns how many bytes from off on are prepared: n, or less and why. Errors name path, offset and length. On a block
// device there is nothing to do; on a file system that cannot tell its holes nothing is done.
func (f *File) Prepare(off, n int64) (int64, error) {
	for at := off; at < off+n; {
		hole, length := f.hole(at, off+n-at)
		if length == 0 {
			break
		}
		length = min(length, prepareStep)
		if err := f.Zero(hole, length, Overwrite); err != nil {
			return hole - off, err
		}
		at = hole + length
	}
	return n, nil
}

// Reserve has the host give space to the holes in [off, off+n) of a pool file, and writes nothing: others may write there
// meanwhile, and what was not written reads zero. Whether it is durable is up to the file system. Where the host has none the
// error, which names path, offset and length, is one that HostFull knows. Where there is nothing to reserve, on a block device
// or a file system that cannot, nothing is done.
func (f *File) Reserve(off, n int64) error {
	if f.block {
		return nil
	}
	if err := f.begin(true); err != nil {
		return fmt.Errorf("blockdev: reserve: %s: %w", f.path, err)
	}
	defer f.inUse.RUnlock()
	if err := f.fallocate(unix.FALLOC_FL_KEEP_SIZE, off, n); err != nil && !errors.Is(err, ErrMethod) {
		return fmt.Errorf("blockdev: reserve: %s: %d bytes at %d: %w", f.path, n, off, judge(err))
	}
	return nil
}

// hole is the first hole in [off, off+n), with length 0 if there is none, or none can be told.
func (f *File) hole(off, n int64) (at, length int64) {
	if f.block || f.begin(false) != nil {
		return 0, 0
	}
	defer f.inUse.RUnlock()
	at, err := unix.Seek(f.fd, off, unix.SEEK_HOLE)
	if err != nil || at >= off+n {
		return 0, 0
	}
	data, err := unix.Seek(f.fd, at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO) || err == nil && data > off+n:
		data = off + n
	case err != nil:
		return 0, 0
	}
	return at, data - at
}

// Backed is the first part of [off, off+n) that is no hole, with length 0 if there is none: the host has space for it.
func (f *File) Backed(off, n int64) (at, length int64) {
	if f.block || f.begin(false) != nil {
		return off, n
	}
	defer f.inUse.RUnlock()
	at, err := unix.Seek(f.fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO) || err == nil && at >= off+n:
		return 0, 0
	case err != nil:
		return off, n // it cannot tell: a write will
	}
	hole, err := unix.Seek(f.fd, at, unix.SEEK_HOLE)
	if err != nil || hole > off+n {
		hole = off + n
	}
	return at, hole - at
}
