package chain

import (
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// reap removes a layer that is neither head nor snapshot as far as its children let it, and then looks at its parent.
// It is the rule of design and format: no child, its blocks are freed by a walk; one child, it is merged into it; more,
// it stays nameless. A merge cuts trees, and there is one at most: what can be merged besides stays for a recReap
// (remover.reapAll), which sees to it first that the store has the pages. What stands on a layer that was swept stays too, until
// that one is merged into it (behindSwept).
func (lt *layerTree) reap(l *layer, j *job, merge bool) {
	lt.mu.assertHeld()
	for l != nil && l.nameless() {
		lt.mu.step(1)
		parent := l.parent
		switch {
		case len(l.children) == 0 && !l.behindSwept():
			lt.bury(l, j)
			l = parent
		case len(l.children) == 1 && merge:
			lt.mergeDown(l, j)
			return
		default:
			lt.touch(l)
			lt.unheld(l)
			lt.recountAround(l)
			return
		}
	}
}

// bury ends a layer that nothing hangs on: a walk frees what it owns. What its dead list names others still show.
func (lt *layerTree) bury(l *layer, j *job) {
	lt.mu.assertHeld()
	lt.structure.assertHeld()
	lt.touch(l)
	lt.jobs.touchJob(j)
	lt.recountAround(l)
	lt.uncount(l)
	if l.parent != nil {
		l.died = l.parent.id
		lt.disown(l.parent, l)
	}
	lt.accounts.charge(l, -l.own)
	l.dead, l.parent = true, nil
	lt.deadN++
	lt.health.forgetTry(&l.going)
	lt.health.forgetTry(&l.sweep)
	delete(lt.nameless, l)
	lt.leaveVolume(l)
	lt.dropLost(l)
	j.layers = append(j.layers, l.id)
	lt.freeing += l.own
	lt.countStranded(l, l.own) // by the walks that it has from merges
	lt.newWalk(l, l.top, j, true)
}

// dropLost leaves the trees of a dead layer's dead list to the next checkpoint. While one builds them, they are left to its
// end, which knows what has become of them.
func (lt *layerTree) dropLost(l *layer) {
	if l.lost.Fresh = (omap.Map[runs.Entry]{}); !l.lost.Building() {
		lt.drops = append(lt.drops, l.lost.Trees...)
		l.lost = runs.List{}
	}
}
