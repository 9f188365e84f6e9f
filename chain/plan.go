package chain

import (
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
)

// Span is one part of a plan: Len bytes at Dev on the device, or zeros where Dev is -1.
type Span struct{ Dev, Len int64 }

// Fill is what a merging write reads first: Len bytes for the buffer of the plan, from byte At on.
type Fill struct {
	Span
	At int64
}

// Plan says where the bytes of a read or write are. The pool decides where, whoever holds the bytes moves them. A
// plan is pinned from its making until exactly one of Commit and Abort: nothing that it names is erased or reused
// meanwhile, however long it takes. The zero value is ready; a Plan may be used again after its end. It belongs to
// one goroutine at a time.
type Plan struct {
	Spans []Span
	// Off and Len are the range of the volume, in bytes, that the spans cover. A write that must read first covers
	// more than was asked: whole blocks, or whole sectors. One that would have many parts covers the beginning of it: Covers.
	Off, Len int64
	Fill     []Fill
	InPlace  bool // a write that changes no map, in a volume whose map is durable: with RWF_DSYNC it needs no flush of its own
	// Lane is where the plan is counted. Who makes plans on several threads gives those of each thread another one, so that they
	// don't write to the same words of memory; any number is right. It stays as it is while the plan is open.
	Lane uint8

	p         *openVolumes
	v         *Volume
	open      bool
	pinned    bool
	write     bool
	epoch     *epoch
	frozen    uint64 // planTable.frozen when it was made
	rollbacks uint64
	born      LayerID // the head that it was made for: what is written and not mapped is of that layer
	from, end int64   // what was asked, bytes; the volume's size is at least end afterwards
	eof       int64   // block from which nothing is written in place
	parts     []alloced
	named     int64 // blocks
	held      int64 // blocks that the volume's account holds for it
	heldRefer int64
	room      *room      // of the journal and the store, for the records; nil: there will be none
	got       room       // what room is
	alone     [2]int64   // blocks that it has for itself, or -1
	along     [2]LayerID // births of bytes that are taken along into new blocks there, or 0
	lo, hi    int64      // blocks that it touches
	whole     bool       // all of them alone
	within    *Plan      // whose blocks these are
	queued    bool       // in the queue of its volume
	done      chan struct{}
	errand    *errand         // of its making
	seen      []overlay.Piece // scratch of its making
}

// alloced is a run of claimed blocks for logical blocks from lb on.
type alloced struct {
	lb  int64
	run alloc.Run
}

// planPieces bounds the pieces of a map that a plan looks at under one hold of the plan lock, and planRuns the runs of claimed
// blocks that it takes. A read goes on under the next hold; a write ends there, and who made it makes another for the rest:
// a write is atomic by the block and no more.
const (
	planPieces = pieceLen / 2
	planRuns   = pieceLen / 2
)

// lookup collects the first pieces of blocks [lo, hi) into pl.seen, up to end, or says which page is missing. The plan lock is
// held by who has it alone.
func (pl *Plan) lookup(l *layer, lo, hi int64) (end int64, need Need) {
	pl.p.mu.assertHeld()
	end, miss := pl.lookupIn(pl.p.blocks.maps, l, lo, hi)
	if miss {
		m, _ := l.top.Bottom()
		return end, Need{&obstacle{kind: needPage, m: m, lb: end}}
	}
	return end, Need{}
}

// lookupCached is lookup for who shares the plan lock: miss, where a page is not in the cache.
func (pl *Plan) lookupCached(l *layer, lo, hi int64) (end int64, miss bool) {
	pl.p.mu.assertShared()
	return pl.lookupIn(pl.p.blocks.cachedMaps, l, lo, hi)
}

func (pl *Plan) lookupIn(maps *meta.Maps, l *layer, lo, hi int64) (end int64, miss bool) {
	pl.seen = pl.seen[:0]
	for end = lo; end < hi && len(pl.seen) < planPieces; {
		q, miss := l.top.Lookup(maps, end, hi-end)
		if miss {
			return end, true
		}
		pl.p.mu.step(1)
		pl.seen = append(pl.seen, q)
		end += q.Len
	}
	return end, false
}

// Covers is how much of what a write was asked for is in its plan, in bytes, from the beginning on: all of it, or, where that
// has many parts, as much as ends at a block.
func (pl *Plan) Covers() int64 { return pl.end - pl.from }

func (pl *Plan) begin(p *openVolumes, v *Volume) error {
	if pl.open {
		panic("chain: a plan was made again before its Commit or Abort")
	}
	pl.mayBegin(v)
	pl.p, pl.v = p, v
	pl.Spans, pl.Fill, pl.parts = pl.Spans[:0], pl.Fill[:0], pl.parts[:0]
	pl.named, pl.held, pl.heldRefer, pl.room, pl.InPlace, pl.write = 0, 0, 0, nil, false, false
	return nil
}

