package chain

import (
	"cmp"
	"fmt"

	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
)

// walk brings the blocks of a part of a map to an erase job, or to a dead list, in steps that are restartable: of a
// layer that died, or of what a large discard cut off. It starts when a checkpoint has settled its source.
type walk struct {
	id     uint64
	layer  *layer // whose the blocks were; follows merges; may be dead
	place  int    // among its walks
	job    *job
	source *overlay.Storey
	burial bool  // the source is all of a dead layer: pages of others are not entered
	next   int64 // logical block; below it all blocks are sorted
	pages  int64 // below it all pages are given back; what is on disk may be behind next after a crash
	gateMark
	try fault.Backoff // failing: a page of the source cannot be read
}

// sorted: it brings its job no block any more, and gives back pages at most.
func (w *walk) sorted() bool { return w.next >= mapEnd }

// walkTurns tells which walk goes on. Each walk is in one of them. The plan lock guards it.
type walkTurns struct {
	waiting omap.Map[*walk] // by number: for a checkpoint to settle the source, or that it has was not noticed yet
	ready   omap.Map[*walk]
	sick    omap.Map[*walk] // by the time of the next try
}

// has: the walk will go on, when its time has come. Check asks.
func (t *walkTurns) has(w *walk) bool {
	_, waits := t.waiting.Get(w.key())
	_, ready := t.ready.Get(w.key())
	_, sick := t.sick.Get(dueKey(w.try.At, w.id))
	return waits || ready || sick
}

func (w *walk) key() omap.Key { return omap.Key{Lo: w.id} }

// addWalk puts a walk into the queue, and to its layer.
func (lt *layerTree) addWalk(w *walk) {
	lt.walks[w.id] = w
	w.joinLayer(w.layer)
	if w.source.Settled() {
		lt.walkTurns.ready.Set(w.key(), w)
	} else {
		lt.walkTurns.waiting.Set(w.key(), w)
		lt.strand(w.layer, 0, 1)
	}
}

// joinLayer puts a walk among those of a layer.
func (w *walk) joinLayer(l *layer) {
	w.layer, w.place = l, len(l.walks)
	l.walks = append(l.walks, w)
}

// leaveLayer takes it out of them.
func (w *walk) leaveLayer() {
	l, last := w.layer, len(w.layer.walks)-1
	l.walks[w.place] = l.walks[last]
	l.walks[w.place].place = w.place
	l.walks[last] = nil
	l.walks = l.walks[:last]
}

func (lt *layerTree) newWalk(l *layer, source *overlay.Storey, j *job, burial bool) *walk {
	lt.mu.assertHeld()
	lt.commits.nextJob++
	w := &walk{id: lt.commits.nextJob, layer: l, job: j, source: source, burial: burial}
	j.walks++
	j.sorting++
	lt.addWalk(w)
	lt.touchWalk(w)
	lt.poke()
	return w
}

// touchWalk: w is about to change.
func (lt *layerTree) touchWalk(w *walk) { lt.walkGate.pass(w) }

func (lt *layerTree) endWalk(w *walk) {
	lt.mu.assertHeld()
	lt.noteWalk(w, nil)
	lt.walkGate.end(w)
	delete(lt.walks, w.id)
	lt.waitsNoMore(w)
	lt.walkTurns.ready.Delete(w.key())
	lt.jobs.touchJob(w.job)
	w.job.walks--
	if !w.sorted() {
		w.job.sorting--
	}
	lt.names.gone = append(lt.names.gone, catalog.Key(catalog.Walk, w.id))
	l := w.layer
	w.leaveLayer()
	if l.dead && len(l.walks) == 0 {
		lt.freeing -= l.own // what is left was counted and not found: check says so
		lt.forgetLayer(l)
	}
	lt.jobs.endJob(w.job)
}

// wakeWalks brings walks to the ready ones whose source was settled, or whose time has come: some of them, as many as one
// hold of the plan lock may. The first that wait are settled first.
func (lt *layerTree) wakeWalks() {
	q := &lt.walkTurns
	for range pieceLen / 4 {
		lt.mu.step(1)
		if k, w, ok := q.waiting.Ceil(omap.Key{}); ok && w.source.Settled() {
			lt.waitsNoMore(w)
			q.ready.Set(k, w)
			continue
		}
		k, w, ok := q.sick.Ceil(omap.Key{})
		if !ok || !lt.health.mayTry(&w.try) {
			return
		}
		q.sick.Delete(k)
		q.ready.Set(w.key(), w)
	}
}

// walkWaits: a walk can only start when a checkpoint has settled its source. The plan lock is held.
func (lt *layerTree) walkWaits() bool {
	lt.mu.assertHeld()
	lt.wakeWalks()
	_, w, ok := lt.walkTurns.waiting.Ceil(omap.Key{})
	return ok && !w.source.Settled()
}

// walkReady is the oldest walk that can go on, or nil. Of those that failed it is one whose time has come; for who waits
// for space, also one that has not failed often. The plan lock is held.
func (lt *layerTree) walkReady(waits bool) (first *walk) {
	lt.mu.assertHeld()
	lt.wakeWalks()
	_, first, _ = lt.walkTurns.ready.Ceil(omap.Key{})
	if first != nil || !waits {
		return first
	}
	n := 0
	lt.walkTurns.sick.Ascend(omap.Key{}, func(_ omap.Key, w *walk) bool {
		if n++; w.try.Tries < triesForWaiter {
			first = w
		}
		return first == nil && n < pieceLen/4
	})
	return first
}

// triesForWaiter is how often what fails is tried at once for somebody who waits.
const triesForWaiter = 3

// noteWalk notes how a step of a walk ended. The plan lock is held.
func (lt *layerTree) noteWalk(w *walk, err error) {
	lt.mu.assertHeld()
	q := &lt.walkTurns
	before := w.try.Failing()
	if before {
		q.sick.Delete(dueKey(w.try.At, w.id))
	}
	lt.health.noteTry(&w.try, fmt.Sprintf("walk %d, which finds what %s freed", w.id, cmp.Or(w.job.volume, "nobody")), err)
	if now := w.try.Failing(); now != before {
		lt.noteFailing(w, now)
	}
	if w.try.Failing() {
		q.ready.Delete(w.key())
		q.sick.Set(dueKey(w.try.At, w.id), w)
		return
	}
	if w.source.Settled() {
		lt.waitsNoMore(w)
		q.ready.Set(w.key(), w)
	}
}

// jobState is what users see of a job's state, and why it is failing.
func (lt *layerTree) jobState(j *job) (state, why string) {
	var w *walk
	if j.walks > 0 {
		w = lt.failingWalk(j)
	}
	switch {
	case j.sick.Failing():
		if fault.Of(j.sick.Err) == fault.Object {
			return "failed", j.sick.Err.Error()
		}
		return "failing", j.sick.Err.Error()
	case w != nil:
		if fault.Of(w.try.Err) == fault.Object && j.dirtyBlocks() == 0 {
			return "failed", w.try.Err.Error()
		}
		return "failing", w.try.Err.Error()
	case j.none && j.lent.out == 0 && j.walks == 0:
		return "unscheduled", ""
	case j.lent.out > 0:
		return "erasing", ""
	case j.walks > 0:
		return "walking", ""
	case j.badN > 0 && j.dirtyBlocks() == 0:
		return "failed", ""
	case j.readyN > 0 && !lt.plans.over(j):
		return "waiting", ""
	}
	return "queued", ""
}
