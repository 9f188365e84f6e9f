package fs

import (
	"errors"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// writes tells whether open flags give write access.
func writes(flags uint32) bool { return flags&unix.O_ACCMODE != unix.O_RDONLY }

// Create makes a volume and opens it. Where a command has made the name since the kernel looked it is ESTALE, unless
// O_EXCL: the kernel looks again, and checks whether who asks may open what is there.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	counted := f.counted(&in.InHeader)
	if !counted && !f.files.begin() {
		return fuse.EBUSY
	}
	st := f.make("create", &in.InHeader, name, &out.EntryOut, func(r chain.Req, d chain.Attr) (chain.Attr, error) {
		a, err := f.pool.Create(r, d.Ino, name, in.Mode&0o7777)
		if errors.Is(err, chain.ErrExist) && in.Flags&unix.O_EXCL == 0 {
			err = stale
		}
		return a, err
	})
	if !counted {
		if st == fuse.OK {
			if st = f.status("create", &in.InHeader, f.open(&in.InHeader, out.NodeId, in.Flags&^unix.O_TRUNC, false)); st != fuse.OK {
				f.Forget(out.NodeId, 1) // the kernel is not told
			}
		}
		if st != fuse.OK {
			f.files.end()
		}
	}
	if st == fuse.OK {
		out.OpenOut = fuse.OpenOut{OpenFlags: openFlags}
	}
	return st
}

// Open opens a volume or a snapshot; the kernel has checked permissions. While the mount drains it is EBUSY.
func (f *FS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if f.counted(&in.InHeader) {
		*out = fuse.OpenOut{OpenFlags: openFlagsOf(in.NodeId, in.Flags)}
		return fuse.OK
	}
	if !f.files.begin() {
		return fuse.EBUSY
	}
	if err := f.open(&in.InHeader, in.NodeId, in.Flags, in.Mode&fuse.OPEN_KILL_SUIDGID != 0); err != nil {
		f.files.end()
		return f.status("open", &in.InHeader, err)
	}
	*out = fuse.OpenOut{OpenFlags: openFlagsOf(in.NodeId, in.Flags)}
	return fuse.OK
}

// open makes an open that was begun; kill: an O_TRUNC of somebody who may not leave setuid bits behind. On error the open
// must be ended.
func (f *FS) open(h *fuse.InHeader, node uint64, flags uint32, kill bool) error {
	kind, num := split(node)
	switch kind {
	case plain:
		return f.openVolume(h, chain.Ino(num), flags, kill)
	case snapFile:
		return f.openSnap(h, chain.LayerID(num), flags)
	case snapDir:
		return chain.ErrIsDir
	}
	return chain.ErrInvalid
}

// openVolume counts the open in chain, truncates if asked, and makes it known here. No lock is held while it truncates,
// which waits for writes.
func (f *FS) openVolume(h *fuse.InHeader, ino chain.Ino, flags uint32, kill bool) error {
	write, trunc := writes(flags), flags&unix.O_TRUNC != 0
	a, err := f.pool.GetAttr(ino)
	switch {
	case err != nil:
		return err
	case a.Type == chain.TypeDir:
		return chain.ErrIsDir
	case a.Type != chain.TypeFile:
		return chain.ErrInvalid
	case a.Immutable && (write || trunc):
		return chain.ErrPerm
	}
	vol, err := f.pool.Volume(ino)
	if err != nil {
		return err
	}
	if err := f.pool.OpenFile(ino, write); err != nil {
		return err
	}
	if trunc {
		_, err = f.setAttr(f.req(h), ino, chain.SetAttr{Size: new(int64)}, kill)
	}
	if err == nil {
		err = f.know(h, vol, f.countFor(ino), write)
	}
	if err != nil {
		f.pool.ReleaseFile(ino, write)
	}
	return err
}

// know makes an open known, with what is kept of its inode.
func (f *FS) know(h *fuse.InHeader, vol *chain.Volume, count *volumeMeter, write bool) error {
	f.files.flagMu.Lock()
	defer f.files.flagMu.Unlock()
	a, err := f.pool.GetAttr(vol.Ino())
	if err != nil {
		return err
	}
	o := &openFile{node: uint64(vol.Ino()), data: vol, vol: vol, count: count}
	o.immutable.Store(a.Immutable)
	o.privileged.Store(privileged(a.Mode))
	return f.files.add(requestOf(h), o, write)
}

