package chain

import (
	"slices"
	"sync/atomic"
)

// planTable tells which plans are open, and which of them are older than a moment: what they may touch is neither private nor
// zeroed. The plan lock guards it. A plan is pinned under the plan lock, shared or not, and ends without it.
type planTable struct {
	*core

	vols    map[Ino]*Volume // mu: those in use
	left    map[Ino]*Volume // mu: those that are gone, while writes have not ended
	wrote   bool            // mu: somebody has planned a write
	epochs  epochs          // mu
	frozen  uint64          // mu: freezes so far
	moved   chan struct{}   // mu: closed when a plan ends; nil while nobody waits
	resumed uint64          // mu: what was sealed before this process is over when plans of that epoch are; 0: it is
	awaits  atomic.Bool     // self: there is moved
}

// inFlight is how many blocks writes have that are planned and not ended, of a volume that may be gone.
func (pt *planTable) inFlight(vol Ino) (n int64) {
	for _, pl := range pt.writes(vol) {
		n += pl.named
	}
	return n
}

// bornIn: a write to new blocks is planned and not ended that was planned when a layer was its volume's head.
func (pt *planTable) bornIn(vol Ino, birth LayerID) bool {
	return slices.ContainsFunc(pt.writes(vol), func(pl *Plan) bool { return pl.named > 0 && pl.born == birth })
}

// writes are those that are planned and not ended.
func (pt *planTable) writes(vol Ino) []*Plan {
	pt.mu.assertHeld()
	v := pt.vols[vol]
	if v == nil {
		v = pt.left[vol]
	}
	if v == nil {
		return nil
	}
	pt.mu.step(len(v.active))
	return v.active
}

// leave takes a volume out of those in use. While it has writes that have not ended it is found by inFlight.
func (pt *planTable) leave(v *Volume) {
	v.gone = true
	delete(pt.vols, v.ino)
	if len(v.active) > 0 {
		pt.left[v.ino] = v
	}
}

// epochs tell which plans are older than a moment. A plan belongs to the epoch in which it was made. Who seals one has the plan
// lock alone, so none is pinned meanwhile: the plans of an epoch that is sealed only become fewer.
type epochs struct {
	now  *epoch
	past []*epoch // before it, oldest first: those in which plans were open when they were sealed
	hand int      // in past: where seal looks next for those that are over
}

// epoch counts its open plans, in the lanes of those.
type epoch struct {
	number uint64
	sealed atomic.Bool
	lanes  [planLanes]lane
}

func newEpochs() epochs { return epochs{now: &epoch{number: 1}} }

// pin makes a plan of that lane one of the present epoch, which it returns. The plan lock is held, shared or not.
func (e *epochs) pin(lane uint8) *epoch {
	e.now.lanes[lane%planLanes].n.Add(1)
	return e.now
}

// unpin ends a plan of that lane, and tells whether somebody may wait for the end of its epoch: it is sealed. No lock is needed: who
// seals it says so before he looks whether it is over, and here the plan ends before that is asked.
func (e *epoch) unpin(lane uint8) (sealed bool) {
	e.lanes[lane%planLanes].n.Add(-1)
	return e.sealed.Load()
}

// busy tells whether plans of the epoch are open.
func (e *epoch) busy() bool {
	for i := range e.lanes {
		if e.lanes[i].n.Load() != 0 {
			return true
		}
	}
	return false
}

// sealLooks is how many of those before a seal looks at: more than are added by it, so that what is over does not pile up behind a
// plan that takes long.
const sealLooks = 3

// seal ends the present epoch and returns it.
func (e *epochs) seal() uint64 {
	was := e.now
	if was.busy() {
		was.sealed.Store(true)
		e.past = append(e.past, was)
		e.now = &epoch{number: was.number + 1}
	} else { // no plan knows it
		was.number++
	}
	for range min(sealLooks, len(e.past)) {
		if e.hand %= len(e.past); e.past[e.hand].busy() {
			e.hand++
		} else if e.past = slices.Delete(e.past, e.hand, e.hand+1); len(e.past) == 0 {
			break
		}
	}
	return e.now.number - 1
}

// over tells whether every plan of that epoch and before is closed.
func (e *epochs) over(at uint64) bool {
	first := e.first()
	return first == nil || first.number > at
}

// first is the oldest epoch that has open plans; nil: no plan is open.
func (e *epochs) first() *epoch {
	for len(e.past) > 0 && !e.past[0].busy() {
		e.past = slices.Delete(e.past, 0, 1)
	}
	switch {
	case len(e.past) > 0:
		return e.past[0]
	case e.now.busy():
		return e.now
	}
	return nil
}

// over tells whether every plan is closed that can touch the ready part of a job. The plan lock is held.
func (pt *planTable) over(j *job) bool { return pt.epochs.over(max(j.epoch, pt.resumed)) }

// freeze is the instant of a freeze: what is under way belongs to before it. It returns the number of it.
func (pt *planTable) freeze() uint64 {
	pt.mu.assertHeld()
	pt.frozen++
	return pt.frozen
}

// movedLocked is closed when a plan ends next.
func (pt *planTable) movedLocked() <-chan struct{} {
	if pt.moved == nil {
		pt.moved = make(chan struct{})
		pt.awaits.Store(true)
	}
	return pt.moved
}

// planEnded wakes who waits for the end of a plan. The plan lock is held.
func (pt *planTable) planEnded() {
	if pt.moved != nil {
		pt.awaits.Store(false)
		close(pt.moved)
		pt.moved = nil
	}
}

// unpinned wakes who may wait for the end of a plan that was unpinned without the plan lock: sealed is what unpin said.
func (pt *planTable) unpinned(sealed bool) {
	if sealed {
		pt.signal(pt.ready)
	}
	if pt.awaits.Load() {
		pt.mu.Lock()
		defer pt.mu.Unlock()
		pt.planEnded()
	}
}

// settlePlans waits for plans to end.
func (pt *planTable) settlePlans(older []<-chan struct{}) {
	for _, ch := range older {
		<-ch
	}
}
