package chain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// VolumeEver is a volume that is, or was and had something written to it.
type VolumeEver struct {
	Ino   Ino
	Path  string // where it is, or was last: any bytes
	Dirs  []Ino  // the directory that it is in, or was, and those above it, to the root; the last is 0: more is not known
	UID   uint32
	Gone  bool
	Ended time.Time
}

// EachVolumeEver calls fn once for every volume that was or is, in this order, without a lock, until it fails. It costs a look at each.
// Those that
// are are looked for first: what goes meanwhile is among those that were.
func EachVolumeEver(p *Pool, fn func(VolumeEver) error) error {
	var there []VolumeEver
	met := map[Ino]bool{}
	for at := (omap.Key{}); ; {
		v, next, ok, err := nextVolume(p, at)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if at = next; v.Ino != 0 {
			there, met[v.Ino] = append(there, v), true
		}
	}
	gone, err := goneVolumes(p)
	gone = slices.DeleteFunc(gone, func(v VolumeEver) bool { return met[v.Ino] })
	if err == nil {
		err = placesNow(p, gone)
	}
	for _, v := range append(gone, there...) {
		if err == nil {
			err = fn(v)
		}
	}
	return err
}

// nextVolume is the next volume that has a layer, from a key of layerTree.lines on; without a number, if it is gone.
func nextVolume(p *Pool, at omap.Key) (v VolumeEver, next omap.Key, ok bool, err error) {
	err = p.commits.underPlan(func() error {
		var k omap.Key
		if k, _, ok = p.tree.lines.Ceil(at); !ok {
			return nil
		}
		vol := Ino(k.Hi)
		next, v = omap.Key{Hi: k.Hi + 1}, VolumeEver{}
		if p.tree.head(vol) == nil {
			return nil
		}
		n, err := p.names.inode(vol)
		if err != nil {
			return err
		}
		v = VolumeEver{Ino: vol, Path: p.names.pathOf(vol), UID: n.uid}
		v.Dirs, err = p.names.placesOf(p.names.homeOf(vol, n))
		return err
	})
	return v, next, ok, err
}

// goneVolumes are those that are gone, by their accounts.
func goneVolumes(p *Pool) (out []VolumeEver, err error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	q := &inquiry{p: p}
	all := map[Ino]volumeAccount{}
	err = q.scan(beginKey, func(k meta.Key, v []byte) error {
		if k == beginKey || k.Lo != 0 {
			return nil
		}
		var a volumeAccount
		err := a.unmarshal(v)
		all[Ino(catalog.NumberOf(k))] = a
		return err
	})
	if err != nil {
		return nil, wrapCorrupt(err)
	}
	eachChange(p, changedVols, omap.Key{}, func(k omap.Key, o *volumeAccount) bool {
		a := all[Ino(k.Lo)]
		a.add(o)
		all[Ino(k.Lo)] = a
		return true
	})
	for vol, a := range all {
		if a.end != 0 {
			out = append(out, VolumeEver{Ino: vol, Path: a.path, Dirs: []Ino{a.dir}, UID: a.uid, Gone: true, Ended: a.ended})
		}
	}
	slices.SortFunc(out, func(a, b VolumeEver) int { return cmp.Compare(a.Ino, b.Ino) })
	return out, nil
}

// placesNow says of volumes that are gone, of which just the directory is known, what is above that now.
func placesNow(p *Pool, gone []VolumeEver) error {
	known := map[Ino][]Ino{}
	for i := range gone {
		v := &gone[i]
		dir := v.Dirs[0]
		if known[dir] == nil {
			up, err := lookUp(p.commits, func() ([]Ino, error) { return p.names.placesOf(dir) })
			if err != nil {
				return err
			}
			known[dir] = up
		}
		v.Dirs = known[dir]
	}
	return nil
}

// FindUUID is what a UUID is of: the pool, a volume or a layer, there or gone. UUIDs are made of numbers, so each number that was
// ever given is tried. ErrNotFound: none.
func FindUUID(p *Pool, id uuid.UUID) (Subject, error) {
	if id == p.uuid {
		return Subject{Pool: true}, nil
	}
	p.mu.Lock()
	lastIno, lastLayer := p.names.nextIno, p.tree.nextLayer
	p.mu.Unlock()
	for ino := RootIno; ino <= lastIno; ino++ {
		if p.volumeUUID(ino) == id {
			return Subject{Volumes: []Ino{ino}}, nil
		}
	}
	for l := LayerID(1); l <= lastLayer; l++ {
		if p.layerUUID(l) == id {
			return Subject{Layer: l}, nil
		}
	}
	return Subject{}, fmt.Errorf("UUID %s: nothing in pool %s has or had it: %w", id, p.name, ErrNotFound)
}
