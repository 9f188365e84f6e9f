package blockdev

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFailures has an open file turn into something that can't be read, written or synced: each answer of the kernel is counted where
// it belongs, and what is refused without asking it is not.
func TestFailures(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "pool"), 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := Aligned(PageSize)
	if _, err := f.ReadAt(buf, 0); err != nil {
		t.Fatal(err)
	}
	_, past := f.ReadAt(buf, 1<<20)
	_, odd := f.WriteAt(buf[:7], 0)
	if past == nil || odd == nil || f.Failures() != (Failures{}) {
		t.Fatalf("%v, %v; counted %+v", past, odd, f.Failures())
	}
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if err := unix.Dup2(pipe[1], f.fd); err != nil {
		t.Fatal(err)
	}
	_, read := f.ReadAt(buf, 0)
	_, write := f.WriteAt(buf, 0)
	zero := f.Zero(0, PageSize, Overwrite)
	if read == nil || write == nil || zero == nil || f.Failures() != (Failures{Reads: 1, Writes: 2}) {
		t.Errorf("%v, %v, %v; counted %+v", read, write, zero, f.Failures())
	}
	f.NoteFailure(false, unix.EIO) // of a ring
	f.NoteFailure(true, unix.EAGAIN)
	f.NoteFailure(true, unix.ENOSPC)
	_, straight := f.Pwrite(buf, 0)
	if err := f.Sync(); err == nil || straight == nil || f.Failures() != (Failures{Reads: 2, Writes: 3, Syncs: 1}) {
		t.Errorf("%v; counted %+v", err, f.Failures())
	}
	if _, err := f.WriteAt(buf, 0); err == nil || f.Failures() != (Failures{Reads: 2, Writes: 3, Syncs: 1}) {
		t.Errorf("a write after it: %v; counted %+v", err, f.Failures()) // it never came to the kernel
	}
}
