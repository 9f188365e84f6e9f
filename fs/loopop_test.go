package fs

import (
	"bytes"
	"io"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// TestOperationsEnd hands outcomes to a READ of three spans, as a ring could give them: interrupted, in part, at an end
// that should not be there.
func TestOperationsEnd(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	a, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
	must(t, err)
	vol, err := p.Volume(a.Ino)
	must(t, err)
	for _, off := range []int64{8192, 0, 4096} { // not in one piece on the device
		_, err = vol.WriteAt(pattern(4096, 1), off)
		must(t, err)
		_, err = vol.WriteAt(pattern(4096, 1), 1<<20+off)
		must(t, err)
	}
	f := New(p, nil)
	l, err := makeLoop(f, fuse.NewProtocolServer(f, fuseOptions(MountOptions{Logger: discard})), 1)
	must(t, err)
	defer func() { must(t, l.freeMemory()) }()
	var pipe [2]int
	must(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	l.fd = pipe[1]
	answer := make([]byte, 1<<16)

	begin := func() *slot {
		s := l.free[0]
		l.free, l.todo = l.free[:0], l.todo[:0]
		s.header().NodeId = uint64(a.Ino)
		s.readIn().Offset, s.readIn().Size = 0, 12288
		l.read(s)
		if len(l.todo) != len(s.ops) || len(s.ops) == 0 {
			t.Fatalf("%d operations, %d to do", len(s.ops), len(l.todo))
		}
		l.todo = l.todo[:0]
		return s
	}
	finish := func(s *slot) {
		for i := range s.ops {
			if i > 0 {
				l.opDone(s, i, len(s.ops[i].buf), nil)
			}
		}
	}
	s := begin()
	for _, err := range []error{unix.EAGAIN, unix.EINTR} {
		if l.opDone(s, 0, -1, err); len(l.todo) != 1 || l.todo[0] != (opRef{s, 0}) {
			t.Fatalf("%v: not tried again", err)
		}
		l.todo = l.todo[:0]
	}
	before := s.ops[0]
	if l.opDone(s, 0, 512, nil); len(l.todo) != 1 || s.ops[0].off != before.off+512 || !bytes.Equal(s.ops[0].buf, before.buf[512:]) {
		t.Fatalf("a short one goes on at %d with %d bytes", s.ops[0].off, len(s.ops[0].buf))
	}
	l.opDone(s, 0, len(s.ops[0].buf), nil)
	finish(s)
	if n, err := unix.Read(pipe[0], answer); err != nil || n != headerBytes+12288 || len(l.free) != 1 {
		t.Errorf("answer of %d bytes, %v, %d slots free", n, err, len(l.free))
	}

	s = begin()
	l.opDone(s, 0, 0, nil)
	finish(s)
	n, err := unix.Read(pipe[0], answer) // by a goroutine
	for len(l.mail.take()) == 0 {
		time.Sleep(time.Millisecond)
	}
	l.release(s)
	if st := unix.Errno(-(*fuse.OutHeader)(unsafe.Pointer(&answer[0])).Status); err != nil || n != headerBytes || st != unix.EIO || len(l.free) != 1 {
		t.Errorf("%v: answer of %d bytes, %v, %v", io.ErrUnexpectedEOF, n, st, err)
	}
}

// TestFewAtATime: of reads that end at once some are answered, and the loop looks for more requests, before the others are; nobody
// sleeps meanwhile.
func TestFewAtATime(t *testing.T) {
	p, _ := newPool(t, variant{file: true})
	a, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
	must(t, err)
	vol, err := p.Volume(a.Ino)
	must(t, err)
	const n = few + 2
	_, err = vol.WriteAt(pattern(n*blockSize, 1), 0)
	must(t, err)
	f := New(p, nil)
	l, err := makeLoop(f, fuse.NewProtocolServer(f, fuseOptions(MountOptions{Logger: discard})), n)
	must(t, err)
	defer func() { must(t, l.freeMemory()) }()
	l.fd, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(l.fd)
	asLoop(func() {
		l.openQueue()
		q, ok := l.queue.(*ringQueue)
		if !ok {
			t.Skip("SKIPPED: io_uring is refused: its completions are NOT tested")
		}
		defer func() { must(t, q.close()) }()
		for i := range n {
			s := l.free[len(l.free)-1]
			l.free = l.free[:len(l.free)-1]
			s.header().NodeId = uint64(a.Ino)
			s.readIn().Offset, s.readIn().Size = uint64(i*blockSize), blockSize
			l.read(s)
		}
		l.startAll()
		must(t, q.ring.Enter(n))
		for _, want := range []int{few, n} {
			l.queue.wait(true, false)
			l.queue.collect()
			if len(l.free) != want {
				t.Errorf("%d reads are answered, want %d", len(l.free), want)
			}
		}
	})
}
