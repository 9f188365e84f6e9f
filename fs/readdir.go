package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
)

// A directory is read as ".", "..", then its entries. The offset behind an entry is chain's cookie; those behind the two
// dots lie above all cookies, and 0 is the beginning.
const (
	behindDot    = uint64(1)<<62 + 1
	behindDotDot = uint64(1)<<62 + 2
)

// What an entry takes in an answer, in bytes: header and name padded to 8, and the attributes before it in READDIRPLUS.
const (
	direntBytes   = 24
	entryOutBytes = 128
)

// OpenDir opens a directory. Its handle has no state.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	a, err := f.attr(f.pool, in.NodeId)
	if err == nil && a.Type != chain.TypeDir {
		err = chain.ErrNotDir
	}
	return f.status("opendir", &in.InHeader, err)
}

// ReleaseDir closes a directory.
func (f *FS) ReleaseDir(*fuse.ReleaseIn) {}

// FsyncDir makes all names durable.
func (f *FS) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return f.status("fsyncdir", &in.InHeader, f.pool.Flush())
}

// ReadDir lists names.
func (f *FS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	entries, err := f.entries(in.NodeId, in.Offset, int(in.Size), direntBytes)
	if err != nil {
		return f.status("readdir", &in.InHeader, err)
	}
	for _, e := range entries {
		if !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

// ReadDirPlus lists names with attributes; each counts as a lookup, but for the dots.
func (f *FS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	entries, err := f.entries(in.NodeId, in.Offset, int(in.Size), direntBytes+entryOutBytes)
	if err != nil {
		return f.status("readdirplus", &in.InHeader, err)
	}
	for _, e := range entries {
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			break
		}
		if e.Off == behindDot || e.Off == behindDotDot {
			continue
		}
		// A name that went meanwhile is listed without attributes; the kernel will look it up.
		if a, err := f.attr(f.pool, e.Ino); err == nil {
			f.fillEntry(e.Ino, a, entry)
		}
	}
	return fuse.OK
}

// entries lists what stands behind an offset, about as much as fits into size bytes with each bytes beside the name.
func (f *FS) entries(node, off uint64, size, each int) ([]fuse.DirEntry, error) {
	var list []fuse.DirEntry
	add := func(e chain.DirEntry, node uint64) bool {
		list = append(list, fuse.DirEntry{Name: e.Name, Ino: node, Mode: typeBits(e.Type), Off: e.Cookie})
		size -= each + (len(e.Name)+7)&^7
		return size > 0
	}
	kind, num := split(node)
	dir := chain.Ino(num)
	if off == 0 || off == behindDot {
		up, err := f.parent(node)
		if err != nil {
			return nil, err
		}
		if off == 0 {
			add(chain.DirEntry{Name: ".", Type: chain.TypeDir, Cookie: behindDot}, node)
		}
		add(chain.DirEntry{Name: "..", Type: chain.TypeDir, Cookie: behindDotDot}, up)
		off = behindDotDot
	}
	if off == behindDotDot {
		off = 0
	}
	if kind != snapDir {
		err := f.pool.ReadDir(dir, off, func(e chain.DirEntry) bool { return add(e, uint64(e.Ino)) })
		return list, err
	}
	err := f.pool.ReadSnaps(dir, off, func(e chain.DirEntry) bool { return add(e, snapFileNode(chain.LayerID(e.Ino))) })
	return list, err
}

// parent is the node above a directory; the root's is the root.
func (f *FS) parent(node uint64) (uint64, error) {
	kind, num := split(node)
	switch {
	case kind == snapDir:
		return num, nil
	case kind == snapFile:
		return 0, syscall.ENOTDIR
	case chain.Ino(num) == chain.RootIno:
		return num, nil
	}
	up, err := f.pool.Parent(chain.Ino(num))
	return uint64(up), err
}
