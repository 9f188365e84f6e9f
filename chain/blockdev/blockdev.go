// Package blockdev is the device below a pool: an LV, a block device or a
// pool file, read and written in whole sectors.
//
// What holds here, whatever the device:
//
//   - I/O is whole or an error. Short reads and writes are continued, EINTR is
//     retried. After a failed write the bytes of its range are unknown.
//   - A write is durable after a Sync that began once it had returned nil, or
//     when WriteAtDsync returned nil. Nothing else makes bytes durable.
//   - A failed Sync is final. The kernel reports a lost page once and may then
//     call it clean, so a second Sync would answer nil for bytes that are gone:
//     from then on every write, Zero, Grow and Sync returns that first error.
//   - O_DIRECT is used for all I/O of a device or for none of it: direct and
//     cached I/O on one range do not see each other.
//   - The lock is on the very open file that does the I/O. The kernel holds that
//     file as long as I/O of a killed process is in flight, and so the lock.
//   - On a pool file only Overwrite erases. Punching or zero-ranging a file only
//     unlinks its blocks: the old bytes stay on the disk below.
//
// There is no read-modify-write here: offsets and lengths are multiples of
// SectorSize, and anything else is ErrMisaligned.
package blockdev

import (
	"errors"
	"fmt"
	"unsafe"
)

// PageSize is the alignment, in bytes, of what Aligned returns. It satisfies
// O_DIRECT on every device.
const PageSize = 4096

// What a Device answers, beside the kernel's errors. Compare with errors.Is.
var (
	// ErrLocked: another open file holds the lock of the device.
	ErrLocked = errors.New("locked by another process")
	// ErrPastEnd: the range does not lie within [0, Size).
	ErrPastEnd = errors.New("past the end of the device")
	// ErrMisaligned: offset or length is not a multiple of SectorSize.
	ErrMisaligned = errors.New("not aligned to the sector size")
	// ErrMethod: this device does not have this Method.
	ErrMethod = errors.New("method not available on this device")
	// ErrSyncFailed: a Sync failed, now or earlier; what was written since the
	// Sync before it may be lost.
	ErrSyncFailed = errors.New("sync failed, the device takes no more writes")
	// ErrTooSmall: Grow asks for less than there is, or a block device has less
	// than is asked for.
	ErrTooSmall = errors.New("device too small")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("device closed")
	// ErrReadOnly: the device was opened with Options.ReadOnly.
	ErrReadOnly = errors.New("device opened read-only")
	// ErrKind: the path is neither a regular file nor a block device.
	ErrKind = errors.New("neither a regular file nor a block device")
)

// Device is what a pool lies on. All methods may be called concurrently; writes
// to overlapping ranges at one time leave either content in each sector.
type Device interface {
	// ReadAt fills p from byte off. n is len(p), or err is not nil and p is
	// undefined. Past the end is ErrPastEnd, never io.EOF.
	ReadAt(p []byte, off int64) (n int, err error)
	// WriteAt writes all of p at byte off, not durably. On error the range is
	// undefined. p is not kept.
	WriteAt(p []byte, off int64) (n int, err error)
	// WriteAtDsync is WriteAt, durable on return. An error of the device is as
	// final as one of Sync: it can't be told which of the two steps failed. Only
	// that a host has no space (HostFull) is the write's alone.
	WriteAtDsync(p []byte, off int64) (n int, err error)
	// Zero makes n bytes at off read as zeros, not durably. On error the range
	// is undefined: it must be taken for not erased.
	Zero(off, n int64, m Method) error
	// Sync makes all that was written before it durable. Its failure is final.
	Sync() error
	// Size is the size in bytes, a multiple of SectorSize.
	Size() int64
	// Grow makes the device at least size bytes. What a pool file gains is
	// durable zeros; what a block device gains holds anything. On error Size
	// tells how far it came.
	Grow(size int64) error
	// SectorSize is the unit of I/O in bytes, 512 or 4096.
	SectorSize() int
	// Close ends the device, after the I/O in flight. It does not sync.
	Close() error
}

// Extent is a range of a device, both in bytes.
type Extent struct{ Off, Len int64 }

// End is the first byte behind the extent.
func (e Extent) End() int64 { return e.Off + e.Len }

// Aligned is n bytes of zeroed memory that begin at a multiple of PageSize. It
// belongs to the garbage collector like any slice.
func Aligned(n int) []byte {
	b := make([]byte, n+PageSize-1)
	skip := 0
	if rest := addr(b) % PageSize; rest != 0 {
		skip = PageSize - int(rest)
	}
	return b[skip : skip+n : skip+n]
}

// addr is the memory address at which b begins.
func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// CheckRange is the check that every Device makes before I/O: nil if n bytes at
// off are whole sectors within size bytes, else ErrMisaligned or ErrPastEnd.
func CheckRange(off, n, size int64, sector int) error {
	if off%int64(sector) != 0 || n%int64(sector) != 0 {
		return fmt.Errorf("%w (%d)", ErrMisaligned, sector)
	}
	if off < 0 || n < 0 || off > size || n > size-off {
		return fmt.Errorf("%w (%d bytes)", ErrPastEnd, size)
	}
	return nil
}
