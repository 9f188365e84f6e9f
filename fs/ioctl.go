package fs

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
)

// The ioctls of linux/fs.h by which chattr and qemu read and set flags. The kernel asks for the second pair even when
// chattr uses the first.
const (
	iocGetFlags   = 0x80086601 // FS_IOC_GETFLAGS
	iocSetFlags   = 0x40086602 // FS_IOC_SETFLAGS
	iocGetXFlags  = 0x801c581f // FS_IOC_FSGETXATTR
	iocSetXFlags  = 0x401c5820 // FS_IOC_FSSETXATTR
	immutableFlag = 0x10       // FS_IMMUTABLE_FL
	xImmutable    = 0x8        // FS_XFLAG_IMMUTABLE
	xExtSize      = 0x800      // FS_XFLAG_EXTSIZE
)

// struct fsxattr, native endian, all fields u32:
//
//	 0  xflags      FS_XFLAG_*
//	 4  extsize     a hint for the size of extents: accepted, not kept
//	 8  nextents    answered 0
//	12  projid      always 0
//	16  cowextsize  always 0
//	20  8 bytes of padding
const (
	fsxattrBytes = 28
	fsxProjID    = 12
	flagsBytes   = 4 // of FS_IOC_GETFLAGS, whatever its number says
)

// Ioctl answers the flags; everything else is ENOTTY. The kernel has checked that the caller owns the file, and that
// who changes the immutable flag has CAP_LINUX_IMMUTABLE.
func (f *FS) Ioctl(_ <-chan struct{}, in *fuse.IoctlIn, data []byte, out *fuse.IoctlOut, buf []byte) fuse.Status {
	*out = fuse.IoctlOut{}
	clear(buf)
	switch in.Cmd {
	case iocGetFlags:
		return f.getFlags(&in.InHeader, buf, flagsBytes, immutableFlag)
	case iocGetXFlags:
		return f.getFlags(&in.InHeader, buf, fsxattrBytes, xImmutable)
	case iocSetFlags:
		if len(data) < flagsBytes {
			return fuse.EINVAL
		}
		flags := binary.NativeEndian.Uint32(data)
		return f.setFlags(in, flags, immutableFlag, 0)
	case iocSetXFlags:
		if len(data) < fsxattrBytes {
			return fuse.EINVAL
		}
		if binary.NativeEndian.Uint32(data[fsxProjID:]) != 0 {
			return errno(syscall.EOPNOTSUPP)
		}
		return f.setFlags(in, binary.NativeEndian.Uint32(data), xImmutable, xExtSize)
	}
	return errno(syscall.ENOTTY)
}

// getFlags writes the flags, of which there is one, to the head of an answer of some bytes.
func (f *FS) getFlags(h *fuse.InHeader, buf []byte, size int, immutable uint32) fuse.Status {
	if len(buf) < size {
		return fuse.EINVAL
	}
	a, err := f.attr(f.pool, h.NodeId)
	if err == nil && a.Immutable {
		binary.NativeEndian.PutUint32(buf, immutable)
	}
	return f.status("getflags", h, err)
}

// setFlags sets the immutable flag and lets the flags in ignored pass; there are no others.
func (f *FS) setFlags(in *fuse.IoctlIn, flags, immutable, ignored uint32) fuse.Status {
	if flags&^(immutable|ignored) != 0 {
		return errno(syscall.EOPNOTSUPP)
	}
	kind, num := split(in.NodeId)
	if kind != plain {
		return fuse.EROFS
	}
	a, err := f.pool.GetAttr(chain.Ino(num))
	if on := flags&immutable != 0; err == nil && on != a.Immutable {
		err = f.setImmutable(f.req(&in.InHeader), chain.Ino(num), on)
	}
	return f.status("setflags", &in.InHeader, err)
}
