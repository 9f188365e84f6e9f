package chain

import "slices"

// tally is a count of the mapped blocks of [lo, hi) of a volume. It goes on in pieces, with the plan lock given up between
// them: a volume of 1 TiB that was written at random since the last checkpoint has as many entries as half the journal has
// records. What is mapped or unmapped meanwhile where it has counted already is followed; what takes whole parts of the map
// away at once makes it begin anew. So the count is exact under the hold in which it ends.
type tally struct {
	lo, hi int64 // blocks
	next   int64 // counted up to it
	n      int64 // blocks that are mapped below it
	open   bool
}

// counted counts the mapped blocks of [lo, hi) of the head in pieces, and calls act under the hold of the plan lock in which
// the count is true. It goes on as until does: act may say what it needs, and is called again with the number of then.
func (v *Volume) counted(lo, hi int64, act func(h *layer, mapped int64) (Need, error)) error {
	p, t := v.p, &tally{lo: lo, hi: hi, next: lo}
	defer v.endTally(t)
	for more := true; more; {
		err := p.underPlan(func() (Need, error) {
			h, err := v.usable()
			if err != nil {
				return Need{}, err
			}
			v.beginTally(t)
			need := t.step(p.blocks, h)
			if more = t.next < t.hi; more || !need.None() {
				return need, nil
			}
			return act(h, t.n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// beginTally makes a tally one that is followed. The plan lock is held.
func (v *Volume) beginTally(t *tally) {
	v.p.mu.assertHeld()
	if !t.open {
		t.open = true
		v.tallies = append(v.tallies, t)
		v.p.tallies++
	}
}

func (v *Volume) endTally(t *tally) {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if t.open {
		v.tallies = slices.DeleteFunc(v.tallies, func(o *tally) bool { return o == t })
		v.p.tallies--
	}
}

// step counts on, as far as a piece goes.
func (t *tally) step(p *blockSpace, h *layer) Need {
	steps := pieceLen
	n, end, miss := h.top.Count(p.maps, t.next, t.hi, &steps)
	p.mu.step(pieceLen - steps)
	t.n, t.next = t.n+n, max(end, t.next)
	if miss >= 0 {
		m, _ := h.top.Bottom()
		return Need{&obstacle{kind: needPage, m: m, lb: miss}}
	}
	return Need{}
}

// tallyMap follows n blocks from lb on of a head that are about to lie at dev, or to be a hole.
func (vs *openVolumes) tallyMap(l *layer, lb, n int64, mapped bool) {
	if vs.tallies == 0 || vs.plans.vols[l.vol] == nil {
		return
	}
	for _, t := range vs.plans.vols[l.vol].tallies {
		from, to := max(lb, t.lo), min(lb+n, t.next)
		if from >= to {
			continue
		}
		steps := 4 * pieceLen // more than a write has blocks
		was, end, miss := l.top.Count(vs.blocks.maps, from, to, &steps)
		vs.mu.step(4*pieceLen - steps)
		if miss >= 0 || end < to {
			t.next, t.n = t.lo, 0
			continue
		}
		if t.n -= was; mapped {
			t.n += to - from
		}
	}
}

// tallyAnew makes the tallies of a volume begin anew that have counted anything of [lo, hi).
func (vs *openVolumes) tallyAnew(vol Ino, lo, hi int64) {
	if vs.tallies == 0 || vs.plans.vols[vol] == nil {
		return
	}
	for _, t := range vs.plans.vols[vol].tallies {
		if max(lo, t.lo) < min(hi, t.next) {
			t.next, t.n = t.lo, 0
		}
	}
}
