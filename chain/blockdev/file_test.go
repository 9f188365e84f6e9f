package blockdev_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

func TestLock(t *testing.T) {
	dev, _ := loop(t, t.TempDir(), 8*mib, 512)
	for _, path := range []string{poolFile(t, t.TempDir(), true), dev} {
		f := openFile(t, path, blockdev.Options{})
		for _, o := range []blockdev.Options{{}, {ReadOnly: true}} {
			if _, err := blockdev.Open(path, o); !errors.Is(err, blockdev.ErrLocked) || !strings.Contains(err.Error(), path) {
				t.Fatalf("second open: %v", err)
			}
		}
		must(t, f.Close())
		for _, err := range []error{
			f.Close(), f.Sync(), f.Grow(16 * mib), f.Zero(0, 512, blockdev.Overwrite),
			second(f.ReadAt(make([]byte, 512), 0)), second(f.WriteAt(make([]byte, 512), 0)),
		} {
			if !errors.Is(err, blockdev.ErrClosed) {
				t.Fatalf("after close: %v", err)
			}
		}
		a := openFile(t, path, blockdev.Options{ReadOnly: true})
		b := openFile(t, path, blockdev.Options{ReadOnly: true})
		if _, err := blockdev.Open(path, blockdev.Options{}); !errors.Is(err, blockdev.ErrLocked) {
			t.Fatalf("open beside readers: %v", err)
		}
		must(t, second(a.ReadAt(make([]byte, 512), 0)))
		must(t, a.Sync())
		for _, err := range []error{
			a.Grow(16 * mib), a.Zero(0, 512, blockdev.Overwrite),
			second(a.WriteAt(make([]byte, 512), 0)), second(a.WriteAtDsync(make([]byte, 512), 0)),
		} {
			if !errors.Is(err, blockdev.ErrReadOnly) {
				t.Fatalf("change on a read-only open: %v", err)
			}
		}
		must(t, errors.Join(a.Close(), b.Close()))
	}
}

