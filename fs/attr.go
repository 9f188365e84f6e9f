package fs

import (
	"errors"
	"math"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// blockSize is the preferred size of I/O, in bytes, and the unit of statfs, from which a loop device takes the
// granularity of its discards.
const blockSize = chain.BlockSize

// typeBits are the file type bits of a mode.
func typeBits(t chain.FileType) uint32 {
	switch t {
	case chain.TypeFile:
		return syscall.S_IFREG
	case chain.TypeDir:
		return syscall.S_IFDIR
	case chain.TypeSymlink:
		return syscall.S_IFLNK
	}
	return 0
}

// attr is what stat(2) shows of any node.
func (f *FS) attr(from names, node uint64) (chain.Attr, error) {
	switch kind, num := split(node); kind {
	case plain:
		a, err := from.GetAttr(chain.Ino(num))
		if errors.Is(err, chain.ErrGone) {
			if d, ok := f.remains.get(chain.Ino(num)); ok {
				return d.attr, nil
			}
		}
		return a, err
	case snapDir:
		a, err := from.GetAttr(chain.Ino(num))
		return snapDirAttr(a), err
	case snapFile:
		a, err := from.SnapAttr(chain.LayerID(num))
		return snapAttr(a), err
	}
	return chain.Attr{}, chain.ErrInvalid
}

// ttl is how long the kernel may believe attributes.
func ttl(node uint64, t chain.FileType) time.Duration {
	switch kind, _ := split(node); {
	case kind == snapFile:
		return snapTTL
	case t == chain.TypeFile:
		return fileTTL
	}
	return dirTTL
}

// fillAttr encodes attributes.
func fillAttr(node uint64, a chain.Attr, out *fuse.Attr) {
	*out = fuse.Attr{
		Ino: node, Size: uint64(a.Size), Blocks: uint64(a.Blocks), Blksize: blockSize,
		Mode: a.Mode | typeBits(a.Type), Nlink: a.Nlink, Owner: fuse.Owner{Uid: a.UID, Gid: a.GID},
	}
	out.SetTimes(&a.Atime, &a.Mtime, &a.Ctime)
}

// fillEntry encodes the answer to a lookup, which counts as one.
func (f *FS) fillEntry(node uint64, a chain.Attr, out *fuse.EntryOut) {
	switch kind, num := split(node); kind {
	case plain:
		f.lookups.add(chain.Ino(num))
		out.SetEntryTimeout(nameTTL)
	case snapDir, snapFile: // who is told when they go: snapnews.go
		out.SetEntryTimeout(snapTTL)
	}
	out.NodeId, out.Generation = node, generation
	out.SetAttrTimeout(ttl(node, a.Type))
	fillAttr(node, a, &out.Attr)
}

// GetAttr answers stat(2).
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.status("getattr", &in.InHeader, f.getAttr(f.pool, in.NodeId, out))
}

func (f *FS) getAttr(from names, node uint64, out *fuse.AttrOut) error {
	a, err := f.attr(from, node)
	if err == nil {
		fillAttr(node, a, &out.Attr)
		out.SetTimeout(ttl(node, a.Type))
	}
	return err
}

// Statx answers statx(2) where it asks for the time of birth.
func (f *FS) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	a, err := f.attr(f.pool, in.NodeId)
	if err != nil {
		return f.status("statx", &in.InHeader, err)
	}
	out.SetTimeout(ttl(in.NodeId, a.Type))
	out.Statx = fuse.Statx{
		Mask: unix.STATX_BASIC_STATS | unix.STATX_BTIME, Blksize: blockSize, Nlink: a.Nlink, Uid: a.UID, Gid: a.GID,
		Mode: uint16(a.Mode | typeBits(a.Type)), Ino: in.NodeId, Size: uint64(a.Size), Blocks: uint64(a.Blocks),
		Atime: sxTime(a.Atime), Btime: sxTime(a.Btime), Ctime: sxTime(a.Ctime), Mtime: sxTime(a.Mtime),
	}
	return fuse.OK
}

func sxTime(t time.Time) fuse.SxTime {
	return fuse.SxTime{Sec: uint64(t.Unix()), Nsec: uint32(t.Nanosecond())}
}

// SetAttr answers chmod, chown, truncate and utimes.
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	kind, num := split(in.NodeId)
	if kind != plain {
		return fuse.EROFS
	}
	s, err := setAttrOf(in)
	if err == nil {
		_, err = f.mutable(chain.Ino(num))
	}
	var a chain.Attr
	if err == nil {
		a, err = f.setAttr(f.req(&in.InHeader), chain.Ino(num), s, in.Valid&fuse.FATTR_KILL_SUIDGID != 0)
	}
	if errors.Is(err, chain.ErrGone) {
		if d, ok := f.remains.change(chain.Ino(num), s); ok {
			a, err = d, nil
		}
	}
	if err != nil {
		return f.status("setattr", &in.InHeader, err)
	}
	fillAttr(in.NodeId, a, &out.Attr)
	out.SetTimeout(ttl(in.NodeId, a.Type))
	return fuse.OK
}

// setAttrOf takes what is to be set out of a request.
func setAttrOf(in *fuse.SetAttrIn) (chain.SetAttr, error) {
	var s chain.SetAttr
	if v, ok := in.GetMode(); ok {
		s.Mode = &v
	}
	if v, ok := in.GetUID(); ok {
		s.UID = &v
	}
	if v, ok := in.GetGID(); ok {
		s.GID = &v
	}
	if v, ok := in.GetATime(); ok {
		s.Atime = &v
	}
	if v, ok := in.GetMTime(); ok {
		s.Mtime = &v
	}
	if v, ok := in.GetSize(); ok {
		if v > math.MaxInt64 {
			return s, syscall.EFBIG
		}
		size := int64(v)
		s.Size = &size
	}
	return s, nil
}

// mutable refuses an inode that has the immutable flag, and returns the attributes of any other.
func (f *FS) mutable(ino chain.Ino) (chain.Attr, error) {
	a, err := f.pool.GetAttr(ino)
	if err == nil && a.Immutable {
		return a, chain.ErrPerm
	}
	return a, err
}

// Access answers access(2) on a mount without default_permissions; the permission bits are the kernel's business.
func (f *FS) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	_, err := f.attr(f.pool, in.NodeId)
	return f.status("access", &in.InHeader, err)
}

// StatFs answers statfs(2) in blocks of 4 KiB: below a quota it shows that, so df is true for a tenant.
func (f *FS) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	total, free, avail, files, filesFree := f.pool.StatFS(chain.Ino(in.NodeId))
	*out = fuse.StatfsOut{
		Blocks: blocks(total), Bfree: blocks(free), Bavail: blocks(avail), Files: files, Ffree: filesFree,
		Bsize: blockSize, Frsize: blockSize, NameLen: unix.NAME_MAX,
	}
	return fuse.OK
}

// blocks turns bytes into whole blocks.
func blocks(bytes int64) uint64 { return uint64(max(bytes, 0) / blockSize) }
