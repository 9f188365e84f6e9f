package chain

import (
	"fmt"

	"slatefs/chain/runs"
)

// largeDiscard is the number of blocks from which a discard is cut off in one piece and walked later: 64 map leaves
// of 32 MiB.
const largeDiscard = 64 * 8192

// Punch makes [off, off+n) read zero and frees its whole blocks. The size stays. Over what was never written it does
// nothing at all. Large ranges are answered at once and walked in the background.
func (v *Volume) Punch(off, n int64) error {
	end, size, err := v.discardRange(off, n)
	if err != nil || end <= off {
		return err
	}
	upTo := blocksOf(end)
	if end == size {
		upTo = mapEnd // the last block goes whole: no write may extend the volume meanwhile
	}
	fence, err := v.fence(off/BlockSize, upTo)
	if err != nil {
		return err
	}
	defer fence.Abort()
	if end, size, err = v.discardRange(off, min(n, end-off)); err != nil || end <= off {
		return err
	}
	v.touch()
	lo, hi := blocksOf(off), end/BlockSize
	if end == size && upTo == mapEnd {
		hi = blocksOf(end)
	}
	if lo > hi { // within one block
		return v.zeroEdge(fence, off, end)
	}
	if err := v.zeroEdge(fence, off, min(lo*BlockSize, end)); err != nil {
		return err
	}
	if err := v.zeroEdge(fence, hi*BlockSize, end); err != nil {
		return err
	}
	return v.unmap(lo, hi)
}

// touch notes that the content was changed now.
func (v *Volume) touch() {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	v.wrote(v.p.opt.Now())
}

// checkRange refuses [off, off+n) if there can be no such range in a volume: ErrInvalid, or ErrTooBig past the largest size.
func checkRange(what string, off, n int64) error {
	switch {
	case off < 0 || n < 0:
		return fmt.Errorf("%s %d bytes at %d: %w", what, n, off, ErrInvalid)
	case off > MaxSize-n:
		return fmt.Errorf("%s %d bytes at %d: %w", what, n, off, sizeTooBig(off+n))
	}
	return nil
}

// discardRange cuts a range to the size of the volume.
func (v *Volume) discardRange(off, n int64) (end, size int64, err error) {
	if err := checkRange("discard", off, n); err != nil {
		return 0, 0, err
	}
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	h, err := v.usable()
	if err != nil {
		return 0, 0, err
	}
	return min(off+n, h.size), h.size, nil
}

// ZeroRange is Punch, and extends the size to off+n unless keepSize.
func (v *Volume) ZeroRange(off, n int64, keepSize bool) error {
	if err := checkRange("zero", off, n); err != nil {
		return err
	}
	if err := v.Punch(off, n); err != nil {
		return err
	}
	if keepSize {
		return nil
	}
	return v.grow(off + n)
}

// writeZeros is what a write of whole blocks of zeros does, block by block: over an owned block the zeros are written,
// over a shared one they unmap, over a hole nothing happens. They are within the fence, or get one.
func (v *Volume) writeZeros(fence *Plan, off, n int64) error {
	if err := checkRange("write", off, n); err != nil {
		return err
	}
	if fence == nil {
		own, err := v.fence(off/BlockSize, blocksOf(off+n))
		if err != nil {
			return err
		}
		defer own.Abort()
		fence = own
	}
	for lo, hi := off/BlockSize, blocksOf(off+n); lo < hi; {
		end, mapped, owned, err := v.alike(lo, hi)
		switch {
		case err != nil:
		case owned:
			_, err = v.writeWithin(fence, zeros((end-lo)*BlockSize), lo*BlockSize, false)
		case mapped:
			err = v.unmap(lo, end)
		}
		if err != nil {
			return err
		}
		lo = end
	}
	v.touch()
	return v.grow(off + n)
}

