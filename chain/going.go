package chain

import (
	"errors"
	"math"
	"runtime"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/ledger"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// What has more than one batch of records can take away goes in steps. First it loses its name and becomes an orphan whose
// row says that it is going: the name in it is empty, so nothing brings it back. Then its attributes go, some at a time,
// what else hangs on it, and of a volume its layers, the youngest first (recShed); the last step takes the inode. Each step is a batch of
// its own, and a crash between two is
// gone on with at the next mount, as all orphans are. Nobody can reach it meanwhile.

// What one batch takes away, beside the inode: all of that together is done under one hold of the plan lock.
const (
	xattrsAtOnce  = 3 // rows of attributes
	keptAtOnce    = 3 // kept snapshots
	heldAtOnce    = 2 // open snapshots; of many layers those that are in one record
	orphansAtOnce = 2 // orphans that a directory is charged for
	wholeAtOnce   = 4 // layers of a volume that has not lost any yet; else layersAtOnce
)

// burden is what hangs on an inode: some of each kind, one more than a batch takes if there are more.
type burden struct {
	xattrs  []meta.Key
	kept    []uint64          // IDs of kept snapshots
	held    []*layer          // open snapshots, which stay until they are closed
	layers  int               // of a volume: all
	homes   int               // layers that a directory is charged for, at most one more than a record takes
	many    bool              // more than a batch takes
	orphans []*ledger.Account // of a directory
	rows    []meta.Key        // its own, that go with it: there are few
}

// burdenOf looks what an inode has. The plan lock is held.
func (rm *remover) burdenOf(ino Ino, n *inode) (b burden, err error) {
	rm.mu.assertHeld()
	b.xattrs, err = rm.someRows(catalog.Xattr, ino, xattrsAtOnce+1)
	if err != nil {
		return b, err
	}
	for _, kind := range []catalog.Kind{catalog.Link, catalog.Orphan, catalog.Property} {
		keys, err := rm.someRows(kind, ino, math.MaxInt)
		if err != nil {
			return b, err
		}
		b.rows = append(b.rows, keys...)
	}
	home := rm.names.homeOf(ino, n)
	for _, dir := range []Ino{ino, home} { // noteEnded and leavePlace need it
		if _, err := rm.names.hasPlace(dir); err != nil {
			return b, err
		}
	}
	switch n.typ {
	case TypeFile:
		b.layers = len(rm.tree.byVol[ino])
		if b.many = b.layers > rm.whole; rm.tree.jobs.growing[ino] != nil {
			b.many = b.layers > layersAtOnce
		}
		of := omap.Key{Hi: uint64(ino)}
		rm.destroyed.snaps.Ascend(of, func(k omap.Key, id uint64) bool {
			rm.mu.step(1)
			if k.Hi == of.Hi {
				b.kept = append(b.kept, id)
			}
			return k.Hi == of.Hi && len(b.kept) <= keptAtOnce
		})
		rm.tree.openSnaps.Ascend(of, func(k omap.Key, l *layer) bool {
			rm.mu.step(1)
			if k.Hi == of.Hi {
				b.held = append(b.held, l)
			}
			return k.Hi == of.Hi && len(b.held) <= heldAtOnce
		})
	case TypeDir:
		b.homes = len(rm.tree.homeless(ino, homesAtOnce+1))
		b.orphans = rm.space.ledger.Below(rm.space.account(ino), orphansAtOnce+1)
		for _, o := range b.orphans {
			rm.names.lostPlace(Ino(o.ID())) // rehomeOrphans needs it
		}
	case TypeSymlink:
	}
	return b, nil
}

// light: one batch takes it all.
func (b *burden) light() bool {
	return len(b.xattrs) <= xattrsAtOnce && len(b.kept) <= keptAtOnce && len(b.held) <= heldAtOnce && len(b.orphans) <= orphansAtOnce &&
		b.homes <= homesAtOnce && !b.many
}

// someRows lists the keys of up to most rows of an inode.
func (rm *remover) someRows(kind catalog.Kind, ino Ino, most int) (keys []meta.Key, err error) {
	from := catalog.Key(kind, uint64(ino))
	err = rm.names.cat.Scan(from, func(k meta.Key, _ []byte) bool {
		if k.Hi != from.Hi || len(keys) >= most {
			return false
		}
		rm.mu.step(1)
		keys = append(keys, k)
		return true
	})
	return keys, wrapCorrupt(err)
}

// remove takes an inode away with all it has, or as much as one batch may, and then it is going. at is where it was.
func (rm *remover) remove(r Req, ino Ino, n *inode, at spot, now time.Time) error {
	b, err := rm.burdenOf(ino, n)
	if err != nil {
		return err
	}
	rm.names.warm(ino) // its job's
	if b.light() {
		return rm.dropInode(r, ino, n, &b, now)
	}
	n.parent, n.name, n.ctime = 0, "", now
	if err := rm.names.putInode(ino, n); err != nil {
		return err
	}
	at.name, at.who = "", r.who()
	if err := rm.putOrphan(ino, at); err != nil {
		return err
	}
	if v := rm.plans.vols[ino]; v != nil {
		rm.plans.leave(v)
	}
	rm.begin(ino)
	rm.poke()
	return nil
}

// finishGoing takes away what is going.
func (rm *remover) finishGoing() error {
	for {
		rm.mu.Lock()
		first := rm.firstGoing()
		rm.mu.Unlock()
		if first == 0 {
			return nil
		}
		if err := rm.works.change(func(now time.Time) error { return rm.noteGoing(first, rm.goStep(first, now)) }); err != nil {
			return err
		}
		runtime.Gosched() // who waits for the lock has it next
	}
}

// noteGoing notes how a step ended of what is going. What cannot be done now keeps nothing else that is going.
func (rm *remover) noteGoing(ino Ino, err error) error {
	b := rm.names.going[ino]
	if b == nil || rm.commits.missed() { // gone; or it is tried again at once
		return err
	}
	rm.turns.sick.Delete(dueKey(b.At, uint64(ino)))
	rm.health.noteTry(b, "the removal of "+rm.names.pathOf(ino), err)
	if b.Failing() {
		rm.turns.ready.Delete(inoKey(ino))
		rm.turns.sick.Set(dueKey(b.At, uint64(ino)), ino)
	} else {
		rm.turns.ready.Set(inoKey(ino), ino)
	}
	if passing(err) {
		return nil
	}
	return err
}

// goingTurns tells what of all that is going is tried next. Each is in one of them.
type goingTurns struct {
	ready omap.Map[Ino] // mu: by number
	sick  omap.Map[Ino] // mu: failing, by the time of the next try
}

func inoKey(ino Ino) omap.Key { return omap.Key{Lo: uint64(ino)} }

// begin: an inode is going.
func (rm *remover) begin(ino Ino) {
	rm.names.going[ino] = &fault.Backoff{}
	rm.turns.ready.Set(inoKey(ino), ino)
}

// end: it is no more, or this batch takes it.
func (rm *remover) end(ino Ino) {
	b := rm.names.going[ino]
	if b == nil {
		return
	}
	rm.turns.ready.Delete(inoKey(ino))
	rm.turns.sick.Delete(dueKey(b.At, uint64(ino)))
	rm.health.forgetTry(b)
	delete(rm.names.going, ino)
}

// firstGoing is what of all that is going is tried next: the first whose time has come, or 0. Of those that failed some are
// looked at, as many as one hold of the plan lock may.
func (rm *remover) firstGoing() (first Ino) {
	q := &rm.turns
	for range pieceLen / 4 {
		rm.mu.step(1)
		k, ino, ok := q.sick.Ceil(omap.Key{})
		if !ok || !rm.health.mayTry(rm.names.going[ino]) {
			break
		}
		q.sick.Delete(k)
		q.ready.Set(inoKey(ino), ino)
	}
	_, first, _ = q.ready.Ceil(omap.Key{})
	return first
}

// goStep is one step of what is going. It ends with the inode.
func (rm *remover) goStep(ino Ino, now time.Time) error {
	n, err := rm.names.inode(ino)
	if errors.Is(err, ErrNotFound) {
		rm.end(ino)
		return nil
	}
	if err != nil {
		return err
	}
	b, err := rm.burdenOf(ino, n)
	at, _ := rm.names.lostPlace(ino)
	if rm.names.warm(ino); rm.commits.missed() { // before anything changes
		return errMissed
	}
	switch {
	case err != nil:
		return err
	case b.light():
		rm.end(ino)
		n.parent = at.dir // what a directory is still charged for goes where it was
		return rm.dropInode(Req{said: at.who}, ino, n, &b, now)
	case b.homes > homesAtOnce:
		return rm.commits.do(&recHomeSome{ino, at.dir})
	case len(b.xattrs) > xattrsAtOnce:
		return rm.dropAttrs(ino, b.xattrs[:xattrsAtOnce])
	case len(b.kept) > keptAtOnce:
		return rm.dropKept(b.kept[:keptAtOnce])
	case b.many && len(b.kept) > 0:
		return rm.dropKept(b.kept)
	case b.many:
		return rm.shed(Req{said: at.who}, ino, n, min(layersAtOnce, b.layers-1), now)
	case len(b.held) > heldAtOnce:
		for _, l := range b.held[:heldAtOnce] {
			if err := rm.commits.do(&recUnname{layer: l.id, held: true, when: now, who: at.who}); err != nil {
				return err
			}
		}
		return nil
	}
	return rm.rehomeOrphans(b.orphans[:orphansAtOnce], at.dir)
}

// shed takes the youngest layers of a volume away.
func (rm *remover) shed(r Req, ino Ino, n *inode, some int, now time.Time) error {
	if err := rm.noteEnded(r, ino, n, now); err != nil {
		return err
	}
	rec := &recShed{vol: ino, n: uint64(some), dir: Ino(rm.space.account(ino).Up().ID()), when: now, who: r.who()}
	if all := rm.tree.byVol[ino]; some > 0 {
		from := omap.Key{Hi: uint64(ino), Lo: uint64(all[len(all)-some].id)}
		rm.tree.openSnaps.Ascend(from, func(k omap.Key, l *layer) bool {
			if rm.mu.step(1); k.Hi == from.Hi {
				rec.held = append(rec.held, l.id)
			}
			return k.Hi == from.Hi
		})
	}
	return rm.commits.do(rec)
}

// dropAttrs takes rows of attributes away, and what their inode is charged for them.
func (rm *remover) dropAttrs(ino Ino, keys []meta.Key) error {
	for _, k := range keys {
		v, _, err := rm.names.cat.Get(k)
		if err != nil {
			return wrapCorrupt(err)
		}
		if err := rm.commits.do(&recPut{key: k, was: v}); err != nil {
			return err
		}
	}
	return nil
}

func (rm *remover) dropRows(keys []meta.Key) error {
	for _, k := range keys {
		if err := rm.commits.do(&recPut{key: k}); err != nil {
			return err
		}
	}
	return nil
}

func (rm *remover) dropKept(ids []uint64) error {
	for _, id := range ids {
		if err := rm.commits.do(&recPut{key: catalog.Key(catalog.Destroyed, id)}); err != nil {
			return err
		}
	}
	return nil
}
