package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// Limits that are negotiated with the kernel.
const (
	maxWrite      = 1 << 20  // bytes in one READ or WRITE
	maxBackground = 128      // requests of asynchronous I/O
	maxInflight   = 96 << 20 // bytes in buffers of requests, of which each takes slotBytes
	leastSlots    = 8        // buffers of requests, however little memory there is
)

// slotsFor is how many requests have a buffer at once, in so much memory; more wait in the kernel.
func slotsFor(bytes int64) int {
	if bytes == 0 {
		bytes = maxInflight
	}
	return int(max(min(bytes, maxInflight)/slotBytes, leastSlots))
}

// fuseOptions are go-fuse's options, for every transport. The capabilities are those of the table in requests.go. There
// is no splice: it gives short reads inside a file.
func fuseOptions(o MountOptions) *fuse.MountOptions {
	level := slog.LevelWarn
	if o.Debug {
		level = slog.LevelDebug
	}
	m := &fuse.MountOptions{
		Name: fsName, FsName: o.FsName, AllowOther: o.AllowOther, Options: []string{"default_permissions"},
		MaxWrite: maxWrite, MaxBackground: maxBackground, MaxInflightRequestBytes: maxInflight,
		ExtraCapabilities:    asked(),
		DisabledCapabilities: ^asked(),
		DisableSplice:        true,
		Debug:                o.Debug,
		Logger:               slog.NewLogLogger(o.Logger.Handler(), level),
		PanicHandler:         die,
	}
	if os.Geteuid() == 0 {
		m.DirectMountStrict, m.AllowOther = true, true
		m.DirectMountFlags = mountFlags(o)
		return m
	}
	if o.ReadOnly {
		m.Options = append(m.Options, "ro")
	}
	if o.NoExec {
		m.Options = append(m.Options, "noexec")
	}
	return m
}

// mountFlags are those of mount(2).
func mountFlags(o MountOptions) uintptr {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if o.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if o.NoExec {
		flags |= unix.MS_NOEXEC
	}
	return flags
}

// die is called by go-fuse while it recovers from a panic in a handler. The panic goes on, with its stack, and nobody
// above recovers from it: the process ends with the request unanswered.
func die(cause any) fuse.Status { panic(cause) }

// classic is the transport without a loop: each request has a goroutine, which waits for the device. There is always one that
// waits for the next request. READ and WRITE have a buffer of the arena until they are answered; anything else is copied.
type classic struct {
	conn
	arena   arena
	gate    barrier
	work    sync.WaitGroup
	readers struct {
		sync.Mutex
		bufs          []int // that nobody has; the last one that was used is the next, so that few are ever touched
		waiting, most int
		starved       bool // one ended for want of a buffer
	}
}

// newClassic mounts f, or goes on with its mount. On error nothing is mounted, or all is as it was left.
func newClassic(f *FS, dir string, o MountOptions) (*classic, error) {
	c := &classic{conn: conn{fs: f, log: f.log, debug: o.Debug, fd: -1, meter: f.meters.next()}}
	c.readers.most = min(max(runtime.GOMAXPROCS(0), 2), 16)
	c.others.init(&c.conn)
	n := slotsFor(o.Buffers)
	var err error
	if c.arena, err = newArena(n, f.log); err != nil {
		return nil, err
	}
	for i := range n {
		c.readers.bufs = append(c.readers.bufs, i)
	}
	if err = c.open(dir, o); err != nil {
		return nil, errors.Join(err, c.arena.free())
	}
	if err = unix.SetNonblock(c.fd, false); err != nil {
		return nil, errors.Join(fmt.Errorf("/dev/fuse: %w", err), c.close(), c.arena.free())
	}
	return c, nil
}

// alive: nothing but the scheduler of goroutines, on which the caller runs, is between the kernel and the requests.
func (c *classic) alive(context.Context) error { return nil }

// pause: readers stay where they are, with a request that they may have.
func (c *classic) pause(ctx context.Context) error {
	err := untilIdle(ctx, c.gate.close, c.others.idle)
	if err != nil {
		c.gate.open()
	}
	return err
}

func (c *classic) serve() {
	c.work.Go(c.read)
	c.work.Wait()
	c.others.wait()
	c.fs.OnUnmount()
	c.check("close of /dev/fuse", c.close())
	c.check("memory", c.arena.free())
}

