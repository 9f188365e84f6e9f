package chain

import (
	"fmt"

	"slatefs/chain/omap"
)

// snapIndex finds snapshots: one by its name, those of a volume in the order of their making, and the volumes of a directory
// that have some. Each look costs the logarithm of how many there are, so that a .snap directory is as quick with twenty
// thousand snapshots as with two. Nothing of it is stored: layers and the rows of inodes say all of it. It changes with
// them alone: nameSnap and unnameSnap where a record gives or takes a name, follow where one moves an inode. Check builds it
// anew and compares. The plan lock guards it.
type snapIndex struct {
	names  map[snapName]*layer
	order  omap.Map[*layer]   // by volume, and place in it
	dirs   omap.Map[*snapVol] // by directory, and place in it: volumes that have a name, and snapshots
	vols   map[Ino]*snapVol   // that have snapshots
	tagged omap.Map[*layer]   // by volume, and number: those that tags hold
	whole  bool               // it knows where the volumes are; not yet during replay
	watch  SnapWatch
}

// snapName is a snapshot's name in its volume.
type snapName struct {
	vol  Ino
	name string
}

// snapVol is a volume that has n snapshots.
type snapVol struct {
	ino Ino
	n   int
	at  uint64 // its place in dirs; 0: it has no name, or is not known yet
	snapHome
}

// snapHome is what the directory of snapshots shows of a volume: where it is, and whose.
type snapHome struct {
	dir            Ino // 0: it has no name
	file           string
	mode, uid, gid uint32
}

// A cookie of a directory of snapshots has 62 bits for a volume and a snapshot of it, whose numbers have 48 each. A place is
// a number modulo placeMod, or the next that is free: it is the number itself for the first two thousand million, so that
// another process that serves the same mount finds the same.
const (
	placeBits = 31
	placeMod  = 1<<placeBits - 1
)

// placeFor finds a free place in m for a number below hi; places are 1 to placeMod.
func placeFor[V any](m *omap.Map[V], hi Ino, number uint64) uint64 {
	for at := number%placeMod + 1; ; at = at%placeMod + 1 {
		if _, taken := m.Get(omap.Key{Hi: uint64(hi), Lo: at}); !taken {
			return at
		}
	}
}

func snapCookie(v *snapVol, l *layer) uint64 { return v.at<<placeBits | l.snapAt }

func newSnapIndex() snapIndex {
	return snapIndex{names: map[snapName]*layer{}, vols: map[Ino]*snapVol{}}
}

// add takes in a layer that has a name now. home is where its volume is, if that is not known yet. Of two of one name, which
// only a damaged pool has, the older one keeps it.
func (x *snapIndex) add(l *layer, home snapHome) {
	if l.snapAt != 0 {
		return
	}
	key := snapName{l.vol, l.name}
	if old := x.names[key]; old == nil || l.id < old.id {
		x.names[key] = l
	}
	v := x.vols[l.vol]
	if v == nil {
		v = &snapVol{ino: l.vol}
		x.vols[l.vol] = v
		x.settle(v, home)
	}
	v.n++
	l.snapAt = placeFor(&x.order, l.vol, uint64(l.id))
	x.order.Set(omap.Key{Hi: uint64(l.vol), Lo: l.snapAt}, l)
	x.follows(l)
}

// follows takes in what has become of the tags of a snapshot.
func (x *snapIndex) follows(l *layer) {
	if key := (omap.Key{Hi: uint64(l.vol), Lo: uint64(l.id)}); len(l.tags) > 0 && l.snapAt != 0 {
		x.tagged.Set(key, l)
	} else {
		x.tagged.Delete(key)
	}
}

// remove takes out a layer that is about to lose its name, or to get another one. It may be in no index.
func (x *snapIndex) remove(l *layer) {
	if l.snapAt == 0 {
		return
	}
	key := snapName{l.vol, l.name}
	if x.names[key] == l {
		delete(x.names, key)
	}
	x.order.Delete(omap.Key{Hi: uint64(l.vol), Lo: l.snapAt})
	l.snapAt = 0
	x.follows(l)
	v := x.vols[l.vol]
	x.watch.told(SnapChange{Dir: v.dir, File: v.file, Snap: l.name, Layer: l.id})
	if v.n--; v.n == 0 {
		x.settle(v, snapHome{})
		delete(x.vols, l.vol)
	}
}

