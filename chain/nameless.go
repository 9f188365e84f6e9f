package chain

import "slatefs/chain/omap"

// goerTurns tells which of the layers that nobody holds goes next, or is swept next, without a look at all of them. Its
// entries are candidates: who takes one looks whether it is one still. The plan lock guards it.
type goerTurns struct {
	reap      omap.Map[*layer] // by number: may be taken away, as far as was seen
	reapSick  omap.Map[*layer] // by the time of the next try
	sweep     omap.Map[*layer] // by the checkpoint after which it was swept last, and number: below it something was lost
	sweepSick omap.Map[*layer]
	climbs    omap.Map[*layer] // by number: it and those above it have not been told yet of a loss
	news      uint64           // counts what makes a loss one that has to be told again
}

func (l *layer) key() omap.Key { return omap.Key{Lo: uint64(l.id)} }

// unheld: nobody holds the layer any more but its children, or a destroy that keeps it. What that means for those above is
// lossBelow's.
func (lt *layerTree) unheld(l *layer) {
	lt.nameless[l] = struct{}{}
	lt.mayGo(l)
	l.losses++
	lt.goers.news++
	lt.maySweep(l)
}

// mayGo: what kept a layer that nobody holds may have gone.
func (lt *layerTree) mayGo(l *layer) {
	if _, ok := lt.nameless[l]; ok {
		lt.goers.reap.Set(l.key(), l)
	}
}

// lossBelow: something is lost below a layer, or it has fewer children, or a longer range. So more may be dead in it, and in
// those above that nobody holds either. Those that were told already, and none of which has begun a sweep since, know.
func (lt *layerTree) lossBelow(l *layer) {
	if l == nil || !l.nameless() || l.told > lt.goers.news {
		return
	}
	l.told = lt.goers.news + 1
	lt.climb(l)
}

// climb tells a layer and some of those above it of a loss; the others are told by sweepable.
func (lt *layerTree) climb(l *layer) {
	for range pieceLen / 8 {
		if l == nil || !l.nameless() {
			return
		}
		lt.mu.step(1)
		l.losses++
		lt.maySweep(l)
		l = l.parent
	}
	if l != nil && l.nameless() {
		lt.goers.climbs.Set(l.key(), l)
		lt.poke()
	}
}

// maySweep puts a layer into the queue of sweeps.
func (lt *layerTree) maySweep(l *layer) {
	lt.goers.sweep.Delete(l.sweepAt)
	l.sweepAt = omap.Key{Hi: l.sweepGen, Lo: uint64(l.id)}
	if l.sweepNext != (omap.Key{}) { // in the middle
		l.sweepAt.Hi = 0
	}
	lt.goers.sweep.Set(l.sweepAt, l)
}

// noteReap notes how the try ended to take a layer away.
func (lt *layerTree) noteReap(l *layer, what string, err error) {
	q := &lt.goers
	q.reapSick.Delete(dueKey(l.going.At, uint64(l.id)))
	lt.health.noteTry(&l.going, what, err)
	if l.going.Failing() {
		q.reap.Delete(l.key())
		q.reapSick.Set(dueKey(l.going.At, uint64(l.id)), l)
	}
}

// noteSweep notes how a step of a sweep ended.
func (lt *layerTree) noteSweep(l *layer, what string, err error) {
	q := &lt.goers
	q.sweepSick.Delete(dueKey(l.sweep.At, uint64(l.id)))
	lt.health.noteTry(&l.sweep, what, err)
	if l.sweep.Failing() {
		q.sweep.Delete(l.sweepAt)
		q.sweepSick.Set(dueKey(l.sweep.At, uint64(l.id)), l)
	}
}

