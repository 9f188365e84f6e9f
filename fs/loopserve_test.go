package fs

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// TestLoopKeepsBytes writes and reads ranges of any alignment one after the other, and compares with a slice.
func TestLoopKeepsBytes(t *testing.T) {
	refused := func(uint32) (*blockdev.Ring, error) { return nil, unix.EPERM }
	for _, c := range []struct {
		name string
		v    variant
		ring func(uint32) (*blockdev.Ring, error)
	}{
		{"ring", variant{file: true}, blockdev.NewRing},
		{"refused", variant{file: true}, refused},
		{"memory", variant{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := newPool(t, c.v)
			w := newWire(t, p, c.ring, nil)
			model := make([]byte, 0, 4<<20)
			for i, r := range []struct{ off, n int }{
				{0, 4096},
				{5, 7},
				{4000, 200},
				{8192, 1 << 20},
				{8192 + 512, 512},
				{8192 + 100, 1 << 20},
				{2<<20 + 1, 1<<20 - 1},
				{3 << 20, 10},
				{3<<20 + 10, 4090},
				{0, 3<<20 + 5000},
			} {
				for n := 0; n < r.n; n += maxWrite {
					off, data := r.off+n, pattern(min(r.n-n, maxWrite), byte(i+n))
					if e := w.write(int64(off), data, uint32(i%2)*unix.O_DSYNC); e != 0 {
						t.Fatalf("write %d at %d: %v", len(data), off, e)
					}
					model = model[:max(len(model), off+len(data))]
					copy(model[off:], data)
				}
				for off := 0; off < len(model); off += maxWrite {
					w.shows(int64(off), model[off:min(len(model), off+maxWrite)])
				}
				w.shows(int64(r.off)+1, model[r.off+1:min(len(model), r.off+maxWrite)])
			}
			if e, got := w.call(w.transfer(codeRead, int64(len(model))-3, 100, 0, nil)); e != 0 || len(got) != 3 {
				t.Errorf("at the end: %v, %d bytes", e, len(got))
			}
			if e, got := w.call(w.transfer(codeRead, 1<<40, 100, 0, nil)); e != 0 || len(got) != 0 {
				t.Errorf("after the end: %v, %d bytes", e, len(got))
			}
			if e, _ := w.call(w.request(codeFsync, make([]byte, 16))); e != 0 {
				t.Errorf("fsync: %v", e)
			}
		})
	}
}

// A WRITE whose blocks are each a piece of the map by itself is served by several plans, and shows what one would, also where
// the last ones go the synchronous way.
func TestLoopWritesInPlans(t *testing.T) {
	const n = maxWrite / blockSize
	for _, flags := range []uint32{0, unix.O_DSYNC, unix.O_APPEND} {
		p, _ := newPool(t, variant{file: true})
		w := newWire(t, p, blockdev.NewRing, nil)
		model := make([]byte, maxWrite)
		for odd := range 2 {
			for i := odd; i < n; i += 2 {
				b := pattern(blockSize, byte(i))
				copy(model[i*blockSize:], b)
				if e := w.write(int64(i)*blockSize, b, 0); e != 0 {
					t.Fatal(e)
				}
			}
		}
		for i, off := range []int64{0, 100, 3 * blockSize, 1000} {
			must(t, p.Snapshot(chain.Req{}, []chain.Ino{w.ino}, string(rune('a'+i))))
			if flags == unix.O_APPEND {
				off = int64(len(model))
			}
			b := pattern(maxWrite-i*777, byte(i+1))
			if e := w.write(off, b, flags); e != 0 {
				t.Fatalf("flags %#x, %d bytes at %d: %v", flags, len(b), off, e)
			}
			if end := int(off) + len(b); end > len(model) {
				model = append(model, make([]byte, end-len(model))...)
			}
			copy(model[off:], b)
			for off := 0; off < len(model); off += maxWrite {
				w.shows(int64(off), model[off:min(len(model), off+maxWrite)])
			}
		}
	}
}