// alike is how far the blocks from lo on, up to hi, are of one kind, holes, shared or owned, as far as a piece looks.
func (v *Volume) alike(lo, hi int64) (end int64, mapped, owned bool, err error) {
	p := v.p
	end = lo
	err = p.underPlan(func() (Need, error) {
		h, err := v.usable()
		if err != nil {
			return Need{}, err
		}
		for n := 0; end < hi && n < pieceLen; n++ {
			p.mu.step(1)
			q, miss := h.top.Lookup(p.blocks.maps, end, hi-end)
			if miss {
				m, _ := h.top.Bottom()
				return Need{&obstacle{kind: needPage, m: m, lb: end}}, nil
			}
			m, o := q.Dev != 0, q.Birth > h.floor()
			if end > lo && (m != mapped || o != owned) {
				break
			}
			mapped, owned = m, o
			end += q.Len
		}
		return Need{}, nil
	})
	return end, mapped, owned, err
}

var zeroBytes [maxIO]byte

func zeros(n int64) []byte { return zeroBytes[:n] }

// zeroEdge writes zeros to a part of one block, if it shows anything. The fence covers it, or is nil.
func (v *Volume) zeroEdge(fence *Plan, from, to int64) error {
	if from >= to {
		return nil
	}
	v.p.mu.Lock()
	v.p.commits.beginCold(nil)
	old, _, _, err := v.p.oldRuns(v.ino, from/BlockSize, from/BlockSize+1, true)
	v.p.commits.endCold()
	v.p.mu.Unlock()
	if err != nil || len(old) == 0 {
		return err
	}
	_, err = v.writeWithin(fence, zeros(to-from), from, false)
	return err
}

// unmapRuns bounds the runs in one record, and the pieces of the map that are looked at for it under one hold of the plan lock.
const unmapRuns = pieceLen / 3 // each is looked up, freed, and put into a job

// detachBytes and sizeBytes bound the record of a detach and that of a size.
const (
	detachBytes = 64
	sizeBytes   = 32
)

