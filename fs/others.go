package fs

import (
	"bytes"
	"encoding/binary"
	"sync"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/fs/death"
)

// Opcodes of linux/fuse.h that the transports tell apart.
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

// others serves, by go-fuse, what the transport does not serve itself.
type others struct {
	c    *conn
	outs sync.Pool  // *[]byte of answerBytes
	one  sync.Mutex // held by the request that is served alone

	mu      sync.Mutex
	pending map[uint64]int // guarded by mu; uniques that INTERRUPT may name, with where they are answered
	forgets [][]byte       // guarded by mu; in the order in which they came
	busy    bool           // guarded by mu; a goroutine works the forgets off
	working int            // guarded by mu; goroutines
	none    chan struct{}  // guarded by mu; closed when there are none; nil while nobody waits for that
}

func (o *others) init(c *conn) {
	o.c, o.pending = c, make(map[uint64]int)
	o.outs.New = func() any { b := make([]byte, answerBytes); return &b }
}

// goes runs what serves something on a goroutine.
func (o *others) goes(serve func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.goesLocked(serve)
}

func (o *others) goesLocked(serve func()) {
	o.working++
	go func() {
		serve()
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.working--; o.working == 0 && o.none != nil {
			close(o.none)
			o.none = nil
		}
	}()
}

// idle returns a channel that is closed when no goroutine serves anything: at once, if none does.
func (o *others) idle() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.none == nil {
		o.none = make(chan struct{})
	}
	none := o.none
	if o.working == 0 {
		close(none)
		o.none = nil
	}
	return none
}

// wait returns when all has been served. Nothing new may come.
func (o *others) wait() { <-o.idle() }

// later serves a copy of a request on a goroutine. It was read from a port, and is answered there, as with all that follow.
func (o *others) later(port int, in []byte) {
	in = bytes.Clone(in)
	o.begin(port, in)
	o.goes(func() { o.run(port, in) })
}

// alone serves a copy of a request on a goroutine, and no other such meanwhile: it may be what ended the last daemons. If it ends this
// one, which takes a while, none of the others begins: else that would be taken for the one.
func (o *others) alone(port int, in []byte) {
	in = bytes.Clone(in)
	o.begin(port, in)
	o.goes(func() {
		o.one.Lock()
		o.c.fs.files.memory.Begin(requestOf(headerOf(in)))
		o.run(port, in)
		o.one.Unlock() // not deferred: a panic must not get here
	})
}

// begin makes a request known to interrupt.
func (o *others) begin(port int, in []byte) {
	o.mu.Lock()
	o.pending[headerOf(in).Unique] = port
	o.mu.Unlock()
}

// run serves a request that was begun.
func (o *others) run(port int, in []byte) {
	out := o.outs.Get().(*[]byte)
	o.serve(port, in, *out)
	o.outs.Put(out)
	o.mu.Lock()
	delete(o.pending, headerOf(in).Unique)
	o.mu.Unlock()
}

// interrupt passes an INTERRUPT on if go-fuse serves what it names. Of anything else go-fuse would say EAGAIN, and the
// kernel would send it again, at once and for ever; a READ or WRITE takes no longer than its device. false: there is no such request
// here, or not yet. An answer goes to where that one's goes, wherever the INTERRUPT was read.
func (o *others) interrupt(in []byte) bool {
	if len(in) < headerInBytes+8 {
		return true
	}
	o.mu.Lock()
	port, ok := o.pending[binary.NativeEndian.Uint64(in[headerInBytes:])]
	o.mu.Unlock()
	if ok {
		out := o.outs.Get().(*[]byte)
		o.serve(port, in, *out)
		o.outs.Put(out)
	}
	return ok
}

// forget queues a request that has no answer. The end of an orphan may take long, a goroutine for each would pile up.
func (o *others) forget(in []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgets = append(o.forgets, bytes.Clone(in))
	if !o.busy {
		o.busy = true
		o.goesLocked(o.workOff)
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
			o.serve(-1, in, nil)
		}
	}
}

func headerOf(in []byte) *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&in[0])) }

// serve has go-fuse serve a request, and answers it at a port. out is used if it is large enough; nil: there is no answer.
func (o *others) serve(port int, in, out []byte) {
	if size := answerSize(in); size > len(out) && out != nil {
		out = make([]byte, size)
	}
	death.By(in)
	begun := moment()
	n, st := o.c.ps.HandleRequest([][]byte{in}, [][]byte{out})
	death.Done(in)
	unique := headerOf(in).Unique
	if st != fuse.OK && len(out) >= headerBytes { // malformed: who asked would wait for ever
		n = headerBytes
		*(*fuse.OutHeader)(unsafe.Pointer(&out[0])) = fuse.OutHeader{Length: uint32(n), Status: -int32(st), Unique: unique}
	}
	if n > 0 {
		_, _, e := unix.Syscall(unix.SYS_WRITE, uintptr(port), uintptr(unsafe.Pointer(&out[0])), uintptr(n))
		o.c.replied(unique, e)
		o.c.answeredBy(in, out[:n], begun)
	}
}

// answerSize is the room in bytes for the answer to a request. go-fuse cuts off or refuses what does not fit.
func answerSize(in []byte) int {
	at := -1 // where the request says how much it wants
	switch headerOf(in).Opcode {
	case codeRead, codeReadDir, codeReadDirPlus:
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
