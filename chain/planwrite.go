package chain

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

// PlanWrite plans to write n bytes at off. Blocks that the head owns are written in place; all others go to claimed
// blocks, whole: Fill says what must be read first. The size grows with Commit.
//
// Where that would have many parts the plan ends early, at a block: Covers tells how far it goes, and who made it makes
// another for the rest.
//
// Errors: ErrInvalid, ErrTooBig, ErrNoSpace, ErrReadOnly, ErrGone. Unless the need is None the plan holds nothing but
// its place in the queue for its blocks: who does not make it again calls Quit. After an error it has none.
func (v *Volume) PlanWrite(pl *Plan, off, n int64) (Need, error) {
	if need, known := v.planInPlace(pl, off, n); known {
		return need, nil
	}
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	return v.planCold(pl, off, n)
}

// planCold is planWrite, and reads nothing: who is refused is told why, with the path of the volume, when that is in memory.
func (v *Volume) planCold(pl *Plan, off, n int64) (Need, error) {
	v.p.mu.assertHeld()
	v.p.commits.beginCold(pl.errand)
	defer v.p.commits.leaveCold()
	need, err := v.planWrite(pl, off, n)
	need, err = pl.endCold(v.p, need, err)
	if err != nil {
		pl.quit()
	}
	if need.None() {
		pl.errand = nil
	}
	return need, err
}

func (v *Volume) planWrite(pl *Plan, off, n int64) (Need, error) {
	p := v.p
	h, err := v.usable()
	if err != nil {
		return Need{}, err
	}
	if off < 0 || n <= 0 {
		return Need{}, fmt.Errorf("write of %d bytes at %d: %w", n, off, ErrInvalid)
	}
	if off > MaxSize-n {
		return Need{}, fmt.Errorf("write of %d bytes at %d: %w", n, off, sizeTooBig(off+n))
	}
	if err := pl.begin(p, v); err != nil {
		return Need{}, err
	}
	p.plans.wrote = true
	pl.whole = false
	pl.lo, pl.hi, pl.from, pl.end = off/BlockSize, blocksOf(off+n), off, off+n
	end, need := pl.lookup(h, pl.lo, pl.hi)
	if !need.None() {
		return need, nil
	}
	if end < pl.hi {
		pl.endAt(end)
	}
	pl.splitAtEnd(h)
	want := pl.edges(h)
	if need := v.blocked(pl); !need.None() {
		return need, nil
	}
	if need, err := p.space.admit(v, pl, want); err != nil || !need.None() {
		return need, err
	}
	pl.lay(h)
	if pl.room != nil { // the runs are known now
		p.commits.giveBack(pl.room, planBytes(int64(len(pl.parts)), pl.hi-pl.lo))
	}
	pl.write, pl.InPlace = true, want == 0 && p.commits.durable >= h.mapLSN
	pl.rollbacks, pl.born = v.rollbacks, h.id
	if lays := want > 0; lays != v.lays.Load() {
		v.lays.Store(lays)
	}
	pl.pin()
	v.enter(pl)
	return Need{}, nil
}

// splitAtEnd finds where writing in place must stop. A write past the size that is on the device goes to new blocks
// from there on: else its bytes could arrive without the record of the new size, and a later growth would show them.
func (pl *Plan) splitAtEnd(h *layer) {
	size := h.safeSize(pl.p.commits.durable)
	if pl.eof = mapEnd; pl.end <= size {
		return
	}
	pl.eof = size / BlockSize
	lb := pl.lo
	for i, q := range pl.seen {
		if k := pl.eof - lb; 0 < k && k < q.Len {
			pl.seen = slices.Insert(pl.seen, i+1, q.Tail(k))
			pl.seen[i].Len = k
			return
		}
		lb += q.Len
	}
}