// unmap frees blocks [lo, hi) of the head, in records of bounded size, or in one piece if there are many.
func (v *Volume) unmap(lo, hi int64) error {
	p := v.p
	if hi-lo > largeDiscard {
		return v.detach(lo, hi)
	}
	for lo < hi {
		err := p.underPlan(func() (Need, error) {
			c := credit{bytes: planBytes(1, unmapRuns), frees: true}
			r := p.commits.tryRoom(c)
			if r == nil {
				return Need{&obstacle{kind: needRoom, room: c}}, nil
			}
			defer p.commits.within(r)()
			h, err := v.usable()
			if err != nil {
				return Need{}, err
			}
			next, old, need := h.mapped(p.blocks, lo, hi)
			if !need.None() {
				return need, nil
			}
			if len(old) == 0 {
				lo = next
				return Need{}, nil
			}
			if h.frees(old) > 0 {
				if err := v.job(); err != nil {
					return Need{}, err
				}
			}
			first, n := lo, next-lo
			lo = next
			return Need{}, p.commits.do(&recMap{layer: h.id, lb: first, n: n, old: old})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mapped collects the runs in [lo, hi), looking at up to unmapRuns pieces, and where it stopped.
func (l *layer) mapped(p *blockSpace, lo, hi int64) (next int64, old []runs.Run, need Need) {
	for n := 0; lo < hi && n < unmapRuns; n++ {
		p.mu.step(1)
		q, miss := l.top.Lookup(p.maps, lo, hi-lo)
		if miss {
			m, _ := l.top.Bottom()
			return lo, nil, Need{&obstacle{kind: needPage, m: m, lb: lo}}
		}
		if q.Dev != 0 {
			old = append(old, runs.Run{Dev: q.Dev, Len: q.Len, Birth: q.Birth})
		}
		lo += q.Len
	}
	return lo, old, Need{}
}

// detach cuts [lo, hi) off the head in one record, if anything is mapped there. refer is right at once, the rest follows the
// walk. What is mapped is counted in pieces before; until the record is made nothing has changed.
func (v *Volume) detach(lo, hi int64) error {
	p := v.p
	return v.counted(lo, hi, func(h *layer, mapped int64) (Need, error) {
		if mapped == 0 {
			return Need{}, nil
		}
		c := credit{bytes: detachBytes, frees: true}
		r := p.commits.tryRoom(c)
		if r == nil {
			return Need{&obstacle{kind: needRoom, room: c}}, nil
		}
		defer p.commits.within(r)()
		return Need{}, p.commits.do(&recDetach{layer: h.id, lo: lo, hi: hi, mapped: mapped, when: p.opt.Now()})
	})
}

// grow raises the size to at least size.
func (v *Volume) grow(size int64) error {
	if size > MaxSize {
		return sizeTooBig(size)
	}
	return v.resize(func(now int64) int64 { return max(now, size) }, false)
}

// resize changes the size; beside: by a command, not through the file.
func (v *Volume) resize(to func(now int64) int64, beside bool) error {
	p := v.p
	return p.underPlan(func() (Need, error) {
		h, err := v.usable()
		if err != nil {
			return Need{}, err
		}
		size := to(h.size)
		if size == h.size {
			return Need{}, nil
		}
		if size > h.size {
			if need, err := p.space.admitted(p.space.tryResize(v, size)); err != nil || !need.None() {
				return need, err
			}
		}
		c := credit{bytes: sizeBytes, frees: true}
		r := p.commits.tryRoom(c)
		if r == nil {
			return Need{&obstacle{kind: needRoom, room: c}}, nil
		}
		defer p.commits.within(r)()
		v.wrote(p.opt.Now())
		v.beside = v.beside || beside
		return Need{}, p.commits.do(&recResize{h.id, size})
	})
}

// Truncate sets the size, as truncate(2) does: whoever may write may cut. What is cut off is freed; the rest of the
// last block is zeroed before a later growth could show it.
func (v *Volume) Truncate(size int64) error {
	return v.truncate(size, func() error { return nil }, false)
}

// Resize is Truncate by a command, which stands beside those who use the volume: one that is open for writing is not
// made smaller, ErrBusy, unless forced.
func (v *Volume) Resize(size int64, force bool) error {
	return v.truncate(size, func() error {
		if force {
			return nil
		}
		return v.p.commits.underPlan(func() error { return v.admitShrink(size) })
	}, true)
}

// admitShrink finds out whether a command may make the volume so small. The plan lock is held.
func (v *Volume) admitShrink(size int64) error {
	v.p.mu.assertHeld()
	h, err := v.usable()
	if err == nil && size < h.size && v.writers > 0 {
		err = &BusyError{v.p.names.pathOf(v.ino), v.readers, v.writers}
	}
	return err
}

// truncate asks admit before a cut, and again when nobody writes any more: who opens later finds what is cut.
func (v *Volume) truncate(size int64, admit func() error, beside bool) error {
	if size < 0 || size > MaxSize {
		return sizeTooBig(size)
	}
	now := v.Size()
	if size < now || size == 0 { // what fallocate did beyond an empty volume ends too
		if err := admit(); err != nil {
			return err
		}
		if size == 0 {
			if err := v.keep(false); err != nil {
				return err
			}
		}
		fence, err := v.fence(size/BlockSize, mapEnd)
		if err != nil {
			return err
		}
		defer fence.Abort()
		if err := admit(); err != nil {
			return err
		}
		now = v.Size()
		if err := v.zeroEdge(fence, size, min(blocksOf(size)*BlockSize, now)); err != nil {
			return err
		}
		// First the blocks, then the size: a crash between must not let a later growth show them again.
		if err := v.unmap(blocksOf(size), blocksOf(now)); err != nil {
			return err
		}
		if err := v.detach(blocksOf(now), mapEnd); err != nil { // what fallocate mapped past the end
			return err
		}
		return v.resize(func(now int64) int64 { return min(now, size) }, beside)
	}
	return v.resize(func(now int64) int64 { return max(now, size) }, beside)
}
