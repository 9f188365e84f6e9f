package fs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/fs/park"
)

// The daemon may end without its mount: somebody else holds /dev/fuse, and a successor goes on with it (package park). What it
// needs of this package:
//
//   - Node ids and handles have no state. Lookup counts begin at zero again: an orphan ends a little earlier for it.
//   - What is open is counted in memory that outlives the process, before an OPEN and after a RELEASE is answered.
//   - What was read and not answered is sent again. Reads, writes, flushes and changes of attributes are done again: whoever
//     waits for them has not been told of the first time. What makes, moves or removes names is answered from the pool's
//     record of it, if it was done.

// resendBit is set in the unique of a request that the kernel sends again: FUSE_UNIQUE_RESEND. Its answer has it, too.
const resendBit = uint64(1) << 63

// sentAgain tells a request that the kernel has sent again.
func sentAgain(h *fuse.InHeader) bool { return h.Unique&resendBit != 0 }

// requestOf is the number of a request, the same when it is sent again.
func requestOf(h *fuse.InHeader) uint64 { return h.Unique &^ resendBit }

// unique is the number of a request over all connections that there ever were: the pool keeps it.
func (f *FS) unique(h *fuse.InHeader) uint64 {
	if u := requestOf(h) ^ f.connection; u != 0 {
		return u
	}
	return resendBit
}

// answered tells of a request that was sent again whether it was carried out, and on which inode.
func (f *FS) answered(h *fuse.InHeader) (chain.Ino, bool) {
	if !sentAgain(h) {
		return 0, false
	}
	return f.pool.Answered(f.unique(h))
}

// counted tells of an OPEN or RELEASE that was sent again whether it was counted.
func (f *FS) counted(h *fuse.InHeader) bool {
	return sentAgain(h) && f.files.memory.Changed(requestOf(h))
}

// Parked is what another process has left of a mount.
type Parked struct {
	Fuse    *os.File // stays the caller's, as all files do
	Clones  []*os.File
	Init    park.Init
	Memory  *park.Memory
	ByFault bool // the process ended by a fault of its own; else it was ended
}

// Opened is what is open, for chain.Open.
func (p *Parked) Opened() (list []chain.Opened) {
	for _, o := range p.Memory.All() {
		n := chain.Opened{Readers: o.Readers, Writers: o.Writers}
		switch kind, num := split(o.Node); kind {
		case plain:
			n.Ino = chain.Ino(num)
		case snapFile:
			n.Layer = chain.LayerID(num)
		case snapDir: // is never open
			continue
		}
		list = append(list, n)
	}
	return list
}

// Readable tells whether this program could go on with what is parked.
func Readable(i park.Init) error {
	_, err := agreed(i)
	return err
}

// leastTimeout is the shortest time-out of requests, in seconds, that leaves time for a takeover.
const leastTimeout = 60

// timeouts are what the kernel fails requests after by itself, in seconds; 0: never.
var timeouts = []string{"/proc/sys/fs/fuse/default_request_timeout", "/proc/sys/fs/fuse/max_request_timeout"}

// ErrNoTakeover is why a daemon of this mount could have no successor.
var ErrNoTakeover = errors.New("the mount ends with its daemon")

// mayTakeOver is nil where a successor can go on with a connection.
func mayTakeOver(i park.Init) error {
	in := (*fuse.InitIn)(unsafe.Pointer(&i.In[0]))
	if len(i.In) < int(unsafe.Sizeof(*in)) || in.Flags64()&fuse.CAP_HAS_RESEND == 0 {
		return fmt.Errorf("%w: the kernel can't send requests again (Linux 6.9 can)", ErrNoTakeover)
	}
	for _, path := range timeouts {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // this kernel has none
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 && n < leastTimeout {
			return fmt.Errorf("%w: %s is %d s, less than %d s", ErrNoTakeover, path, n, leastTimeout)
		}
	}
	return nil
}