// edges finds the range that must be written: what was asked, widened where the first or the last block must be read
// first. It returns the number of blocks to be allocated.
func (pl *Plan) edges(h *layer) (want int64) {
	off, n, sector := pl.from, pl.end-pl.from, int64(pl.p.dev.SectorSize())
	pl.Off, pl.Len = off, n
	pl.alone = [2]int64{-1, -1}
	lb := pl.lo
	for _, q := range pl.seen {
		mine := pl.mine(h, lb, q)
		if !mine {
			want += q.Len
		}
		for _, b := range [2]int64{pl.lo, pl.hi - 1} {
			if b < lb || b >= lb+q.Len {
				continue
			}
			unit := int64(BlockSize) // of what must be written at once
			if mine {
				unit = sector
			}
			if b == pl.lo && off%unit != 0 {
				pl.widen(off/unit*unit, pl.Off+pl.Len)
				pl.alone[0] = b
			}
			if b == pl.hi-1 && (off+n)%unit != 0 {
				pl.widen(pl.Off, (off+n+unit-1)/unit*unit)
				pl.alone[1] = b
			}
		}
		lb += q.Len
	}
	return want
}

func (pl *Plan) widen(from, to int64) { pl.Off, pl.Len = from, to-from }

// endAt makes the plan end at a block, before what was asked for does.
func (pl *Plan) endAt(lb int64) { pl.hi, pl.end = lb, lb*BlockSize }

// endEarly makes a plan that was admitted end at a block: it holds no more than it needs.
func (pl *Plan) endEarly(h *layer, lb int64) {
	pl.endAt(lb)
	at := pl.lo
	for i := range pl.seen {
		if q := &pl.seen[i]; at+q.Len >= lb {
			q.Len = lb - at
			pl.seen = pl.seen[:i+1]
			break
		}
		at += pl.seen[i].Len
	}
	want := pl.edges(h)
	delta, refer := pl.adds(h)
	pl.p.space.namedN -= pl.named - want
	pl.p.space.ledger.Hold(pl.v.account, delta-pl.held, refer-pl.heldRefer)
	pl.named, pl.held, pl.heldRefer = want, delta, refer
}

// lay turns the pieces into spans and fills, and names claimed blocks for what is not written in place.
func (pl *Plan) lay(h *layer) {
	if end := pl.take(h); end < pl.hi {
		pl.endEarly(h, end)
	}
	for _, f := range [2][2]int64{{pl.Off, pl.from}, {pl.end, pl.Off + pl.Len}} {
		if f[0] < f[1] {
			at := f[0] - pl.Off
			pl.spansOf(pl.lo, f[0], f[1]-f[0], func(dev, n int64) {
				pl.Fill = append(pl.Fill, Fill{Span{dev, n}, at})
				at += n
			})
		}
	}
	lb, parts := pl.lo, pl.parts
	pl.along = [2]LayerID{}
	for _, q := range pl.seen {
		for i, b := range pl.alone {
			if lb <= b && b < lb+q.Len && q.Dev != 0 && !pl.mine(h, lb, q) {
				pl.along[i] = q.Birth
			}
		}
		a, b := max(pl.Off, lb*BlockSize), min(pl.Off+pl.Len, (lb+q.Len)*BlockSize)
		if pl.mine(h, lb, q) {
			pl.span(int64(q.Dev)*BlockSize+a-lb*BlockSize, b-a)
		}
		for ; len(parts) > 0 && parts[0].lb < lb+q.Len; parts = parts[1:] {
			pl.span(int64(parts[0].run.Start)*BlockSize, parts[0].run.Len*BlockSize)
		}
		lb += q.Len
	}
}

// take takes claimed blocks for what is not written in place, as far as few runs of them go, which is where it ends.
func (pl *Plan) take(h *layer) (end int64) {
	end, near := pl.lo, alloc.BlockID(pl.v.lastDev)
	for _, q := range pl.seen {
		if pl.mine(h, end, q) {
			near = q.Dev + alloc.BlockID(q.Len) - 1
			end += q.Len
			continue
		}
		for to := end + q.Len; end < to; {
			if len(pl.parts) == planRuns {
				pl.v.lastDev = uint64(near)
				return end
			}
			pl.p.mu.step(1)
			r := pl.p.blocks.alloc.TakeRun(to-end, near, uint64(pl.v.ino))
			pl.parts = append(pl.parts, alloced{end, r})
			end, near = end+r.Len, r.End()-1 // the next one begins right after it
		}
		pl.v.lastDev = uint64(near)
	}
	return end
}

