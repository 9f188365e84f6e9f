package chain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
)

// layer is what was written between two snapshots of one line of history. The plan lock guards it; lists and
// structure (parent, children, head, name) change under the structure lock too.
type layer struct {
	id       LayerID
	parent   *layer
	children []*layer
	vol      Ino // whose it is; 0 when the volume is gone and clones hold the layer
	dir      Ino // with vol 0: the directory that it is charged to
	name     string
	named    bool
	head     bool
	depth    int     // layers in its line of history, itself included, at most: what was merged may be counted
	swept    bool    // a sweep took dead blocks of it: its map is not read any more
	held     int     // open .snap files, in this process
	kept     bool    // destroyed while it was open: not reaped before its recReap
	died     LayerID // with dead: the parent's number at that time
	dead     bool    // no layer any more: only walks still sort its blocks
	heir     *layer  // the child that it was merged into; its number is in that one's range now
	size     int64   // bytes
	top      *overlay.Storey
	own      int64 // blocks that it owns: born in its range and still held
	refer    int64 // blocks that its map shows
	lost     list  // its dead list: births at or below the parent's number
	lostHere int64 // guest blocks in it that the parent owns
	created  time.Time
	who      string
	was      origin // of a layer without a volume

	// What a destroy gave to this layer, or fallocate mapped from clean, is not written in place before its record is
	// durable: births up to fence wait for the record fenceLSN. What came from a merge waits for the plans of fenceEpoch
	// and before, too: a reader of the layer that went, or of another volume that showed it, must not see what is
	// written here.
	fence      LayerID
	fenceLSN   uint64
	fenceEpoch uint64

	// how far a sweep of this nameless layer has come, in this process
	need      int64 // pages that the next checkpoint may need for it
	sweepNext omap.Key
	sweepGen  uint64
	sweepSum  uint64

	falls   *falling // counted in it
	weighed weighed  // under the structure lock

	going backoff // to take it away, when nobody holds it
	sweep backoff

	snapAt  uint64 // of a snapshot: its place in the index; 0: it is in none
	mapLSN  uint64 // the last record that maps blocks: until it is durable nothing is durable by being written in place
	older   int64  // the smallest size that a crash may bring back, until the record sizeLSN is durable
	sizeLSN uint64
}

// floor is the parent's number: the layer owns births above it.
func (l *layer) floor() LayerID {
	if l.dead {
		return l.died
	}
	if l.parent == nil {
		return 0
	}
	return l.parent.id
}

// now follows merges: the layer in whose range l's number lies today. It may be dead.
func (l *layer) now() *layer {
	for l.heir != nil {
		l = l.heir
	}
	return l
}

// private tells whether the head l may write a block of that birth in place. A fence that nothing waits for any more
// is taken down.
func (p *Pool) private(l *layer, birth LayerID) bool {
	switch {
	case birth <= l.floor():
		return false
	case birth > l.fence:
		return true
	case p.durable < l.fenceLSN || !p.epochs.over(l.fenceEpoch):
		return false
	}
	l.fence, l.fenceLSN, l.fenceEpoch = 0, 0, 0
	return true
}

// accountant is told by the tree what its layers own. Who is charged for it is not the tree's matter. During replay it takes
// nothing in. The plan lock is held.
type accountant interface {
	// charge: who pays for a layer pays for so many blocks more, by a change of what it owns, or of who pays.
	charge(l *layer, blocks int64)
	// headChanged: a volume has a new head, or its head another size.
	headChanged(vol Ino)
	// ended: a volume is being destroyed, and its layers are not charged to it any more when that is done.
	ended(vol Ino)
}

// owns changes the number of blocks that a layer owns.
func (p *Pool) owns(l *layer, blocks int64) {
	l.own += blocks
	p.accounts.charge(l, blocks)
}

// touch: the row of l differs from the last checkpoint's.
func (p *Pool) touch(l *layer) { p.dirtyLayers[l] = struct{}{} }

func (p *Pool) layer(id LayerID) (*layer, error) {
	if l := p.layers[id]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("layer %v: %w", id, ErrCorrupt)
}

// newLayer makes the next layer, a head above parent, or a first one.
func (p *Pool) newLayer(parent *layer, vol Ino, size int64, when time.Time) *layer {
	p.nextLayer++
	l := &layer{id: p.nextLayer, parent: parent, vol: vol, head: true, size: size, created: when}
	under := overlay.Settled(meta.Map{})
	if parent != nil {
		under = parent.top
		l.depth = parent.depth
		l.refer, l.older, l.sizeLSN = parent.refer, parent.older, parent.sizeLSN
		parent.children = append(parent.children, l)
	}
	l.depth++
	l.top = overlay.New(under, l)
	p.layers[l.id] = l
	p.byVol[vol] = append(p.byVol[vol], l)
	p.heads[vol] = l
	p.accounts.headChanged(vol)
	p.touch(l)
	return l
}

// setSize changes the size by the record that is being applied.
func (p *Pool) setSize(l *layer, size int64) {
	l.older = min(l.size, l.safeSize(p.durable))
	l.size, l.sizeLSN = size, p.lsn
	p.accounts.headChanged(l.vol)
}

// safeSize is the size that the layer has whatever happens.
func (l *layer) safeSize(durable uint64) int64 {
	if durable >= l.sizeLSN {
		return l.size
	}
	return min(l.size, l.older)
}

func (p *Pool) forgetLayer(l *layer) {
	delete(p.layers, l.id)
	if l.dead {
		p.deadN--
	}
	delete(p.dirtyLayers, l)
	delete(p.nameless, l)
	p.forgetTry(&l.going)
	p.forgetTry(&l.sweep)
	p.gone = append(p.gone, catalog.Key(catalog.Layer, uint64(l.id)))
}