// TestLockIsOnTheIOFile proves that the lock lives and dies with Fd itself: a
// duplicate of it keeps the lock after Close.
func TestLockIsOnTheIOFile(t *testing.T) {
	path := poolFile(t, t.TempDir(), true)
	f := openFile(t, path, blockdev.Options{})
	dup, err := unix.FcntlInt(uintptr(f.Fd()), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	must(t, f.Close())
	if _, err := blockdev.Open(path, blockdev.Options{}); !errors.Is(err, blockdev.ErrLocked) {
		t.Errorf("open while the open file lives: %v", err)
	}
	must(t, unix.Close(dup))
	must(t, openFile(t, path, blockdev.Options{}).Close())
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	path := poolFile(t, dir, true)
	must(t, os.Symlink(path, filepath.Join(dir, "link")))
	a := openFile(t, path, blockdev.Options{ReadOnly: true})
	b := openFile(t, filepath.Join(dir, "link"), blockdev.Options{ReadOnly: true})
	if a.Identity() != b.Identity() || !strings.HasPrefix(a.Identity(), "ino-") || a.Path() != path {
		t.Errorf("%q, %q, path %s", a.Identity(), b.Identity(), a.Path())
	}
	dev, _ := loop(t, dir, 8*mib, 512)
	if id := openFile(t, dev, blockdev.Options{}).Identity(); !strings.HasPrefix(id, "dev-7:") {
		t.Errorf("loop device: %q", id)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	for path, want := range map[string]error{
		dir: blockdev.ErrKind, fifo: blockdev.ErrKind, "/dev/null": blockdev.ErrKind,
		filepath.Join(dir, "none"): fs.ErrNotExist,
	} {
		if _, err := blockdev.Open(path, blockdev.Options{}); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	for _, sparse := range []bool{true, false} {
		path := poolFile(t, dir, sparse)
		var st syscall.Stat_t
		must(t, syscall.Stat(path, &st))
		if full := st.Blocks*512 >= 8*mib; st.Size != 8*mib || full == sparse {
			t.Errorf("sparse %v: size %d, %d blocks", sparse, st.Size, st.Blocks)
		}
		if _, err := blockdev.Create(path, 8*mib, sparse); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over a file: %v", err)
		}
		must(t, os.Remove(path))
	}
	for _, size := range []int64{0, -4096, 100} {
		if _, err := blockdev.Create(filepath.Join(dir, "bad"), size, true); !errors.Is(err, blockdev.ErrMisaligned) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if _, err := blockdev.Create(filepath.Join(dir, "huge"), 1<<62, true); err == nil {
		t.Error("4 EiB were created")
	}
	if l, err := os.ReadDir(dir); err != nil || len(l) != 0 {
		t.Errorf("left behind: %v, %v", l, err)
	}
}

func TestGrowFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd")
	must(t, os.WriteFile(path, bytes.Repeat([]byte{1}, 10000), 0o600)) // 19 sectors and a part of one
	f := openFile(t, path, blockdev.Options{})
	start := f.Size()
	if sec := int64(f.SectorSize()); start != 10000/sec*sec {
		t.Fatalf("size %d", start)
	}
	if err := f.Grow(9*mib + 1); !errors.Is(err, blockdev.ErrMisaligned) {
		t.Fatalf("odd size: %v", err)
	}
	must(t, f.Grow(9*mib))
	must(t, f.Grow(9*mib))
	b, err := os.ReadFile(path)
	must(t, err)
	if f.Size() != 9*mib || len(b) != 9*mib || bytes.Count(b, []byte{1}) != int(start) {
		t.Fatalf("size %d, file of %d bytes", f.Size(), len(b))
	}
}

func TestGrowBlockDevice(t *testing.T) {
	dev, backing := loop(t, t.TempDir(), 8*mib, 512)
	f := openFile(t, dev, blockdev.Options{})
	if err := f.Grow(16 * mib); !errors.Is(err, blockdev.ErrTooSmall) || f.Size() != 8*mib {
		t.Fatalf("grow before the device did: %v, size %d", err, f.Size())
	}
	must(t, os.Truncate(backing, 20*mib))
	must(t, exec.Command("losetup", "-c", dev).Run())
	must(t, f.Grow(16*mib))
	if f.Size() != 20*mib {
		t.Fatalf("size %d", f.Size())
	}
	must(t, second(f.WriteAt(make([]byte, 512), 20*mib-512)))
}

// TestSyncFailureIsFinal writes into the page cache above a device that has no
// room below: the kernel tells of the loss once, the File for ever.
func TestSyncFailureIsFinal(t *testing.T) {
	for name, lose := range map[string]func(f *blockdev.File) error{
		"sync":  func(f *blockdev.File) error { return errors.Join(second(f.WriteAt(pattern(4*mib, 1), 0)), f.Sync()) },
		"dsync": func(f *blockdev.File) error { return second(f.WriteAtDsync(pattern(4*mib, 1), 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := openFile(t, fullLoop(t), blockdev.Options{Direct: blockdev.DirectNever})
			testFinal(t, f, lose(f))
		})
	}
	t.Run("direct", func(t *testing.T) {
		f := openFile(t, fullLoop(t), blockdev.Options{})
		if err := second(f.WriteAt(pattern(4*mib, 1), 0)); err == nil || errors.Is(err, blockdev.ErrSyncFailed) {
			t.Fatalf("a failed write: %v", err)
		}
		must(t, second(f.ReadAt(make([]byte, 512), 0)))
		testFinal(t, f, second(f.WriteAtDsync(pattern(4*mib, 1), 0)))
	})
}

func testFinal(t *testing.T, f *blockdev.File, first error) {
	t.Helper()
	if !errors.Is(first, blockdev.ErrSyncFailed) || !strings.Contains(first.Error(), f.Path()) {
		t.Fatalf("the loss: %v", first)
	}
	for i, err := range []error{
		f.Sync(), second(f.WriteAt(make([]byte, 512), 0)), second(f.WriteAtDsync(make([]byte, 512), 0)),
		f.Zero(0, 512, blockdev.Overwrite), f.Grow(8 * mib),
	} {
		if !errors.Is(err, blockdev.ErrSyncFailed) {
			t.Errorf("case %d after it: %v", i, err)
		}
	}
	must(t, second(f.ReadAt(make([]byte, 512), 0)))
}

// fullLoop is a loop device of 8 MiB over a file system that has room for one.
func fullLoop(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a mount needs root; a failing device is NOT tested")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("SKIPPED: no mount of a tmpfs: %v; a failing device is NOT tested", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("umount %s: %v", dir, err)
		}
	})
	dev, _ := loop(t, dir, 8*mib, 512)
	return dev
}

// A device that somebody else made smaller has that size after Cut, and grows from there.
func TestCut(t *testing.T) {
	path := poolFile(t, t.TempDir(), true)
	f := openFile(t, path, blockdev.Options{})
	must(t, os.Truncate(path, 4*mib))
	must(t, f.Cut())
	if f.Size() != 4*mib {
		t.Fatalf("size %d", f.Size())
	}
	if _, err := f.WriteAt(make([]byte, 4096), 4*mib); !errors.Is(err, blockdev.ErrPastEnd) {
		t.Fatalf("write behind the cut: %v", err)
	}
	must(t, f.Grow(6*mib))
	if f.Size() != 6*mib {
		t.Fatalf("size %d", f.Size())
	}
	must(t, f.Close())
	if err := f.Cut(); !errors.Is(err, blockdev.ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
}
