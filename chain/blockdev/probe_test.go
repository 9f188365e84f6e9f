package blockdev

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestRoundSector(t *testing.T) {
	for n, want := range map[int]int{1: 512, 512: 512, 1024: 4096, 2048: 4096, 4096: 4096, 0: 0, -1: 0, 520: 0, 8192: 0} {
		if got, err := roundSector(n); got != want || (err == nil) != (want != 0) {
			t.Errorf("%d: %d, %v; want %d", n, got, err, want)
		}
	}
}

// TestTryDirect holds the trial reads to what statx says about the same file.
func TestTryDirect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool")
	f, err := Create(path, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, off, known := f.dioAlign()
	if !f.direct || !known || off == 0 {
		t.Skipf("SKIPPED: %s: no O_DIRECT or no STATX_DIOALIGN on this file system; trial reads are NOT tested", path)
	}
	if got := f.tryDirect(); got != max(off, 512) {
		t.Errorf("trial reads: %d, statx: %d", got, off)
	}
	if err := f.dropDirect(); err != nil {
		t.Fatal(err)
	}
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_DIRECT != 0 || f.direct {
		t.Errorf("flags %#x, %v: O_DIRECT is still on", flags, err)
	}
	if _, err := f.WriteAt(make([]byte, 512), 512); err != nil {
		t.Error(err)
	}
	if _, err := Open(path, Options{}); err == nil {
		t.Error("dropping O_DIRECT dropped the lock")
	}
}

func TestAligned(t *testing.T) {
	for _, n := range []int{0, 1, 512, 4095, 4096, 1 << 20} {
		b := Aligned(n)
		if len(b) != n || cap(b) != n || n > 0 && addr(b)%PageSize != 0 {
			t.Errorf("%d: length %d, capacity %d, address %#x", n, len(b), cap(b), addr(b))
		}
	}
}

func TestCachedWhereDirectIsRefused(t *testing.T) {
	// procfs files are regular and have no O_DIRECT: open answers EINVAL.
	if _, err := os.Stat("/proc/version"); err != nil {
		t.Skipf("SKIPPED: no /proc: %v", err)
	}
	f, err := Open("/proc/version", Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Direct() || f.MemAlign() != 1 || f.SectorSize() != 512 {
		t.Errorf("direct %v, alignment %d, sector %d", f.Direct(), f.MemAlign(), f.SectorSize())
	}
}

// TestRingLayout: the structures are the kernel's.
func TestRingLayout(t *testing.T) {
	for name, got := range map[string][2]uintptr{
		"io_uring_sqe":      {unsafe.Sizeof(SQE{}), 64},
		"io_uring_cqe":      {unsafe.Sizeof(Completion{}), 16},
		"io_uring_params":   {unsafe.Sizeof(ringParams{}), 120},
		"io_sqring_offsets": {unsafe.Sizeof(sqOffsets{}), 40},
		"io_cqring_offsets": {unsafe.Sizeof(cqOffsets{}), 40},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d bytes, want %d", name, got[0], got[1])
		}
	}
}
