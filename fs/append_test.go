package fs

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// An append goes to the end that there is, also when a command has moved it beside the kernel, which asks for sizes only
// now and then.
func TestAppendAfterACommand(t *testing.T) { onTransports(t, testAppendAfterACommand) }

func testAppendAfterACommand(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR|unix.O_APPEND)
	other := openAt(t, path, unix.O_WRONLY|unix.O_APPEND)
	a, err := p.Resolve("v")
	must(t, err)
	vol, err := p.Volume(a.Ino)
	must(t, err)
	var want []byte
	grow := func(fd int, data []byte) {
		t.Helper()
		n, err := unix.Write(fd, data)
		if err != nil || n != len(data) {
			t.Fatalf("%d, %v", n, err)
		}
		want = append(want, data...)
		got := make([]byte, len(want)+1)
		if n, err := vol.ReadAt(got, 0); n != len(want) || !bytes.Equal(got[:n], want) {
			t.Fatalf("%d bytes, %v; want %d, or content differs", n, err, len(want))
		}
	}
	resize := func(size int64) {
		t.Helper()
		must(t, vol.Resize(size, true))
		must(t, s.FS().Changed(a.Ino))
		want = append(want[:min(size, int64(len(want)))], make([]byte, max(0, size-int64(len(want))))...)
	}
	stat := func() { must(t, unix.Fstat(fd, new(unix.Stat_t))) }
	grow(fd, pattern(5000, 1))
	grow(other, pattern(3<<20+7, 2)) // in several parts
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "s"))
	atSnap := len(want)
	for round := range 3 {
		see := func() {
			if round == 1 {
				stat()
			}
		}
		resize(100)
		see()
		grow(fd, pattern(10, 3))
		grow(other, pattern(5000, 4))
		resize(1 << 20)
		see()
		grow(other, make([]byte, 9000))
		grow(fd, pattern(2<<20+1, 5))
		resize(int64(len(want)) + 77)
		resize(int64(len(want)) - 50)
		see()
		grow(fd, pattern(10, 6))
		resize(0)
		grow(fd, pattern(512, 7))
		must(t, p.Rollback(chain.Req{}, a.Ino, "s", true))
		must(t, s.FS().Changed(a.Ino))
		want = append(pattern(5000, 1), pattern(3<<20+7, 2)...)
		if len(want) != atSnap {
			t.Fatal(len(want), atSnap)
		}
		see()
		grow(other, pattern(100, 8))
		if round == 2 {
			_, err := unix.Pwrite(fd, []byte("!"), 0) // O_APPEND rules pwrite(2) on Linux, too
			must(t, err)
			want = append(want, '!')
			grow(fd, pattern(1, 9))
		}
	}
}

// Two who append through opens of their own lose nothing of each other, with resizes beside them.
func TestAppendersBesideEachOther(t *testing.T) { onTransports(t, testAppendersBesideEachOther) }

func testAppendersBesideEachOther(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fds := []int{openAt(t, path, unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND), openAt(t, path, unix.O_WRONLY|unix.O_APPEND)}
	a, err := p.Resolve("v")
	must(t, err)
	vol, err := p.Volume(a.Ino)
	must(t, err)
	const each, length = 300, 700
	var running sync.WaitGroup
	for i, fd := range fds {
		running.Go(func() {
			line := bytes.Repeat([]byte{byte('a' + i)}, length)
			for range each {
				if n, err := unix.Write(fd, line); n != length || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
	for range 20 {
		must(t, vol.Resize(vol.Size()+1<<20, true))
		must(t, s.FS().Changed(a.Ino))
	}
	running.Wait()
	got := make([]byte, vol.Size())
	if _, err := vol.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i := range fds {
		if n := bytes.Count(got, []byte{byte('a' + i)}); n != each*length {
			t.Errorf("%d bytes of appender %d, want %d", n, i, each*length)
		}
	}
}
