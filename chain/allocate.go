package chain

import (
	"fmt"

	"slatefs/alloc"
)

// Allocate is fallocate(2): every hole in [off, off+n) gets clean blocks, which read zero because they are zero. What
// cannot be mapped at once is promised: the volume is promised its whole size from then on, until it is truncated to
// 0. It is refused whole, ErrNoSpace, when the pool has too little for either. Durable when it returns.
func (v *Volume) Allocate(off, n int64, keepSize bool) error {
	if off < 0 || n <= 0 || off > MaxSize-n {
		return fmt.Errorf("allocate %d bytes at %d: %w", n, off, ErrInvalid)
	}
	lo, hi := off/BlockSize, blocksOf(off+n)
	short, err := v.admitAllocation(lo, hi)
	if err != nil {
		return err
	}
	if !keepSize {
		if err := v.grow(off + n); err != nil {
			return err
		}
	}
	for !short && lo < hi {
		if lo, short, err = v.mapClean(lo, hi); err != nil {
			return err
		}
	}
	if short {
		if err := v.keep(true); err != nil {
			return err
		}
	}
	return v.p.Flush()
}

// admitAllocation compares the holes with what is available. short: not all can be mapped from clean blocks now.
func (v *Volume) admitAllocation(lo, hi int64) (short bool, err error) {
	p := v.p
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := v.usable()
	if err != nil {
		return false, err
	}
	mapped, err := h.top.count(p.maps, lo, hi)
	if err != nil {
		return false, wrapCorrupt(err)
	}
	want := hi - lo - mapped
	if avail := p.availLocked() + v.stillPromised(); want > avail {
		return false, fmt.Errorf("%s: preallocation: needs %d bytes, %d available: %w",
			p.pathOf(v.ino), want*BlockSize, max(0, avail)*BlockSize, ErrNoSpace)
	}
	return want > p.claimable(), nil
}

// mapClean maps the first hole in [lo, hi) to clean blocks. It returns where to go on.
func (v *Volume) mapClean(lo, hi int64) (next int64, short bool, err error) {
	p := v.p
	err = p.until(func() (Need, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		h, err := v.usable()
		if err != nil {
			return Need{}, err
		}
		q, miss := h.top.lookup(p.maps, lo, hi-lo)
		if miss {
			m, _ := h.top.bottom()
			return Need{kind: needPage, m: m, lb: lo}, nil
		}
		if q.dev != 0 {
			next = lo + q.n
			return Need{}, nil
		}
		if !p.roomFor(recordBytes * 8) {
			return Need{kind: needRoom}, nil
		}
		runs, err := p.findClean(min(q.n, p.claimable(), 1<<14), alloc.SlotBlocks)
		if err != nil || len(runs) == 0 {
			short = true
			return Need{}, err
		}
		next = lo + runs[0].Len
		return Need{}, p.do(&recMap{layer: h.id, lb: lo, n: runs[0].Len, dev: runs[0].Start, clean: true})
	})
	return next, short, err
}

// keep sets whether the volume is promised its size.
func (v *Volume) keep(on bool) error {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	return v.keepLocked(on)
}

func (v *Volume) keepLocked(on bool) error {
	p := v.p
	if _, err := v.usable(); err != nil || v.kept == on {
		return err
	}
	n, err := p.inode(v.ino)
	if err != nil {
		return err
	}
	n.kept = on
	if err := p.putInode(v.ino, n); err != nil {
		return err
	}
	v.kept = on
	return nil
}

func (v *Volume) unkeep() error { return v.keep(false) }

// stillPromised is what a preallocated volume is promised beyond what it owns, in blocks. The plan lock is held.
func (v *Volume) stillPromised() int64 {
	h := v.head()
	if !v.kept || h == nil {
		return 0
	}
	return max(0, blocksOf(h.size)-h.own)
}

func (p *Pool) promisedLocked() (n int64) {
	for ino := range p.kept {
		if v := p.vols[ino]; v != nil {
			n += v.stillPromised()
		}
	}
	return n
}
