package chain

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// SnapsOf are snapshots of one volume, by name.
type SnapsOf struct {
	Vol   Ino
	Names []string
}

// DestroySnapshots is DestroyGroup for snapshots of one volume.
func (p *Pool) DestroySnapshots(r Req, ino Ino, names []string, o DestroyOptions) error {
	return p.DestroyGroup(r, []SnapsOf{{ino, names}}, o)
}

// DestroyGroup destroys snapshots, of one volume or several. What refuses one of them refuses all, before anything is done.
// ErrHasClones names the clones that hang on one, unless they are to go too or the layer may stay for them.
//
// Then they go in the order given, the clones first, snapshotsAtOnce in one batch: no hold of the plan lock grows with them, and a
// crash, or an error, leaves the later ones as they were (PartError, once something is gone: volumes and snapshots count alike). Who
// calls it again with those goes on there. One that somebody else destroys meanwhile is gone, as it was to be; one that is held from
// then on (ErrTagged) keeps none of the others.
func (p *Pool) DestroyGroup(r Req, group []SnapsOf, o DestroyOptions) error {
	var doomed []*layer
	var clones []Ino
	err := p.tree.look(func() (err error) {
		doomed, clones, err = p.removal.admitGroup(group, o)
		return err
	})
	if err != nil {
		return err
	}
	r.purge = o.Now
	done, err := p.removal.destroyAll(r, clones)
	if err == nil {
		var n int
		n, err = p.removal.unnameAll(r, doomed)
		done += n
	}
	return inPart(done, len(clones)+len(doomed), err, p.Flush)
}

// unnameAll takes the names of snapshots away, some at a time, and then what nobody holds any more. done are those that have none now.
func (rm *remover) unnameAll(r Req, doomed []*layer) (done int, err error) {
	var held error
	for part := range slices.Chunk(doomed, snapshotsAtOnce) {
		var kept int
		err := rm.works.change(func(now time.Time) (err error) {
			var one error
			if kept, one, err = rm.unname(r, part, now); one != nil {
				held = one
			}
			return err
		})
		if err != nil {
			return done, err
		}
		done += len(part) - kept
	}
	return done, errors.Join(held, rm.reapAll())
}

// unname takes the names of snapshots away, and keeps them where there is a delay, so that nothing is merged here: reapAll does
// that, one by one. kept are those that keep their name, and held is why. The plan lock is held, and the structure lock.
func (rm *remover) unname(r Req, doomed []*layer, now time.Time) (kept int, held, err error) {
	for _, l := range doomed {
		rm.names.warm(l.vol)
	}
	if rm.commits.missed() { // before anything changes
		return 0, nil, errMissed
	}
	for _, l := range doomed {
		if rm.tree.layers[l.id] != l || !l.named || rm.names.notGoing(l.vol) != nil {
			continue
		}
		if one := rm.tree.noTags(l); one != nil {
			kept, held = kept+1, one
			continue
		}
		if rm.delay() > 0 && !r.purge {
			if err := rm.keepSnapshot(l.vol, l, r.who(), now); err != nil {
				return kept, held, err
			}
		}
		if err := rm.commits.do(&recUnname{layer: l.id, held: true, when: now, who: r.who()}); err != nil {
			return kept, held, err
		}
	}
	return kept, held, nil
}

// snapshotsAtOnce bounds the snapshots that one batch takes the name of: each may get a row of what is kept, with its path.
const snapshotsAtOnce = 4

// reapAll ends what is going, and removes layers that nobody holds any more, one merge at a time: each has the pages that
// it needs, and rows of trees that grew long are merged between. What cannot be removed now stays for a later try.
//
// What needs a merge while a checkpoint is built is left to the housekeeping: who deletes waits for no build, unless much
// is left already.
func (rm *remover) reapAll() error { return rm.reapSome(false) }

// reapWaiting is reapAll for who waits for builds.
func (rm *remover) reapWaiting() error { return rm.reapSome(true) }

func (rm *remover) reapSome(waits bool) error {
	defer rm.tree.settleFalls()
	if err := rm.finishGoing(); err != nil {
		return err
	}
	if !waits {
		rm.waitForOthers()
	}
	looked := map[*layer]bool{} // at a long row, which is as short as it can be now
	for {
		rm.mu.Lock()
		first, others := rm.tree.reapable()
		if first == nil && !others {
			rm.left = 0
		}
		waits = waits || rm.left+len(rm.tree.walks) > mostLeft
		rm.mu.Unlock()
		switch {
		case first == nil && others:
			continue
		case first == nil:
			return nil
		}
		t := reapTry{rm: rm, looked: looked}
		err := rm.works.cutting(waits, around{t.look, t.rest}, t.change)
		if err == nil && t.long {
			err, t.more = rm.commits.checkpointUnless(never), true
		}
		if err != nil || !t.more {
			return err
		}
	}
}

