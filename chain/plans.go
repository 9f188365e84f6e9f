package chain

import "slices"

// planTable tells which plans are open, and which of them are older than a moment: what they may touch is neither private nor
// zeroed. The plan lock guards it.
type planTable struct {
	*core

	vols   map[Ino]*Volume // mu: those in use
	left   map[Ino]*Volume // mu: those that are gone, while writes have not ended
	wrote  bool            // mu: somebody has planned a write
	epochs epochs          // mu
	frozen uint64          // mu: freezes so far
	moved  chan struct{}   // mu: closed when a plan ends; nil while nobody waits
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

// epochs tell which plans are older than a moment. A plan belongs to the epoch in which it was made.
type epochs struct {
	now  uint64
	open map[uint64]int
}

func (e *epochs) pin() uint64 {
	if e.open == nil {
		e.open = map[uint64]int{}
	}
	e.open[e.now]++
	return e.now
}

func (e *epochs) unpin(at uint64) {
	if e.open[at]--; e.open[at] == 0 {
		delete(e.open, at)
	}
}

// seal ends the present epoch and returns it.
func (e *epochs) seal() uint64 {
	e.now++
	return e.now - 1
}

// over tells whether every plan of that epoch and before is closed.
func (e *epochs) over(at uint64) bool {
	for o := range e.open {
		if o <= at {
			return false
		}
	}
	return true
}

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
	}
	return pt.moved
}

func (pt *planTable) planEnded() {
	if pt.moved != nil {
		close(pt.moved)
		pt.moved = nil
	}
}

// settlePlans waits for plans to end.
func (pt *planTable) settlePlans(older []<-chan struct{}) {
	for _, ch := range older {
		<-ch
	}
}