// reapable is a layer that nobody holds any more, the oldest one, and whose time to be tried has come, or nil; more: not all
// were looked at. The plan lock is held.
func (lt *layerTree) reapable() (first *layer, more bool) {
	lt.mu.assertHeld()
	q := &lt.goers
	if k, l, ok := q.reapSick.Ceil(omap.Key{}); ok && (lt.layers[l.id] != l || lt.health.mayTry(&l.going)) {
		q.reapSick.Delete(k)
		lt.mayGo(l)
	}
	for range pieceLen / 4 {
		lt.mu.step(1)
		k, l, ok := q.reap.Ceil(omap.Key{})
		if !ok {
			return nil, false
		}
		if lt.goesNow(l) {
			return l, false
		}
		q.reap.Delete(k) // mayGo says when it may
	}
	return nil, true
}

// goesNow: nobody holds the layer any more, and its time to be tried has come.
func (lt *layerTree) goesNow(l *layer) bool {
	_, there := lt.nameless[l]
	return there && lt.health.mayTry(&l.going) && lt.mayReap(l)
}

// eachLeft calls fn for layers that nobody holds and that are still there, since a checkpoint was built or they could not be taken
// away, with the blocks that will be freed with them, at least. It looks at some. The plan lock is held.
func (lt *layerTree) eachLeft(fn func(l *layer, blocks int64)) {
	lt.mu.assertHeld()
	q := &lt.goers
	for _, turns := range []*omap.Map[*layer]{&q.reap, &q.reapSick} {
		some := pieceLen / 4
		turns.Ascend(omap.Key{}, func(_ omap.Key, l *layer) bool {
			lt.mu.step(1)
			_, there := lt.nameless[l]
			_, twice := q.reap.Get(l.key())
			switch {
			case !there || !lt.mayReap(l) || twice && turns != &q.reap:
			case len(l.children) == 0:
				fn(l, l.own)
			case len(l.children) == 1:
				fn(l, l.children[0].lostHere)
			}
			some--
			return some > 0
		})
	}
}

// mayReap: a layer that nobody holds has nothing about it, and nothing beside it, that keeps it.
func (lt *layerTree) mayReap(l *layer) bool {
	return l.held == 0 && !lt.destroyed.destroyedLayer(l) && (l.kept || len(l.children) < 2) && !l.behindSwept()
}

// sweepable is a nameless layer below which a list has grown since it was swept, and whose time to be tried has come, or nil.
// Unless forced it is one that was not swept since the last checkpoint. The plan lock is held.
func (lt *layerTree) sweepable(force bool) *layer {
	lt.mu.assertHeld()
	q := &lt.goers
	if k, l, ok := q.climbs.Ceil(omap.Key{}); ok {
		q.climbs.Delete(k)
		lt.climb(l.now())
	}
	if k, l, ok := q.sweepSick.Ceil(omap.Key{}); ok && (lt.layers[l.id] != l || lt.health.mayTry(&l.sweep)) {
		q.sweepSick.Delete(k)
		if l.nameless() {
			lt.maySweep(l)
		}
	}
	for range pieceLen / 4 {
		lt.mu.step(1)
		k, l, ok := q.sweep.Ceil(omap.Key{})
		if !ok || !force && k.Hi == lt.supers.super.Generation {
			return nil
		}
		if l.nameless() && lt.layers[l.id] == l && len(l.children) > 1 && lt.health.mayTry(&l.sweep) {
			return l
		}
		q.sweep.Delete(k)
	}
	return nil
}

// goes: what nobody holds will be taken away, or swept, as far as its time has come: it is in the queue. Check asks.
func (lt *layerTree) goes(l *layer) bool {
	if _, ok := lt.nameless[l]; !ok {
		return !l.nameless()
	}
	q := &lt.goers
	if lt.mayReap(l) {
		_, now := q.reap.Get(l.key())
		_, later := q.reapSick.Get(dueKey(l.going.At, uint64(l.id)))
		return now || later
	}
	if l.nameless() && (l.losses != l.sweeping || l.sweepNext != (omap.Key{})) {
		_, now := q.sweep.Get(l.sweepAt)
		_, later := q.sweepSick.Get(dueKey(l.sweep.At, uint64(l.id)))
		return now || later
	}
	return true
}
