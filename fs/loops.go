package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// maxLoops is how many event loops there are at most: chain has as many lanes for plans.
const maxLoops = 8

// loops is the transport for fast devices: event loops (eventLoop) that share a connection, each with a thread, a port, a ring and
// buffers of its own. The kernel gives a request to whichever loop reads first, so all of them serve all volumes.
//
// What holds here:
//
//   - What a loop owns no other touches. They tell each other things by mail, and know of each other whether there is room.
//   - Nothing is in order between two requests that wait in the kernel at once: it sends none that must follow before the other is
//     answered. What may overtake all the same is an INTERRUPT (eventLoop.interrupt).
//   - No request waits in the kernel while a loop has room for it. The kernel wakes one loop for a request; one that can't take it
//     tells the others (eventLoop.leave).
type loops struct {
	conn
	list []*eventLoop // const, once they serve
}

// ParseLoops reads how many event loops there are to be: auto, which is 0, or a number from 1 to 8.
func ParseLoops(s string) (int, error) {
	if s == transportNames[Auto] {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLoops {
		return 0, fmt.Errorf("loops %q: auto, or 1 to %d: %w", s, maxLoops, chain.ErrInvalid)
	}
	return n, nil
}

// loopsFor is how many loops there are if so many are asked for, 0: a quarter of the processors; each has buffers enough.
func loopsFor(asked, slots int) int {
	if asked == 0 {
		asked = runtime.NumCPU() / 4
	}
	return max(1, min(asked, maxLoops, slots/leastSlots))
}

// newLoops mounts f, or goes on with its mount. On error nothing is mounted, or all is as it was left.
func newLoops(f *FS, dir string, o MountOptions) (*loops, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("event loop: only for root: %w", chain.ErrUnsupported)
	}
	slots := slotsFor(o.Buffers)
	n := loopsFor(o.Loops, slots)
	t, err := makeLoops(f, nil, n, slots/n)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", err)
	}
	t.debug = o.Debug
	if err = t.open(dir, o); err != nil {
		return nil, errors.Join(err, t.freeMemory())
	}
	if err = t.openPorts(o); err != nil {
		return nil, errors.Join(fmt.Errorf("/dev/fuse: %w", err), t.close(), t.freeMemory())
	}
	return t, nil
}

// makeLoops makes n loops without a connection.
func makeLoops(f *FS, ps *fuse.ProtocolServer, n, slots int) (*loops, error) {
	t := &loops{conn: conn{fs: f, log: f.log, ps: ps, fd: -1, meter: f.meters.next()}}
	t.others.init(&t.conn)
	for i := range n {
		l, err := makeLoop(&t.conn, i, slots)
		if err != nil {
			return nil, errors.Join(err, t.freeMemory())
		}
		t.list = append(t.list, l)
	}
	t.acquaint()
	return t, nil
}

// acquaint tells each loop of the others.
func (t *loops) acquaint() {
	for _, l := range t.list {
		l.beside = nil
		for _, o := range t.list {
			if o != l {
				l.beside = append(l.beside, o)
			}
		}
	}
}

// openPorts gives each loop a port, the first one that of the mount. There are fewer loops where there are no more ports.
func (t *loops) openPorts(o MountOptions) error {
	t.list[0].port = t.fd
	var err error
	for i := 1; i < len(t.list) && err == nil; i++ {
		if t.list[i].port, err = t.clone(i-1, o); err != nil {
			t.log.Warn("fs: there are fewer event loops than wanted", "loops", i, "wanted", len(t.list), "error", err)
			err = t.drop(i)
		}
	}
	for _, l := range t.list {
		err = errors.Join(err, unix.SetNonblock(l.port, true))
	}
	return err
}

// Loops is how many event loops serve requests; 0: it is the classic transport.
func (s *Server) Loops() int {
	if t, ok := s.t.(*loops); ok {
		return len(t.list)
	}
	return 0
}

// drop does without all loops but the first n.
func (t *loops) drop(n int) (err error) {
	for _, l := range t.list[n:] {
		err = errors.Join(err, l.freeMemory())
	}
	t.list = t.list[:n]
	t.acquaint()
	return err
}

// serve returns when each loop has.
func (t *loops) serve() {
	var all sync.WaitGroup
	for _, l := range t.list {
		all.Go(l.serve)
	}
	all.Wait()
	t.others.wait()
	t.fs.OnUnmount()
	t.check("close of /dev/fuse", t.close())
	t.check("memory", t.freeMemory())
}

// close closes all ports.
func (t *loops) close() (err error) {
	for _, l := range t.list {
		if l.port >= 0 && l.port != t.fd {
			err = errors.Join(err, unix.Close(l.port))
		}
	}
	return errors.Join(err, t.conn.close())
}

func (t *loops) freeMemory() (err error) {
	for _, l := range t.list {
		err = errors.Join(err, l.freeMemory())
	}
	return err
}

// alive asks each loop, which answers between two batches.
func (t *loops) alive(ctx context.Context) error {
	for _, l := range t.list {
		if err := l.alive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pause asks each loop, which has nothing in work then; what they have left to others ends after that.
func (t *loops) pause(ctx context.Context) error {
	var idle []func() <-chan struct{}
	for _, l := range t.list {
		empty := make(chan struct{})
		l.mail.post(mail{kind: mailPause, pong: empty})
		idle = append(idle, func() <-chan struct{} { return empty })
	}
	err := untilIdle(ctx, append(idle, t.others.idle)...)
	if err != nil {
		for _, l := range t.list {
			l.mail.post(mail{kind: mailPause})
		}
	}
	return err
}
