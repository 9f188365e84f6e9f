package blockdev

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Prepare writes zeros into the holes of a pool file in [off, off+n), so that later writes there find allocated
// extents: on ext4 a 4 KiB write into a hole costs three times as much as one into an extent that was written. The
// range must read zero already and nobody may be writing to it. It does not sync. On a block device there is nothing
// to do; on a file system that cannot tell its holes nothing is done. Errors name path, offset and length.
func (f *File) Prepare(off, n int64) error {
	if f.block {
		return nil
	}
	for end := off + n; off < end; {
		hole, err := unix.Seek(f.fd, off, unix.SEEK_HOLE)
		if err != nil || hole >= end {
			return nil //nolint:nilerr // only a matter of speed
		}
		hole = max(hole, off)
		data, err := unix.Seek(f.fd, hole, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data > end {
			data, err = end, nil
		}
		if err != nil {
			return nil //nolint:nilerr // only a matter of speed
		}
		if err := f.Zero(hole, data-hole, Overwrite); err != nil {
			return err
		}
		off = data
	}
	return nil
}
