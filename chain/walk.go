package chain

import (
	"cmp"
	"fmt"

	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/overlay"
)

// walk brings the blocks of a part of a map to an erase job, or to a dead list, in steps that are restartable: of a
// layer that died, or of what a large discard cut off. It starts when a checkpoint has settled its source.
type walk struct {
	id     uint64
	layer  *layer // whose the blocks were; follows merges; may be dead
	job    *job
	source *overlay.Storey
	burial bool  // the source is all of a dead layer: pages of others are not entered
	next   int64 // logical block; below it all blocks are sorted
	pages  int64 // below it all pages are given back; what is on disk may be behind next after a crash
	dirty  bool
	try    backoff // failing: a page of the source cannot be read
}

func (lt *layerTree) newWalk(l *layer, source *overlay.Storey, j *job, burial bool) *walk {
	lt.commits.nextJob++
	w := &walk{id: lt.commits.nextJob, layer: l, job: j, source: source, burial: burial}
	lt.touchWalk(w)
	j.walks++
	lt.walks[w.id] = w
	lt.poke()
	return w
}

// touchWalk: the row of w differs from the last checkpoint's.
func (lt *layerTree) touchWalk(w *walk) {
	if !w.dirty {
		w.dirty = true
		lt.dirtyWalks = append(lt.dirtyWalks, w)
	}
}

func (lt *layerTree) endWalk(w *walk) {
	delete(lt.walks, w.id)
	lt.noteWalk(w, nil)
	w.job.walks--
	lt.jobs.touchJob(w.job)
	lt.names.gone = append(lt.names.gone, catalog.Key(catalog.Walk, w.id))
	if l := w.layer; l.dead && !lt.walked(l) {
		lt.freeing -= l.own // what is left was counted and not found: check says so
		lt.forgetLayer(l)
	}
	lt.jobs.endJob(w.job)
}

// walked tells whether another walk still sorts blocks of l.
func (lt *layerTree) walked(l *layer) bool {
	for _, w := range lt.walks {
		lt.mu.step(1)
		if w.layer == l {
			return true
		}
	}
	return false
}

// walkWaits: a walk can only start when a checkpoint has settled its source. The plan lock is held.
func (lt *layerTree) walkWaits() bool {
	for _, w := range lt.walks {
		lt.mu.step(1)
		if !w.source.Settled() {
			return true
		}
	}
	return false
}

// walkReady is the oldest walk that can go on, or nil. Of those that failed it is one whose time has come; for who waits
// for space, also one that has not failed often. The plan lock is held.
func (lt *layerTree) walkReady(waits bool) (first *walk) {
	for _, w := range lt.walks {
		lt.mu.step(1)
		if w.source.Settled() && (first == nil || w.id < first.id) && (lt.health.mayTry(&w.try) || waits && w.try.tries < triesForWaiter) {
			first = w
		}
	}
	return first
}

// triesForWaiter is how often what fails is tried at once for somebody who waits.
const triesForWaiter = 3

// noteWalk notes how a step of a walk ended. The plan lock is held.
func (lt *layerTree) noteWalk(w *walk, err error) {
	lt.health.noteTry(&w.try, fmt.Sprintf("walk %d, which finds what %s freed", w.id, cmp.Or(w.job.volume, "nobody")), err)
	if w.try.failing() {
		lt.failing[w] = struct{}{}
	} else {
		delete(lt.failing, w)
	}
}

// failingWalk is a walk that cannot bring a job its blocks now, or nil.
func (lt *layerTree) failingWalk(j *job) *walk {
	for w := range lt.failing {
		lt.mu.step(1)
		if w.job == j {
			return w
		}
	}
	return nil
}

// stranded are the blocks that were freed, and that no walk can find now, because it fails or because the checkpoint does
// that it waits for: they are not available. The plan lock is held.
func (lt *layerTree) stranded() (n int64) {
	if len(lt.failing) == 0 && !lt.health.checkpoints.failing() {
		return 0
	}
	seen := map[*layer]bool{}
	add := func(w *walk) {
		lt.mu.step(1)
		if l := w.layer; l.dead && !seen[l] {
			seen[l] = true
			n += l.own
		}
	}
	for w := range lt.failing {
		add(w)
	}
	if lt.health.checkpoints.failing() {
		for _, w := range lt.walks {
			lt.mu.step(1)
			if !w.source.Settled() {
				add(w)
			}
		}
	}
	return n
}

// jobState is what users see of a job's state, and why it is failing.
func (lt *layerTree) jobState(j *job) (state, why string) {
	var w *walk
	if j.walks > 0 {
		w = lt.failingWalk(j)
	}
	switch {
	case j.sick.failing():
		if fault.Of(j.sick.err) == fault.Object {
			return "failed", j.sick.err.Error()
		}
		return "failing", j.sick.err.Error()
	case w != nil:
		if fault.Of(w.try.err) == fault.Object && j.dirtyBlocks() == 0 {
			return "failed", w.try.err.Error()
		}
		return "failing", w.try.err.Error()
	case j.none && j.lent.out == 0 && j.walks == 0:
		return "unscheduled", ""
	case j.lent.out > 0:
		return "erasing", ""
	case j.walks > 0:
		return "walking", ""
	case j.badN > 0 && j.dirtyBlocks() == 0:
		return "failed", ""
	case j.readyN > 0 && !lt.plans.epochs.over(j.epoch):
		return "waiting", ""
	}
	return "queued", ""
}
