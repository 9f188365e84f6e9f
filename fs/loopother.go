package fs

import (
	"bytes"
	"encoding/binary"
	"sync"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Opcodes of linux/fuse.h that the loop tells apart.
const (
	codeLookup      = 1
	codeForget      = 2
	codeGetAttr     = 3
	codeRead        = 15
	codeWrite       = 16
	codeStatFS      = 17
	codeFsync       = 20
	codeGetXattr    = 22
	codeListXattr   = 23
	codeReadDir     = 28
	codeInterrupt   = 36
	codeIoctl       = 39
	codeBatchForget = 42
	codeReadDirPlus = 44
)

// answerBytes is the room for an answer that has no payload of a size that was asked for; a symlink's target fits.
const answerBytes = 2 * blockSize

// dispatch decides who serves a request of n bytes.
func (l *eventLoop) dispatch(s *slot, n int) {
	h := s.header()
	if l.debug {
		l.log.Debug("fs: event loop: request", "opcode", h.Opcode, "unique", h.Unique, "node", h.NodeId, "bytes", n)
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

// others serves, by go-fuse, what the loop does not.
type others struct {
	l    *eventLoop
	work sync.WaitGroup
	outs sync.Pool // *[]byte of answerBytes
	out  []byte    // the loop's own

	mu      sync.Mutex
	pending map[uint64]struct{} // guarded by mu; uniques that INTERRUPT may name
	forgets [][]byte            // guarded by mu; in the order in which they came
	busy    bool                // guarded by mu; a goroutine works the forgets off
}

func (o *others) init(l *eventLoop) {
	o.l, o.out, o.pending = l, make([]byte, answerBytes), make(map[uint64]struct{})
	o.outs.New = func() any { b := make([]byte, answerBytes); return &b }
}

// wait returns when all has been served. Nothing new may come.
func (o *others) wait() { o.work.Wait() }

// now serves a request on the loop.
func (o *others) now(in []byte) { o.serve(in, o.out) }

// later serves a copy of a request on a goroutine.
func (o *others) later(in []byte) {
	in = bytes.Clone(in)
	unique := headerOf(in).Unique
	o.mu.Lock()
	o.pending[unique] = struct{}{}
	o.mu.Unlock()
	o.work.Go(func() {
		out := o.outs.Get().(*[]byte)
		o.serve(in, *out)
		o.outs.Put(out)
		o.mu.Lock()
		delete(o.pending, unique)
		o.mu.Unlock()
	})
}

// interrupt passes an INTERRUPT on if go-fuse serves what it names. Of anything else go-fuse would say EAGAIN, and the
// kernel would send it again, at once and for ever; a READ or WRITE takes no longer than its device.
func (o *others) interrupt(in []byte) {
	if len(in) < headerInBytes+8 {
		return
	}
	o.mu.Lock()
	_, ok := o.pending[binary.NativeEndian.Uint64(in[headerInBytes:])]
	o.mu.Unlock()
	if ok {
		o.now(in)
	}
}

// forget queues a request that has no answer. The end of an orphan may take long, a goroutine for each would pile up.
func (o *others) forget(in []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgets = append(o.forgets, bytes.Clone(in))
	if !o.busy {
		o.busy = true
		o.work.Go(o.workOff)
	}
}

// workOff serves forgets until there are none.
func (o *others) workOff() {
	for {
		o.mu.Lock()
		list := o.forgets
		o.forgets = nil
		o.busy = len(list) > 0
		o.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, in := range list {
			o.serve(in, nil)
		}
	}
}

func headerOf(in []byte) *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&in[0])) }

// serve has go-fuse serve a request, and answers it. out is used if it is large enough.
func (o *others) serve(in, out []byte) {
	if size := answerSize(in); size > len(out) && out != nil {
		out = make([]byte, size)
	}
	n, st := o.l.ps.HandleRequest([][]byte{in}, [][]byte{out})
	unique := headerOf(in).Unique
	if st != fuse.OK && len(out) >= headerBytes { // malformed: who asked would wait for ever
		n = headerBytes
		*(*fuse.OutHeader)(unsafe.Pointer(&out[0])) = fuse.OutHeader{Length: uint32(n), Status: -int32(st), Unique: unique}
	}
	if n > 0 {
		_, _, e := unix.Syscall(unix.SYS_WRITE, uintptr(o.l.fd), uintptr(unsafe.Pointer(&out[0])), uintptr(n))
		o.l.replied(unique, e)
	}
}

// answerSize is the room in bytes for the answer to a request. go-fuse cuts off or refuses what does not fit.
func answerSize(in []byte) int {
	at := -1 // where the request says how much it wants
	switch headerOf(in).Opcode {
	case codeReadDir, codeReadDirPlus:
		at = headerInBytes + 16
	case codeGetXattr, codeListXattr:
		at = headerInBytes
	case codeIoctl:
		at = headerInBytes + 28
	}
	if at < 0 || len(in) < at+4 {
		return answerBytes
	}
	return answerBytes + int(min(binary.NativeEndian.Uint32(in[at:]), maxWrite))
}

// Notifications of linux/fuse.h.
const (
	codeInvalInode = 2
	codeInvalEntry = 3
)

// notifyNode tells the kernel to drop attributes and pages: 16 bytes of header, then node u64, offset i64, length i64.
func (l *eventLoop) notifyNode(node uint64) error {
	b := binary.NativeEndian.AppendUint64(notification(codeInvalInode), node)
	return l.send(append(b, make([]byte, 16)...))
}

// notifyName tells the kernel to drop a name: 16 bytes of header, then directory u64, length u32, flags u32, name, 0.
func (l *eventLoop) notifyName(dir uint64, name string) error {
	b := binary.NativeEndian.AppendUint64(notification(codeInvalEntry), dir)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(name)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	return l.send(append(append(b, name...), 0))
}

// notification is the header of one: length u32, set by send, code i32, unique u64.
func notification(code uint32) []byte {
	b := binary.NativeEndian.AppendUint64(nil, 0)
	binary.NativeEndian.PutUint32(b[4:], code)
	return binary.NativeEndian.AppendUint64(b, 0)
}

// send sends a notification, not on the loop. It may wait until the loop has written pages back.
func (l *eventLoop) send(b []byte) error {
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	l.notes.RLock()
	defer l.notes.RUnlock()
	if l.closed {
		return syscall.ENODEV
	}
	_, _, e := unix.Syscall(unix.SYS_WRITE, uintptr(l.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return notified(fuse.Status(e))
}
