package fs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// userPrefix begins the names of the only attributes that there are. security, trusted and system are EOPNOTSUPP: the
// kernel asks for some of them by itself and takes that for "none".
const userPrefix = "user."

// checkXattr refuses the names that there can't be, and snapshots.
func checkXattr(name string, kind nodeKind, none syscall.Errno) error {
	if !strings.HasPrefix(name, userPrefix) {
		return chain.ErrUnsupported
	}
	if kind != plain {
		return none
	}
	return nil
}

// GetXAttr reads an attribute; ERANGE with its length when dest is too small.
func (f *FS) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	kind, num := split(h.NodeId)
	err := checkXattr(name, kind, syscall.ENODATA)
	var val []byte
	if err == nil {
		val, err = f.pool.GetXattr(chain.Ino(num), name)
	}
	if err != nil {
		return 0, f.status("getxattr", h, err)
	}
	return give(dest, val)
}

// ListXAttr lists the names of attributes, each with a zero byte behind it.
func (f *FS) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	kind, num := split(h.NodeId)
	if kind != plain {
		return 0, fuse.OK
	}
	names, err := f.pool.ListXattr(chain.Ino(num))
	if err != nil {
		return 0, f.status("listxattr", h, err)
	}
	var list []byte
	for _, n := range names {
		list = append(append(list, n...), 0)
	}
	return give(dest, list)
}

// give copies an answer of which the caller may only have wanted the length.
func give(dest, val []byte) (uint32, fuse.Status) {
	if len(dest) < len(val) {
		return uint32(len(val)), fuse.ERANGE
	}
	return uint32(copy(dest, val)), fuse.OK
}

// SetXAttr sets an attribute. A value that is too long is ENOSPC, as on other file systems.
func (f *FS) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, val []byte) fuse.Status {
	if _, done := f.answered(&in.InHeader); done {
		return fuse.OK
	}
	var flag chain.XattrFlag
	switch in.Flags {
	case 0:
	case unix.XATTR_CREATE:
		flag = chain.XattrCreate
	case unix.XATTR_REPLACE:
		flag = chain.XattrReplace
	default:
		return fuse.EINVAL
	}
	kind, num := split(in.NodeId)
	err := checkXattr(name, kind, syscall.EROFS)
	if err == nil {
		_, err = f.mutable(chain.Ino(num))
	}
	if err == nil {
		err = f.pool.SetXattr(f.req(&in.InHeader), chain.Ino(num), name, val, flag)
	}
	st := f.status("setxattr", &in.InHeader, err)
	if st == errno(syscall.EFBIG) {
		return errno(syscall.ENOSPC)
	}
	return st
}

// RemoveXAttr removes an attribute.
func (f *FS) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if _, done := f.answered(h); done {
		return fuse.OK
	}
	kind, num := split(h.NodeId)
	err := checkXattr(name, kind, syscall.EROFS)
	if err == nil {
		_, err = f.mutable(chain.Ino(num))
	}
	if err == nil {
		err = f.pool.RemoveXattr(f.req(h), chain.Ino(num), name)
	}
	return f.status("removexattr", h, err)
}
