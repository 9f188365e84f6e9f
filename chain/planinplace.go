package chain

// A write to blocks that the head owns changes no map, no account and no list of the pool: where they are is looked up, and the
// plan is pinned, as for a read. So it is planned and ended by who shares the plan lock. What it has to say to other writes is its
// volume's (blocklock.go), and so is when it was written: Volume.own guards that.
//
// What is only nearly so (a fence that stands, a head to be switched, the first write since a checkpoint) is planned, or ended, by
// who has the lock alone: each of the two here says so before it has changed anything.

// planInPlace is PlanWrite for a write that is in place from end to end, as far as it can be told from memory. known is false
// where it is not, or cannot be told; nothing has changed then. It is false as well after a write that was not, so that a run
// of those is not looked up twice.
func (v *Volume) planInPlace(pl *Plan, off, n int64) (need Need, known bool) {
	p := v.p
	if off < 0 || n <= 0 || off > MaxSize-n || pl.errand != nil || v.lays.Load() {
		return Need{}, false
	}
	p.mu.RLock(pl.Lane)
	defer p.mu.RUnlock(pl.Lane)
	h := p.tree.headNow(v.ino)
	if h == nil || v.gone || !p.plans.wrote ||
		p.writable() != nil || off+n > h.safeSize(p.commits.durable) {
		return Need{}, false
	}
	queued := pl.queued
	if queued { // others look at what it wants (blocklock.go), until it is made
		v.own.Lock()
		defer v.own.Unlock()
	}
	if pl.begin(p, v) != nil || !pl.fits(h, off, n) {
		return Need{}, false
	}
	if !queued {
		v.own.Lock()
		defer v.own.Unlock()
	}
	if need := v.blocked(pl); !need.None() {
		return need, true
	}
	pl.lay(h)
	pl.write, pl.InPlace = true, p.commits.durable >= h.mapLSN
	pl.rollbacks, pl.born = v.rollbacks, h.id
	pl.pin()
	v.enter(pl)
	return Need{}, true
}

// fits looks up what a write of n bytes at off would be written to, and tells whether that is in place from end to end.
func (pl *Plan) fits(h *layer, off, n int64) bool {
	pl.whole = false
	pl.lo, pl.hi, pl.from, pl.end, pl.eof = off/BlockSize, blocksOf(off+n), off, off+n, mapEnd
	end, miss := pl.lookupCached(h, pl.lo, pl.hi)
	if miss || end < pl.hi || !pl.allPrivate(h) {
		return false
	}
	pl.edges(h)
	return true
}

// allPrivate: the head may write all that was looked up in place, and no fence is to be asked for it.
func (pl *Plan) allPrivate(h *layer) bool {
	from := max(h.floor(), h.fence)
	for i := range pl.seen {
		if q := &pl.seen[i]; q.Dev == 0 || q.Birth <= from {
			return false
		}
	}
	return true
}

// mapsNothing: it is a write of which no record will be made, unless the size has become smaller meanwhile.
func (pl *Plan) mapsNothing() bool {
	return pl.write && pl.pinned && len(pl.parts) == 0 && pl.room == nil
}

// endInPlace ends a write that maps nothing, with what arrived, or without. false: it takes who has the plan lock alone, and nothing
// has changed.
func (pl *Plan) endInPlace(arrived bool) bool {
	p := pl.p
	sealed, ended := pl.endShared(arrived)
	if ended {
		p.plans.unpinned(sealed)
	}
	return ended
}

func (pl *Plan) endShared(arrived bool) (sealed, ended bool) {
	p, v := pl.p, pl.v
	p.mu.RLock(pl.Lane)
	defer p.mu.RUnlock(pl.Lane)
	if pl.overtaken() || p.failed != nil {
		return false, false
	}
	v.own.Lock()
	defer v.own.Unlock()
	if arrived {
		if h := p.tree.headNow(v.ino); h == nil || pl.end > h.size || v.mtime.IsZero() {
			return false, false
		}
		v.mtime = p.opt.Now()
	}
	v.ended(pl)
	pl.open = false
	return pl.unpin(), true
}
