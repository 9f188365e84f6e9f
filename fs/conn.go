package fs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/fs/park"
)

// conn is the connection with the kernel, as both transports have it: the file that requests come from and answers go to, what
// was agreed on in INIT, and go-fuse, which takes most requests apart.
//
// A port is an open /dev/fuse of the connection. There may be several; a request comes by any, and its answer must go to the same, by
// whatever goroutine. Notifications may go to each.
type conn struct {
	fs    *FS
	log   *slog.Logger
	debug bool
	fd    int // /dev/fuse, the port that the mount was made with
	ps    *fuse.ProtocolServer
	meter *meter // of what this connection answers

	others others
	notes  sync.RWMutex // exclusive to close fd; shared by notifications
	closed bool         // guarded by notes
}

// open connects: it mounts, or goes on with a connection that another process has left. On error nothing is mounted, or all is
// as it was left.
func (c *conn) open(dir string, o MountOptions) error {
	if o.Parked != nil {
		return c.adopt(o)
	}
	fo := fuseOptions(o)
	c.ps = fuse.NewProtocolServer(c.fs, fo)
	var err error
	if c.fd, err = mountCall(dir, fo); err != nil {
		return err
	}
	if err := c.init(dir, o); err != nil {
		return errors.Join(fmt.Errorf("init: %w", err), unmount(dir, unix.MNT_DETACH), unix.Close(c.fd))
	}
	return nil
}

// init answers INIT, which comes first and alone, and has the connection kept for a successor, if somebody does.
func (c *conn) init(dir string, o MountOptions) error {
	in := make([]byte, maxWrite+slotData)
	n, err := unix.Read(c.fd, in)
	if err != nil {
		return err
	}
	out, err := c.agree(in[:n])
	if err != nil {
		return err
	}
	i := park.Init{ID: rand.Uint64(), In: in[:n], Out: out, Dir: dir}
	c.fs.connection = i.ID
	c.fs.keep(c.fd, i, o)
	_, err = unix.Write(c.fd, out)
	return err
}

// agree has go-fuse answer an INIT.
func (c *conn) agree(in []byte) ([]byte, error) {
	out := make([]byte, answerBytes)
	n, st := c.ps.HandleRequest([][]byte{in}, [][]byte{out})
	if st == fuse.OK && n >= headerBytes {
		st = fuse.Status(-(*fuse.OutHeader)(unsafe.Pointer(&out[0])).Status)
	}
	if st == fuse.OK && n < initBytes {
		st = fuse.EIO
	}
	if st != fuse.OK {
		return nil, syscall.Errno(st)
	}
	return out[:n], nil
}

// initBytes is an answer to INIT.
const initBytes = headerBytes + int(unsafe.Sizeof(fuse.InitOut{}))