// endCold ends a turn of the making of a plan in a hold that reads nothing: pages of maps that it missed are what it needs, and
// those with what is said to who is refused. What was fetched stays with the plan until it is made.
func (pl *Plan) endCold(p *openVolumes, need Need, err error) (Need, error) {
	if er := p.commits.endCold(); er != nil {
		pl.errand = er
		if err != nil || need.is(needExtension) || need.is(needPage) {
			return need.fetching(er), nil
		}
	}
	if err != nil {
		pl.errand = nil
	}
	return need, err
}

// pin: the plan is made. The plan lock is held, shared or not.
func (pl *Plan) pin() {
	pl.p.mu.assertShared()
	pl.open, pl.pinned = true, true
	pl.epoch = pl.p.plans.epochs.pin(pl.Lane)
}

// unpin tells what epoch.unpin does.
func (pl *Plan) unpin() (sealed bool) {
	e := pl.epoch
	pl.pinned, pl.epoch = false, nil
	return e.unpin(pl.Lane)
}

// span adds n bytes at dev (-1: zeros), joined to the span before where it continues there.
func (pl *Plan) span(dev, n int64) {
	if k := len(pl.Spans) - 1; k >= 0 {
		s := &pl.Spans[k]
		if dev < 0 && s.Dev < 0 || dev >= 0 && s.Dev >= 0 && s.Dev+s.Len == dev {
			s.Len += n
			return
		}
	}
	pl.Spans = append(pl.Spans, Span{dev, n})
}

// spansOf adds the bytes [off, off+n) as the pieces in pl.seen, which begin at block lo, show them.
func (pl *Plan) spansOf(lo, off, n int64, add func(dev, n int64)) {
	pos := lo * BlockSize
	for _, q := range pl.seen {
		a, b := max(pos, off), min(pos+q.Len*BlockSize, off+n)
		if a < b {
			dev := int64(-1)
			if q.Dev != 0 {
				dev = int64(q.Dev)*BlockSize + a - pos
			}
			add(dev, b-a)
		}
		pos += q.Len * BlockSize
	}
}

// PlanRead plans to read up to n bytes at off, cut to the size of the volume; past it the plan has no spans.
// Errors: ErrInvalid, ErrGone.
func (v *Volume) PlanRead(pl *Plan, off, n int64) (Need, error) {
	return v.p.planRead(pl, v, v, off, n)
}

// shown is what can be read: a volume or a snapshot. The plan lock is held, for showsNow shared or not.
type shown interface {
	shows() (*layer, error)
	showsNow() *layer // nil: shows has to change something first, or says why there is none
}

func (v *Volume) shows() (*layer, error) {
	h := v.head()
	if h == nil {
		return nil, fmt.Errorf("volume %d: %w", v.ino, ErrGone)
	}
	return h, nil
}

func (v *Volume) showsNow() *layer { return v.p.tree.headNow(v.ino) }

func (s *Snap) shows() (*layer, error) { return s.l, s.alive() }

func (s *Snap) showsNow() *layer {
	if s.alive() != nil {
		return nil
	}
	return s.l
}

// PlanRead plans to read from the snapshot, as Volume.PlanRead does.
func (s *Snap) PlanRead(pl *Plan, off, n int64) (Need, error) {
	return s.p.planRead(pl, nil, s, off, n)
}

// planRead plans in pieces, each under a hold of the plan lock: a shared one where all that it takes is in the cache. The first one
// pins the plan, so what was found stays as it is. What is written between two pieces the read may show in part, as any two that
// are under way at once.
func (vs *openVolumes) planRead(pl *Plan, v *Volume, of shown, off, n int64) (Need, error) {
	if off < 0 || n < 0 {
		return Need{}, fmt.Errorf("read of %d bytes at %d: %w", n, off, ErrInvalid)
	}
	for first := true; ; first = false {
		if pl.errand != nil || !vs.planCached(pl, v, of, off, n, first) {
			need, err := vs.planPiece(pl, v, of, off, n, first)
			if err != nil || !need.None() {
				return need, err
			}
		}
		if pl.lo >= pl.hi {
			pl.errand = nil
			return Need{}, nil
		}
	}
}

// planCached is planPiece for who shares the plan lock: it changes nothing but the plan, which it pins. false: something is not in
// the cache, or must be done first, or there is an error, and the plan is as it was.
func (vs *openVolumes) planCached(pl *Plan, v *Volume, of shown, off, n int64, first bool) bool {
	vs.mu.RLock(pl.Lane)
	defer vs.mu.RUnlock(pl.Lane)
	l := of.showsNow()
	if l == nil || vs.closed {
		return false
	}
	if first && pl.beginRead(vs, v, l, off, n) != nil {
		return false
	}
	if pl.lo < pl.hi {
		end, miss := pl.lookupCached(l, pl.lo, pl.hi)
		if miss {
			return false
		}
		pl.spansOf(pl.lo, off, pl.Len, pl.span)
		pl.lo = end
	}
	if first {
		pl.pin()
	}
	return true
}