func (p *Pool) leaveVolume(l *layer) {
	all := p.byVol[l.vol]
	at, found := findLayer(all, l.id)
	if !found {
		return
	}
	if p.byVol[l.vol] = slices.Delete(all, at, at+1); len(all) == 1 {
		delete(p.byVol, l.vol)
	}
}

// joinVolume puts a layer in its place among those of its volume, or of 0.
func (p *Pool) joinVolume(l *layer) {
	all := p.byVol[l.vol]
	at, _ := findLayer(all, l.id)
	p.byVol[l.vol] = slices.Insert(all, at, l)
}

// findLayer is the place of a layer among those of one volume, which stand in the order of their making.
func findLayer(all []*layer, id LayerID) (at int, found bool) {
	return slices.BinarySearchFunc(all, id, func(o *layer, id LayerID) int { return cmp.Compare(o.id, id) })
}

// replaced takes a run out of what l shows: freed if l owns it, else into its dead list.
func (p *Pool) replaced(l *layer, r oldRun, j *job) error {
	if l.dead {
		if r.birth > l.died {
			l.own -= r.n
			p.freeing -= r.n
			p.addToJob(j, r)
		}
		p.touch(l)
		return nil
	}
	if r.birth > l.floor() {
		if j == nil {
			return fmt.Errorf("layer %v: block %d freed without a job: %w", l.id, r.dev, ErrCorrupt)
		}
		p.owns(l, -r.n)
		p.addToJob(j, r)
	} else {
		if l.parent == nil {
			return fmt.Errorf("layer %v: block %d born in %v, and it has no parent: %w", l.id, r.dev, r.birth, ErrCorrupt)
		}
		p.mu.step(1)
		l.lost.add(r.birth, r.dev, entry{n: r.n})
		if r.birth > l.parent.floor() {
			l.lostHere += r.n
		}
	}
	p.touch(l)
	return nil
}

// reap removes a layer that is neither head nor snapshot as far as its children let it, and then looks at its parent.
// It is the rule of design and format: no child, its blocks are freed by a walk; one child, it is merged into it; more,
// it stays nameless. A merge cuts trees, and there is one at most: what can be merged besides stays for a recReap
// (Pool.reapAll), which sees to it first that the store has the pages.
func (p *Pool) reap(l *layer, j *job, merge bool) {
	for l != nil && l.nameless() {
		p.mu.step(1)
		parent := l.parent
		switch {
		case len(l.children) == 0:
			p.bury(l, j)
			l = parent
		case len(l.children) == 1 && merge:
			p.mergeDown(l, j)
			return
		default:
			p.nameless[l] = struct{}{}
			p.recountAround(l)
			p.touch(l)
			return
		}
	}
}

// bury ends a layer that nothing hangs on: a walk frees what it owns. What its dead list names others still show.
func (p *Pool) bury(l *layer, j *job) {
	p.recountAround(l)
	p.uncount(l)
	if l.parent != nil {
		p.mu.step(len(l.parent.children))
		l.died = l.parent.id
		l.parent.children = slices.DeleteFunc(l.parent.children, func(o *layer) bool { return o == l })
	}
	p.accounts.charge(l, -l.own)
	l.dead, l.parent = true, nil
	p.deadN++
	p.forgetTry(&l.going)
	p.forgetTry(&l.sweep)
	delete(p.nameless, l)
	p.leaveVolume(l)
	p.drops = append(p.drops, l.lost.trees...)
	l.lost = list{}
	j.layers = append(j.layers, l.id)
	p.freeing += l.own
	p.newWalk(l, l.top, j, true)
	p.touch(l)
}

// mergeDown gives l's blocks to its only child c. Of what c had lost, the births in l's range are nobody's now: they
// become dirty; l's own dead list joins c's. No block moves and no stamp changes.
func (p *Pool) mergeDown(l *layer, j *job) {
	c, parent, m := l.children[0], l.parent, p.merge
	if m == nil || m.from != l || m.into != c {
		fault.Misuse("a merge is prepared before its record: layer %v into %v", l.id, c.id)
	}
	upper := c.lost.cutAt(l.floor()+1, m.below, m.upper)
	p.joinJob(j, &upper, c.lostHere)
	gives := l.own - c.lostHere
	p.owns(l, -l.own)
	p.owns(c, gives)
	c.lost.join(&l.lost)
	c.parent = parent
	for _, o := range slices.Concat(c.children, []*layer{c}) {
		p.mu.step(1)
		o.lostHere = m.lost[o]
		p.touch(o)
	}
	if parent != nil {
		p.mu.step(len(parent.children))
		for i, o := range parent.children {
			if o == l {
				parent.children[i] = c
			}
		}
	}
	c.fence, c.fenceLSN, c.fenceEpoch = max(c.fence, l.id), p.lsn, p.epochs.seal()
	l.heir = c
	p.recountAround(l)
	p.uncount(l)
	if c.falls != nil {
		p.recount(c)
	}
	for _, w := range p.walks {
		p.mu.step(1)
		if w.layer == l {
			w.layer = c
			w.dirty = true
		}
	}
	p.leaveVolume(l)
	p.forgetLayer(l)
	p.touch(c)
}

// pageGone takes a map page out of what l shows: freed, or into its dead list.
func (p *Pool) pageGone(l *layer, ptr meta.Ptr) {
	p.mu.step(1)
	l = l.now()
	switch {
	case ptr.Birth > l.floor():
		p.store.Free(ptr)
	case l.dead: // others show it
	default:
		for _, a := range []alloc.BlockID{ptr.Addr, ptr.Twin} {
			if a != 0 {
				l.lost.add(ptr.Birth, a, entry{page: true, n: 1})
			}
		}
		p.touch(l)
	}
}
