package chain

import (
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
)

// remover destroys: volumes and snapshots at once, or kept for a while, directories and orphans, and in steps what is too much for one batch.
type remover struct {
	*core
	health    *health
	commits   *commitLog
	plans     *planTable
	destroyed *destroyedIndex
	names     *nameTable
	tree      *layerTree
	space     *admission
	works     *works
	volumes   *openVolumes

	turns goingTurns // mu
	whole int        // const: wholeAtOnce; tests have less
	left  int        // mu: merges that nobody waited for; not more than there are
}

func (rm *remover) eraseOrphan(ino Ino, now time.Time) error {
	n, err := rm.names.inode(ino)
	if err != nil {
		return err
	}
	at, known := rm.names.lostPlace(ino)
	if _, going := rm.names.going[ino]; going {
		return nil
	}
	if known && at.going() { // a crash came before its last step
		rm.begin(ino)
		return nil
	}
	if known && n.typ == TypeFile && rm.delay() > 0 {
		return rm.keepVolume(ino, n, at, at.who, now)
	}
	return rm.remove(Req{Actor: "unlinked", said: at.who}, ino, n, at, now)
}

// destroyOrphans ends what was unlinked and open when the last process ended, but for what is open still (Options.Opened).
func (rm *remover) destroyOrphans() error {
	var inos []Ino
	err := rm.names.cat.Scan(catalog.Key(catalog.Orphan, 0), func(k meta.Key, _ []byte) bool {
		if catalog.Kind(k.Hi>>56) != catalog.Orphan {
			return false
		}
		inos = append(inos, Ino(k.Hi&(1<<56-1)))
		return true
	})
	for _, ino := range inos {
		if v := rm.plans.vols[ino]; v != nil && v.readers+v.writers > 0 {
			continue // in a life of the daemon before this one, and still
		}
		if err == nil {
			err = rm.works.change(func(now time.Time) error { return rm.eraseOrphan(ino, now) })
		}
	}
	return err
}
