package fs

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
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

// eventLoop is one thread of the transport for fast devices (loops): it reads requests in batches, lets chain plan READ and WRITE,
// submits the device I/O of the plans to io_uring, and answers as it completes.
//
// What holds here:
//
//   - The loop never waits for anything but requests and completions, so one that stalls (the device, the log, a full pool, a
//     page of a map) stalls no other. It calls what answers from memory or says that it can't: the making of plans, whose Need
//     is fulfilled on a goroutine; Plan.CommitNow; chain.AtOnce. A flush, an error (its message has a path), the end of a plan
//     that failed, and every request that may wait for a plan (an OPEN that truncates) are a goroutine's. The device's own
//     methods are never called here; the tests have devices that notice (loopwait_test.go). A small write that comes alone is
//     waited for, but not for long: then the loop goes on without this thread (baton).
//   - LOOKUP, GETATTR and STATFS are answered on the loop, from memory; where they can't be, and all other opcodes, go to
//     go-fuse on a goroutine.
//   - Whatever is out of the ordinary (zeros, an error of a plan) goes through FS.Read and FS.Write on a goroutine, as
//     in the classic transport. So there is one set of rules.
//   - A request has its slot until it is answered, at the port that it was read from, and nothing refers to the slot afterwards.
//   - No notification is sent from the loop: the kernel may wait for pages that only the loop can write.
//
// Fields of the loop are the loop's alone unless they say otherwise.
type eventLoop struct {
	*conn              // any goroutine
	port   int         // const: its own, not blocking
	lane   uint8       // const: of its plans
	mine   *meter      // any goroutine: of what it answers itself
	pool   *chain.Pool // any goroutine
	now    names       // of the pool, what can be told at once
	ring   func(uint32) (*blockdev.Ring, error)
	beside []*eventLoop    // const: the others of the connection, of which this one knows room and mail
	room   atomic.Bool     // any loop: there are free slots
	ctx    context.Context // done when the mount is gone
	cancel context.CancelFunc
	queue  queue // of the thread that has the baton
	baton  baton
	mail   mailbox // any goroutine
	arena  arena
	slots  []*slot
	free   []*slot
	todo   []opRef // operations that are not started yet
	sector int64
	copied int  // bytes to or from the kernel, in this half of a turn
	due    bool // requests may wait: what is listened for has come, or not all was received
	all    bool // with due: nobody will tell of them again
	gone   bool

	pausing chan struct{} // nothing more is received; closed, and in done, when no slot is in use
	done    chan struct{}
}

// makeLoop makes a loop of a connection, without a port.
func makeLoop(c *conn, lane, slots int) (*eventLoop, error) {
	pool := c.fs.pool
	l := &eventLoop{
		conn: c, port: -1, lane: uint8(lane), mine: c.fs.meters.next(), pool: pool, now: pool.AtOnce(), ring: blockdev.NewRing, due: true,
		sector: int64(pool.Device().SectorSize()),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.room.Store(true)
	if err := l.mail.open(); err != nil {
		return nil, err
	}
	if err := l.makeSlots(slots); err != nil {
		return nil, errors.Join(err, l.mail.close())
	}
	return l, nil
}

// serve runs the loop until its end, on one of two threads; the other one watches, where there is something to watch.
func (l *eventLoop) serve() {
	var both sync.WaitGroup
	if l.baton.init(l.pool.Device()) {
		both.Go(func() { l.stand(false) })
	}
	l.stand(true)
	both.Wait()
}

// stand runs the loop each time it has the baton.
func (l *eventLoop) stand(has bool) {
	for has || l.baton.await() {
		if has = false; l.stint() {
			l.baton.end()
			return
		}
	}
}

// stint runs the loop until its end, or another has it, on a thread of its own since a Ring belongs to one.
func (l *eventLoop) stint() (ended bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	q := l.openQueue()
	l.queue = q
	ended = l.run()
	l.check("close of the queue", q.close())
	return ended
}

// freeMemory gives back what makeLoop took. No slot is in use.
func (l *eventLoop) freeMemory() error {
	l.cancel()
	return errors.Join(l.arena.free(), l.mail.close())
}

// run serves until the mount is gone and every slot is free. false: another thread has the loop, of which nothing may be touched.
func (l *eventLoop) run() (ended bool) {
	for {
		l.deliver()
		more := false
		if !l.gone && l.pausing == nil && (l.due || l.inWork() > 0) {
			more = l.receive()
		}
		if l.alone() && !l.writeAlone() {
			return false
		}
		l.startAll()
		if l.gone && l.inWork() == 0 {
			return true
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
// waits for it is who would send the next, and if there is another, the queue says so when it listens. What there is no slot for is
// left to the other loops: the kernel has woken one loop for it, which may have been this one.
func (l *eventLoop) receive() (more bool) {
	lone := l.inWork() == 0 && !l.all
	l.copied = 0
	begun, got := moment(), 0
	for got < batch && l.copied < much && len(l.free) > 0 {
		s := l.free[len(l.free)-1]
		if l.fs.files.memory != nil {
			l.arena.populate(s.index)
		}
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(l.port), uintptr(unsafe.Pointer(&s.in[0])), uintptr(len(s.in)))
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
			l.due, l.all = false, false
			return false
		case e == unix.EINTR, e == unix.ENOENT, e == unix.EIO: // the request ended before it could be read
		default:
			l.end(e)
			return false
		}
	}
	if len(l.free) > 0 {
		l.due = true
		return true
	}
	l.room.Store(false)
	if got > 0 || l.due {
		l.due, l.all = false, false // release says so again
		l.leave()
	}
	return false
}

// leave leaves what waits to those of the other loops that have room. One that has none looks for it when it has: it says so first.
func (l *eventLoop) leave() {
	for _, o := range l.beside {
		if o.room.Load() {
			o.mail.post(mail{kind: mailLook})
		}
	}
}

// end stops reading.
func (l *eventLoop) end(e unix.Errno) {
	l.ended(e)
	l.gone, l.due, l.all = true, false, false
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
		case mailLook:
			l.due, l.all = true, true
		case mailInterrupt:
			l.others.interrupt(e.in)
		}
	}
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
	if sentAgain(h) && l.again(l.port, s.in[:n]) {
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
			l.others.later(l.port, s.in[:n])
		}
	case codeForget, codeBatchForget:
		l.others.forget(s.in[:n])
	case codeInterrupt:
		l.interrupt(s.in[:n])
	default:
		l.others.later(l.port, s.in[:n])
	}
	l.release(s)
}

// interrupt passes an INTERRUPT on. What it names was read before it, maybe by another loop, which has not dispatched it yet: each is
// told, and hears it when it has.
func (l *eventLoop) interrupt(in []byte) {
	if l.others.interrupt(in) || len(l.beside) == 0 {
		return
	}
	in = bytes.Clone(in)
	for _, o := range l.beside {
		o.mail.post(mail{kind: mailInterrupt, in: in})
	}
}

// fsync flushes on a goroutine; those of one moment share a commit.
func (l *eventLoop) fsync(s *slot) {
	s.count = l.fs.countOf(s.header().NodeId)
	go func() {
		l.reply(s, l.fs.Fsync(nil, (*fuse.FsyncIn)(unsafe.Pointer(&s.in[0]))), nil)
		l.mail.post(mail{kind: mailDone, s: s})
	}()
}
