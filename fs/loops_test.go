package fs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/fs/park"
)

func TestLoopsFor(t *testing.T) {
	for _, c := range []struct{ asked, slots, want int }{
		{1, 91, 1}, {2, 91, 2}, {8, 91, 8}, {9, 91, 8}, {100, 91, 8}, {8, leastSlots, 1}, {8, 3*leastSlots - 1, 2}, {-1, 91, 1},
	} {
		if n := loopsFor(c.asked, c.slots); n != c.want {
			t.Errorf("%d asked for, %d slots: %d, want %d", c.asked, c.slots, n, c.want)
		}
	}
	for text, want := range map[string]int{"auto": 0, "1": 1, "8": 8} {
		if n, err := ParseLoops(text); n != want || err != nil {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "0", "9", "-1", "two", "1e0"} {
		if n, err := ParseLoops(text); !errors.Is(err, chain.ErrInvalid) {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	if n := loopsFor(0, 1<<20); n < 1 || n > maxLoops {
		t.Errorf("%d loops by themselves", n)
	}
}

// slowSync is a pool file whose syncs wait while somebody has its lock.
type slowSync struct {
	watchedFile
	sync.RWMutex
}

func (s *slowSync) Sync() error {
	s.RLock()
	defer s.RUnlock()
	return s.watchedFile.Sync()
}

// TestLoopsLeaveWhatTheyHaveNoRoomFor: however many requests have got stuck, on whichever loops, the next one is served as long as
// there is a slot. The kernel has woken one loop for it, and that may be a full one.
func TestLoopsLeaveWhatTheyHaveNoRoomFor(t *testing.T) {
	const loops, slots = 3, 8 // of newWires
	f, err := blockdev.Create(filepath.Join(t.TempDir(), "pool"), poolBytes, true)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	must(t, chain.Create(f, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	d := &slowSync{watchedFile: watchedFile{f}}
	w := newWires(t, openPool(t, d), blockdev.NewRing, nil, loops, 1)[0]
	data := pattern(blockSize, 1)
	if e := w.write(0, data, 0); e != 0 {
		t.Fatal(e)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		d.Lock()
		stuck, reads := map[uint64]bool{}, map[uint64]bool{}
		for _, n := range rng.Perm(loops*slots - 1 + 16) {
			in, kind := w.request(codeFsync, make([]byte, 16)), stuck
			if n < 16 {
				in, kind = w.transfer(codeRead, 0, len(data), 0, nil), reads
			}
			kind[headerOf(in).Unique] = true
			w.send(in)
			time.Sleep(time.Duration(rng.IntN(3)*rng.IntN(20)) * time.Microsecond)
		}
		answers := func(of map[uint64]bool) {
			for len(of) > 0 {
				unique, e, _ := w.answer()
				if !of[unique] || e != 0 {
					t.Fatalf("answer to %d: %v", unique, e)
				}
				delete(of, unique)
			}
		}
		answers(reads)
		d.Unlock()
		answers(stuck)
	}
}

// twoLoops are two loops that do not run, each with a port of its own, and the kernel's part of both.
func twoLoops(t *testing.T, raw fuse.RawFileSystem) (list []*eventLoop, kernel []*wire) {
	p, _ := newPool(t, classicInMemory)
	f := New(p, nil)
	if raw == nil {
		raw = f
	}
	ls, err := makeLoops(f, fuse.NewProtocolServer(raw, fuseOptions(MountOptions{Logger: discard})), 2, 2)
	must(t, err)
	t.Cleanup(func() { must(t, ls.freeMemory()) })
	for _, l := range ls.list {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { must(t, errors.Join(unix.Close(pair[0]), unix.Close(pair[1]))) })
		l.port = pair[0]
		kernel = append(kernel, &wire{t: t, l: l, fd: pair[1], ino: chain.RootIno, buf: make([]byte, 2<<20)})
	}
	return ls.list, kernel
}

// takes has a loop take a request, as receive does.
func (l *eventLoop) takes(in []byte) {
	s := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.dispatch(s, copy(s.in, in))
}

// TestLoopLeaves is the same step by step: who has no room tells those that have, once for each time that the kernel woke it, and takes
// all that waits when it has room again, and so does who is told. A request that comes alone is all that a loop receives else.
func TestLoopLeaves(t *testing.T) {
	loops, kernel := twoLoops(t, nil)
	full, other := loops[0], loops[1]
	for _, l := range loops {
		must(t, unix.SetNonblock(l.port, true))
	}
	told := func(want int, when string) {
		t.Helper()
		if mails := other.mail.take(); len(mails) != want || want > 0 && mails[0].kind != mailLook {
			t.Errorf("%s: %+v", when, mails)
		}
	}
	kernel[0].send(kernel[0].request(codeFsync, make([]byte, 16)))
	kernel[0].send(kernel[0].request(codeFsync, make([]byte, 16)))
	full.all = true
	if full.receive(); len(full.free) > 0 || full.due || full.room.Load() {
		t.Fatalf("%d slots are free", len(full.free))
	}
	told(1, "it has become full")
	full.receive()
	told(0, "it is full still")
	full.due = true
	full.receive()
	told(1, "it was woken again")
	other.room.Store(false)
	full.due = true
	full.receive()
	told(0, "nobody has room")
	for len(full.free) < 2 {
		full.deliver()
	}
	if !full.due || !full.all || !full.room.Load() {
		t.Error("it has room, and does not look for what waits")
	}
	other.room.Store(true)
	other.due = false
	full.leave()
	other.deliver()
	kernel[1].send(kernel[1].request(codeFsync, make([]byte, 16)))
	kernel[1].send(kernel[1].request(codeFsync, make([]byte, 16)))
	if other.receive(); len(other.free) > 0 {
		t.Error("who is told takes one request and leaves another")
	}
	for len(other.free) < 2 {
		other.deliver()
	}
}

// An INTERRUPT that another loop has read than what it names, and dispatched before that, is passed on all the same, and what comes
// of it is answered where the request came from.
func TestInterruptOvertakes(t *testing.T) {
	f := waitingFS{fuse.NewDefaultRawFileSystem(), make(chan struct{})}
	loops, kernel := twoLoops(t, f)
	in := kernel[0].request(34, make([]byte, 8)) // ACCESS, which loop 0 has read
	loops[1].takes(kernel[0].request(codeInterrupt, binary.NativeEndian.AppendUint64(nil, headerOf(in).Unique)))
	loops[0].takes(in)
	<-f.began
	loops[0].deliver()
	if unique, e, _ := kernel[0].answer(); unique != headerOf(in).Unique || e != unix.EINTR {
		t.Errorf("answer to %d: %v", unique, e)
	}
	loops[0].others.wait()
}

// Whoever serves a request, its answer goes to the port that it came from: the kernel knows it at no other.
func TestAnswersGoWhereRequestsCameFrom(t *testing.T) {
	loops, kernel := twoLoops(t, nil)
	w := kernel[1]
	for what, in := range map[string][]byte{
		"on the loop":                  w.request(codeGetAttr, make([]byte, 16)),
		"an error":                     w.transfer(codeRead, 0, 2<<20, 0, nil),
		"by go-fuse":                   w.request(34, make([]byte, 8)),
		"malformed":                    w.request(codeReadDir),
		"synchronous, and not a file":  w.transfer(codeRead, 0, 4096, 0, nil),
		"synchronous, and not a file ": w.transfer(codeWrite, 0, 4096, 0, pattern(4096, 1)),
		"fsync":                        w.request(codeFsync, make([]byte, 16)),
	} {
		loops[1].takes(in)
		if unique, _, _ := w.answer(); unique != headerOf(in).Unique {
			t.Errorf("%s: answer to %d", what, unique)
		}
		for len(loops[1].free) < 2 {
			loops[1].deliver()
			time.Sleep(time.Millisecond)
		}
	}
	refused := w.request(codeGetAttr, make([]byte, 16))
	loops[1].refuse(loops[1].port, headerOf(refused).Unique, unix.EIO)
	if unique, e, _ := w.answer(); unique != headerOf(refused).Unique || e != unix.EIO {
		t.Errorf("refused: answer to %d: %v", unique, e)
	}
	loops[1].others.wait()
}

// Each port beside the first is kept before it is used, for a successor; where that fails there are fewer loops. Where there is no
// successor nothing is kept.
func TestPortsAreKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the event loop needs root")
	}
	refuse := errors.New("the store is full")
	for _, c := range []struct {
		nobody bool
		full   string // from this file on
		want   int
	}{{want: 3}, {full: park.CloneName(1), want: 2}, {full: park.CloneName(0), want: 1}, {nobody: true, want: 3}} {
		p, _ := newPool(t, variant{file: true})
		kept := map[string]*os.File{}
		o := MountOptions{Transport: Loop, Loops: 3}
		if !c.nobody {
			o.Keep = func(name string, f *os.File) error {
				if name == c.full {
					return refuse
				}
				fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
				kept[name] = os.NewFile(uintptr(fd), name)
				return err
			}
		}
		s := mountOn(t, p, t.TempDir(), o)
		if n := s.Loops(); n != c.want {
			t.Errorf("%+v: %d loops", c, n)
		}
		for i := range 3 {
			if is := kept[park.CloneName(i)] != nil; is != (!c.nobody && i < c.want-1) {
				t.Errorf("%+v: %s is kept: %v", c, park.CloneName(i), is)
			}
		}
		fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
		_, err := unix.Pwrite(fd, pattern(8192, 1), 0)
		must(t, err)
		for _, f := range kept {
			must(t, f.Close())
		}
	}
}

// atDepth reads or writes blocks one after the other at the offset that each has in the volume, all of them at once.
func (w *wire) atDepth(times int, op uint32, blocks []byte, off int64) {
	var reqs [][]byte
	for at := 0; at < len(blocks); at += blockSize {
		b := blocks[at:][:blockSize]
		if op == codeRead {
			b = nil
		}
		reqs = append(reqs, w.transfer(op, off+int64(at), blockSize, unix.O_DIRECT, b))
	}
	for begun, ended := 0, 0; ended < times; {
		for ; begun < times && begun-ended < len(reqs); begun++ {
			w.send(reqs[begun%len(reqs)])
		}
		if _, e, _ := w.answer(); e != 0 {
			w.t.Error(e)
			return
		}
		ended++
	}
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLoops is what loops cost each other: each serves 4 KiB at depth 8 by a port of its own, all in one volume. Of the plan lock it
// says how often a request has it alone, and how often one waits for it.
func BenchmarkLoops(b *testing.B) {
	const depth = 8
	for _, op := range []uint32{codeRead, codeWrite} {
		for n := 1; n <= 2; n++ {
			b.Run(fmt.Sprintf("op=%s/loops=%d", kindOf(op), n), func(b *testing.B) {
				p, _ := newPool(b, variant{file: true})
				wires := newWires(b, p, blockdev.NewRing, nil, n, n)
				first := wires[0]
				data := pattern(n*depth*blockSize, 1)
				if e := first.write(0, data, 0); e != 0 {
					b.Fatal(e)
				}
				first.call(first.request(codeFsync, make([]byte, 16)))
				before, cpu := p.Usage().PlanLock, cpuTime()
				b.ReportAllocs()
				b.ResetTimer()
				var clients sync.WaitGroup
				for i, w := range wires {
					clients.Go(func() { w.atDepth(b.N/n, op, data[i*depth*blockSize:][:depth*blockSize], int64(i*depth*blockSize)) })
				}
				clients.Wait()
				cpu, after := cpuTime()-cpu, p.Usage().PlanLock
				b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(after.Alone-before.Alone-1)/float64(b.N), "alone/op")
				b.ReportMetric(float64(after.Waits-before.Waits)/float64(b.N), "waits/op")
			})
		}
	}
}