// keep gives a new connection to whoever keeps it, the connection itself last: what is kept without it is of no use.
func (f *FS) keep(fd int, i park.Init, o MountOptions) {
	if f.parkErr = ErrNoTakeover; o.Keep == nil {
		return
	}
	if f.parkErr = mayTakeOver(i); f.parkErr == nil {
		f.parkErr = f.keepAll(fd, i, o.Keep)
	}
	if f.parkErr != nil {
		f.files.memory = nil
	}
}

func (f *FS) keepAll(fd int, i park.Init, keep func(string, *os.File) error) error {
	opens, err := park.MemFile(park.OpensName)
	if err != nil {
		return err
	}
	defer func() { _ = opens.Close() }() //nolint:errcheck // a mapping and whoever keeps it have it
	if f.files.memory, err = park.NewMemory(opens); err != nil {
		return err
	}
	init, err := park.MemFile(park.InitName)
	if err != nil {
		return err
	}
	defer func() { _ = init.Close() }() //nolint:errcheck // as above
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	conn := os.NewFile(uintptr(own), park.FuseName)
	defer func() { _ = conn.Close() }() //nolint:errcheck // as above
	if err := i.WriteTo(init); err != nil {
		return err
	}
	if err := keep(park.OpensName, opens); err != nil {
		return err
	}
	if err := keep(park.InitName, init); err != nil {
		return err
	}
	return keep(park.FuseName, conn)
}

// clone opens another port of the connection, number i of those beside the first. What was read from a port and not answered is
// failed by the kernel when nobody has it open any more, and sent again while somebody has: so those that the last process had are
// taken first, and a new one is kept, if the connection is, before anything is read from it. More of them than this process takes
// stay with whoever keeps them: what was read from those is sent again like all else, and comes by any port.
func (c *conn) clone(i int, o MountOptions) (int, error) {
	if o.Parked != nil && i < len(o.Parked.Clones) {
		return unix.FcntlInt(o.Parked.Clones[i].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	}
	fd, err := cloneCall(c.fd)
	if err != nil || c.fs.parkErr != nil {
		return fd, err
	}
	if err = c.keepPort(fd, i, o); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func (c *conn) keepPort(fd, i int, o MountOptions) error {
	if o.Keep == nil {
		return fmt.Errorf("nobody keeps %s", park.CloneName(i))
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(own), park.CloneName(i))
	return errors.Join(o.Keep(park.CloneName(i), f), f.Close())
}

// inherit makes known what is open since before this process; the pool knows already (Parked.Opened). What is no more there is
// not open either.
func (f *FS) inherit(p *Parked) error {
	f.files.memory, f.lookups.inherited, f.pages.any = p.Memory, true, true
	f.snaps.inherit()
	for _, o := range p.Memory.All() {
		kind, num := split(o.Node)
		n := &openFile{node: o.Node}
		var err error
		switch kind {
		case plain:
			var a chain.Attr
			if n.vol, err = f.pool.Volume(chain.Ino(num)); err == nil {
				n.data, n.count = n.vol, f.countFor(chain.Ino(num))
				a, err = f.pool.GetAttr(chain.Ino(num))
			}
			n.immutable.Store(a.Immutable)
			n.privileged.Store(privileged(a.Mode))
		case snapFile:
			n.data, err = f.pool.Snap(chain.LayerID(num))
		case snapDir:
			err = chain.ErrIsDir
		}
		switch {
		case errors.Is(err, chain.ErrNotFound), errors.Is(err, chain.ErrGone):
			f.log.Warn("fs: what was open when the last daemon ended is no more", "node", o.Node, "error", err)
			p.Memory.Set(0, o.Node, 0, 0)
		case err != nil:
			return fmt.Errorf("takeover: %s: %w", f.path(o.Node), err)
		default:
			n.readers, n.writers = o.Readers, o.Writers
			f.files.m[o.Node] = n
			f.files.opens += o.Readers + o.Writers
		}
	}
	return nil
}
