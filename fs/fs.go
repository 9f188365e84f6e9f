// Package fs shows a pool as a directory: it speaks FUSE on one side and package chain on the other.
//
// What holds here:
//
//   - A node id says all that there is to know of a node: it is the permanent inode number, or made of one (nodeid.go).
//     File handles are always 0; READ, WRITE and RELEASE carry the open flags. So a new process can serve a mount that
//     an older one made.
//   - What the tables of this package remember (lookup counts, open files) is lost with the process and costs nothing
//     but time: lookup counts only drive the end of orphans.
//   - A name that is replaced is there at every moment: who comes with the node of what it named before is told ESTALE,
//     by which the kernel looks again, and finds what stays (stale.go).
//   - Volumes are never cached by the kernel: every open is FOPEN_DIRECT_IO with parallel direct writes. So a snapshot
//     holds every write that was acknowledged, and stores through mmap count at msync.
//   - Snapshots are, unless they are opened with O_DIRECT: they never change. Before a block of one is erased the kernel has given
//     its pages up (snappages.go).
//   - A write on such an open is durable on return when its request says O_DSYNC. The kernel sends no FSYNC for it.
//   - An O_DIRECT open reads and writes whole sectors of 512 bytes, anything else is EINVAL: qemu probes by that.
//   - Every capability, request and flag that the kernel has stands in one table, with what is done about it
//     (requests.go).
//   - Setuid bits go with a change by who may not keep them (priv.go).
//   - The immutable flag is enforced here, by EPERM on whatever would change the file; the kernel does not do it.
//   - chain's errors become errno in one table (errno.go). What it does not know is EIO, and logged.
//   - A panic ends the process, it is never answered.
//   - No part of this package touches a file below its own mount: that would wait for itself.
package fs

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
)

// How long the kernel may believe what it was told.
const (
	// Names and attributes of directories change through the kernel, or by a command that calls Changed or
	// ChangedName after it.
	dirTTL  = time.Second
	nameTTL = time.Second
	// Attributes of files are asked for again each time: writes of the same moment change the size and the blocks.
	fileTTL = time.Duration(0)
)

// FS answers the requests of one mount from a pool. It implements fuse.RawFileSystem; all methods may be called
// concurrently. Requests that it does not implement are answered ENOSYS.
type FS struct {
	fuse.RawFileSystem

	pool       *chain.Pool
	log        *slog.Logger
	connection uint64 // a number of the connection that no other has; set before anything is served
	parkErr    error  // why no successor could go on with it; as connection

	lookups lookups
	files   files
	retries retries
	remains remains
	snaps   snapNews
	pages   snapPages
	held    heldPages
	meters  meters
	notify  atomic.Pointer[notifier] // nil until mounted
}

var _ fuse.RawFileSystem = (*FS)(nil)

// names is where names and attributes come from: the pool, which may read its device for them, or what of it can be told at once.
type names interface {
	Lookup(dir chain.Ino, name string) (chain.Attr, error)
	GetAttr(ino chain.Ino) (chain.Attr, error)
	SnapDirAttr(dir chain.Ino) (chain.Attr, error)
	SnapLookup(dir chain.Ino, name string) (chain.Attr, chain.LayerID, error)
	SnapAttr(id chain.LayerID) (chain.Attr, error)
	Volume(ino chain.Ino) (*chain.Volume, error)
	Snap(id chain.LayerID) (*chain.Snap, error)
}

// discard is the logger of who gave none.
var discard = slog.New(slog.DiscardHandler)

// notifier tells the kernel to forget what it has cached. Nodes and names that the kernel does not know are no error.
type notifier interface {
	// notifyNode drops attributes and cached pages of a node. It waits until dirty pages are written back.
	notifyNode(node uint64) error
	// notifyName drops a name of a directory.
	notifyName(dir uint64, name string) error
}

// New makes the file system of a pool. It does not mount it. A nil logger discards.
func New(p *chain.Pool, log *slog.Logger) *FS {
	if log == nil {
		log = discard
	}
	f := &FS{RawFileSystem: fuse.NewDefaultRawFileSystem(), pool: p, log: log}
	f.lookups.init()
	f.files.init()
	f.retries.init()
	f.remains.init()
	f.snaps.init()
	f.pages.init()
	f.meters.init()
	return f
}

// String names the file system in go-fuse's messages.
func (f *FS) String() string { return fsName }

// Changed tells the kernel that size or content of a file were changed by something else than a request of the mount:
// a rollback, a truncate by command. It must not be called from inside a request, or with a lock held that a write
// waits for: the kernel writes back dirty pages of mmaps first.
func (f *FS) Changed(ino chain.Ino) error {
	if err := f.refresh(ino); err != nil {
		return err
	}
	if n := f.notify.Load(); n != nil {
		return (*n).notifyNode(uint64(ino))
	}
	return nil
}

// ChangedName tells the kernel that a name of a directory was made or removed by something else than a request of the
// mount. It must not be called from inside a request.
func (f *FS) ChangedName(dir chain.Ino, name string) error {
	if n := f.notify.Load(); n != nil {
		return (*n).notifyName(uint64(dir), name)
	}
	return nil
}

// OnUnmount gives back what the kernel can't give back any more: opens of a mount that was aborted, orphans.
func (f *FS) OnUnmount() {
	for _, o := range f.files.takeAll() {
		for range o.readers {
			f.releaseNode(o.node, false)
		}
		for range o.writers {
			f.releaseNode(o.node, true)
		}
	}
	f.endLeases()
	for _, ino := range f.lookups.takeAll() {
		f.remains.drop(ino)
		f.pool.Forget(ino)
	}
}

// Forget takes back n lookups of a node; the last one ends an orphan.
func (f *FS) Forget(node, n uint64) {
	if k, num := split(node); k == plain && f.lookups.drop(chain.Ino(num), n) {
		f.remains.drop(chain.Ino(num))
		f.endLease(chain.Ino(num), nil)
		f.pool.Forget(chain.Ino(num))
	}
}

// req says who asks for a change.
func (f *FS) req(h *fuse.InHeader) chain.Req {
	return chain.Req{UID: h.Uid, GID: h.Gid, PID: h.Pid, Unique: f.unique(h)}
}

// byProgram is req with the program that asks, for the erase log: what destroys says who it was.
func (f *FS) byProgram(h *fuse.InHeader) chain.Req {
	r := f.req(h)
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", h.Pid)); err == nil {
		r.Actor = strings.Map(func(c rune) rune {
			if c == ',' || !unicode.IsPrint(c) { // a comma divides who did it
				return '_'
			}
			return c
		}, strings.TrimSuffix(string(comm), "\n"))
	}
	return r
}
