package fs

import (
	"slatefs/chain"
)

// snapDirAttr makes the attributes of a directory's .snap from the directory's: nothing can be made in it.
func snapDirAttr(dir chain.Attr) chain.Attr {
	dir.Mode &= 0o555
	dir.Nlink, dir.Size, dir.Blocks, dir.Immutable = 2, 0, 0, false
	return dir
}

// snapAttr makes a snapshot's file read-only. Who may not read the volume may not read its snapshots.
func snapAttr(a chain.Attr) chain.Attr {
	a.Type = chain.TypeFile
	a.Mode &= 0o444
	a.Nlink, a.Immutable = 1, false
	return a
}

// lookupSnapDir finds the .snap of a directory. It is there while volumes of the directory have snapshots.
func (f *FS) lookupSnapDir(from names, dir chain.Ino) (uint64, chain.Attr, error) {
	f.snaps.given(dir)
	a, err := from.SnapDirAttr(dir)
	return snapDirNode(dir), snapDirAttr(a), err
}

// lookupSnap finds a snapshot by its FILE@NAME.
func (f *FS) lookupSnap(from names, dir chain.Ino, name string) (uint64, chain.Attr, error) {
	a, id, err := from.SnapLookup(dir, name)
	return snapFileNode(id), snapAttr(a), err
}
