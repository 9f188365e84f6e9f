package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
)

// Bits that let a program run as its owner or group. Who changes a file and has not CAP_FSETID takes them away, and so
// does whoever gives the file to another owner. The kernel leaves that to us (CAP_HANDLE_KILLPRIV_V2), and says when, by
// a flag; of fallocate and copy_file_range it says nothing, there it is done for all but root.

// unprivileged is a mode without such bits. S_ISGID without group execution means something else and stays.
func unprivileged(mode uint32) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// privileged tells whether a mode has such bits.
func privileged(mode uint32) bool { return unprivileged(mode) != mode }

// dropPrivileges takes the bits from a file that is about to be changed. It blocks, so it is not called on the loop.
func (f *FS) dropPrivileges(h *fuse.InHeader, ino chain.Ino) error {
	f.files.flagMu.Lock()
	defer f.files.flagMu.Unlock()
	a, err := f.pool.GetAttr(ino)
	if err == nil && privileged(a.Mode) {
		mode := unprivileged(a.Mode)
		_, err = f.setMode(f.req(h), ino, chain.SetAttr{Mode: &mode})
	}
	return err
}

// setMode is SetAttr where that changes the mode: what is open learns whether it has bits to lose. flagMu is held.
func (f *FS) setMode(r chain.Req, ino chain.Ino, s chain.SetAttr) (chain.Attr, error) {
	o := f.files.get(uint64(ino))
	if o != nil { // before it has them: a write that comes between looks twice
		o.privileged.Store(true)
	}
	a, err := f.pool.SetAttr(r, ino, s)
	if o != nil && err == nil {
		o.privileged.Store(privileged(a.Mode))
	}
	return a, err
}

// setAttr is chain's SetAttr for a request; kill takes the bits away as well. No lock is held while it truncates, which
// waits for writes.
func (f *FS) setAttr(r chain.Req, ino chain.Ino, s chain.SetAttr, kill bool) (chain.Attr, error) {
	if kill && s.Mode == nil {
		a, err := f.pool.GetAttr(ino)
		if err != nil {
			return a, err
		}
		if privileged(a.Mode) {
			s.Mode = &a.Mode
		}
	}
	if s.Mode == nil {
		return f.pool.SetAttr(r, ino, s)
	}
	if kill {
		mode := unprivileged(*s.Mode)
		s.Mode = &mode
	}
	if s.Size != nil {
		if _, err := f.pool.SetAttr(r, ino, chain.SetAttr{Size: s.Size}); err != nil {
			return chain.Attr{}, err
		}
		s.Size = nil
	}
	f.files.flagMu.Lock()
	defer f.files.flagMu.Unlock()
	return f.setMode(r, ino, s)
}
