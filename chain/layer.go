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
	"slatefs/chain/runs"
)

// layerTree has the layers, which is whose parent, what each owns and has lost, and what becomes of those that go: merges,
// burials, walks, sweeps. What a change does to accounts it tells an accountant. Whoever cuts lists holds the structure lock.
type layerTree struct {
	*core
	health    *health
	supers    *superblocks
	commits   *commitLog
	plans     *planTable
	blocks    *blockSpace
	destroyed *destroyedIndex
	names     *nameTable
	origins   *originTable
	jobs      *jobQueue
	memory    *memory

	layers         map[LayerID]*layer     // mu
	byVol          map[Ino][]*layer       // mu: oldest first
	byDir          omap.Map[*layer]       // mu: those of no volume, which clones hold, by directory and number
	lines          omap.Map[*layer]       // mu: by each volume whose births it may own, and number; dead ones too
	openSnaps      omap.Map[*layer]       // mu: snapshots in use and not destroyed, by volume and number
	heads          map[Ino]*layer         // mu: reached by head
	switching      *switching             // mu: heads that are switched when they are reached; nil: all are
	snaps          snapIndex              // mu
	walks          map[uint64]*walk       // mu
	walkTurns      walkTurns              // mu
	goers          goerTurns              // mu
	drops          []meta.Tree            // mu: dead lists of dead layers, whose pages go back
	nameless       map[*layer]struct{}    // mu: layers that wait for a sweep or for their children to go
	gate           gate[*layer, layerRow] // mu: that layers change by
	walkGate       gate[*walk, walkRow]   // mu: that walks change by
	deep           bool                   // mu: a stack of storeys has become too high for lookups
	staleFalls     []*falling             // mu: parts that are to be counted anew
	staleDestroyed []uint64               // mu: things that are
	settled        int                    // mu: times that they were
	pieced         int64                  // mu: steps, under the plan lock
	weighs         int64                  // mu: lists weighed
	nextLayer      LayerID                // mu
	deadN          int                    // mu: layers that are dead
	freeing        int64                  // mu: blocks of dead layers that no walk has sorted yet
	accounts       accountant             // const: of the tree of layers
	stuck          strandings             // mu
	merge          *merge                 // mu: prepared for the record that is being made
}

// layer is what was written between two snapshots of one line of history. The plan lock guards it; lists and
// structure (parent, children, head, name) change under the structure lock too.
type layer struct {
	id       LayerID
	parent   *layer
	children []*layer // by number: adopt
	vol      Ino      // whose it is; 0 when the volume is gone and clones hold the layer
	dir      Ino      // with vol 0: the directory that it is charged to
	name     string
	named    bool
	tags     []SnapTag // of a snapshot: what holds it (tags.go)
	head     bool
	frozen   uint64  // planTable.frozen when it was no head any more; 0: before this process
	depth    int     // layers in its line of history, itself included, at most: what was merged may be counted
	wrote    bool    // something was written to the volume, in this layer or one before
	line     []span  // whose births it may own blocks of
	swept    bool    // a sweep took dead blocks of it: its map is not read any more
	held     int     // open .snap files, in this process
	kept     bool    // destroyed while it was open: not reaped before its recReap
	died     LayerID // with dead: the parent's number at that time
	dead     bool    // no layer any more: only walks still sort its blocks
	heir     *layer  // the child that it was merged into; its number is in that one's range now
	size     int64   // bytes
	top      *overlay.Storey
	own      int64     // blocks that it owns: born in its range and still held
	refer    int64     // blocks that its map shows
	lost     runs.List // its dead list: births at or below the parent's number
	lostHere int64     // guest blocks in it that the parent owns
	created  time.Time
	who      string
	was      origin // of a layer without a volume
	gateMark

	// What a destroy gave to this layer, or fallocate mapped from clean, is not written in place before its record is
	// durable: births up to fence wait for the record fenceLSN. What came from a merge waits for the plans of fenceEpoch
	// and before, too: a reader of the layer that went, or of another volume that showed it, must not see what is
	// written here.
	fence      LayerID
	fenceLSN   uint64
	fenceEpoch uint64

	// how far a sweep of this nameless layer has come, in this process
	need      int64 // pages that the next checkpoint may need for it
	mem       int64 // bytes that are dirty since the last cut
	sweepNext omap.Key
	sweepGen  uint64
	losses    uint64   // below it, that were noticed
	told      uint64   // goerTurns.news when those above were told of one, and 1
	sweeping  uint64   // those that the last sweep began with
	sweepAt   omap.Key // in the queue

	walks     []*walk  // that sort blocks of it
	sickWalks int      // of them, those that are failing
	waitWalks int      // those that wait for a checkpoint, or were not seen to wait no more
	falls     *falling // counted in it
	share     *share   // how it adds to that one, or to that of its parent
	weighed   weighed  // under the structure lock
	losing    *loss    // what comes to it by a merge that is being prepared

	going fault.Backoff // to take it away, when nobody holds it
	sweep fault.Backoff

	snapAt  uint64 // of a snapshot: its place in the index; 0: it is in none
	mapLSN  uint64 // the last record that maps blocks: until it is durable nothing is durable by being written in place
	older   int64  // the smallest size that a crash may bring back, until the record sizeLSN is durable
	sizeLSN uint64
}

