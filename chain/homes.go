package chain

import (
	"slices"

	"slatefs/chain/omap"
)

// Which layers are whose: a volume's in the order of their making; those of no volume by the directory that they are charged
// to; and of those in use the ones that a destroy of their volume has to keep.

// leaveVolume takes a layer out of those of its volume, or of its directory.
func (lt *layerTree) leaveVolume(l *layer) {
	if l.vol == 0 {
		lt.byDir.Delete(l.homeKey())
		return
	}
	all := lt.byVol[l.vol]
	at, found := findLayer(all, l.id)
	if !found {
		return
	}
	if lt.byVol[l.vol] = slices.Delete(all, at, at+1); len(all) == 1 {
		delete(lt.byVol, l.vol)
	}
}

// joinVolume puts a layer in its place among those of its volume, or of its directory.
func (lt *layerTree) joinVolume(l *layer) {
	if l.vol == 0 {
		lt.byDir.Set(l.homeKey(), l)
		return
	}
	all := lt.byVol[l.vol]
	at, _ := findLayer(all, l.id)
	lt.byVol[l.vol] = slices.Insert(all, at, l)
}

// homeKey is the place of a layer of no volume.
func (l *layer) homeKey() omap.Key { return omap.Key{Hi: uint64(l.dir), Lo: uint64(l.id)} }

// homeless are the layers of no volume that are charged to a directory.
func (lt *layerTree) homeless(dir Ino) (out []*layer) {
	lt.byDir.Ascend(omap.Key{Hi: uint64(dir)}, func(k omap.Key, l *layer) bool {
		if k.Hi == uint64(dir) {
			out = append(out, l)
		}
		return k.Hi == uint64(dir)
	})
	return out
}

// noteOpen follows whether a snapshot is in use and not destroyed.
func (lt *layerTree) noteOpen(l *layer) {
	at := omap.Key{Hi: uint64(l.vol), Lo: uint64(l.id)}
	if l.held > 0 && !l.kept {
		lt.openSnaps.Set(at, l)
	} else {
		lt.openSnaps.Delete(at)
	}
}
