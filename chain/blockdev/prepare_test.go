package blockdev

import (
	"os/signal"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain/fault"
)

// Prepare fills the holes of a range and leaves data and the rest alone.
func TestPrepare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool")
	f, err := Create(path, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := Aligned(4096)
	for i := range b {
		b[i] = 'x'
	}
	if _, err := f.WriteAt(b, 128<<10); err != nil {
		t.Fatal(err)
	}
	if !f.Sparse() {
		t.Error("a file with one block is not sparse")
	}
	if at, n := f.Backed(64<<10, 256<<10); at != 128<<10 || n != 4<<10 {
		t.Errorf("of the range the host has %d bytes at %d", n, at)
	}
	if at, n := f.Backed(256<<10, 256<<10); n != 0 {
		t.Errorf("of a hole the host has %d bytes at %d", n, at)
	}
	if done, err := f.Prepare(64<<10, 256<<10); err != nil || done != 256<<10 {
		t.Fatal(done, err)
	}
	if at, n := f.Backed(0, 1<<20); at != 64<<10 || n != 256<<10 {
		t.Errorf("of all the host has %d bytes at %d", n, at)
	}
	if at, err := unix.Seek(f.Fd(), 64<<10, unix.SEEK_HOLE); err != nil || at != 320<<10 {
		t.Errorf("the first hole after 64K is at %d, %v", at, err)
	}
	if at, err := unix.Seek(f.Fd(), 0, unix.SEEK_DATA); err != nil || at != 64<<10 {
		t.Errorf("data begins at %d, %v", at, err)
	}
	got := Aligned(256 << 10)
	if _, err := f.ReadAt(got, 64<<10); err != nil {
		t.Fatal(err)
	}
	for i, c := range got {
		if in := i >= 64<<10 && i < 68<<10; (c == 'x') != in || !in && c != 0 {
			t.Fatalf("byte %d is %#x", 64<<10+i, c)
		}
	}
}

// Reserve gives space to holes, and leaves what is written.
func TestReserve(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "pool"), 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := Aligned(4096)
	b[0] = 'x'
	if _, err := f.WriteAt(b, 128<<10); err != nil {
		t.Fatal(err)
	}
	if err := f.Reserve(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if f.Sparse() {
		t.Error("there are holes that the host did not fill")
	}
	got := Aligned(1 << 20)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i, c := range got {
		if (c == 'x') != (i == 128<<10) || c != 'x' && c != 0 {
			t.Fatalf("byte %d is %#x", i, c)
		}
	}
}

// A file whose blocks are all there is not sparse, and nothing of it is prepared.
func TestPrepareFull(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "pool"), 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Sparse() {
		t.Error("sparse, and all of it was written")
	}
	if done, err := f.Prepare(0, 1<<20); err != nil || done != 1<<20 {
		t.Error(done, err)
	}
	if at, n := f.Backed(4096, 8192); at != 4096 || n != 8192 {
		t.Errorf("the host has %d bytes at %d", n, at)
	}
}

// A limit of file sizes is the host's way to have no space: the error says so, and what was prepared before counts.
func TestPrepareMeetsLimit(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "pool"), 8<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = 5 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	done, err := f.Prepare(2<<20, 5<<20)
	if back := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); back != nil {
		t.Fatal(back)
	}
	if done != 3<<20 || !HostFull(err) || fault.Of(err) != fault.Transient {
		t.Errorf("%d bytes prepared, %v (%v)", done, err, fault.Of(err))
	}
	if done, err := f.Prepare(2<<20, 5<<20); done != 5<<20 || err != nil {
		t.Errorf("without the limit %d bytes prepared, %v", done, err)
	}
}
