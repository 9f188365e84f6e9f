package chain

// descent goes over layers and all that hang on them, parents before children, in pieces: as many layers as the pool has
// clones may hang on one snapshot, and nobody waits for their list with the plan lock. A layer that went between two pieces
// is passed by, and one that was merged into its child is gone over as that one. So who looks may see a layer twice, and sees
// each that is there all the time.
type descent struct {
	p    *layerTree
	todo []descentAt
	into func(l, child *layer) bool // false: it does not go there. The plan lock is held
	see  func(l *layer, of int)     // the plan lock is held
}

// descentAt is a layer that has been seen, and how far its children have been.
type descentAt struct {
	l    *layer
	of   int     // what add said
	next LayerID // of its children those from that number on
}

// add lets a descent go over a layer and what hangs on it. see is told of, too. The plan lock is held.
func (d *descent) add(l *layer, of int) {
	d.p.mu.step(1)
	d.todo = append(d.todo, descentAt{l: l, of: of})
	d.see(l, of)
}

// piece goes on for so many layers. more: it is not over. The plan lock is held.
func (d *descent) piece(layers int) (more bool) {
	for ; layers > 0 && len(d.todo) > 0; layers-- {
		at := &d.todo[len(d.todo)-1]
		l := at.l
		switch i := l.child(at.next); {
		case d.p.layers[l.id] != l || l.dead || i == len(l.children):
			d.todo = d.todo[:len(d.todo)-1]
		default:
			c := l.children[i]
			at.next = c.id + 1
			d.p.mu.step(1)
			if d.into == nil || d.into(l, c) {
				d.add(c, at.of)
			}
		}
	}
	return len(d.todo) > 0
}

// rest is the rest of a descent, in pieces. The plan lock is not held.
func (d *descent) rest() {
	for more := true; more; {
		d.p.mu.Lock()
		more = d.piece(pieceLen / 2)
		d.p.mu.Unlock()
	}
}
