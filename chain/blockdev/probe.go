package blockdev

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe learns kind, identity, size and alignments of the open file. A file
// that takes the flag O_DIRECT but no direct read is cached as a whole.
func (f *File) probe() error {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return err
	}
	if err := checkKind(&st); err != nil { // the path may name another file by now
		return err
	}
	f.block = st.Mode&unix.S_IFMT == unix.S_IFBLK
	if f.block {
		f.identity = fmt.Sprintf("dev-%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	} else {
		f.identity = fmt.Sprintf("ino-%d:%d", st.Dev, st.Ino)
	}
	if err := f.probeAlign(); err != nil {
		return err
	}
	size, err := f.readSize()
	if err != nil {
		return err
	}
	f.size.Store(size)
	return nil
}

func checkKind(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
		return nil
	}
	return ErrKind
}

// probeAlign finds sector and memAlign, and drops O_DIRECT where it does not
// work.
func (f *File) probeAlign() error {
	f.sector, f.memAlign = 512, 1
	if f.block {
		n, err := unix.IoctlGetInt(f.fd, unix.BLKSSZGET)
		if err != nil {
			return fmt.Errorf("ioctl BLKSSZGET: %w", err)
		}
		if f.sector, err = roundSector(n); err != nil {
			return err
		}
	}
	if !f.direct {
		return nil
	}
	mem, off, known := f.dioAlign()
	if !known {
		off = f.tryDirect()
		mem = off
	}
	sector, err := roundSector(max(off, f.sector))
	if off == 0 || err != nil || mem > PageSize {
		return f.dropDirect()
	}
	f.sector, f.memAlign = sector, max(mem, 512)
	return nil
}

// roundSector is the sector size to use for a device that wants multiples of n.
func roundSector(n int) (int, error) {
	switch {
	case n <= 0 || n > 4096 || n&(n-1) != 0:
		return 0, fmt.Errorf("sector size of %d bytes is not supported", n)
	case n <= 512:
		return 512, nil
	}
	return 4096, nil
}

// dioAlign asks statx for the alignment of memory and offset that O_DIRECT
// wants, in bytes. Offset 0: no O_DIRECT on this file. known is false where
// kernel or file system can't tell.
func (f *File) dioAlign() (mem, off int, known bool) {
	var sx unix.Statx_t
	err := ignoringEINTR(func() error {
		return unix.Statx(f.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &sx)
	})
	if err != nil || sx.Mask&unix.STATX_DIOALIGN == 0 {
		return 0, 0, false
	}
	return int(sx.Dio_mem_align), int(sx.Dio_offset_align), true
}

// tryDirect reads at the start with each sector size; 0: neither works.
func (f *File) tryDirect() int {
	b := Aligned(2 * PageSize)
	for _, n := range []int{512, 4096} {
		// Memory and offset are aligned to n only, to find out whether n is enough.
		err := ignoringEINTR(func() error {
			_, err := unix.Pread(f.fd, b[n:2*n], int64(n))
			return err
		})
		if !errors.Is(err, unix.EINVAL) {
			return n
		}
	}
	return 0
}

// dropDirect turns O_DIRECT off on the very fd, which keeps its lock.
func (f *File) dropDirect() error {
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags&^unix.O_DIRECT)
	}
	if err != nil {
		return fmt.Errorf("fcntl O_DIRECT off: %w", err)
	}
	f.direct = false
	return nil
}

// readSize is the size in bytes now, rounded down to whole sectors.
func (f *File) readSize() (int64, error) {
	var size int64
	if f.block {
		var n uint64
		err := ioctlPtr(f.fd, unix.BLKGETSIZE64, unsafe.Pointer(&n))
		if err != nil {
			return 0, fmt.Errorf("ioctl BLKGETSIZE64: %w", err)
		}
		size = int64(n)
	} else {
		var st unix.Stat_t
		if err := ignoringEINTR(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
			return 0, err
		}
		size = st.Size
	}
	return size - size%int64(f.sector), nil
}

// WriteZeroesMax is how many bytes the block device zeroes by itself at one command, as its queue in sysfs says; 0: it
// does not, and the kernel writes the zeros. -1: a pool file, or sysfs does not say.
func (f *File) WriteZeroesMax() int64 {
	if !f.block {
		return -1
	}
	num := strings.TrimPrefix(f.identity, "dev-")
	for _, dir := range []string{"/queue", "/../queue"} { // a partition has its disk's queue
		b, err := os.ReadFile("/sys/dev/block/" + num + dir + "/write_zeroes_max_bytes")
		if err != nil {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return -1
		}
		return int64(min(n, math.MaxInt64))
	}
	return -1
}

func openRetry(path string, flags int, mode uint32) (fd int, err error) {
	err = ignoringEINTR(func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOCTTY, mode)
		return err
	})
	return fd, err
}

// ignoringEINTR repeats call until a signal does not interrupt it.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func ioctlPtr(fd int, req uint, p unsafe.Pointer) error {
	return ignoringEINTR(func() error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(p)); e != 0 {
			return e
		}
		return nil
	})
}