func TestLoopRefuses(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	w := newWire(t, p, nil, nil)
	data := pattern(4096, 1)
	if e := w.write(0, data, 0); e != 0 {
		t.Fatal(e)
	}
	for _, c := range []struct {
		what string
		req  []byte
		want syscall.Errno
	}{
		{"unaligned direct read", w.transfer(codeRead, 1, 512, unix.O_DIRECT, nil), unix.EINVAL},
		{"unaligned direct write", w.transfer(codeWrite, 0, 100, unix.O_DIRECT, data[:100]), unix.EINVAL},
		{"too long a read", w.transfer(codeRead, 0, 2<<20, 0, nil), unix.EINVAL},
		{"write without its payload", w.transfer(codeWrite, 0, 4096, 0, data[:512]), unix.EINVAL},
		{"past the largest size", w.transfer(codeWrite, 1<<62, 4096, 0, data), unix.EFBIG},
		{"half a request", w.request(codeReadDir, nil), unix.EIO},
		{"no such opcode", w.request(4000, make([]byte, 64)), unix.ENOSYS},
	} {
		if e, _ := w.call(c.req); e != c.want {
			t.Errorf("%s: %v, want %v", c.what, e, c.want)
		}
	}
	must(t, w.l.fs.setImmutable(chain.Req{}, w.ino, true))
	if e := w.write(0, data, 0); e != unix.EPERM {
		t.Errorf("write to an immutable file: %v", e)
	}
	w.ino += 1000
	if e := w.write(0, data, 0); e != unix.ESTALE {
		t.Errorf("write to nothing: %v", e)
	}
	if e, _ := w.call(w.transfer(codeRead, 0, 4096, 0, nil)); e != unix.ESTALE {
		t.Errorf("read of nothing: %v", e)
	}
}

// An answer to the INTERRUPT of a WRITE would make the kernel send it again for ever.
func TestLoopDropsInterruptsOfWrites(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	w := newWire(t, p, nil, nil)
	for range 10 {
		in := w.transfer(codeWrite, 0, 4096, 0, pattern(4096, 1))
		w.send(in)
		w.send(w.request(codeInterrupt, binary.NativeEndian.AppendUint64(nil, headerOf(in).Unique)))
		w.send(w.request(codeForget, make([]byte, 8)))
		if unique, e, _ := w.answer(); unique != headerOf(in).Unique || e != 0 {
			t.Fatalf("answer to %d: %v", unique, e)
		}
	}
	w.send(w.request(codeInterrupt)) // too short
	w.shows(0, pattern(4096, 1))
}

// waitingFS serves an ACCESS until it is interrupted.
type waitingFS struct {
	fuse.RawFileSystem
	began chan struct{}
}

func (f waitingFS) Access(cancel <-chan struct{}, _ *fuse.AccessIn) fuse.Status {
	f.began <- struct{}{}
	<-cancel
	return fuse.EINTR
}

func TestLoopPassesInterruptsOn(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	f := waitingFS{fuse.NewDefaultRawFileSystem(), make(chan struct{})}
	w := newWire(t, p, nil, f)
	in := w.request(34, make([]byte, 8)) // ACCESS
	w.send(in)
	<-f.began
	w.send(w.request(codeInterrupt, binary.NativeEndian.AppendUint64(nil, headerOf(in).Unique)))
	if unique, e, _ := w.answer(); unique != headerOf(in).Unique || e != unix.EINTR {
		t.Errorf("answer to %d: %v", unique, e)
	}
}