// settle puts a volume where it is.
func (x *snapIndex) settle(v *snapVol, home snapHome) {
	if v.dir != home.dir {
		if v.at != 0 {
			x.dirs.Delete(omap.Key{Hi: uint64(v.dir), Lo: v.at})
		}
		if v.at = 0; home.dir != 0 {
			v.at = placeFor(&x.dirs, home.dir, uint64(v.ino))
			x.dirs.Set(omap.Key{Hi: uint64(home.dir), Lo: v.at}, v)
		}
	}
	v.snapHome = home
}

// follow takes in a new row of an inode. Only those of volumes that have snapshots are looked at.
func (x *snapIndex) follow(ino Ino, row []byte) {
	v := x.vols[ino]
	if v == nil || !x.whole {
		return
	}
	var home snapHome
	if n, err := parseInode(row); err == nil {
		home = n.home()
	}
	if home == v.snapHome {
		return
	}
	if v.dir != 0 {
		x.watch.told(SnapChange{Dir: v.dir, File: v.file, Vol: ino})
	}
	x.settle(v, home)
}

func (n *inode) home() snapHome {
	if n.parent == 0 {
		return snapHome{}
	}
	return snapHome{n.parent, n.name, n.mode, n.uid, n.gid}
}

// volumesIn calls fn for the volumes of a directory that have snapshots, from a place on, until it returns false.
func (x *snapIndex) volumesIn(dir Ino, from uint64, fn func(*snapVol) bool) {
	x.dirs.Ascend(omap.Key{Hi: uint64(dir), Lo: from}, func(k omap.Key, v *snapVol) bool {
		return k.Hi == uint64(dir) && fn(v)
	})
}

// of calls fn for the snapshots of a volume, oldest first, from a place on, until it returns false.
func (x *snapIndex) of(vol Ino, from uint64, fn func(*layer) bool) {
	x.order.Ascend(omap.Key{Hi: uint64(vol), Lo: from}, func(k omap.Key, l *layer) bool {
		return k.Hi == uint64(vol) && fn(l)
	})
}

// count is how many snapshots a volume has.
func (x *snapIndex) count(vol Ino) int {
	if v := x.vols[vol]; v != nil {
		return v.n
	}
	return 0
}

// snapHomes reads where volumes are that are about to have their first snapshot. Replay asks nobody: placeSnaps does, after it.
func (lt *layerTree) snapHomes(vols []Ino) (map[Ino]snapHome, error) {
	var out map[Ino]snapHome
	for _, ino := range vols {
		if !lt.snaps.whole || lt.snaps.vols[ino] != nil {
			continue
		}
		n, err := lt.names.inode(ino)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[Ino]snapHome{}
		}
		out[ino] = n.home()
	}
	return out, nil
}

// placeSnaps finds where the volumes are that have snapshots, when the journal has been replayed. Of one whose row cannot be
// read the names cannot be found either.
func (lt *layerTree) placeSnaps() {
	for ino, v := range lt.snaps.vols {
		if n, err := lt.names.inode(ino); err == nil {
			lt.snaps.settle(v, n.home())
		}
	}
	lt.snaps.whole = true
}

// snapsAfter is one piece of ReadSnaps. The plan lock is held.
func (lt *layerTree) snapsAfter(dir Ino, after uint64) (piece []DirEntry, more bool, err error) {
	lt.mu.assertHeld()
	if _, err := lt.names.directory(dir); err != nil {
		return nil, false, err
	}
	vol, from := after>>placeBits, after&(1<<placeBits-1)
	lt.snaps.volumesIn(dir, vol, func(v *snapVol) bool {
		if v.at != vol {
			from = 0
		}
		lt.snaps.of(v.ino, from+1, func(l *layer) bool {
			if more = len(piece) == pieceLen; more {
				return false
			}
			lt.mu.step(1)
			piece = append(piece, DirEntry{v.file + "@" + l.name, Ino(l.id), TypeFile, snapCookie(v, l)})
			return true
		})
		return !more
	})
	return piece, more, nil
}

// admitRename refuses to give a snapshot a name that another one of its volume has.
func (lt *layerTree) admitRename(ino Ino, old, name string) error {
	if _, err := lt.snapshot(ino, old); err != nil {
		return err
	}
	if lt.named(ino, name) != nil {
		return fmt.Errorf("%s@%s: %w", lt.names.pathOf(ino), name, ErrExist)
	}
	return nil
}
