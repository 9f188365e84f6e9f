package fs

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// op is one operation on the device: all of buf, from byte off.
type op struct {
	kind opKind
	buf  []byte
	off  int64
}

type opKind uint8

const (
	opRead opKind = iota + 1
	opWrite
	opDsync // a write that is durable when it ends
)

// String is what messages call it.
func (k opKind) String() string {
	switch k {
	case opRead:
		return "read"
	case opWrite:
		return "write"
	case opDsync:
		return "dsync write"
	}
	return "?"
}

// opRef names an operation of a slot.
type opRef struct {
	s  *slot
	op int
}

// queue carries operations out, and sleeps for the loop. All methods are called on the loop's thread.
type queue interface {
	// start begins an operation, whose outcome opDone gets from collect or by mail. false: not before a collect.
	start(s *slot, i int) bool
	// straight tells whether the loop may carry a write out itself, in a call that returns when it has ended.
	straight(o *op) bool
	// wait submits what was started. With sleep it returns when an operation has ended, the mailbox's bell rings, or,
	// with listen, a request can be read; maybe earlier.
	wait(sleep, listen bool)
	// collect gives what has ended to opDone, or a part of it: then wait does not sleep.
	collect()
	// close ends the queue. No operation is in flight.
	close() error
}

// ringFile is a device that a ring can be used on: blockdev.File.
type ringFile interface {
	blockdev.Device
	Fd() int
	Direct() bool
	MemAlign() int
	NoteFailure(write bool, err error)
	IsBlockDevice() bool
	Pwrite(p []byte, off int64) (int, error)
}

// openQueue makes a queue for this thread: the ring where kernel and device have it, else the device's own methods.
func (l *eventLoop) openQueue() queue {
	dev := l.pool.Device()
	file, ok := dev.(ringFile)
	if !ok {
		return &plainQueue{l, dev}
	}
	ring, err := l.ring(ringEntries)
	if err != nil {
		l.log.Warn("fs: event loop: without io_uring every device operation takes a goroutine", "error", err)
		return &plainQueue{l, dev}
	}
	return &ringQueue{l: l, ring: ring, file: file, fd: file.Fd(), direct: file.Direct(), align: uintptr(file.MemAlign())}
}

// ringQueue is io_uring on the device's file. It goes past blockdev.File's bookkeeping: the offsets are a plan's, so
// within the device, and a failed sync goes to Pool.FailSync.
type ringQueue struct {
	l      *eventLoop
	ring   *blockdev.Ring
	file   ringFile
	fd     int
	direct bool
	align  uintptr // of buffers
	listen bool    // a poll of /dev/fuse is under way
	bell   bool    // a poll of the mailbox's bell is
}

// User data of a completion: slot and operation, or one of these.
const (
	tagFuse = 1 << 63
	tagBell = 1 << 62
	opBits  = 16
)

func (q *ringQueue) start(s *slot, i int) bool {
	o, user := &s.ops[i], uint64(s.index)<<opBits|uint64(i)
	switch {
	case q.direct && !q.aligned(o), !q.direct && o.kind == opDsync:
		// The File bounces the first, and of the second it tells all syncs of a cached file apart.
		q.l.byDevice(q.file, s, i)
		return true
	case o.kind == opRead:
		return q.push(blockdev.ReadSQE(q.fd, o.buf, o.off, user))
	}
	return q.push(blockdev.WriteSQE(q.fd, o.buf, o.off, o.kind == opDsync, user))
}

func (q *ringQueue) aligned(o *op) bool { return uintptr(unsafe.Pointer(&o.buf[0]))%q.align == 0 }

// straight: not while this thread listens, since a request wakes one thread, which then is not there.
func (q *ringQueue) straight(o *op) bool {
	return o.kind == opWrite && len(o.buf) <= small && q.direct && q.aligned(o) && !q.listen
}

// push queues a request. false: completions must be taken first.
func (q *ringQueue) push(e blockdev.SQE) bool {
	err := q.ring.Push(e)
	if err != nil && !errors.Is(err, blockdev.ErrRingFull) {
		panic(err)
	}
	return err == nil
}

// wait panics when the kernel does not know its own ring any more: what is in flight would be lost.
func (q *ringQueue) wait(sleep, listen bool) {
	n := uint32(0)
	if sleep && !q.ring.Ready() {
		if listen && !q.listen {
			q.listen = q.push(blockdev.PollSQE(q.l.port, unix.POLLIN|unix.EPOLLEXCLUSIVE, tagFuse)) // a request wakes one loop
		}
		if !q.bell {
			q.bell = q.push(blockdev.PollSQE(q.l.mail.bell, unix.POLLIN, tagBell))
		}
		if q.bell && (q.listen || !listen) {
			n = 1
		}
	}
	if q.ring.Ready() && q.ring.Pending() == 0 {
		return
	}
	if err := q.ring.Enter(n); err != nil {
		panic(err)
	}
}

// collect takes few, so that what these make room for is received and begun before the next are answered: devices tend to tell of
// all that they have done at once, and have nothing to do then.
func (q *ringQueue) collect() {
	q.l.copied = 0
	for got := 0; got < few && q.l.copied < much; got++ {
		c, ok := q.ring.Next()
		switch {
		case !ok:
			return
		case c.User == tagFuse:
			q.listen, q.l.due = false, true
		case c.User == tagBell:
			q.bell = false
			q.l.mail.hush()
		default:
			s, i, err := q.l.slots[c.User>>opBits], int(c.User&(1<<opBits-1)), c.Err()
			if err != nil {
				q.file.NoteFailure(s.ops[i].kind != opRead, err)
			}
			q.l.opDone(s, i, int(c.Res), err)
		}
	}
}

func (q *ringQueue) close() error { return q.ring.Close() }

// plainQueue is for a kernel without io_uring, or a device without a file: a goroutine per operation.
type plainQueue struct {
	l   *eventLoop
	dev blockdev.Device
}

func (q *plainQueue) start(s *slot, i int) bool {
	q.l.byDevice(q.dev, s, i)
	return true
}

func (q *plainQueue) straight(*op) bool { return false }

func (q *plainQueue) wait(sleep, listen bool) {
	if !sleep {
		return
	}
	fds := [2]unix.PollFd{{Fd: int32(q.l.mail.bell), Events: unix.POLLIN}, {Fd: int32(q.l.port), Events: unix.POLLIN}}
	n := 1
	if listen {
		n = 2
	}
	if _, err := unix.Poll(fds[:n], -1); err != nil && !errors.Is(err, unix.EINTR) {
		panic(err)
	}
	if fds[0].Revents != 0 {
		q.l.mail.hush()
	}
	q.l.due = q.l.due || listen && fds[1].Revents != 0
}

func (q *plainQueue) collect()     {}
func (q *plainQueue) close() error { return nil }

// byDevice does an operation by the device's own methods, on a goroutine.
func (l *eventLoop) byDevice(dev blockdev.Device, s *slot, i int) {
	o := s.ops[i]
	go func() {
		n, err := onDevice(dev, &o)
		l.mail.post(mail{kind: mailOp, s: s, op: i, n: n, err: err})
	}()
}

// onDevice does an operation by the device's own methods.
func onDevice(dev blockdev.Device, o *op) (int, error) {
	switch o.kind {
	case opRead:
		return dev.ReadAt(o.buf, o.off)
	case opDsync:
		return dev.WriteAtDsync(o.buf, o.off)
	case opWrite:
	}
	return dev.WriteAt(o.buf, o.off)
}
