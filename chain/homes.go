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

// letGo: a layer is head or snapshot of its volume no more, which is being destroyed; held: its file is open, and it is not reaped
// before its recReap. It tells whether the layer was anybody's: a nameless one was destroyed before, or never was.
func (lt *layerTree) letGo(l *layer, held bool, who string) (mine bool) {
	lt.mu.step(1)
	mine = l.head || l.named || l.kept
	lt.snaps.remove(l)
	if l.head {
		lt.origins.seal(l.id, l.vol, l.created)
	}
	lt.touch(l)
	l.head, l.named, l.who = false, false, who
	l.kept = l.kept || held
	lt.noteOpen(l)
	lt.unheld(l)
	return mine
}

// leaveTo leaves a layer of a volume that is being destroyed, by a job, to the clones that hold it, and charges it to a directory.
// It goes as far as they let it in a reap record of its own, if it was anybody's, whose job says what they keep.
func (lt *layerTree) leaveTo(l *layer, dir Ino, j *job, mine bool) {
	lt.touch(l)
	l.kept, l.was = mine, origin{l.vol, j.volume, j.none, j.within}
	lt.accounts.charge(l, -l.own)
	lt.leaveVolume(l)
	l.vol, l.dir = 0, dir
	lt.accounts.charge(l, l.own)
	lt.joinVolume(l)
}

// buryOne is reap of one layer, without a merge: that above it is looked at when its turn comes.
func (lt *layerTree) buryOne(l *layer, j *job) {
	if !l.nameless() {
		return
	}
	lt.mu.step(1)
	if len(l.children) == 0 && !l.behindSwept() {
		up := l.parent
		lt.bury(l, j)
		if l = up; l == nil || !l.nameless() {
			return
		}
	}
	lt.touch(l)
	lt.unheld(l)
	lt.recountAround(l)
}

// homeKey is the place of a layer of no volume.
func (l *layer) homeKey() omap.Key { return omap.Key{Hi: uint64(l.dir), Lo: uint64(l.id)} }

// homeless are the layers of no volume that are charged to a directory, the oldest first, up to most.
func (lt *layerTree) homeless(dir Ino, most int) (out []*layer) {
	lt.byDir.Ascend(omap.Key{Hi: uint64(dir)}, func(k omap.Key, l *layer) bool {
		if lt.mu.step(1); k.Hi == uint64(dir) {
			out = append(out, l)
		}
		return k.Hi == uint64(dir) && len(out) < most
	})
	return out
}

// rehome charges those to another directory, and tells how many there were.
func (lt *layerTree) rehome(dir, to Ino, most int) int {
	all := lt.homeless(dir, most)
	for _, l := range all {
		lt.mu.step(1)
		lt.accounts.charge(l, -l.own)
		lt.leaveVolume(l)
		lt.touch(l)
		l.dir = to
		lt.joinVolume(l)
		lt.accounts.charge(l, l.own)
	}
	return len(all)
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
