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
	l := oneLoop(t, f, 1)
	var pipe [2]int
	must(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	l.port = pipe[1]
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

// TestTurns: of reads that end at once some are answered, and the loop looks for more requests, before the others are; nobody sleeps
// meanwhile. Nor is more received than a device should wait for.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		reads, size int
		answered    []int // after each turn
	}{{few + 2, blockSize, []int{few, few + 2}}, {3, much, []int{1, 2, 3}}} {
		l, ino := loopOf(t, c.reads, c.reads*c.size)
		fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		l.port = fd
		asLoop(func() {
			l.queue = l.openQueue()
			q, ok := l.queue.(*ringQueue)
			if !ok {
				t.Skip("SKIPPED: io_uring is refused: its completions are NOT tested")
			}
			defer func() { must(t, q.close()) }()
			for i := range c.reads {
				s := l.free[len(l.free)-1]
				l.free = l.free[:len(l.free)-1]
				s.header().NodeId = uint64(ino)
				s.readIn().Offset, s.readIn().Size = uint64(i*c.size), uint32(c.size)
				l.read(s)
			}
			ops := uint32(len(l.todo))
			l.startAll()
			must(t, q.ring.Enter(ops))
			for _, want := range c.answered {
				l.queue.wait(true, false)
				l.queue.collect()
				if len(l.free) != want {
					t.Fatalf("%d reads of %d bytes are answered, want %d", len(l.free), c.size, want)
				}
			}
		})
	}
}

// TestReceivesInTurns: requests that are large are not received at once.
func TestReceivesInTurns(t *testing.T) {
	l, ino := loopOf(t, 4, blockSize)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	must(t, unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20))
	must(t, unix.SetNonblock(pair[0], true))
	l.port = pair[0]
	w := &wire{t: t, l: l, fd: pair[1], ino: ino}
	for range 2 { // of bytes that say nothing of their number: so both are refused, and have their slots until that is told
		w.send(w.request(codeWrite, make([]byte, much)))
	}
	l.free = l.free[:3] // something is in work
	for _, want := range []int{2, 1} {
		if l.receive(); len(l.free) != want {
			t.Errorf("%d slots are free, want %d", len(l.free), want)
		}
	}
	for told := 0; told < 2; told += len(l.mail.take()) {
		time.Sleep(time.Millisecond)
	}
}

// loopOf is a loop without a connection, on a pool file with a volume of so many bytes, until the end of the test.
func loopOf(t *testing.T, slots, bytes int) (*eventLoop, chain.Ino) {
	t.Helper()
	p, _ := newPool(t, variant{file: true})
	a, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
	must(t, err)
	vol, err := p.Volume(a.Ino)
	must(t, err)
	_, err = vol.WriteAt(pattern(bytes, 1), 0)
	must(t, err)
	f := New(p, nil)
	return oneLoop(t, f, slots), a.Ino
}

// oneLoop is a loop without a connection, until the end of the test.
func oneLoop(t *testing.T, f *FS, slots int) *eventLoop {
	t.Helper()
	ls, err := makeLoops(f, fuse.NewProtocolServer(f, fuseOptions(MountOptions{Logger: discard})), 1, slots)
	must(t, err)
	t.Cleanup(func() { must(t, ls.freeMemory()) })
	return ls.list[0]
}
