package fs

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// openAt opens a file until the end of the test, without Go's poller.
func openAt(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// pattern is n bytes that differ from block to block.
func pattern(n int, seed byte) []byte {
	b := blockdev.Aligned(n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>12)*31 ^ seed
	}
	return b
}

func TestDirectIsAligned(t *testing.T) { onTransports(t, testDirectIsAligned) }

func testDirectIsAligned(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT)
	buf := pattern(8192, 2)
	_, err := unix.Pwrite(fd, buf, 512)
	must(t, err)
	for _, c := range []struct {
		off int64
		n   int
		err error
	}{
		{0, 512, nil},
		{512, 4096, nil},
		{1024, 1536, nil},
		{0, 1, unix.EINVAL},
		{1, 512, unix.EINVAL},
		{256, 4096, unix.EINVAL},
		{512, 513, unix.EINVAL},
	} {
		got := blockdev.Aligned(c.n)
		n, err := unix.Pread(fd, got, c.off)
		if !errors.Is(err, c.err) || err == nil && n != c.n {
			t.Errorf("read %d at %d: %d, %v, want %v", c.n, c.off, n, err, c.err)
		}
		if _, err := unix.Pwrite(fd, buf[:c.n], 1<<20+c.off); !errors.Is(err, c.err) {
			t.Errorf("write %d at %d: %v, want %v", c.n, c.off, err, c.err)
		}
	}
	plain := openAt(t, path, unix.O_RDWR)
	got := make([]byte, 1001)
	if n, err := unix.Pread(plain, got, 513); err != nil || n != 1001 || !bytes.Equal(got, buf[1:1002]) {
		t.Errorf("read of any bytes: %d, %v", n, err)
	}
}

func TestReadWriteSizes(t *testing.T) { onTransports(t, testReadWriteSizes) }

func testReadWriteSizes(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	want := pattern(5<<20+777, 3)
	for off := 0; off < len(want); {
		n, err := unix.Pwrite(fd, want[off:], int64(off))
		must(t, err)
		off += n
	}
	got := make([]byte, len(want)+10)
	n, err := unix.Pread(fd, got, 0)
	if err != nil || n != len(want) || !bytes.Equal(got[:n], want) {
		t.Errorf("read back: %d, %v", n, err)
	}
	if n, err := unix.Pread(fd, got, int64(len(want))); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	must(t, unix.Fsync(fd))
	must(t, unix.Fdatasync(fd))
	must(t, unix.Ftruncate(fd, 100))
	if n, err := unix.Pread(fd, got, 0); n != 100 || err != nil {
		t.Errorf("after truncate: %d, %v", n, err)
	}
	again := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_RDWR|unix.O_TRUNC)
	if n, err := unix.Pread(again, got, 0); n != 0 || err != nil {
		t.Errorf("after O_TRUNC: %d, %v", n, err)
	}
}

func TestSharedMmap(t *testing.T) { onTransports(t, testSharedMmap) }

func testSharedMmap(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	must(t, unix.Ftruncate(fd, 8192))
	m := newMapper(t, filepath.Join(s.Dir(), "v"))
	m.do("put stored")
	got := make([]byte, 6)
	_, err := unix.Pread(fd, got, 4096)
	if err != nil || string(got) != "stored" {
		t.Errorf("after msync: %q, %v", got, err)
	}
	_, err = unix.Pwrite(fd, []byte("around"), 4096)
	must(t, err)
	if got, want := m.do("get"), fmt.Sprintf("%x", "around"); !strings.HasPrefix(got, want) {
		t.Errorf("mmap shows %s, want %s", got, want)
	}
}

func TestFallocateAndSeek(t *testing.T) { onTransports(t, testFallocateAndSeek) }

func testFallocateAndSeek(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	size := func() int64 {
		var st unix.Stat_t
		must(t, unix.Fstat(fd, &st))
		return st.Size
	}
	must(t, unix.Fallocate(fd, 0, 0, 64<<10))
	must(t, unix.Fallocate(fd, keep, 64<<10, 64<<10))
	if size() != 64<<10 {
		t.Errorf("size %d", size())
	}
	_, err := unix.Pwrite(fd, pattern(64<<10, 4), 0)
	must(t, err)
	must(t, unix.Fallocate(fd, punch|keep, 5000, 20000))
	must(t, unix.Fallocate(fd, zero|keep, 60<<10, 64<<10))
	must(t, unix.Fallocate(fd, zero, 128<<10, 4096))
	if size() != 132<<10 {
		t.Errorf("size %d", size())
	}
	want := pattern(132<<10, 4)
	clear(want[5000:25000])
	clear(want[60<<10:])
	got := make([]byte, len(want))
	if n, err := unix.Pread(fd, got, 0); err != nil || n != len(want) || !bytes.Equal(got, want) {
		t.Errorf("content: %d, %v", n, err)
	}
	hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	if err != nil || hole != 8192 {
		t.Errorf("hole: %d, %v", hole, err)
	}
	if data, err := unix.Seek(fd, hole, unix.SEEK_DATA); err != nil || data != 24576 {
		t.Errorf("data: %d, %v", data, err)
	}
	_, err = unix.Seek(fd, 1<<20, unix.SEEK_DATA)
	wantErr(t, "past the end", err, unix.ENXIO)
	for _, mode := range []uint32{unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE, unix.FALLOC_FL_UNSHARE_RANGE} {
		wantErr(t, fmt.Sprint("mode ", mode), unix.Fallocate(fd, mode, 0, 4096), unix.EOPNOTSUPP)
	}
}

func TestCopyFileRange(t *testing.T) { onTransports(t, testCopyFileRange) }

func testCopyFileRange(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	src := openAt(t, filepath.Join(s.Dir(), "a"), unix.O_CREAT|unix.O_RDWR)
	dst := openAt(t, filepath.Join(s.Dir(), "b"), unix.O_CREAT|unix.O_RDWR)
	want := pattern(3<<20+55, 5)
	_, err := unix.Pwrite(src, want, 0)
	must(t, err)
	var from, to int64 = 7, 100
	for n := 1; n > 0; { // a signal, of this process's scheduler say, ends it early with what was copied
		n, err = unix.CopyFileRange(src, &from, dst, &to, len(want), 0)
		must(t, err)
	}
	if int(from) != len(want) || int(to) != len(want)-7+100 {
		t.Errorf("copied up to %d, to %d", from, to)
	}
	got := make([]byte, len(want)-7)
	if _, err := unix.Pread(dst, got, 100); err != nil || !bytes.Equal(got, want[7:]) {
		t.Errorf("content: %v", err)
	}
}

func TestUnlinkedFileLivesUntilItsLastClose(t *testing.T) {
	onTransports(t, testUnlinkedFileLivesUntilItsLastClose)
}

func testUnlinkedFileLivesUntilItsLastClose(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	must(t, err)
	a, err := p.Resolve("v")
	must(t, err)
	must(t, unix.Unlink(path))
	_, err = unix.Pwrite(fd, pattern(4096, 1), 0)
	must(t, err)
	got := make([]byte, 4096)
	if _, err := unix.Pread(fd, got, 0); err != nil || !bytes.Equal(got, pattern(4096, 1)) {
		t.Errorf("orphan: %v", err)
	}
	must(t, unix.Close(fd))
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err = p.GetAttr(a.Ino); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the orphan is still there")
}