// adopt goes on with a connection. What was agreed on holds, whatever this program would ask for.
func (c *conn) adopt(o MountOptions) error {
	p := o.Parked
	out, err := agreed(p.Init)
	if err != nil {
		return err
	}
	fo := fuseOptions(o)
	fo.MaxWrite, fo.MaxBackground = int(out.MaxWrite), int(out.MaxBackground)
	fo.ExtraCapabilities, fo.DisabledCapabilities = out.Flags64(), ^out.Flags64()
	c.ps = fuse.NewProtocolServer(c.fs, fo)
	if _, err := c.agree(p.Init.In); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if c.fd, err = unix.FcntlInt(p.Fuse.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	c.fs.connection = p.Init.ID
	return nil
}

// agreed is what was agreed on in an INIT, as far as this program can serve it.
func agreed(i park.Init) (*fuse.InitOut, error) {
	if len(i.Out) < initBytes || len(i.In) < headerInBytes {
		return nil, fmt.Errorf("init: of %d and %d bytes: %w", len(i.In), len(i.Out), park.ErrFormat)
	}
	out := (*fuse.InitOut)(unsafe.Pointer(&i.Out[headerBytes]))
	if out.MaxWrite == 0 || out.MaxWrite > maxWrite {
		return nil, fmt.Errorf("init: requests of %d bytes, at most %d here: %w", out.MaxWrite, maxWrite, park.ErrFormat)
	}
	return out, nil
}

// resend has the kernel send again what was read and not answered. It comes before anything is read, when nothing is in work.
func (c *conn) resend() error {
	b := notification(codeResend)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	if _, err := unix.Write(c.fd, b); err != nil {
		return fmt.Errorf("requests can't be sent again: %w", err)
	}
	return nil
}

// close closes the connection. Nothing is in work.
func (c *conn) close() error {
	c.notes.Lock()
	defer c.notes.Unlock()
	c.closed = true
	return unix.Close(c.fd)
}

// again tells whether a request that the kernel has sent again is taken care of: it has ended too many processes, or it is one
// of those that may have. Its bytes are copied.
func (c *conn) again(port int, in []byte) bool {
	h := headerOf(in)
	m := c.fs.files.memory
	if !sentAgain(h) || m == nil {
		return false
	}
	v, deaths := m.Again(requestOf(h))
	switch v {
	case park.Serve:
		return false
	case park.Alone:
		c.others.alone(port, in)
	case park.Refuse:
		h := *h // the bytes are another request's soon
		c.others.goes(func() { c.refuseAgain(port, &h, deaths) })
	}
	return true
}

// refuseAgain answers a request that each daemon ended by that served it.
func (c *conn) refuseAgain(port int, h *fuse.InHeader, deaths int) {
	c.log.Error("fs: a request is refused: each daemon ended that served it", "opcode", h.Opcode, "node", h.NodeId,
		"path", c.fs.path(h.NodeId), "unique", requestOf(h), "daemons", deaths)
	c.refuse(port, h.Unique, unix.EIO)
}

// refuse answers a request with an error.
func (c *conn) refuse(port int, unique uint64, e unix.Errno) {
	h := fuse.OutHeader{Length: uint32(headerBytes), Status: -int32(e), Unique: unique}
	_, _, e = unix.Syscall(unix.SYS_WRITE, uintptr(port), uintptr(unsafe.Pointer(&h)), uintptr(headerBytes))
	c.replied(unique, e)
}

// replied logs an answer that the kernel did not take. ENOENT: nobody waits for it any more, ENODEV: unmounted.
func (c *conn) replied(unique uint64, e unix.Errno) {
	if e != 0 && e != unix.ENOENT && e != unix.ENODEV {
		c.log.Error("fs: answer", "unique", unique, "error", e)
	}
}

// ended tells whether an error of a read of /dev/fuse is the end of the connection, and logs any other. ENODEV: unmounted,
// ECONNABORTED: aborted.
func (c *conn) ended(e unix.Errno) {
	if e != unix.ENODEV && e != unix.ECONNABORTED {
		c.check("/dev/fuse", e)
	}
}

// check logs what can't be helped.
func (c *conn) check(what string, err error) {
	if err != nil {
		c.log.Error("fs: "+what, "error", err)
	}
}

// Notifications of linux/fuse.h.
const (
	codeInvalInode = 2
	codeInvalEntry = 3
	codeResend     = 7
)

// notifyNode tells the kernel to drop attributes and pages: 16 bytes of header, then node u64, offset i64, length i64.
func (c *conn) notifyNode(node uint64) error {
	b := binary.NativeEndian.AppendUint64(notification(codeInvalInode), node)
	return c.send(append(b, make([]byte, 16)...))
}

// notifyName tells the kernel to drop a name: 16 bytes of header, then directory u64, length u32, flags u32, name, 0.
func (c *conn) notifyName(dir uint64, name string) error {
	b := binary.NativeEndian.AppendUint64(notification(codeInvalEntry), dir)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(name)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	return c.send(append(append(b, name...), 0))
}

// notification is the header of one: length u32, set by send, code i32, unique u64.
func notification(code uint32) []byte {
	b := binary.NativeEndian.AppendUint64(nil, 0)
	binary.NativeEndian.PutUint32(b[4:], code)
	return binary.NativeEndian.AppendUint64(b, 0)
}

// send sends a notification, not on the loop. It may wait until the loop has written pages back.
func (c *conn) send(b []byte) error {
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	c.notes.RLock()
	defer c.notes.RUnlock()
	if c.closed {
		return syscall.ENODEV
	}
	_, _, e := unix.Syscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return notified(fuse.Status(e))
}

// notified is the outcome of a notification. ENOENT: the kernel has nothing cached.
func notified(st fuse.Status) error {
	if st == fuse.OK || st == fuse.ENOENT {
		return nil
	}
	return syscall.Errno(st)
}
