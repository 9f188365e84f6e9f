package chain

import "slices"

// The children of a layer stand in the order of their numbers: so a look at some of them, at whatever time, finds the same when
// records are replayed, and who goes over them with the plan lock given up between has a place to go on from.

// child is the place of a child, or of where it would be.
func (l *layer) child(id LayerID) int {
	at, _ := findLayer(l.children, id)
	return at
}

// adopt gives a layer a child more.
func (lt *layerTree) adopt(l, c *layer) {
	lt.mu.step(1)
	l.children = slices.Insert(l.children, l.child(c.id), c)
}

// disown takes a child away.
func (lt *layerTree) disown(l, c *layer) {
	lt.mu.step(1)
	if at := l.child(c.id); at < len(l.children) && l.children[at] == c {
		l.children = slices.Delete(l.children, at, at+1)
	}
}