// TestLoopDeviceErrors puts a file that can't be written behind the device's descriptor.
func TestLoopDeviceErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pool")
	dev, err := blockdev.Create(path, poolBytes, true)
	must(t, err)
	defer dev.Close()
	must(t, chain.Create(dev, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	p, err := chain.Open(dev, chain.Options{Now: time.Now})
	must(t, err)
	w := newWire(t, p, blockdev.NewRing, nil)
	data := pattern(128<<10, 1) // too long to be done without the ring
	if e := w.write(0, data, 0); e != 0 {
		t.Fatal(e)
	}
	if e, _ := w.call(w.request(codeFsync, make([]byte, 16))); e != 0 {
		t.Fatal(e)
	}
	good, err := unix.Dup(dev.Fd())
	must(t, err)
	swap := func(flags int) {
		fd, err := unix.Open(path, flags, 0)
		must(t, err)
		must(t, unix.Dup3(fd, dev.Fd(), unix.O_CLOEXEC))
		must(t, unix.Close(fd))
	}
	swap(unix.O_RDONLY)
	for range 3 {
		if e := w.write(0, pattern(128<<10, 2), 0); e != unix.EBADF {
			t.Errorf("write: %v", e)
		}
		if e := w.write(100, pattern(512, 2), 0); e != unix.EBADF {
			t.Errorf("merging write: %v", e)
		}
	}
	must(t, p.Failed())
	swap(unix.O_WRONLY)
	for _, n := range []int{128 << 10, 512} {
		if e, _ := w.call(w.transfer(codeRead, 0, n, 0, nil)); e != unix.EBADF {
			t.Errorf("read: %v", e)
		}
	}
	if e := w.write(100, pattern(512, 2), 0); e != unix.EBADF {
		t.Errorf("merging write: %v", e)
	}
	must(t, p.Failed())
	swap(unix.O_RDONLY)
	if e := w.write(0, data[:4096], unix.O_DSYNC); e != unix.EIO {
		t.Errorf("dsync write: %v", e)
	}
	if err := p.Failed(); !errors.Is(err, chain.ErrReadOnly) || !errors.Is(err, blockdev.ErrSyncFailed) {
		t.Errorf("the pool takes writes after a failed dsync: %v", err)
	}
	must(t, unix.Dup3(good, dev.Fd(), unix.O_CLOEXEC))
	must(t, unix.Close(good))
	if e := w.write(0, data, 0); e != unix.EIO {
		t.Errorf("write after it: %v", e)
	}
	w.shows(0, data)
}

func TestMayBeZeros(t *testing.T) {
	b := make([]byte, 1<<20)
	for _, c := range []struct {
		n    int
		off  int64
		set  int // a byte that is not zero
		want bool
	}{
		{4096, 0, -1, true},
		{4096, 0, 4095, false},
		{4095, 0, -1, false},
		{8191, 1, -1, true},
		{8190, 1, -1, false},
		{1 << 20, 512, -1, true},
		{1 << 20, 0, 5, true}, // a long run of zeros behind the first block
	} {
		clear(b)
		if c.set >= 0 {
			b[c.set] = 1
		}
		if got := mayBeZeros(b[:c.n], c.off); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// BenchmarkLoop is what a request costs beside its device: a volume in one piece, 4 KiB at depth 1 and 8.
func BenchmarkLoop(b *testing.B) {
	for _, op := range []string{"read", "write"} {
		for _, depth := range []int{1, 8} {
			b.Run("op="+op+"/depth="+string(rune('0'+depth)), func(b *testing.B) {
				p, _ := newPool(b, variant{file: true})
				w := newWire(b, p, blockdev.NewRing, nil)
				data := pattern(4096*depth, 1)
				if e := w.write(0, data, 0); e != 0 {
					b.Fatal(e)
				}
				w.call(w.request(codeFsync, make([]byte, 16))) // what comes after the durable size is allocated anew
				var reqs [][]byte
				for i := range depth {
					if op == "read" {
						reqs = append(reqs, w.transfer(codeRead, int64(i)*4096, 4096, unix.O_DIRECT, nil))
					} else {
						reqs = append(reqs, w.transfer(codeWrite, int64(i)*4096, 4096, unix.O_DIRECT, data[:4096]))
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					for _, r := range reqs {
						w.send(r)
					}
					for range reqs {
						if _, e, _ := w.answer(); e != 0 {
							b.Fatal(e)
						}
					}
				}
			})
		}
	}
}

// TestLoopAllocatesNothing holds the hot path to it, of one loop and of several; a collection in between may cost a few.
func TestLoopAllocatesNothing(t *testing.T) {
	for loops := 1; loops <= 2; loops++ {
		p, _ := newPool(t, variant{file: true})
		w := newWires(t, p, blockdev.NewRing, nil, loops, 1)[0]
		data := pattern(4096, 1)
		for _, in := range [][]byte{
			w.transfer(codeWrite, 0, 4096, unix.O_DIRECT, data),
			w.transfer(codeRead, 0, 4096, unix.O_DIRECT, nil),
		} {
			const rounds = 2000
			w.call(in)
			w.call(w.request(codeFsync, make([]byte, 16))) // what comes after the durable size is allocated anew
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range rounds {
				w.call(in)
			}
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > rounds/10 {
				t.Errorf("%d loops, opcode %d: %d allocations in %d requests", loops, headerOf(in).Opcode, n, rounds)
			}
		}
	}
}
