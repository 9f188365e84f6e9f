package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/ledger"
	"slatefs/chain/overlay"
	"slatefs/chain/size"
)

// Allocate is fallocate(2): every hole in [off, off+n) gets clean blocks, which read zero because they are zero. What
// cannot be mapped at once is promised: the volume is promised its whole size from then on, until it is truncated to
// 0. It is refused whole, ErrNoSpace or ErrQuota, when the pool has too little. Durable when it returns.
func (v *Volume) Allocate(off, n int64, keepSize bool) error {
	if err := checkRange("allocate", off, n); err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("allocate nothing at %d: %w", off, ErrInvalid)
	}
	lo, hi := off/BlockSize, blocksOf(off+n)
	size := off + n
	if keepSize {
		size = 0
	}
	held, err := v.admitAllocation(lo, hi, size)
	if err != nil {
		return err
	}
	if held > 0 {
		err = v.mapHoles(lo, hi, held)
	}
	if err != nil {
		return err
	}
	return v.p.commits.flush()
}

// admitAllocation grows the volume to size, if it is less, and either holds what the holes in [lo, hi) need in the
// ledger, or makes the volume a preallocated one where that is more than what is clean.
func (v *Volume) admitAllocation(lo, hi, size int64) (held int64, err error) {
	p := v.p
	err = v.counted(lo, hi, func(h *layer, mapped int64) (Need, error) {
		c := credit{bytes: inodeBytes + sizeBytes}
		r := p.commits.tryRoom(c)
		if r == nil {
			return Need{&obstacle{kind: needRoom, room: c}}, nil
		}
		defer p.commits.within(r)()
		size := max(size, h.size)
		held = hi - lo - mapped
		if held > p.blocks.claimable() && p.tryAllocation(v, size, 0, true).Err == nil {
			held = 0
			if err := v.setKept(true); err != nil {
				return Need{}, err
			}
		} else if f := p.tryAllocation(v, size, held, false); f.Err != nil {
			return p.space.admitted(f)
		} else if held > 0 {
			p.space.ledger.Hold(v.account, held, held)
			p.space.namedN += held
		}
		v.wrote(p.opt.Now())
		if size > h.size {
			return Need{}, p.commits.do(&recResize{h.id, size})
		}
		return Need{}, nil
	})
	return held, err
}

// tryAllocation: the volume at a size, with blocks more, or preallocated.
func (vs *openVolumes) tryAllocation(v *Volume, bytes, blocks int64, kept bool) Forecast {
	a, g := v.account, vs.space.ledger
	if kept {
		return vs.space.try(trial{
			what:   fmt.Sprintf("preallocate %s of %s", size.Exact(bytes), vs.names.pathOf(v.ino)),
			Change: ledger.Change{Do: func() { g.Keep(a, true); g.Resize(a, blocksOf(bytes)) }},
		})
	}
	return vs.space.try(trial{
		what:   fmt.Sprintf("allocate %s in %s", size.Exact(blocks*BlockSize), vs.names.pathOf(v.ino)),
		Change: ledger.Change{Gives: -blocks, Do: func() { g.Hold(a, blocks, blocks); g.Resize(a, blocksOf(bytes)) }},
	})
}

// mapHoles maps the holes in [lo, hi) to clean blocks; held of them are held for it in the ledger. Where nothing is
// clean any more it makes some clean first.
func (v *Volume) mapHoles(lo, hi, held int64) error {
	p := v.p
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.space.ledger.Hold(v.account, -held, -held)
		p.space.namedN -= held
	}()
	for lo < hi {
		next, n, err := v.mapClean(lo, hi, held)
		held -= n
		if err != nil && !errors.Is(err, ErrHostSpace) {
			return err
		}
		if next == lo && err == nil {
			if some, err := p.blocks.unclaimSome(min(hi-lo, 1<<14)); some || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if next == lo {
			look := func() bool {
				return err == nil && (p.blocks.claimable() > 0 || p.blocks.alloc.WindowReady()+p.blocks.alloc.WindowWaiting() > 0)
			}
			if err := p.works.reclaimAfter(context.Background(), err, min(hi-lo, 1<<14), look); err != nil {
				return err
			}
		}
		lo = next
	}
	return nil
}