// read reads requests, and serves them: while it does, another goroutine reads. It ends when enough others wait, or all buffers
// are in use: who has one reads again when it is served.
func (c *classic) read() {
	for {
		i, ok := c.begin()
		if !ok {
			return
		}
		if c.fs.files.memory != nil {
			c.arena.populate(i)
		}
		buf := c.arena.at(i)[slotData-writeInBytes : slotScratch]
		n, err := unix.Read(c.fd, buf)
		var e unix.Errno
		_ = errors.As(err, &e)
		switch {
		case err == nil && n >= headerInBytes:
			c.dispatch(i, buf[:n])
			continue
		case e == unix.EINTR, e == unix.ENOENT, e == unix.EAGAIN, e == unix.EIO: // the request ended before it could be read
		default:
			c.ended(e)
			ok = false
		}
		c.end(i)
		if !ok {
			return
		}
	}
}

// begin counts one who is about to read, and gives him a buffer; false: there is no need, or none.
func (c *classic) begin() (buf int, ok bool) {
	c.readers.Lock()
	defer c.readers.Unlock()
	if c.readers.waiting >= c.readers.most {
		return 0, false
	}
	n := len(c.readers.bufs) - 1
	if n < 0 {
		c.readers.starved = true
		return 0, false
	}
	buf, c.readers.bufs = c.readers.bufs[n], c.readers.bufs[:n]
	c.readers.waiting++
	return buf, true
}

// handOver: who has read a request waits no more. If nobody does, another goroutine begins.
func (c *classic) handOver() {
	c.readers.Lock()
	defer c.readers.Unlock()
	if c.readers.waiting--; c.readers.waiting == 0 {
		c.work.Go(c.read)
	}
}

// end takes back what begin gave to one who has read nothing.
func (c *classic) end(buf int) {
	c.readers.Lock()
	defer c.readers.Unlock()
	c.readers.waiting--
	c.readers.bufs = append(c.readers.bufs, buf)
}

// free gives a buffer back. If nobody waits for want of one, somebody does again.
func (c *classic) free(buf int) {
	c.readers.Lock()
	defer c.readers.Unlock()
	c.readers.bufs = append(c.readers.bufs, buf)
	if c.readers.starved && c.readers.waiting == 0 {
		c.readers.starved = false
		c.work.Go(c.read)
	}
}

// dispatch serves a request that lies in a buffer, and gives the buffer back. The next one is not read before this one is known
// to those that may name it.
func (c *classic) dispatch(buf int, in []byte) {
	c.gate.enter()
	defer c.gate.leave()
	h := headerOf(in)
	if sentAgain(h) && c.again(c.fd, in) {
		c.handOver()
		c.free(buf)
		return
	}
	switch h.Opcode {
	case codeRead:
		c.handOver()
		c.serveRead(buf, in)
		c.free(buf)
	case codeWrite:
		c.handOver()
		out := c.others.outs.Get().(*[]byte)
		c.others.serve(c.fd, in, *out)
		c.others.outs.Put(out)
		c.free(buf)
	case codeForget, codeBatchForget:
		c.others.forget(in)
		c.handOver()
		c.free(buf)
	case codeInterrupt:
		c.handOver()
		c.others.interrupt(in)
		c.free(buf)
	default:
		in = bytes.Clone(in)
		c.others.begin(c.fd, in)
		c.handOver()
		c.free(buf)
		c.others.run(c.fd, in)
	}
}

// serveRead serves a READ, whose bytes go to where those of a WRITE come from: at the beginning of a page.
func (c *classic) serveRead(buf int, in []byte) {
	h, begun := *headerOf(in), moment()
	r := (*fuse.ReadIn)(unsafe.Pointer(&in[0]))
	if len(in) < int(unsafe.Sizeof(*r)) || r.Size > maxWrite {
		c.log.Error("fs: read", "path", c.fs.path(h.NodeId), "bytes", len(in), "error", chain.ErrInvalid)
		c.refuse(c.fd, h.Unique, unix.EINVAL)
		return
	}
	var header [headerBytes]byte
	data := c.arena.at(buf)[slotData:][:r.Size]
	n, st := c.ps.HandleRequest([][]byte{in}, [][]byte{header[:], data})
	if st != fuse.OK || n < headerBytes {
		c.refuse(c.fd, h.Unique, unix.Errno(st))
		c.served(h.Opcode, h.NodeId, begun, 0, st)
		return
	}
	_, err := unix.Writev(c.fd, [][]byte{header[:], data[:n-headerBytes]})
	var e unix.Errno
	_ = errors.As(err, &e)
	c.replied(h.Unique, e)
	st = fuse.Status(-(*fuse.OutHeader)(unsafe.Pointer(&header[0])).Status)
	c.served(h.Opcode, h.NodeId, begun, int64(n-headerBytes), st)
}
