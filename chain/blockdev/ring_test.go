package blockdev_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

func newRing(t testing.TB, n uint32) *blockdev.Ring {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := blockdev.NewRing(n)
	if err != nil {
		t.Skipf("SKIPPED: io_uring is refused: %v; the ring is NOT tested", err)
	}
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

// wait submits and takes n completions, by user data.
func wait(t testing.TB, r *blockdev.Ring, n int) map[uint64]blockdev.Completion {
	t.Helper()
	got := map[uint64]blockdev.Completion{}
	for len(got) < n {
		c, ok := r.Next()
		if !ok {
			must(t, r.Enter(1))
			continue
		}
		if _, ok := got[c.User]; ok {
			t.Fatalf("request %d completed twice", c.User)
		}
		got[c.User] = c
	}
	if r.Ready() || r.Pending() != 0 {
		t.Fatalf("ready %v, pending %d after the last completion", r.Ready(), r.Pending())
	}
	return got
}

func TestRing(t *testing.T) {
	for _, name := range []string{"file", "block"} {
		t.Run(name, func(t *testing.T) {
			r := newRing(t, 8)
			path := poolFile(t, t.TempDir(), false)
			if name == "block" {
				path, _ = loop(t, t.TempDir(), 8*mib, 512)
			}
			f := openFile(t, path, blockdev.Options{})
			const n, size = 100, 8192 // many times the entries: Push submits by itself
			bufs := make([][]byte, n)
			for i := range bufs {
				bufs[i] = append(blockdev.Aligned(size)[:0], pattern(size, byte(i))...)
			}
			done := map[uint64]bool{}
			for i, b := range bufs {
				e := blockdev.WriteSQE(f.Fd(), b, int64(i*size), i%2 == 0, uint64(i))
				for errors.Is(r.Push(e), blockdev.ErrRingFull) {
					must(t, r.Enter(1))
					take(t, r, done, size)
				}
				take(t, r, done, size)
			}
			for len(done) < n {
				must(t, r.Enter(1))
				take(t, r, done, size)
			}
			for i, want := range bufs {
				got := blockdev.Aligned(size)
				must(t, r.Push(blockdev.ReadSQE(f.Fd(), got, int64(i*size), 7)))
				if c := wait(t, r, 1)[7]; c.Res != size || !bytes.Equal(got, want) {
					t.Fatalf("read %d: %+v, or content differs", i, c)
				}
			}
			got := pattern(n*size, 0)
			must(t, second(f.ReadAt(got, 0)))
			if !bytes.Equal(got, bytes.Join(bufs, nil)) {
				t.Fatal("the File reads other bytes")
			}
		})
	}
}

// take takes what has completed, each a whole transfer of size bytes.
func take(t *testing.T, r *blockdev.Ring, done map[uint64]bool, size int32) {
	t.Helper()
	for c, ok := r.Next(); ok; c, ok = r.Next() {
		if c.Res != size || done[c.User] {
			t.Fatalf("%+v, seen before: %v", c, done[c.User])
		}
		done[c.User] = true
	}
}

func TestRingErrorsAndPoll(t *testing.T) {
	r := newRing(t, 8)
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	must(t, r.Push(blockdev.PollSQE(p[0], unix.POLLIN, 1)))
	must(t, r.Push(blockdev.ReadSQE(-1, make([]byte, 512), 0, 2)))
	if r.Pending() != 2 {
		t.Fatalf("pending %d", r.Pending())
	}
	if c := wait(t, r, 1)[2]; !errors.Is(c.Err(), unix.EBADF) {
		t.Fatalf("read of a bad fd: %+v", c)
	}
	if _, ok := r.Next(); ok {
		t.Fatal("poll completed before there was anything")
	}
	_, err := unix.Write(p[1], []byte("x"))
	must(t, err)
	if c := wait(t, r, 1)[1]; c.Err() != nil || c.Res&unix.POLLIN == 0 {
		t.Fatalf("poll: %+v", c)
	}
	if _, err := blockdev.NewRing(1 << 30); err == nil {
		t.Fatal("a ring of 2^30 entries")
	}
}

func BenchmarkRing(b *testing.B) {
	r := newRing(b, 64)
	var p [2]int
	must(b, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	e := blockdev.PollSQE(p[1], unix.POLLOUT, 1)
	b.ReportAllocs()
	for b.Loop() {
		must(b, r.Push(e))
		must(b, r.Enter(1))
		r.Next()
	}
}
