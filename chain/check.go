package chain

import (
	"context"
	"fmt"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// CheckReport is what a check found: nothing, if all lists are empty.
type CheckReport struct {
	Errors []string // corruption: two owners, wrong states or counters, pages that cannot be read
	Leaks  []string // blocks and pages that nothing names: space lost, no data in danger
	Lost   []string // superblocks and copies of pages of which another copy is whole: the device has lost them
	Blocks int64    // examined
	Pages  int
	Layers int
	// Of CheckReclaim, bytes: what counted as available or reserved, and what of the pool was clean in the end.
	Counted, Reclaimed int64
}

// findings bounds each list: one broken page can cost many blocks their owner.
const findings = 100

func (r *CheckReport) bad(format string, a ...any)  { note(&r.Errors, format, a...) }
func (r *CheckReport) leak(format string, a ...any) { note(&r.Leaks, format, a...) }

func (r *CheckReport) lost(format string, a ...any) { note(&r.Lost, format, a...) }

// note adds to a list what is not in it.
func note(list *[]string, format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	switch {
	case len(*list) > findings || slices.Contains(*list, text):
	case len(*list) == findings:
		*list = append(*list, "and more")
	default:
		*list = append(*list, text)
	}
}

// Check walks everything: maps, births, dead lists, states, jobs, counters, checksums, twins, names. It changes
// nothing but what a good twin repairs.
//
// A pool that is in use is checked as its last checkpoint left it, which is taken first; readers and writers go on.
// A pool opened read-only is checked as the journal left it, and its clean blocks are read.
func (p *Pool) Check(ctx context.Context) (r *CheckReport, err error) {
	lost := lostSupers(p)
	defer func() {
		if r != nil {
			r.Lost = append(lost, r.Lost...)
		}
	}()
	if p.opt.ReadOnly {
		return p.checkMemory(ctx, true)
	}
	if r, err = checkPinned(ctx, p, Pace{}); err != nil {
		return r, err
	}
	if err := p.blocks.store.Err(); err != nil {
		r.bad("metadata store: %v", err)
	}
	var drift []string
	p.names.structure.Lock()
	er := p.names.readAll()
	p.names.structure.Unlock()
	var driftErr error
	for again := true; again; again = er != nil {
		driftErr = p.commits.tryCold(&er, func() (err error) {
			drift, err = p.space.drift()
			return err
		})
		if er != nil {
			er.fetch()
		}
	}
	if driftErr != nil {
		r.bad("ledger: %v", driftErr)
	}
	for _, d := range drift {
		r.bad("ledger: %s", d)
	}
	return r, err
}

// lostSupers looks before a checkpoint writes one of them anew, and while none does.
func lostSupers(p *Pool) []string {
	p.commits.workMu.Lock()
	defer p.commits.workMu.Unlock()
	return super.Lost(p.dev, p.uuid)
}

// checkMemory checks the state as it is in memory, pages below it included.
func (p *Pool) checkMemory(ctx context.Context, readClean bool) (*CheckReport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return newChecker(ctx, p, Pace{}).check(readClean)
}

// check is all of a check. The plan lock is held.
func (c *checker) check(readClean bool) (*CheckReport, error) {
	if err := c.p.blocks.settleGroups(); err != nil {
		c.r.bad("%v", err)
	}
	c.passes(func() {
		for _, step := range []func(){c.layers, c.jobs, c.walks, c.tables} {
			if c.goesOn() {
				step()
			}
		}
		c.states(readClean)
	})
	for _, step := range []func(){c.log, c.events, c.names, c.destroyedRows, c.places, c.snapIndex, c.origins, c.leakedPages} {
		if c.goesOn() {
			step()
		}
	}
	c.readCopies()
	return c.r, c.err
}

type checker struct {
	p      *Pool
	ctx    context.Context
	r      *CheckReport
	err    error // that ended it
	pace   Pace
	done   int64          // pages that were read
	seen   omap.Map[mark] // by device block, of this pass; disjoint
	most   int            // marks at once
	wide   int            // pages that are read at once; 1: others want the device as well
	unread []unreadPage   // pages of which no copy was read
	lo, hi alloc.BlockID  // blocks that this pass looks at
	again  bool           // it is not the first pass: all but who has which block is known
	pages  map[alloc.BlockID]string
	view   bool              // a checkpoint without the journal after it
	dead   int64             // blocks that burials still have to free
	have   map[LayerID]int64 // blocks that are there, by birth, of the passes so far

	anew    bool                // the store knows no page yet
	unowned func(alloc.Run)     // is told of blocks in use that nothing names; nil: nobody is
	unnamed func(alloc.BlockID) // of pages in use that nothing names; the same
}

// mark is what was seen of a run of blocks.
type mark struct {
	n     int64
	birth LayerID
	as    uint8
}

const (
	seenLive = 1 << iota
	seenDirty
	seenWalk
	seenMeta
)

func devKey(b alloc.BlockID) omap.Key { return omap.Key{Hi: uint64(b)} }

// see marks blocks; what a block may be besides is in with.
func (c *checker) see(dev alloc.BlockID, n int64, birth LayerID, as, with uint8, who string) {
	if n <= 0 || n > c.p.blocks.alloc.Total() || int64(dev) < 0 || int64(dev) > c.p.blocks.alloc.Total()-n || dev == 0 && as != seenMeta {
		c.r.bad("%s: blocks %d+%d lie outside the pool", who, dev, n)
		return
	}
	c.narrow()
	for end := min(dev+alloc.BlockID(n), c.hi); dev < end; {
		if dev = max(dev, c.lo); dev >= end {
			return
		}
		at, m, ok := c.markAt(dev)
		if !ok { // nobody has this block yet: mark up to the next that somebody has
			n := int64(end - dev)
			if k, _, ok := c.seen.Ceil(devKey(dev)); ok {
				n = min(n, int64(k.Hi)-int64(dev))
			}
			c.seen.Set(devKey(dev), mark{n, birth, as})
			dev += alloc.BlockID(n)
			continue
		}
		last := min(end, at+alloc.BlockID(m.n))
		if m.as&^with != 0 {
			c.r.bad("%s: blocks %d+%d have another owner (%#x)", who, dev, last-dev, m.as)
		}
		if birth != 0 && m.birth != 0 && m.birth != birth {
			c.r.bad("%s: blocks %d+%d were born in layer %v and %v", who, dev, last-dev, birth, m.birth)
		}
		was := m
		if m.as |= as; birth != 0 {
			m.birth = birth
		}
		if m != was {
			c.split(at, was, dev, last)
			m.n = int64(last - dev)
			c.seen.Set(devKey(dev), m)
		}
		dev = last
	}
}

// markAt is the mark that covers a block, and where it begins.
func (c *checker) markAt(b alloc.BlockID) (at alloc.BlockID, m mark, ok bool) {
	k, m, ok := c.seen.Floor(devKey(b))
	at = alloc.BlockID(k.Hi)
	return at, m, ok && at+alloc.BlockID(m.n) > b
}

// split cuts the mark at a block into what lies before from, between, and after to.
func (c *checker) split(at alloc.BlockID, m mark, from, to alloc.BlockID) {
	end := at + alloc.BlockID(m.n)
	if at < from {
		m.n = int64(from - at)
		c.seen.Set(devKey(at), m)
	}
	if to < end {
		m.n = int64(end - to)
		c.seen.Set(devKey(to), m)
	}
}

// piece looks a piece up, whatever the cache has room for. miss: a page on the way is damaged.
func (c *checker) piece(o *overlay.Storey, lo, hi int64) (q overlay.Piece, miss bool) {
	var er *errand
	for {
		c.p.commits.beginCold(er)
		q, miss = o.Lookup(c.p.blocks.maps, lo, hi-lo)
		if er = c.p.commits.endCold(); er == nil {
			return q, miss
		}
		er.fetch()
	}
}

// pieces calls fn for every mapped piece of parts of a map, which are in order.
func (c *checker) pieces(o *overlay.Storey, parts []region, who string, fn func(lb int64, q overlay.Piece)) {
	ahead := int64(0)
	for i, r := range parts {
		for lo := r.lo; lo < r.hi; {
			if lo >= ahead {
				if !c.goesOn() {
					return
				}
				ahead = c.ahead(o, lo, parts[i:])
			}
			q, miss := c.piece(o, lo, r.hi)
			if miss {
				m, _ := o.Bottom()
				if _, err := c.p.blocks.maps.Lookup(m, lo, 1); err != nil {
					c.r.bad("%s: map at block %d: %v", who, lo, err)
					lo = (lo/8192 + 1) * 8192 // the rest of the rotten leaf
				}
				continue
			}
			if q.Dev != 0 {
				fn(lo, q)
			}
			lo += q.Len
		}
	}
}

func (c *checker) layers() {
	c.r.Layers = 0
	for _, l := range c.p.tree.layers {
		if !c.goesOn() {
			return
		}
		c.r.Layers++
		if l.dead {
			c.dead += l.own
			continue
		}
		who := "layer " + l.id.String()
		c.structure(l, who)
		c.mapPages(l.top, func(meta.Ptr) bool { return true }, who)
		if !l.swept {
			c.layerMap(l, who)
		}
		c.list(&l.lost, who+": dead list", func(k omap.Key, e runs.Entry) {
			if l.parent == nil || LayerID(k.Hi) > l.parent.id {
				c.r.bad("%s: dead list: block %d born in %v, not in what the parent could show", who, k.Lo, LayerID(k.Hi))
			}
		})
		if l.swept {
			c.unswept(l, who)
		}
		if l.parent != nil && !l.parent.swept && !c.again {
			c.lost(l, who)
		}
	}
}

func (c *checker) structure(l *layer, who string) {
	if l.head && c.p.tree.head(l.vol) != l {
		c.r.bad("%s: is a head that volume %d does not know", who, l.vol)
	}
	if l.swept && len(l.children) == 0 {
		c.r.bad("%s: was swept, and is not merged into what hung on it", who)
	}
	left := (len(l.children) == 1 || l.behindSwept()) && c.p.removal.left > 0 // to the housekeeping: see reapAll
	if l.nameless() && len(l.children) < 2 && !left && !c.p.opt.ReadOnly {
		c.r.leak("%s: nameless with %d children", who, len(l.children))
	}
	if !c.p.tree.goes(l) {
		c.r.bad("%s: nobody holds it, and nobody will look at it", who)
	}
	if l.parent != nil && c.p.tree.layers[l.parent.id] != l.parent {
		c.r.bad("%s: parent %v does not exist", who, l.parent.id)
	}
}

// layerMap checks a map. What it shares with its parent's was seen there, and is not its own.
func (c *checker) layerMap(l *layer, who string) {
	var own, refer int64
	differs := c.differs(l, who)
	c.pieces(l.top, differs, who, func(lb int64, q overlay.Piece) {
		if q.Birth == 0 || q.Birth > l.id {
			c.r.bad("%s: block %d: born in %v", who, lb, q.Birth)
		}
		c.see(q.Dev, q.Len, q.Birth, seenLive, seenLive|seenWalk, who)
		refer += q.Len
		if q.Birth > l.floor() {
			own += q.Len
			c.inLine(l, q.Birth, who)
		}
	})
	if len(differs) != 1 || differs[0] != wholeMap {
		m, _ := l.top.Bottom()
		refer = int64(m.Count())
	}
	if refer != l.refer {
		c.r.bad("%s: refers to %d blocks, counted %d", who, refer, l.refer)
	}
	for _, w := range l.walks { // what a walk has not sorted yet is still counted as its layer's
		c.pieces(w.source, []region{{w.next, mapEnd}}, who, func(_ int64, q overlay.Piece) {
			if q.Birth > l.floor() {
				own += q.Len
			}
		})
	}
	if own != l.own {
		c.r.bad("%s: owns %d blocks, counted %d", who, own, l.own)
	}
}

func (c *checker) jobs() {
	var dirty, failed int64
	for _, j := range c.p.jobs.all {
		who := fmt.Sprintf("erase job %d", j.id)
		for _, part := range []struct {
			l     *runs.List
			n     int64
			ready bool
		}{{&j.fresh, j.freshN, false}, {&j.ready, j.readyN, true}, {&j.bad, j.badN, false}} {
			var n int64
			c.list(part.l, who, func(k omap.Key, e runs.Entry) {
				if e.Page {
					c.page(meta.Ptr{Addr: alloc.BlockID(k.Lo)}, who)
					return
				}
				see := func(b alloc.BlockID, left int64) bool {
					c.see(b, left, LayerID(k.Hi), seenDirty, 0, who)
					n += left
					return true
				}
				if part.ready {
					j.left(k, e.Len, j.cursor, see)
				} else {
					see(alloc.BlockID(k.Lo), e.Len)
				}
			})
			if n != part.n {
				c.r.bad("%s: %d dirty blocks in a part, counted %d", who, n, part.n)
			}
		}
		if j.freed != j.erased+j.dirtyBlocks()+j.badN+j.kept || j.released > j.erased {
			c.r.bad("%s: freed %d, erased %d (released %d), queued %d, failed %d, kept %d: they do not add up",
				who, j.freed, j.erased, j.released, j.dirtyBlocks(), j.badN, j.kept)
		}
		dirty += j.dirtyBlocks()
		failed += j.badN
	}
	for _, j := range c.p.jobs.all {
		if o, ok := c.p.jobs.order.Get(j.orderKey()); !ok || o != j || c.p.jobs.order.Len() != len(c.p.jobs.all) {
			c.r.bad("erase job %d of %d has no place in their order, of %d", j.id, len(c.p.jobs.all), c.p.jobs.order.Len())
		}
		if !j.queued() {
			c.r.bad("erase job %d has %d+%d+%d blocks, %d of them with the eraser, and nobody will look at it", j.id,
				j.freshN, j.readyN, j.badN, j.lent.out)
		}
	}
	c.growing()
	c.sums()
	c.stranded()
	if dirty != c.p.jobs.dirtyN || failed != c.p.jobs.failedN {
		c.r.bad("%d blocks are dirty and %d failed, counted %d and %d", dirty, failed, c.p.jobs.dirtyN, c.p.jobs.failedN)
	}
}

// growing checks that a job which gets the layers of a volume, some at a time, is found, and that the volume is going: else nobody
// ends it.
func (c *checker) growing() {
	n := 0
	for _, j := range c.p.jobs.all {
		if !j.more {
			continue
		}
		n++
		if at, ok := c.p.names.lostPlace(j.vol); !ok || !at.going() || c.p.tree.head(j.vol) != nil || c.p.jobs.growing[j.vol] != j {
			c.r.bad("erase job %d gets the layers of volume %d, which is not going", j.id, j.vol)
		}
	}
	if n != len(c.p.jobs.growing) {
		c.r.bad("%d erase jobs get the layers of volumes, counted %d", n, len(c.p.jobs.growing))
	}
}

// sums checks what is counted for Usage alone.
func (c *checker) sums() {
	var none, sick int64
	for _, j := range c.p.jobs.all {
		if j.sick.Failing() {
			sick += j.dirtyBlocks()
		}
		if j.none {
			none += j.dirtyBlocks()
		}
	}
	dead := 0
	for _, l := range c.p.tree.layers {
		if l.dead {
			dead++
		}
	}
	if none != c.p.jobs.noneN || sick != c.p.jobs.sickN || dead != c.p.tree.deadN {
		c.r.bad("%d blocks are dirty by erase=none, counted %d; %d are in jobs that are failing, counted %d; %d layers are dead, counted %d",
			none, c.p.jobs.noneN, sick, c.p.jobs.sickN, dead, c.p.tree.deadN)
	}
}

// walkPieces calls fn for what a walk has still to sort. A burial does not enter pages of others: they may be gone.
func (c *checker) walkPieces(w *walk, who string, fn func(overlay.Piece)) {
	if !w.source.Settled() || !w.burial {
		c.pieces(w.source, []region{{w.next, mapEnd}}, who, func(_ int64, q overlay.Piece) { fn(q) })
		return
	}
	for from, done := w.next, false; !done; {
		var err error
		from, done, err = c.p.blocks.maps.Step(w.source.Base(), from, 1<<20,
			func(ptr meta.Ptr) bool { return ptr.Birth > w.layer.died },
			func(q meta.Piece) { fn(overlay.Piece{Len: q.Len, Dev: q.Dev, Birth: q.Birth}) }, func(meta.Ptr) {})
		if err != nil {
			c.r.bad("%s: %v", who, err)
			return
		}
	}
}

func (c *checker) walks() {
	var freeing int64
	for _, w := range c.p.tree.walks {
		who := fmt.Sprintf("walk %d", w.id)
		if !slices.Contains(w.layer.walks, w) || !c.p.tree.walkTurns.has(w) {
			c.r.bad("%s: nobody will go on with it", who)
		}
		c.walkPieces(w, who, func(q overlay.Piece) {
			switch {
			case q.Birth > w.layer.floor():
				c.see(q.Dev, q.Len, q.Birth, seenWalk, 0, who)
				if w.layer.dead {
					freeing += q.Len
				}
			case !w.burial:
				c.see(q.Dev, q.Len, q.Birth, 0, seenLive|seenWalk, who)
			}
		})
		c.walkPages(w, who)
	}
	if freeing != c.p.tree.freeing || freeing != c.dead {
		c.r.bad("walks have to free %d blocks, counted %d and %d", freeing, c.p.tree.freeing, c.dead)
	}
}