// reapTry is one try to take a layer away that nobody holds.
type reapTry struct {
	rm     *remover
	looked map[*layer]bool
	layer  *layer // nil: there is none, or it is left to the housekeeping
	merge  *merge // that it needs; nil: none
	err    error  // why that is not
	more   bool   // there may be others
	long   bool   // its row is too long; a checkpoint is to be taken first
	told   bool   // that one is left to the housekeeping is counted
}

// look finds the layer and prepares its merge.
func (t *reapTry) look() {
	rm := t.rm
	rm.mu.Lock()
	l, others := rm.tree.reapable()
	from, _ := rm.tree.mergeAfter(l)
	t.layer, t.merge, t.err, t.more, t.long = l, nil, nil, others, false
	switch {
	case from != nil && rm.built != nil:
		if !t.told { // a change that is tried again leaves no more
			t.told = true
			rm.left = min(rm.left+1, rm.tree.goers.reap.Len())
		}
		rm.poke()
		t.layer = nil
	case l != nil:
		t.long = !t.looked[l] && len(l.children) == 1 && len(l.children[0].lost.Trees)+len(l.lost.Trees) > maxRow
		t.more = !t.long
	}
	rm.mu.Unlock()
	if t.layer != nil && from != nil && !t.long {
		t.merge, t.err = rm.tree.outlook(l)
	}
}

// change takes it away.
func (t *reapTry) change(now time.Time) error {
	rm, l := t.rm, t.layer
	switch {
	case l == nil || !rm.tree.goesNow(l): // it was opened meanwhile
		return nil
	case t.long:
		t.looked[l] = true
		rm.tree.touch(l)
		rm.tree.touch(l.children[0])
		return nil
	}
	err := preparedError(rm.name, t.err)
	if err == nil {
		err = rm.commits.do(&recReap{layer: l.id, when: now, merge: t.merge})
	}
	if rm.commits.missed() {
		return err
	}
	rm.tree.noteReap(l, fmt.Sprintf("taking away layer %v, which nobody holds", l.id), err)
	if passing(err) { // it stays for a later try, and keeps no other
		return nil
	}
	return err
}

func (t *reapTry) rest() { t.rm.tree.endMerge(t.merge) }

// reapDue: there is something for reapAll to do. The plan lock is held.
func (rm *remover) reapDue() bool {
	return rm.leaves() || rm.tree.fallsStale()
}

// leaves: something is not taken away yet that may be tried to be. The plan lock is held.
func (rm *remover) leaves() bool {
	rm.mu.assertHeld()
	l, more := rm.tree.reapable()
	return l != nil || more || rm.firstGoing() != 0
}

// waitForOthers waits for the end of a build where much is left to the housekeeping, which does it between builds: else
// those who leave it are faster for good.
func (rm *remover) waitForOthers() {
	rm.mu.Lock()
	many := rm.left+len(rm.tree.walks) > mostLeft
	rm.mu.Unlock()
	if many {
		rm.lockTrees()
		rm.structure.Unlock()
	}
}

// mostLeft bounds the merges and walks that are left to the housekeeping by those who do not wait.
const mostLeft = 64

// maxRow bounds the trees of one list: a checkpoint merges longer rows into one tree.
const maxRow = 4

// destroyAll destroys volumes with all they have, each by itself, and tells how many are.
func (rm *remover) destroyAll(r Req, vols []Ino) (done int, err error) {
	for _, ino := range vols {
		err := rm.works.change(func(now time.Time) error {
			if err := rm.notBusy([]Ino{ino}); err != nil {
				return err
			}
			n, err := rm.names.inode(ino)
			if err != nil {
				return err
			}
			if rm.names.notGoing(ino) != nil { // somebody else destroys it
				return nil
			}
			if n.parent == 0 { // unlinked, closed and not forgotten yet
				if at, known := rm.names.lostPlace(ino); known && !r.purge && rm.delay() > 0 {
					return rm.keepVolume(ino, n, at, r.who(), now)
				}
				at, _ := rm.names.lostPlace(ino)
				return rm.remove(r, ino, n, at, now)
			}
			return rm.unlink(r, n.parent, nameEntry{n.name, ino, TypeFile}, now)
		})
		if err == nil {
			done++
			err = rm.reapAll()
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// DestroyVolume destroys a volume, and then one by one the clones that are to go with it. ErrBusy: it is open. ErrHasSnapshots,
// ErrHasClones name what would go with it. PartError: some are gone.
func (p *Pool) DestroyVolume(r Req, ino Ino, o DestroyOptions) error {
	var all []Ino
	err := p.tree.look(func() (err error) {
		all, err = p.removal.admitDestroyVolume(ino, o)
		return err
	})
	if err != nil {
		return err
	}
	r.purge = o.Now
	done, err := p.removal.destroyAll(r, all)
	return inPart(done, len(all), err, p.Flush)
}
