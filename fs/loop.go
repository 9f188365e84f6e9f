package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// batch is how many requests are read from /dev/fuse before their I/O is submitted.
const batch = 8

// ringEntries is the number of device operations between two submissions, loopSlots that of requests in work; more
// wait in the kernel. Each slot has room for the largest request.
const (
	ringEntries = 256
	loopSlots   = maxInflight / maxWrite
)

// eventLoop is the transport for fast devices: one thread reads requests in batches, lets chain plan READ and WRITE,
// submits the device I/O of the plans to io_uring, and answers as it completes.
//
// What holds here:
//
//   - The loop never waits for anything but requests and completions. What a plan needs first, a flush, and every
//     request that may wait for a plan (an OPEN that truncates) is done on a goroutine: a plan ends on the loop only.
//   - LOOKUP, GETATTR and STATFS are answered on the loop, from memory. Other opcodes go to go-fuse on a goroutine.
//   - Whatever is out of the ordinary (zeros, an error of a plan) goes through FS.Read and FS.Write on a goroutine, as
//     in the classic transport. So there is one set of rules.
//   - A request has its slot until it is answered, and nothing refers to the slot afterwards.
//   - No notification is sent from the loop: the kernel may wait for pages that only the loop can write.
//
// Fields of the loop are the loop's alone unless they say otherwise.
type eventLoop struct {
	fs    *FS         // any goroutine
	pool  *chain.Pool // any goroutine
	log   *slog.Logger
	debug bool
	fd    int // /dev/fuse, not blocking; replies may come from any goroutine
	ps    *fuse.ProtocolServer
	ring  func(uint32) (*blockdev.Ring, error)

	ctx    context.Context // done when the mount is gone
	cancel context.CancelFunc
	queue  queue
	mail   mailbox
	alone  atomic.Bool // the loop does an operation of the device itself; any goroutine
	arena  []byte
	slots  []*slot
	free   []*slot
	todo   []opRef // operations that are not started yet
	sector int64
	gone   bool

	others others
	notes  sync.RWMutex // exclusive to close fd; shared by notifications
	closed bool         // guarded by notes
}

// newEventLoop mounts f and answers INIT. On error nothing is mounted.
func newEventLoop(f *FS, dir string, o MountOptions) (*eventLoop, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("event loop: only for root: %w", chain.ErrUnsupported)
	}
	fo := fuseOptions(o)
	l, err := makeLoop(f, fuse.NewProtocolServer(f, fo), loopSlots)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	l.debug = o.Debug
	if l.fd, err = mountDirect(dir, fo); err != nil {
		return nil, errors.Join(err, l.freeMemory())
	}
	if err = l.init(); err == nil {
		err = unix.SetNonblock(l.fd, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("init: %w", err), unmount(dir, unix.MNT_DETACH), unix.Close(l.fd), l.freeMemory())
	}
	return l, nil
}

// makeLoop makes a loop without a connection.
func makeLoop(f *FS, ps *fuse.ProtocolServer, slots int) (*eventLoop, error) {
	l := &eventLoop{
		fs: f, pool: f.pool, log: f.log, ps: ps, fd: -1,
		ring: blockdev.NewRing, sector: int64(f.pool.Device().SectorSize()),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.others.init(l)
	if err := l.mail.open(); err != nil {
		return nil, err
	}
	if err := l.makeSlots(slots); err != nil {
		return nil, errors.Join(err, l.mail.close())
	}
	return l, nil
}

// init answers INIT, which comes first and alone. The file still blocks.
func (l *eventLoop) init() error {
	in := l.slots[0].in
	n, err := unix.Read(l.fd, in)
	if err != nil {
		return err
	}
	out := make([]byte, answerBytes)
	n, st := l.ps.HandleRequest([][]byte{in[:n]}, [][]byte{out})
	if st == fuse.OK && n >= headerBytes {
		st = fuse.Status(-(*fuse.OutHeader)(unsafe.Pointer(&out[0])).Status)
	}
	if st != fuse.OK {
		return syscall.Errno(st)
	}
	_, err = unix.Write(l.fd, out[:n])
	return err
}

// serve runs the loop, on a thread of its own since a Ring belongs to one.
func (l *eventLoop) serve() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.openQueue()
	l.run()
	l.check("close of the queue", l.queue.close())
	l.others.wait()
	l.fs.OnUnmount()
	l.notes.Lock()
	l.closed = true
	l.check("close of /dev/fuse", unix.Close(l.fd))
	l.notes.Unlock()
	l.check("memory", l.freeMemory())
}

