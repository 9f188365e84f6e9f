package fs

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// wire is a loop on one end of a socket pair, and the kernel's part of the talk on the other.
type wire struct {
	t    testing.TB
	l    *eventLoop // the first at this socket
	fd   int
	ino  chain.Ino
	buf  []byte
	last uint64
}

// newWire makes a volume, opens it, and makes a loop that serves it. What the loop does not do goes to raw, or if that
// is nil to the pool's FS.
func newWire(t testing.TB, p *chain.Pool, ring func(uint32) (*blockdev.Ring, error), raw fuse.RawFileSystem) *wire {
	t.Helper()
	return newWires(t, p, ring, raw, 1, 1)[0]
}

// newWires is newWire with several loops. They are all at one socket, or each is at one of its own.
func newWires(t testing.TB, p *chain.Pool, ring func(uint32) (*blockdev.Ring, error), raw fuse.RawFileSystem, loops, ports int) []*wire {
	t.Helper()
	a, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
	must(t, err)
	f := New(p, nil)
	if st := f.Open(nil, &fuse.OpenIn{InHeader: fuse.InHeader{NodeId: uint64(a.Ino)}, Flags: unix.O_RDWR}, new(fuse.OpenOut)); st != fuse.OK {
		t.Fatal(st)
	}
	if raw == nil {
		raw = f
	}
	ls, err := makeLoops(f, fuse.NewProtocolServer(raw, fuseOptions(MountOptions{Logger: discard})), loops, 8)
	must(t, err)
	var wires []*wire
	for i, l := range ls.list {
		if l.ring = ring; i >= ports {
			l.port, err = unix.Dup(ls.list[i%ports].port)
			must(t, err)
			continue
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		for _, fd := range pair {
			must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20))
		}
		must(t, unix.SetNonblock(pair[0], true))
		l.port = pair[0]
		wires = append(wires, &wire{t: t, l: l, fd: pair[1], ino: a.Ino, buf: make([]byte, 2<<20)})
	}
	ls.fd = ls.list[0].port
	served := make(chan struct{})
	go func() {
		ls.serve()
		close(served)
	}()
	t.Cleanup(func() {
		for _, w := range wires {
			must(t, unix.Close(w.fd))
		}
		<-served
		for _, l := range ls.list {
			if len(l.free) != len(l.slots) {
				t.Errorf("%d of %d slots are free", len(l.free), len(l.slots))
			}
		}
	})
	return wires
}

// request makes a request of an opcode with a body behind the header.
func (w *wire) request(code uint32, body ...[]byte) []byte {
	w.last += 2
	all := bytes.Join(body, nil)
	b := make([]byte, headerInBytes, headerInBytes+len(all))
	h := headerOf(b)
	h.Length, h.Opcode, h.Unique, h.NodeId = uint32(cap(b)), code, w.last, uint64(w.ino)
	return append(b, all...)
}

func (w *wire) transfer(code uint32, off int64, n int, flags uint32, data []byte) []byte {
	in := fuse.WriteIn{Offset: uint64(off), Size: uint32(n), Flags: flags}
	body := (*[unsafe.Sizeof(in)]byte)(unsafe.Pointer(&in))[headerInBytes:]
	return w.request(code, body, data)
}

func (w *wire) send(b []byte) {
	w.t.Helper()
	if n, err := unix.Write(w.fd, b); err != nil || n != len(b) {
		w.t.Fatalf("send: %d, %v", n, err)
	}
}

// answer receives one, valid until the next.
func (w *wire) answer() (unique uint64, errno syscall.Errno, body []byte) {
	w.t.Helper()
	n, err := unix.Read(w.fd, w.buf)
	if err != nil || n < headerBytes {
		w.t.Fatalf("answer: %d, %v", n, err)
	}
	h := (*fuse.OutHeader)(unsafe.Pointer(&w.buf[0]))
	if int(h.Length) != n {
		w.t.Fatalf("answer of %d bytes says %d", n, h.Length)
	}
	return h.Unique, syscall.Errno(-h.Status), w.buf[headerBytes:n]
}

// call sends a request and receives its answer.
func (w *wire) call(b []byte) (syscall.Errno, []byte) {
	w.t.Helper()
	w.send(b)
	unique, errno, body := w.answer()
	if want := headerOf(b).Unique; unique != want {
		w.t.Fatalf("answer to %d, want %d", unique, want)
	}
	return errno, body
}

func (w *wire) write(off int64, data []byte, flags uint32) syscall.Errno {
	w.t.Helper()
	e, body := w.call(w.transfer(codeWrite, off, len(data), flags, data))
	if e == 0 && binary.NativeEndian.Uint32(body) != uint32(len(data)) {
		w.t.Errorf("write of %d bytes: %d", len(data), binary.NativeEndian.Uint32(body))
	}
	return e
}

func (w *wire) shows(off int64, want []byte) {
	w.t.Helper()
	if e, got := w.call(w.transfer(codeRead, off, len(want), 0, nil)); e != 0 || !bytes.Equal(got, want) {
		w.t.Errorf("read of %d bytes at %d: %v, %d bytes, or content differs", len(want), off, e, len(got))
	}
}
