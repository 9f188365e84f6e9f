package chain

import (
	"math"

	"slatefs/chain/fault"
)

// The block lock. A write that reads first has its block alone, a fence has all of its blocks alone, all others share.
// Whoever may not begin waits in the queue of the volume, and what comes later and would share a block with it waits
// behind it: so nobody is passed for ever, however many others write.
//
// A plan waits for one that was made or queued before it, never for a later one, and holds nothing but its place while
// it waits: no block, no pin, no room in the journal. What was made ends by its device's answer alone. So there is no
// circle. The writes that a fence makes within itself do not queue: they have its turn.

// blocked tells what a plan must wait for, and then queues it. It waits for every older plan on its blocks, those from
// before the last snapshot included. The plan lock is held, or shared, with the volume's own.
func (v *Volume) blocked(pl *Plan) Need {
	v.assertOwn()
	if o := v.before(pl); o != nil {
		if !pl.queued {
			pl.queued = true
			v.waiting = append(v.waiting, pl)
		}
		return Need{&obstacle{kind: needPlan, wait: o.ends()}}
	}
	return Need{}
}

// older lists what ends those plans of a volume that are older than a freeze. It takes the plan lock, in pieces, and goes from the
// youngest to the oldest: the place of what ends meanwhile is taken by one that was looked at.
func (vs *openVolumes) older(vol Ino, freeze uint64) (older []<-chan struct{}) {
	at := math.MaxInt
	vs.tree.inPieces(func() bool {
		v := vs.plans.vols[vol]
		if v == nil {
			return false
		}
		if at = min(at, len(v.active)) - 1; at >= 0 && v.active[at].frozen < freeze {
			older = append(older, v.active[at].ends())
		}
		return at > 0
	})
	return older
}

// ends is closed when the plan ends. The plan lock is held, or shared, with the volume's own.
func (pl *Plan) ends() <-chan struct{} {
	if pl.done == nil {
		pl.done = make(chan struct{})
	}
	return pl.done
}

// before is a plan that goes first: the nearest in the queue, else one that is under way; nil if it is pl's turn.
func (v *Volume) before(pl *Plan) *Plan {
	if len(v.waiting) > 0 && pl.within == nil {
		at := len(v.waiting)
		if pl.queued {
			for at = 0; v.waiting[at] != pl; at++ {
			}
		}
		for at--; at >= 0; at-- {
			if pl.meets(v.waiting[at]) {
				return v.waiting[at]
			}
		}
	}
	for _, o := range v.active {
		if o != pl.within && pl.meets(o) {
			return o
		}
	}
	return nil
}

// meets: the two may not be under way at once.
func (pl *Plan) meets(o *Plan) bool {
	if o.hi <= pl.lo || pl.hi <= o.lo {
		return false
	}
	if pl.whole || o.whole {
		return true
	}
	for i := range 2 {
		a, b := pl.alone[i], o.alone[i]
		if a >= 0 && o.lo <= a && a < o.hi || b >= 0 && pl.lo <= b && b < pl.hi {
			return true
		}
	}
	return false
}

// enter makes a plan one that is under way: it was made. Who waits for it goes on waiting. The plan lock is held, or shared, with
// the volume's own.
func (v *Volume) enter(pl *Plan) {
	v.assertOwn()
	pl.leave()
	pl.frozen = v.p.plans.frozen
	v.active = append(v.active, pl)
}

// ended takes a plan out of those that are under way, and wakes who waits for it. The plan lock is held, or shared, with the
// volume's own.
func (v *Volume) ended(pl *Plan) {
	v.assertOwn()
	for i, o := range v.active {
		if o == pl {
			last := len(v.active) - 1
			v.active[i] = v.active[last]
			v.active = v.active[:last]
			break
		}
	}
	if pl.done != nil {
		close(pl.done)
		pl.done = nil
	}
}

// leave takes a plan out of the queue, if it is there. The plan lock is held, or shared, with the volume's own.
func (pl *Plan) leave() {
	if !pl.queued {
		return
	}
	pl.v.assertOwn()
	pl.queued = false
	w := pl.v.waiting
	at := 0
	for w[at] != pl {
		at++
	}
	copy(w[at:], w[at+1:])
	w[len(w)-1] = nil
	pl.v.waiting = w[:len(w)-1]
}

// quit is Quit. The plan lock is held.
func (pl *Plan) quit() {
	if !pl.queued {
		return
	}
	pl.leave()
	if pl.done != nil {
		close(pl.done)
		pl.done = nil
	}
}

// Quit gives up a plan that is not made: it loses its place in the queue, and who waits behind it goes on. For any
// other plan it does nothing.
func (pl *Plan) Quit() {
	if pl.p == nil {
		return
	}
	pl.p.mu.Lock()
	defer pl.p.mu.Unlock()
	pl.quit()
}

// fence keeps all writes from blocks [lo, hi), once those that came before have ended, until the plan that it returns
// is closed: what takes blocks away would else be undone by a write that it overtook. It pins nothing, since it names
// nothing.
func (v *Volume) fence(lo, hi int64) (*Plan, error) {
	pl := &Plan{}
	err := v.p.until(func() (Need, error) {
		v.p.mu.Lock()
		defer v.p.mu.Unlock()
		if _, err := v.usable(); err != nil {
			return Need{}, err
		}
		if err := pl.begin(v.p, v); err != nil {
			return Need{}, err
		}
		pl.lo, pl.hi, pl.whole, pl.write = lo, max(hi, lo+1), true, true
		pl.alone = [2]int64{-1, -1}
		if need := v.blocked(pl); !need.None() {
			return need, nil
		}
		pl.open = true
		v.enter(pl)
		return Need{}, nil
	})
	if err != nil {
		pl.Quit()
	}
	return pl, err
}

// mayBegin ends the process if a plan that is in a queue is begun for something else: those behind it would wait for
// ever.
func (pl *Plan) mayBegin(v *Volume) {
	if pl.queued && (pl.v != v || v == nil) {
		fault.Misuse("a plan that waits in a queue was begun for something else before its Quit")
	}
}