// beginRead begins a plan to read from l.
func (pl *Plan) beginRead(vs *openVolumes, v *Volume, l *layer, off, n int64) error {
	if err := pl.begin(vs, v); err != nil {
		return err
	}
	pl.Off, pl.Len = off, max(0, min(n, l.size-off))
	if pl.lo, pl.hi = off/BlockSize, off/BlockSize; pl.Len > 0 {
		pl.hi = blocksOf(off + pl.Len)
	}
	return nil
}

// planPiece looks up the next pieces of a read. A plan that needs something, or fails, is not pinned.
func (vs *openVolumes) planPiece(pl *Plan, v *Volume, of shown, off, n int64, first bool) (need Need, err error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.commits.beginCold(pl.errand)
	defer vs.commits.leaveCold()
	defer func() {
		if need, err = pl.endCold(vs, need, err); pl.pinned && (err != nil || !need.None()) {
			pl.close()
		}
	}()
	l, err := of.shows()
	switch {
	case err != nil:
		return Need{}, err
	case vs.closed:
		return Need{}, fmt.Errorf("pool %s: %w", vs.name, ErrClosed)
	case first:
		if err := pl.beginRead(vs, v, l, off, n); err != nil {
			return Need{}, err
		}
	}
	if pl.lo < pl.hi {
		end, need := pl.lookup(l, pl.lo, pl.hi)
		if !need.None() {
			return need, nil
		}
		pl.spansOf(pl.lo, off, pl.Len, pl.span)
		pl.lo = end
	}
	if first {
		pl.pin()
	}
	return Need{}, nil
}

// Commit ends a plan whose I/O arrived: done is Len then. A smaller done, or an error before it, ends a write as
// Abort does. When a write's Commit returns, the write is acknowledged: later reads see it, the next flush makes it
// durable. It may read a map page (CommitNow does not). Errors: ErrReadOnly, ErrCorrupt, or the device's; the plan is closed
// all the same.
func (pl *Plan) Commit(done int64) error {
	if !pl.write || done != pl.Len {
		pl.Abort()
		return nil
	}
	if ended, err := pl.commitNow(); ended {
		return err
	}
	return pl.commitWrite()
}

// CommitNow is Commit for who may not wait, of a plan whose I/O arrived in whole: it reads nothing. false: a page must be read
// first, or what the write was for is gone; nothing was acknowledged, the plan is open still, and Commit, by who may wait, goes on
// from here.
func (pl *Plan) CommitNow() (ended bool, err error) {
	if pl.write {
		return pl.commitNow()
	}
	pl.Abort()
	return true, nil
}

// Abort ends a plan without effect. What a write had claimed is dirty afterwards: where it had, pages may be read.
func (pl *Plan) Abort() {
	switch {
	case !pl.write && pl.pinned:
		pl.endRead()
		return
	case pl.mapsNothing() && pl.endInPlace(false):
		return
	}
	p := pl.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.write && len(pl.parts) > 0 && p.failed == nil {
		p.commits.draw(pl.room)
		p.commits.beginCold(nil)
		pl.spoil()
		p.commits.endCold()
		p.commits.drawn()
	}
	pl.close()
}

// spoil makes the claims of a write that left no trace dirty. A failure makes the pool read-only, which later calls say. The
// plan lock is given up while pages are read.
func (pl *Plan) spoil() {
	rec := recDirty{vol: pl.v.ino, birth: pl.born} // of few runs: planRuns
	for _, a := range pl.parts {
		rec.runs = append(rec.runs, a.run)
	}
	cl := pl.p.commits
	cl.renewCold()
	err := pl.v.job()
	for cl.fetchMissed() && pl.p.failed == nil {
		err = pl.v.job()
	}
	if err == nil && pl.p.failed == nil {
		_ = pl.p.commits.do(&rec) //nolint:errcheck // do has made the pool read-only
		for _, a := range pl.parts {
			_ = pl.noteAlong(a.lb, a.lb+a.run.Len, pl.born) //nolint:errcheck // the same
		}
	}
}

// endRead ends a plan of a read, without any lock.
func (pl *Plan) endRead() {
	pl.open = false
	pl.p.plans.unpinned(pl.unpin())
}

// close unpins the plan and wakes who waits for it. The plan lock is held.
func (pl *Plan) close() {
	if !pl.open {
		panic("chain: a plan was ended twice")
	}
	pl.open = false
	p := pl.p
	p.mu.assertHeld()
	if pl.pinned {
		pl.unpin()
	}
	p.space.namedN -= pl.named
	p.commits.giveBack(pl.room, 0)
	pl.room = nil
	if pl.held != 0 || pl.heldRefer != 0 {
		p.space.ledger.Hold(pl.v.account, -pl.held, -pl.heldRefer)
	}
	if pl.write {
		v := pl.v
		v.ended(pl)
		if v.gone && len(v.active) == 0 {
			delete(p.plans.left, v.ino)
		}
		if v.account.Grows() {
			p.space.reachChanged(v.ino)
		}
	}
	p.plans.planEnded()
	if len(p.jobs.all) > 0 {
		p.signal(p.ready)
	}
}
