package blockdev

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
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
	if err := f.Prepare(64<<10, 256<<10); err != nil {
		t.Fatal(err)
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