// check logs what can't be helped.
func (l *eventLoop) check(what string, err error) {
	if err != nil {
		l.log.Error("fs: event loop: "+what, "error", err)
	}
}

// freeMemory gives back what makeLoop took. No slot is in use.
func (l *eventLoop) freeMemory() error {
	l.cancel()
	return errors.Join(unix.Munmap(l.arena), l.mail.close())
}

// run serves until the mount is gone and every slot is free.
func (l *eventLoop) run() {
	for {
		got := 0
		if !l.gone {
			got = l.receive()
		}
		l.deliver()
		if l.runAlone() {
			continue
		}
		l.startAll()
		if l.gone && len(l.free) == len(l.slots) {
			return
		}
		sleep := got < batch && len(l.todo) == 0 && l.mail.sleepy()
		l.queue.wait(sleep, !l.gone && len(l.free) > 0)
		l.mail.awake()
		l.queue.collect()
	}
}

// receive takes a batch of requests and returns how many there were.
func (l *eventLoop) receive() (got int) {
	for got < batch && len(l.free) > 0 {
		s := l.free[len(l.free)-1]
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(l.fd), uintptr(unsafe.Pointer(&s.in[0])), uintptr(len(s.in)))
		switch {
		case e == 0 && int(n) >= headerInBytes:
			l.free = l.free[:len(l.free)-1]
			l.dispatch(s, int(n))
			got++
		case e == unix.EAGAIN:
			return got
		case e == unix.EINTR, e == unix.ENOENT, e == unix.EIO: // the request ended before it could be read
		default:
			l.end(e)
			return got
		}
	}
	return got
}

// end stops reading. ENODEV: unmounted, ECONNABORTED: aborted.
func (l *eventLoop) end(e unix.Errno) {
	if e != unix.ENODEV && e != unix.ECONNABORTED {
		l.check("/dev/fuse", e)
	}
	l.gone = true
	l.cancel()
}

// deliver takes what goroutines have left.
func (l *eventLoop) deliver() {
	for _, e := range l.mail.take() {
		switch e.kind {
		case mailDone:
			l.release(e.s)
		case mailFulfilled:
			l.fulfilled(e.s, e.err)
		case mailOp:
			l.opDone(e.s, e.op, e.n, e.err)
		case mailPing:
			close(e.pong)
		}
	}
}

// alivePoll is how often alive looks whether the loop is at the device.
const alivePoll = 50 * time.Millisecond

// alive asks the loop, which answers between two batches, or is at the device with its only operation.
func (l *eventLoop) alive(ctx context.Context) error {
	pong := make(chan struct{})
	l.mail.post(mail{kind: mailPing, pong: pong})
	t := time.NewTicker(alivePoll)
	defer t.Stop()
	for !l.alone.Load() {
		select {
		case <-pong:
			return nil
		case <-l.ctx.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// startAll starts what waits in todo, as far as the queue takes it.
func (l *eventLoop) startAll() {
	i := 0
	for i < len(l.todo) && l.queue.start(l.todo[i].s, l.todo[i].op) {
		i++
	}
	l.todo = l.todo[:copy(l.todo, l.todo[i:])]
}

// aloneMax is the largest operation that is not worth a way through the ring, in bytes.
const aloneMax = 64 << 10

// runAlone does the only operation there is on the spot: it saves two switches of the thread.
func (l *eventLoop) runAlone() bool {
	if len(l.todo) != 1 || len(l.free) != len(l.slots)-1 {
		return false
	}
	r := l.todo[0]
	if o := &r.s.ops[r.op]; o.kind == opDsync || len(o.buf) > aloneMax {
		return false
	}
	l.todo = l.todo[:0]
	l.alone.Store(true)
	n, err := l.queue.alone(r.s, r.op)
	l.alone.Store(false)
	l.opDone(r.s, r.op, n, err)
	return true
}
