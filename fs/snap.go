package fs

import (
	"slices"
	"strings"

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
func (f *FS) lookupSnapDir(dir chain.Ino) (uint64, chain.Attr, error) {
	list, err := f.pool.SnapList(dir)
	if err == nil && len(list) == 0 {
		err = chain.ErrNotFound
	}
	if err != nil {
		return 0, chain.Attr{}, err
	}
	node := snapDirNode(dir)
	a, err := f.attr(node)
	return node, a, err
}

// lookupSnap finds a snapshot by its FILE@NAME.
func (f *FS) lookupSnap(dir chain.Ino, name string) (uint64, chain.Attr, error) {
	a, id, err := f.pool.SnapLookup(dir, name)
	return snapFileNode(id), snapAttr(a), err
}

// snapOf finds the place of a snapshot: the directory, its FILE@NAME there, and the volume.
func (f *FS) snapOf(id chain.LayerID) (dir chain.Ino, name string, vol chain.Ino, err error) {
	a, err := f.pool.SnapAttr(id)
	if err != nil {
		return 0, "", 0, err
	}
	list, err := f.pool.SnapList(a.Parent)
	if err != nil {
		return 0, "", 0, err
	}
	i := slices.IndexFunc(list, func(e chain.DirEntry) bool { return chain.LayerID(e.Ino) == id })
	if i < 0 {
		return 0, "", 0, chain.ErrNotFound
	}
	name = list[i].Name
	v, err := f.pool.Lookup(a.Parent, strings.TrimSuffix(name, "@"+a.Name))
	return a.Parent, name, v.Ino, err
}

// snapEntries lists the snapshots of a directory's volumes, oldest first, those with a layer number above after. The
// layer number is the cookie.
func (f *FS) snapEntries(dir chain.Ino, after uint64) ([]chain.DirEntry, error) {
	list, err := f.pool.SnapList(dir)
	list = slices.DeleteFunc(list, func(e chain.DirEntry) bool { return uint64(e.Ino) <= after })
	for i := range list {
		list[i].Cookie, list[i].Type = uint64(list[i].Ino), chain.TypeFile
	}
	slices.SortFunc(list, func(a, b chain.DirEntry) int {
		if a.Cookie < b.Cookie {
			return -1
		}
		return 1
	})
	return list, err
}