// mapClean maps the first hole in [lo, hi) to clean blocks, n of them, and takes those from what is held. It returns
// where to go on: at lo if nothing is clean.
func (v *Volume) mapClean(lo, hi, held int64) (next, n int64, err error) {
	p := v.p
	var er *errand
	err = p.until(func() (Need, error) {
		var need Need
		next, n = lo, 0
		_, err := p.blocks.takeClean(func() (wish, error) {
			var q overlay.Piece
			var err error
			if _, q, need, err = v.holeAt(lo, hi, &er); q.Dev != 0 {
				next = lo + q.Len
			}
			if err != nil || !need.None() || q.Dev != 0 {
				return wish{}, err
			}
			return wish{want: min(q.Len, 1<<14), may: p.blocks.claimable(), least: alloc.SlotBlocks, one: true}, nil
		}, func(runs []alloc.Run) error {
			h, q, again, err := v.holeAt(lo, hi, &er) // somebody may have written there since the look
			if q.Dev != 0 {
				next = lo + q.Len
			}
			if need = again; err != nil || !need.None() || q.Dev != 0 {
				return err
			}
			c := credit{bytes: planBytes(1, 0), pages: h.pagesFor(1) - h.need}
			room := p.commits.tryRoom(c)
			if room == nil {
				need = Need{&obstacle{kind: needRoom, room: c}}
				return nil
			}
			defer p.commits.within(room)()
			r := runs[0]
			r.Len = min(r.Len, q.Len)
			n = min(r.Len, held) // somebody may have unmapped blocks since they were counted
			p.space.ledger.Hold(v.account, -n, -n)
			p.space.namedN -= n
			next = lo + r.Len
			return p.commits.do(&recMap{layer: h.id, lb: lo, n: r.Len, dev: r.Start, clean: true})
		})
		return need, err
	})
	return next, n, err
}

// holeAt is the piece of the volume at lo, at most up to hi, and what must be there before it may be mapped, if it is a
// hole. The plan lock is held. er is what was fetched for it.
func (v *Volume) holeAt(lo, hi int64, er **errand) (h *layer, q overlay.Piece, need Need, err error) {
	v.p.mu.assertHeld()
	p := v.p
	if h, err = v.usable(); err != nil {
		return nil, q, need, err
	}
	p.commits.beginCold(*er)
	q, miss := h.top.Lookup(p.blocks.maps, lo, hi-lo)
	missed := p.commits.endCold()
	switch lack := p.space.pagesLack(); {
	case miss:
		m, _ := h.top.Bottom()
		need = Need{&obstacle{kind: needPage, m: m, lb: lo, errand: missed}}
		*er = cmp.Or(missed, *er)
	case q.Dev == 0 && p.blocks.onHost.sparse && lack > 0:
		need = Need{&obstacle{kind: needStore, blocks: lack}}
	}
	return h, q, need, nil
}

// keep sets whether the volume is promised its size; on may be refused.
func (v *Volume) keep(on bool) error {
	p := v.p
	return p.underPlan(func() (Need, error) {
		h, err := v.usable()
		if err != nil || v.account.Set().Kept == on {
			return Need{}, err
		}
		c := credit{bytes: inodeBytes, frees: !on}
		r := p.commits.tryRoom(c)
		if r == nil {
			return Need{&obstacle{kind: needRoom, room: c}}, nil
		}
		defer p.commits.within(r)()
		if on {
			if need, err := p.space.admitted(p.tryAllocation(v, h.size, 0, true)); err != nil || !need.None() {
				return need, err
			}
		}
		return Need{}, v.setKept(on)
	})
}

// setKept is keep for what has been admitted. The plan lock is held.
func (v *Volume) setKept(on bool) error {
	v.p.mu.assertHeld()
	p := v.p
	n, err := p.names.inode(v.ino)
	if err != nil {
		return err
	}
	n.kept = on
	return p.names.putInode(v.ino, n)
}
