package chain

import (
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/property"
)

// destroy_delay keeps what is destroyed for a while. A volume loses its name and keeps all else, a snapshot loses its name
// and its layer is kept; a row of the catalog says what it was, where, and until when. Undestroy takes the row away and
// gives the name back; when the time is over, or somebody needs the space, it is destroyed as without a delay. So it
// survives whatever the pool survives, and there is no second way to destroy.
//
// What is kept promises nothing and is charged to nobody's directory. What its end would free counts as available, since
// it can be freed on demand: destroyed.blocks, a lower bound that is exact where no clone hangs on it.

// delay is how long what is destroyed now is kept.
func (rm *remover) delay() time.Duration {
	v, ok, err := rm.names.propRow(RootIno, PropDestroyDelay)
	if err != nil || !ok {
		return 0
	}
	d, err := property.ParseDelay(v)
	if err != nil {
		return 0
	}
	return d
}

// keep writes the row; of a long path its end is kept, as in the erase log: a row has one part.
func (rm *remover) keep(d *destroyed) error {
	d.path = d.path[max(0, len(d.path)-maxLogPath):]
	return rm.commits.do(&recPut{key: catalog.Key(catalog.Destroyed, rm.commits.nextJob+1), val: d.marshal()})
}

// keepVolume keeps a volume, which is named or an orphan, without its name.
func (rm *remover) keepVolume(ino Ino, n *inode, at spot, who string, now time.Time) error {
	d := &destroyed{
		vol: ino, dir: at.dir, name: at.name, path: at.path, size: rm.tree.head(ino).size,
		when: now, until: now.Add(rm.delay()), who: who,
	}
	if _, err := rm.names.hasPlace(at.dir); err != nil { // markPlace needs it
		return err
	}
	n.parent, n.name, n.ctime = 0, "", now
	if err := rm.names.putInode(ino, n); err != nil {
		return err
	}
	if err := rm.names.markPlace(at.dir); err != nil {
		return err
	}
	if err := rm.commits.do(&recPut{key: catalog.Key(catalog.Orphan, uint64(ino))}); err != nil {
		return err
	}
	if err := rm.keep(d); err != nil {
		return err
	}
	if v := rm.plans.vols[ino]; v != nil {
		rm.plans.leave(v)
	}
	rm.poke()
	return nil
}

// keepSnapshot keeps a snapshot without its name.
func (rm *remover) keepSnapshot(ino Ino, l *layer, who string, now time.Time) error {
	n, err := rm.names.inode(ino)
	if err != nil {
		return err
	}
	return rm.keep(&destroyed{
		vol: ino, layer: l.id, dir: n.parent, name: l.name, path: rm.names.pathOf(ino), size: l.size,
		when: now, until: now.Add(rm.delay()), who: who,
	})
}
