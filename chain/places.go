package chain

import (
	"errors"
	"fmt"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// Where volumes ended, or were when they lost their name, is known by the number of the directory: it may have another name since. It
// may be removed, too, and then the one above it have another name: so a directory in which something ended has a row, and when it is
// removed that
// says which one was above it at that moment. Whoever asks what ended in a directory goes up along these rows. A directory in which
// nothing ended has none, so there are no more of them than of volumes that are gone or kept, and directories above those.

// placeKey is where the row of a directory is.
func placeKey(dir Ino) meta.Key { return catalog.Key(catalog.Place, uint64(dir)) }

// marshalPlace is the value there: 0 while the directory is there, then the one that was above it.
func marshalPlace(up Ino) []byte {
	e := codec.Encoder{}
	e.Uint(uint64(up))
	e.Attrs(nil)
	return e.B
}

func parsePlace(b []byte) (up Ino, err error) {
	d := codec.Decoder{B: b}
	up = Ino(d.Uint())
	d.Attrs(nil)
	return up, wrapCorrupt(d.Done())
}

// hasPlace looks whether a directory has a row. Who makes records afterwards has looked before.
func (nm *nameTable) hasPlace(dir Ino) (bool, error) {
	_, ok, err := nm.cat.Get(placeKey(dir))
	return ok, wrapCorrupt(err)
}

// markPlace notes that something ended in a directory, or is kept and was there. The root needs no row: it is never removed.
func (nm *nameTable) markPlace(dir Ino) error {
	if dir == 0 || dir == RootIno {
		return nil
	}
	if has, err := nm.hasPlace(dir); err != nil || has {
		return err
	}
	return nm.commits.do(&recPut{key: placeKey(dir), val: marshalPlace(0)})
}

// leavePlace: a directory is removed that was in another one. What ended in it, ended there.
func (nm *nameTable) leavePlace(dir, up Ino) error {
	if has, err := nm.hasPlace(dir); err != nil || !has {
		return err
	}
	if err := nm.markPlace(up); err != nil {
		return err
	}
	return nm.commits.do(&recPut{key: placeKey(dir), val: marshalPlace(up)})
}

// placesOf are the directories in which something is, or is that ended in one: that one, and all above it up to the root. Above one that
// was removed
// is the one that was above it then. It ends with 0 where nobody knows more: a program removed it that kept no places. The plan lock is
// held.
func (nm *nameTable) placesOf(dir Ino) (out []Ino, err error) {
	for range maxUp {
		if out = append(out, dir); dir == 0 || dir == RootIno {
			return out, nil
		}
		if dir, err = nm.placeAbove(dir); err != nil {
			return nil, err
		}
	}
	return append(out, 0), nil
}

// placeAbove is the directory above one, or the one that was when it was removed; 0: nobody knows.
func (nm *nameTable) placeAbove(dir Ino) (Ino, error) {
	n, err := nm.inode(dir)
	switch {
	case err == nil:
		return nm.homeOf(dir, n), nil
	case !errors.Is(err, ErrGone):
		return 0, err
	}
	v, ok, err := nm.cat.Get(placeKey(dir))
	if err != nil || !ok {
		return 0, wrapCorrupt(err)
	}
	up, err := parsePlace(v)
	if err != nil {
		return 0, fmt.Errorf("place of directory %d: %w", dir, err)
	}
	return up, nil
}

// maxUp bounds how far up a place is looked for. What is farther nobody knows.
const maxUp = 4096