// whoAuto is who took an automatic snapshot. Of others that begins with "uid".
const whoAuto = "autosnap"

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
func (lt *layerTree) private(l *layer, birth LayerID) bool {
	switch {
	case birth <= l.floor():
		return false
	case birth > l.fence:
		return true
	case lt.commits.durable < l.fenceLSN || !lt.plans.epochs.over(l.fenceEpoch):
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
	// headChanged: a volume has a new head, or none, or its head another size.
	headChanged(vol Ino)
	// late: what fn does is part of a record that was made before.
	late(fn func())
	// ended: a volume is being destroyed, and its layers are not charged to it any more when that is done.
	ended(vol Ino)
}

// owns changes the number of blocks that a layer owns.
func (lt *layerTree) owns(l *layer, blocks int64) {
	lt.mu.assertHeld()
	lt.touch(l)
	l.own += blocks
	lt.owned(l, blocks)
	lt.accounts.charge(l, blocks)
}

// touch: l is about to change.
func (lt *layerTree) touch(l *layer) { lt.gate.pass(l) }

func (lt *layerTree) layer(id LayerID) (*layer, error) {
	if l := lt.layers[id]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("layer %v: %w", id, ErrCorrupt)
}

// newLayer makes the next layer, a head above parent, or a first one.
func (lt *layerTree) newLayer(parent *layer, vol Ino, size int64, when time.Time) {
	lt.addLayer(lt.numbers(1), parent, vol, size, when)
}

// numbers takes the numbers of the next n layers, and returns the first.
func (lt *layerTree) numbers(n int) LayerID {
	lt.mu.assertHeld()
	first := lt.nextLayer + 1
	lt.nextLayer += LayerID(n)
	return first
}

// addLayer makes a layer of a number that was taken for it.
func (lt *layerTree) addLayer(id LayerID, parent *layer, vol Ino, size int64, when time.Time) {
	l := &layer{id: id, parent: parent, vol: vol, head: true, size: size, created: when}
	under := overlay.Settled(meta.Map{})
	if parent != nil {
		under = parent.top
		l.depth = parent.depth
		l.refer, l.older, l.sizeLSN = parent.refer, parent.older, parent.sizeLSN
		lt.adopt(parent, l)
	}
	l.depth++
	before := lt.heads[vol]
	l.wrote, l.line = before != nil && before.wrote, firstLine(l.id, vol, before != nil && before != parent)
	l.top = overlay.New(under, l)
	lt.noteDepth(l)
	lt.layers[l.id] = l
	lt.indexLine(l)
	lt.byVol[vol] = append(lt.byVol[vol], l)
	lt.heads[vol] = l
	lt.accounts.headChanged(vol)
	lt.touch(l)
}

// setSize changes the size by the record that is being applied.
func (lt *layerTree) setSize(l *layer, size int64) {
	lt.touch(l)
	l.older = min(l.size, l.safeSize(lt.commits.durable))
	l.size, l.sizeLSN = size, lt.commits.lsn
	lt.accounts.headChanged(l.vol)
}

// safeSize is the size that the layer has whatever happens.
func (l *layer) safeSize(durable uint64) int64 {
	if durable >= l.sizeLSN {
		return l.size
	}
	return min(l.size, l.older)
}

func (lt *layerTree) forgetLayer(l *layer) {
	lt.gate.end(l)
	delete(lt.layers, l.id)
	for _, s := range l.line {
		lt.mu.step(1)
		lt.lines.Delete(s.key(l.id))
	}
	if l.dead {
		lt.deadN--
	}
	delete(lt.nameless, l)
	lt.health.forgetTry(&l.going)
	lt.health.forgetTry(&l.sweep)
	lt.names.gone = append(lt.names.gone, catalog.Key(catalog.Layer, uint64(l.id)))
}

// findLayer is the place of a layer among those of one volume, which stand in the order of their making.
func findLayer(all []*layer, id LayerID) (at int, found bool) {
	return slices.BinarySearchFunc(all, id, func(o *layer, id LayerID) int { return cmp.Compare(o.id, id) })
}

// replaced takes a run out of what l shows: freed if l owns it, else into its dead list.
func (lt *layerTree) replaced(l *layer, r runs.Run, j *job) error {
	lt.mu.assertHeld()
	lt.touch(l)
	if l.dead {
		if r.Birth > l.died {
			lt.ownsDead(l, -r.Len)
			lt.jobs.addToJob(j, r)
		}
		return nil
	}
	if r.Birth > l.floor() {
		if j == nil {
			return fmt.Errorf("layer %v: block %d freed without a job: %w", l.id, r.Dev, ErrCorrupt)
		}
		lt.owns(l, -r.Len)
		lt.jobs.addToJob(j, r)
	} else {
		if l.parent == nil {
			return fmt.Errorf("layer %v: block %d born in %v, and it has no parent: %w", l.id, r.Dev, r.Birth, ErrCorrupt)
		}
		lt.mu.step(1)
		l.lost.Add(r.Birth, r.Dev, runs.Entry{Len: r.Len})
		lt.lose(l, r)
		lt.memory.fresh, l.mem = lt.memory.fresh+entryMem, l.mem+entryMem
		lt.lossBelow(l.parent)
		if r.Birth > l.parent.floor() {
			l.lostHere += r.Len
		} else if l.losing != nil {
			l.losing.lost(l, r)
		}
	}
	return nil
}

// noteDepth: the layer has one storey more.
func (lt *layerTree) noteDepth(l *layer) {
	if _, depth := l.top.Bottom(); depth > maxStoreys {
		lt.deep = true
	}
}

// pageGone takes a map page out of what l shows: freed, or into its dead list.
func (lt *layerTree) pageGone(l *layer, ptr meta.Ptr) {
	lt.mu.assertHeld()
	lt.mu.step(1)
	l = l.now()
	switch {
	case ptr.Birth > l.floor():
		lt.blocks.store.Free(ptr)
	case l.dead: // others show it
	default:
		lt.touch(l)
		for _, a := range []alloc.BlockID{ptr.Addr, ptr.Twin} {
			if a != 0 {
				l.lost.Add(ptr.Birth, a, runs.Entry{Page: true, Len: 1})
			}
		}
	}
}

func (lt *layerTree) snapshot(ino Ino, name string) (*layer, error) {
	if err := lt.names.notGoing(ino); err != nil {
		return nil, err
	}
	if l := lt.named(ino, name); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%s@%s: %w", lt.names.pathOf(ino), name, ErrNotFound)
}

// noteNeed keeps the sum of all heads' needs.
func (lt *layerTree) noteNeed(l *layer) {
	lt.touch(l)
	n := l.pagesFor(0)
	lt.blocks.needN += n - l.need
	l.need = n
	lt.memory.note(&l.mem, memLayer(l))
}

// pagesFor bounds the pages that the top storey of a head will need with more entries than it has: leaves of half a
// mebibyte, inner pages with twins above them, and pages of its dead list.
func (l *layer) pagesFor(more int64) int64 {
	e := int64(l.top.Len()) + more
	if e == 0 {
		return 0
	}
	n := 4 + min(e, blocksOf(l.size)/128+1)
	for bits := 13; bits <= 37; bits += 6 {
		above := blocksOf(l.size) >> bits
		if n += 2 * min(e, above+1); above == 0 {
			break
		}
	}
	for _, t := range l.lost.Trees {
		n += 2 * min(e, int64(t.Entries)/256)
	}
	return n
}
