package fs

import (
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// Lookup finds a name. Names that are not there are not cached by the kernel: a clone may make them at any time.
func (f *FS) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	var node uint64
	var a chain.Attr
	var err error
	if f.retries.looksAgain(h.Pid) {
		node, a, err = f.findAgain(h.NodeId, name)
	} else {
		node, a, err = f.find(f.pool, h.NodeId, name)
	}
	if err != nil {
		return f.status("lookup", h, err)
	}
	f.fillEntry(node, a, out)
	return fuse.OK
}

// find finds a name of a directory.
func (f *FS) find(from names, dir uint64, name string) (uint64, chain.Attr, error) {
	switch kind, num := split(dir); {
	case kind == snapDir:
		return f.lookupSnap(from, chain.Ino(num), name)
	case kind == snapFile:
		return 0, chain.Attr{}, chain.ErrNotDir
	case name == chain.SnapDir:
		return f.lookupSnapDir(from, chain.Ino(num))
	default:
		a, err := from.Lookup(chain.Ino(num), name)
		return uint64(a.Ino), a, err
	}
}

// changeable is the directory whose name is to be made or removed, if that may be: not in .snap, not .snap itself, not
// in an immutable directory.
func (f *FS) changeable(dir uint64, name string) (chain.Attr, error) {
	kind, num := split(dir)
	if kind != plain {
		return chain.Attr{}, chain.ErrReadOnly
	}
	if name == chain.SnapDir {
		return chain.Attr{}, chain.ErrPerm
	}
	return f.mutable(chain.Ino(num))
}

// removable is changeable for a name that is there: what it names may not be immutable. A name that is not there is
// left to chain, its attributes are zero.
func (f *FS) removable(dir uint64, name string) (chain.Ino, chain.Attr, error) {
	d, err := f.changeable(dir, name)
	if err != nil {
		return 0, chain.Attr{}, err
	}
	a, err := f.pool.Lookup(d.Ino, name)
	switch {
	case err != nil:
		return d.Ino, chain.Attr{}, nil
	case a.Immutable:
		return 0, a, chain.ErrPerm
	}
	return d.Ino, a, nil
}

// make runs one of chain's calls that make a name. What is made in a directory with the setgid bit gets its group.
func (f *FS) make(op string, h *fuse.InHeader, name string, out *fuse.EntryOut,
	call func(r chain.Req, dir chain.Attr) (chain.Attr, error),
) fuse.Status {
	d, err := f.changeable(h.NodeId, name)
	if err != nil {
		return f.status(op, h, err)
	}
	r := f.req(h)
	if d.Mode&syscall.S_ISGID != 0 {
		r.GID = d.GID
	}
	a, err := f.once(h, func() (chain.Attr, error) { return call(r, d) })
	if err != nil {
		return f.status(op, h, err)
	}
	f.fillEntry(uint64(a.Ino), a, out)
	return fuse.OK
}

// once makes what a request asks for, unless a process before this one has made it already.
func (f *FS) once(h *fuse.InHeader, call func() (chain.Attr, error)) (chain.Attr, error) {
	if ino, ok := f.answered(h); ok {
		return f.pool.GetAttr(ino)
	}
	return call()
}

// Mknod makes a regular file. There are no FIFOs, sockets and devices: EPERM.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if t := in.Mode & syscall.S_IFMT; t != syscall.S_IFREG && t != 0 {
		return fuse.EPERM
	}
	return f.make("mknod", &in.InHeader, name, out, func(r chain.Req, d chain.Attr) (chain.Attr, error) {
		return f.pool.Create(r, d.Ino, name, in.Mode&0o7777)
	})
}

// Mkdir makes a directory.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.make("mkdir", &in.InHeader, name, out, func(r chain.Req, d chain.Attr) (chain.Attr, error) {
		return f.pool.Mkdir(r, d.Ino, name, in.Mode&0o7777|d.Mode&syscall.S_ISGID)
	})
}

// Symlink makes a symlink.
func (f *FS) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return f.make("symlink", h, name, out, func(r chain.Req, d chain.Attr) (chain.Attr, error) {
		return f.pool.Symlink(r, d.Ino, name, target)
	})
}

// Link refuses: an inode has one name.
func (f *FS) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Readlink reads a symlink.
func (f *FS) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	kind, num := split(h.NodeId)
	if kind != plain {
		return nil, fuse.EINVAL
	}
	target, err := f.pool.Readlink(chain.Ino(num))
	if errors.Is(err, chain.ErrGone) {
		if d, ok := f.remains.get(chain.Ino(num)); ok && d.attr.Type == chain.TypeSymlink {
			target, err = d.target, nil
		}
	}
	return []byte(target), f.status("readlink", h, err)
}

// Unlink removes a file or symlink. A file that is open, or that the kernel knows, goes with its last user.
func (f *FS) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if _, done := f.answered(h); done {
		return fuse.OK
	}
	dir, a, err := f.removable(h.NodeId, name)
	if err == nil {
		outcome := f.removing(a)
		err = f.pool.Unlink(f.byProgram(h), dir, name)
		outcome(err)
	}
	return f.status("unlink", h, err)
}

// Rmdir removes an empty directory.
func (f *FS) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if _, done := f.answered(h); done {
		return fuse.OK
	}
	dir, a, err := f.removable(h.NodeId, name)
	if err == nil {
		outcome := f.removing(a)
		err = f.pool.Rmdir(f.req(h), dir, name)
		outcome(err)
	}
	return f.status("rmdir", h, err)
}

// Rename renames, with RENAME_NOREPLACE and RENAME_EXCHANGE.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if _, done := f.answered(&in.InHeader); done {
		return fuse.OK
	}
	var flag chain.RenameFlag
	switch in.Flags {
	case 0:
	case unix.RENAME_NOREPLACE:
		flag = chain.RenameNoReplace
	case unix.RENAME_EXCHANGE:
		flag = chain.RenameExchange
	default:
		return fuse.EINVAL
	}
	dir, _, err := f.removable(in.NodeId, name)
	var newDir chain.Ino
	var old chain.Attr
	if err == nil {
		newDir, old, err = f.removable(in.Newdir, newName)
	}
	if err == nil {
		outcome := func(error) {}
		if flag == 0 {
			outcome = f.removing(old)
		}
		err = f.pool.Rename(f.byProgram(&in.InHeader), dir, name, newDir, newName, flag)
		outcome(err)
	}
	return f.status("rename", &in.InHeader, err)
}
