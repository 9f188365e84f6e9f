package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// Bounds of a turn: of what is done before what was received is submitted, and the next is received.
const (
	batch = 8         // requests that are read from /dev/fuse
	few   = 6         // completions that are taken
	much  = 256 << 10 // bytes that are copied from /dev/fuse, or to it, which takes 60 us; the request that reaches it is the last
)

// ringEntries is the number of device operations between two submissions.
const ringEntries = 256

// eventLoop is the transport for fast devices: one thread reads requests in batches, lets chain plan READ and WRITE,
// submits the device I/O of the plans to io_uring, and answers as it completes.
//
// What holds here:
//
//   - The loop never waits for anything but requests and completions, so one that stalls (the device, the log, a full pool, a
//     page of a map) stalls no other. It calls what answers from memory or says that it can't: the making of plans, whose Need
//     is fulfilled on a goroutine; Plan.CommitNow; chain.AtOnce. A flush, an error (its message has a path), the end of a plan
//     that failed, and every request that may wait for a plan (an OPEN that truncates) are a goroutine's. The device's own
//     methods are never called here; the tests have devices that notice (loopwait_test.go).
//   - LOOKUP, GETATTR and STATFS are answered on the loop, from memory; where they can't be, and all other opcodes, go to
//     go-fuse on a goroutine.
//   - Whatever is out of the ordinary (zeros, an error of a plan) goes through FS.Read and FS.Write on a goroutine, as
//     in the classic transport. So there is one set of rules.
//   - A request has its slot until it is answered, and nothing refers to the slot afterwards.
//   - No notification is sent from the loop: the kernel may wait for pages that only the loop can write.
//
// Fields of the loop are the loop's alone unless they say otherwise.
type eventLoop struct {
	conn             // its file is not blocking
	pool *chain.Pool // any goroutine
	now  names       // of the pool, what can be told at once
	ring func(uint32) (*blockdev.Ring, error)

	ctx    context.Context // done when the mount is gone
	cancel context.CancelFunc
	queue  queue
	mail   mailbox
	arena  arena
	slots  []*slot
	free   []*slot
	todo   []opRef // operations that are not started yet
	sector int64
	copied int  // bytes to or from the kernel, in this half of a turn
	due    bool // requests may wait: what is listened for has come, or not all was received
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
		conn: conn{fs: f, log: f.log, ps: ps, fd: -1, meter: f.meters.next()},
		pool: f.pool, now: f.pool.AtOnce(), ring: blockdev.NewRing, due: true, sector: int64(f.pool.Device().SectorSize()),
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
		more := false
		if !l.gone && l.pausing == nil && (l.due || l.inWork() > 0) {
			more = l.receive()
		}
		l.deliver()
		l.startAll()
		if l.gone && l.inWork() == 0 {
			return
		}
		l.paused()
		sleep := !more && len(l.todo) == 0 && l.mail.sleepy()
		l.queue.wait(sleep, !l.gone && l.pausing == nil && len(l.free) > 0)
		l.mail.awake()
		l.queue.collect()
	}
}

// inWork is how many slots are in use.
func (l *eventLoop) inWork() int { return len(l.slots) - len(l.free) }

// receive takes a batch of requests, and tells whether there may be more. The I/O of one that comes alone is begun at once: who
// waits for it is who would send the next, and if there is another, the queue says so when it listens.
func (l *eventLoop) receive() (more bool) {
	lone := l.inWork() == 0
	l.copied = 0
	begun := moment()
	for got := 0; got < batch && l.copied < much && len(l.free) > 0; {
		s := l.free[len(l.free)-1]
		if l.fs.files.memory != nil {
			l.arena.populate(s.index)
		}
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(l.fd), uintptr(unsafe.Pointer(&s.in[0])), uintptr(len(s.in)))
		switch {
		case e == 0 && int(n) >= headerInBytes:
			l.free = l.free[:len(l.free)-1]
			s.begun, s.count = begun, nil
			l.dispatch(s, int(n))
			l.copied += int(n)
			if got++; lone && l.inWork() > 0 {
				l.due = false
				return false
			}
		case e == unix.EAGAIN:
			l.due = false
			return false
		case e == unix.EINTR, e == unix.ENOENT, e == unix.EIO: // the request ended before it could be read
		default:
			l.end(e)
			return false
		}
	}
	l.due = true
	return len(l.free) > 0
}

// end stops reading.
func (l *eventLoop) end(e unix.Errno) {
	l.ended(e)
	l.gone, l.due = true, false
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
		case mailCommitted:
			l.committed(e.s, e.err)
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
func (l *eventLoop) pause(ctx context.Context) error {
	empty := make(chan struct{})
	l.mail.post(mail{kind: mailPause, pong: empty})
	err := untilIdle(ctx, func() <-chan struct{} { return empty }, l.others.idle)
	if err != nil {
		l.mail.post(mail{kind: mailPause})
	}
	return err
}

// paused tells who waits for a pause that nothing is in work.
func (l *eventLoop) paused() {
	if l.pausing != nil && l.pausing != l.done && l.inWork() == 0 && len(l.todo) == 0 {
		close(l.pausing)
		l.done = l.pausing
	}
}

// alive asks the loop, which answers between two batches.
func (l *eventLoop) alive(ctx context.Context) error {
	pong := make(chan struct{})
	l.mail.post(mail{kind: mailPing, pong: pong})
	select {
	case <-pong:
		return nil
	case <-l.ctx.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startAll starts what waits in todo, as far as the queue takes it.
func (l *eventLoop) startAll() {
	i := 0
	for i < len(l.todo) && l.queue.start(l.todo[i].s, l.todo[i].op) {
		i++
	}
	l.todo = l.todo[:copy(l.todo, l.todo[i:])]
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
		if !l.answer(s, n) {
			l.others.later(s.in[:n])
		}
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
	s.count = l.fs.countOf(s.header().NodeId)
	go func() {
		l.reply(s, l.fs.Fsync(nil, (*fuse.FsyncIn)(unsafe.Pointer(&s.in[0]))), nil)
		l.mail.post(mail{kind: mailDone, s: s})
	}()
}
