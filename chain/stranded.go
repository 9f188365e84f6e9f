package chain

// What walks cannot find now is not available, and each admission asks how much that is. So it is a number that follows what
// changes: the blocks of a dead layer count once, with its failing walks if it has some, else with those that wait for a
// checkpoint. Package check adds up the same from the walks.

// strandings are these numbers, and which walks of a job are failing.
type strandings struct {
	failing map[*job]map[*walk]struct{} // mu
	sickN   int64                       // mu: blocks of dead layers of which a walk is failing
	waitN   int64                       // mu: blocks of other dead layers of which a walk waits for a checkpoint
}

// strand notes that so many more walks of a layer are failing, or wait for a checkpoint. The plan lock is held.
func (lt *layerTree) strand(l *layer, failing, waiting int) {
	lt.countStranded(l, -l.own)
	l.sickWalks += failing
	l.waitWalks += waiting
	lt.countStranded(l, l.own)
}

// countStranded adds blocks of a layer to the number that they are part of, if any.
func (lt *layerTree) countStranded(l *layer, blocks int64) {
	switch {
	case !l.dead:
	case l.sickWalks > 0:
		lt.stuck.sickN += blocks
	case l.waitWalks > 0:
		lt.stuck.waitN += blocks
	}
}

// ownsDead changes the number of blocks of a dead layer that no walk has sorted yet.
func (lt *layerTree) ownsDead(l *layer, blocks int64) {
	lt.touch(l)
	l.own += blocks
	lt.freeing += blocks
	lt.countStranded(l, blocks)
}

// waitsNoMore: the source of a walk is settled, or the walk ends.
func (lt *layerTree) waitsNoMore(w *walk) {
	if lt.walkTurns.waiting.Delete(w.key()) {
		lt.strand(w.layer.now(), 0, -1)
	}
}

// noteFailing notes that a walk began to fail, or ceased to.
func (lt *layerTree) noteFailing(w *walk, failing bool) {
	of := lt.stuck.failing[w.job]
	if failing {
		if of == nil {
			of = map[*walk]struct{}{}
			lt.stuck.failing[w.job] = of
		}
		of[w] = struct{}{}
		lt.strand(w.layer.now(), 1, 0)
		return
	}
	if delete(of, w); len(of) == 0 {
		delete(lt.stuck.failing, w.job)
	}
	lt.strand(w.layer.now(), -1, 0)
}

// failingWalk is a walk that cannot bring a job its blocks now, or nil.
func (lt *layerTree) failingWalk(j *job) *walk {
	for w := range lt.stuck.failing[j] {
		return w
	}
	return nil
}

// stranded are the blocks that were freed, and that no walk can find now, because it fails or because the checkpoint does
// that it waits for: they are not available. That a checkpoint has settled what a walk waited for may be noticed later
// (wakeWalks): until then its blocks count. The plan lock is held.
func (lt *layerTree) stranded() int64 {
	lt.mu.assertHeld()
	if lt.health.checkpoints.Failing() {
		return lt.stuck.sickN + lt.stuck.waitN
	}
	return lt.stuck.sickN
}
