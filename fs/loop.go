package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// batch is how many requests are read from /dev/fuse before their I/O is submitted.
const batch = 8

// ringEntries is the number of device operations between two submissions.
const ringEntries = 256

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
	conn             // its file is not blocking
	pool *chain.Pool // any goroutine
	ring func(uint32) (*blockdev.Ring, error)

	ctx    context.Context // done when the mount is gone
	cancel context.CancelFunc
	queue  queue
	mail   mailbox
	alone  atomic.Bool // the loop does an operation of the device itself; any goroutine
	arena  arena
	slots  []*slot
	free   []*slot
	todo   []opRef // operations that are not started yet
	sector int64
	gone   bool

	pausing chan struct{} // nothing more is received; closed, and in done, when no slot is in use
	done    chan struct{}
}

// newEventLoop mounts f, or goes on with its mount. On error nothing is mounted, or all is as it was left.
func newEventLoop(f *FS, dir string, o MountOptions) (*eventLoop, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("event loop: only for root: %w", chain.ErrUnsupported)
	}
	l, err := makeLoop(f, nil, slotsFor(o.Buffers))
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	l.debug = o.Debug
	if err = l.open(dir, o); err != nil {
		return nil, errors.Join(err, l.freeMemory())
	}
	if err = unix.SetNonblock(l.fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("/dev/fuse: %w", err), l.close(), l.freeMemory())
	}
	return l, nil
}

// makeLoop makes a loop without a connection.
func makeLoop(f *FS, ps *fuse.ProtocolServer, slots int) (*eventLoop, error) {
	l := &eventLoop{
		conn: conn{fs: f, log: f.log, ps: ps, fd: -1},
		pool: f.pool, ring: blockdev.NewRing, sector: int64(f.pool.Device().SectorSize()),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.others.init(&l.conn)
	if err := l.mail.open(); err != nil {
		return nil, err
	}
	if err := l.makeSlots(slots); err != nil {
		return nil, errors.Join(err, l.mail.close())
	}
	return l, nil
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
	l.check("close of /dev/fuse", l.close())
	l.check("memory", l.freeMemory())
}

// freeMemory gives back what makeLoop took. No slot is in use.
func (l *eventLoop) freeMemory() error {
	l.cancel()
	return errors.Join(l.arena.free(), l.mail.close())
}

// run serves until the mount is gone and every slot is free.
func (l *eventLoop) run() {
	for {
		got := 0
		if !l.gone && l.pausing == nil {
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
		l.paused()
		sleep := got < batch && len(l.todo) == 0 && l.mail.sleepy()
		l.queue.wait(sleep, !l.gone && l.pausing == nil && len(l.free) > 0)
		l.mail.awake()
		l.queue.collect()
	}
}

// receive takes a batch of requests and returns how many there were.
func (l *eventLoop) receive() (got int) {
	for got < batch && len(l.free) > 0 {
		s := l.free[len(l.free)-1]
		if l.fs.files.memory != nil {
			l.arena.populate(s.index)
		}
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

// end stops reading.
func (l *eventLoop) end(e unix.Errno) {
	l.ended(e)
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
		case mailPause:
			l.pausing = e.pong
		case mailPing:
			close(e.pong)
		}
	}
}

// pause asks the loop.
func (l *eventLoop) pause() (<-chan struct{}, func()) {
	empty, idle := make(chan struct{}), make(chan struct{})
	l.mail.post(mail{kind: mailPause, pong: empty})
	go func() {
		<-empty
		l.others.wait()
		close(idle)
	}()
	return idle, func() { l.mail.post(mail{kind: mailPause}) }
}

// paused tells who waits for a pause that nothing is in work.
func (l *eventLoop) paused() {
	if l.pausing != nil && l.pausing != l.done && len(l.free) == len(l.slots) && len(l.todo) == 0 {
		close(l.pausing)
		l.done = l.pausing
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

// dispatch decides who serves a request of n bytes.
func (l *eventLoop) dispatch(s *slot, n int) {
	h := s.header()
	if l.debug {
		l.log.Debug("fs: event loop: request", "opcode", h.Opcode, "unique", h.Unique, "node", h.NodeId, "bytes", n)
	}
	if sentAgain(h) && l.again(s.in[:n]) {
		l.release(s)
		return
	}
	switch h.Opcode {
	case codeRead:
		l.read(s)
		return
	case codeWrite:
		l.write(s, n)
		return
	case codeFsync:
		l.fsync(s)
		return
	case codeLookup, codeGetAttr, codeStatFS:
		l.others.now(s.in[:n])
	case codeForget, codeBatchForget:
		l.others.forget(s.in[:n])
	case codeInterrupt:
		l.others.interrupt(s.in[:n])
	default:
		l.others.later(s.in[:n])
	}
	l.release(s)
}

// fsync flushes on a goroutine; those of one moment share a commit.
func (l *eventLoop) fsync(s *slot) {
	go func() {
		l.reply(s, l.fs.Fsync(nil, (*fuse.FsyncIn)(unsafe.Pointer(&s.in[0]))), nil)
		l.mail.post(mail{kind: mailDone, s: s})
	}()
}