// commitWrite makes the records of a write whose data has arrived, those that commitNow has not made. The plan lock is given up
// while pages are read.
func (pl *Plan) commitWrite() error {
	p := pl.p
	p.mu.Lock()
	defer p.mu.Unlock()
	defer pl.close()
	pl.recording()
	defer pl.recorded()
	if p.failed != nil {
		return p.failed
	}
	if pl.overtaken() {
		if len(pl.parts) > 0 {
			pl.spoil()
		}
		return p.failed
	}
	if err := pl.mapParts(true); err != nil {
		p.commits.unlocked(runtime.Gosched)
		if p.failed == nil {
			pl.spoil()
		}
		if errors.Is(err, errOvertaken) {
			return p.failed
		}
		return err
	}
	return pl.arrived()
}

// commitNow is commitWrite as far as it goes from memory. The plan is open still where it did not get to the end: what is in
// pl.parts is to be mapped, or to be spoilt, by who may wait.
func (pl *Plan) commitNow() (ended bool, err error) {
	p := pl.p
	if pl.mapsNothing() && pl.endInPlace(true) {
		return true, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pl.recording()
	defer pl.recorded()
	if p.failed == nil {
		if pl.overtaken() && len(pl.parts) > 0 || pl.mapParts(false) != nil {
			return false, nil
		}
		if !pl.overtaken() {
			err = pl.arrived()
		}
		if errors.Is(err, errMissed) {
			return false, nil
		}
	} else {
		err = p.failed
	}
	pl.close()
	return true, err
}

// recording begins the hold of the plan lock in which the records of a plan are made, out of its room; recorded ends it.
func (pl *Plan) recording() {
	pl.p.commits.draw(pl.room)
	pl.p.commits.beginCold(nil)
}

func (pl *Plan) recorded() {
	pl.p.commits.endCold()
	pl.p.commits.drawn()
}

// arrived: all parts of a write are mapped.
func (pl *Plan) arrived() error {
	pl.v.wrote(pl.p.opt.Now())
	if h := pl.v.head(); pl.end > h.size {
		return pl.p.commits.do(&recResize{h.id, pl.end})
	}
	return nil
}

// mapParts makes the records of all parts, a bounded number under one hold of the plan lock. After an error it leaves in
// pl.parts what is not mapped. Without wait it reads no page: errMissed.
func (pl *Plan) mapParts(wait bool) error {
	for i, n := 0, 0; i < len(pl.parts); {
		a := &pl.parts[i]
		mapped, pieces, err := pl.mapRun(*a, wait)
		if err != nil {
			pl.parts = pl.parts[i:]
			return err
		}
		a.lb, a.run.Start, a.run.Len = a.lb+mapped, a.run.Start+alloc.BlockID(mapped), a.run.Len-mapped
		if a.run.Len == 0 {
			i++
		}
		if n += pieces; n >= pieceLen/8 && i < len(pl.parts) {
			n = 0
			pl.p.commits.unlocked(runtime.Gosched)
		}
	}
	pl.parts = pl.parts[:0]
	return nil
}

// overtaken: a rollback or a destroy came between the plan and its commit; the write leaves no trace.
func (pl *Plan) overtaken() bool { return pl.v.gone || pl.rollbacks != pl.v.rollbacks }

var errOvertaken = errors.New("overtaken by a rollback or a destroy")

// mapRun maps the first n blocks of a run of claimed blocks into the head, which may be a younger one than the plan was made
// for: then they are born there. Past the size they take it with them, so that no crash leaves a block that is mapped behind it.
// The plan lock is given up while pages are read; without wait none are.
func (pl *Plan) mapRun(a alloced, wait bool) (n int64, pieces int, err error) {
	for {
		pl.p.commits.renewCold()
		n, pieces, err = pl.mapOnce(a, wait)
		switch {
		case !wait && pl.p.commits.missed():
			return 0, 0, errMissed
		case !pl.p.commits.fetchMissed():
			return n, pieces, err
		}
		if pl.p.failed != nil {
			return 0, 0, pl.p.failed
		}
	}
}

func (pl *Plan) mapOnce(a alloced, wait bool) (n int64, pieces int, err error) {
	p, v := pl.p, pl.v
	old, end, pieces, err := p.oldRuns(v.ino, a.lb, a.lb+a.run.Len, wait)
	if err != nil {
		return 0, 0, err
	}
	if pl.overtaken() { // while the lock was given up
		return 0, 0, errOvertaken
	}
	h, err := v.usable()
	if err != nil {
		return 0, 0, err
	}
	n = end - a.lb
	freed := h.frees(old)
	if freed > 0 {
		if err := v.job(); err != nil {
			return 0, 0, err
		}
	}
	pl.took(n, n-freed)
	rec := &recMap{layer: h.id, lb: a.lb, n: n, dev: a.run.Start, old: old}
	if size := min(pl.end, end*BlockSize); size > h.size {
		rec.size = size
	}
	if err := p.commits.do(rec); err != nil {
		return n, pieces, err
	}
	return n, pieces, pl.noteAlong(a.lb, end, h.id)
}

// noteAlong notes whose bytes new blocks have besides, by their birth.
func (pl *Plan) noteAlong(lo, hi int64, birth LayerID) error {
	for i, from := range pl.along {
		if b := pl.alone[i]; from == 0 || from == birth || b < lo || b >= hi || pl.p.origins.knowsCopy(from, birth) {
			continue
		}
		if err := pl.p.commits.do(&recCopied{from, birth, pl.v.ino}); err != nil {
			return err
		}
	}
	return nil
}

// took: n blocks of a plan become the head's, which owns delta more then; they are not held for the plan any more.
func (pl *Plan) took(n, delta int64) {
	p := pl.p
	p.space.namedN -= n
	pl.named -= n
	delta = max(0, min(delta, pl.held))
	pl.held -= delta
	p.space.ledger.Hold(pl.v.account, -delta, 0)
}

// frees is how many blocks of the runs l owns.
func (l *layer) frees(old []runs.Run) (n int64) {
	for _, o := range old {
		if o.Birth > l.floor() {
			n += o.Len
		}
	}
	return n
}

// oldRuns is what the head of a volume maps in [lo, end), which is the first pieces of [lo, hi). The plan lock is held; it is
// given up while a missing page is read, and what comes back is true when it returns. Without wait a missing page is errMissed.
func (vs *openVolumes) oldRuns(ino Ino, lo, hi int64, wait bool) (out []runs.Run, end int64, pieces int, err error) {
	var last Need
	for {
		h := vs.tree.head(ino)
		if h == nil {
			return nil, lo, 0, fmt.Errorf("volume %d: %w", ino, ErrGone)
		}
		out, pieces = nil, 0
		lb, miss := lo, false
		for ; lb < hi && pieces < pieceLen/4; pieces++ {
			var q overlay.Piece
			vs.mu.step(1)
			if q, miss = h.top.Lookup(vs.blocks.maps, lb, hi-lb); miss {
				break
			}
			if q.Dev != 0 {
				out = append(out, runs.Run{Dev: q.Dev, Len: q.Len, Birth: q.Birth})
			}
			lb += q.Len
		}
		if !miss {
			return out, lb, pieces, nil
		}
		if !wait {
			return nil, lo, 0, errMissed
		}
		if vs.commits.fetchMissed() {
			continue
		}
		m, _ := h.top.Bottom()
		need := Need{&obstacle{kind: needPage, m: m, lb: lb}}
		vs.commits.unlocked(func() { _, err = vs.blocks.maps.Lookup(m, lb, 1) })
		if err != nil && need.same(last) { // not just a page that a checkpoint replaced meanwhile
			return nil, lo, 0, wrapCorrupt(err)
		}
		last = need
	}
}