// openSnap is openVolume for a snapshot, which is only ever read.
func (f *FS) openSnap(h *fuse.InHeader, id chain.LayerID, flags uint32) error {
	if writes(flags) || flags&unix.O_TRUNC != 0 {
		return chain.ErrReadOnly
	}
	snap, err := f.pool.Snap(id)
	if err != nil {
		return err
	}
	if err := f.pool.OpenSnap(id); err != nil {
		return err
	}
	f.pages.add(id) // also of an open past the page cache: it may be mapped
	err = f.files.add(requestOf(h), &openFile{node: snapFileNode(id), data: snap}, false)
	if err != nil {
		f.pool.ReleaseSnap(id)
	}
	return err
}

// Release ends an open.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if f.counted(&in.InHeader) {
		return
	}
	if write := writes(in.Flags); f.files.remove(requestOf(&in.InHeader), in.NodeId, write) {
		f.releaseNode(in.NodeId, write)
	}
}

// releaseNode takes an open back from chain. The last one ends an orphan that the kernel has forgotten already.
func (f *FS) releaseNode(node uint64, write bool) {
	switch kind, num := split(node); kind {
	case plain:
		f.pool.ReleaseFile(chain.Ino(num), write)
		if !f.lookups.known(chain.Ino(num)) {
			f.pool.Forget(chain.Ino(num))
		}
	case snapFile: // if it goes now its pages go before it
		if f.givePagesUp(chain.SnapChange{Layer: chain.LayerID(num)}, closeTries, nil) {
			f.pool.ReleaseSnap(chain.LayerID(num))
		}
	case snapDir: // is never open
	}
}

// file finds what a request reads or writes. After a takeover it may be open without being in the table.
func (f *FS) file(from names, node uint64) (*openFile, error) {
	if o := f.files.get(node); o != nil {
		return o, nil
	}
	o := &openFile{node: node}
	switch kind, num := split(node); kind {
	case plain:
		a, err := from.GetAttr(chain.Ino(num))
		if err != nil {
			return nil, err
		}
		if o.vol, err = from.Volume(chain.Ino(num)); err != nil {
			return nil, err
		}
		o.data, o.count = o.vol, f.meters.volume(chain.Ino(num), false)
		o.immutable.Store(a.Immutable)
		o.privileged.Store(privileged(a.Mode))
	case snapFile:
		snap, err := from.Snap(chain.LayerID(num))
		if err != nil {
			return nil, err
		}
		o.data = snap
	case snapDir:
		return nil, chain.ErrIsDir
	}
	return o, nil
}

// changing finds what a request changes.
func (f *FS) changing(from names, node uint64) (*openFile, error) {
	o, err := f.file(from, node)
	switch {
	case err != nil:
		return nil, err
	case o.vol == nil:
		return nil, chain.ErrReadOnly
	case o.immutable.Load():
		return nil, chain.ErrPerm
	}
	return o, nil
}

// volume finds what a request changes of which the kernel does not say whether who asks may leave setuid bits behind.
func (f *FS) volume(h *fuse.InHeader, node uint64) (*chain.Volume, error) {
	o, err := f.changing(f.pool, node)
	if err == nil && h.Uid != 0 && o.privileged.Load() {
		err = f.dropPrivileges(h, o.vol.Ino())
	}
	if err != nil {
		return nil, err
	}
	return o.vol, nil
}

// refresh reads the immutable flag and the mode of an open file again.
func (f *FS) refresh(ino chain.Ino) error {
	f.files.flagMu.Lock()
	defer f.files.flagMu.Unlock()
	o := f.files.get(uint64(ino))
	if o == nil {
		return nil
	}
	a, err := f.pool.GetAttr(ino)
	if err == nil {
		o.immutable.Store(a.Immutable)
		o.privileged.Store(privileged(a.Mode))
	}
	if errors.Is(err, chain.ErrNotFound) {
		return nil
	}
	return err
}

// setImmutable sets the flag in chain and in what is open: writes that begin after it are refused.
func (f *FS) setImmutable(r chain.Req, ino chain.Ino, on bool) error {
	f.files.flagMu.Lock()
	defer f.files.flagMu.Unlock()
	if _, err := f.pool.SetAttr(r, ino, chain.SetAttr{Immutable: &on}); err != nil {
		return err
	}
	if o := f.files.get(uint64(ino)); o != nil {
		o.immutable.Store(on)
	}
	return nil
}

// Flush has nothing to do at close(2); locks are the kernel's.
func (f *FS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Fsync makes durable what was acknowledged.
func (f *FS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.status("fsync", &in.InHeader, f.pool.Flush())
}
