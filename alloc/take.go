package alloc

import "math/bits"

// Take names up to n ready blocks of the window for a writer and returns them, in the
// order in which they were picked; less than n when the window has no more, nil when it
// has none. They stay claimed, out of the window, until Use. The caller owns the slice.
//
// A slot or more: whole slots, the first ones after near, as long as there are any. The
// rest, and anything smaller: the blocks right after near (the device block before the
// wanted place; 0: none), else the slot that this stream (a volume) fills already, else a
// new slot for it.
func (p *Pool) Take(n int64, near BlockID, stream uint64) []Run {
	return p.AppendTake(nil, n, near, stream)
}

// AppendTake is Take, and appends to dst, so that it need not allocate. The last run of
// dst may be extended.
func (p *Pool) AppendTake(dst []Run, n int64, near BlockID, stream uint64) []Run {
	for n > 0 && p.win.ready > 0 {
		r := p.TakeRun(n, near, stream)
		dst = appendRun(dst, r)
		near = r.End() - 1
		n -= r.Len
	}
	return dst
}

// TakeRun is the first step of Take: one run of 1 to n blocks, or none when the window has
// no block, or n is not positive.
func (p *Pool) TakeRun(n int64, near BlockID, stream uint64) (r Run) {
	w := &p.win
	switch {
	case n <= 0 || w.ready == 0:
		return Run{}
	case n >= SlotBlocks && w.full > 0:
		r = w.wholeSlots(n/SlotBlocks, near)
	case near != 0 && w.span(near+1, n) > 0:
		r = Run{Start: near + 1, Len: w.span(near+1, n)}
		if _, fills := w.open[stream]; !fills {
			w.adopt(w.at(uint64(r.Start/SlotBlocks)), stream)
		}
	default:
		r = w.next(n, near, stream)
	}
	w.remove(r)
	return r
}

// wholeSlots returns up to n neighbouring slots that are all ready, the first at or after
// near, or else the lowest. There is one.
func (w *window) wholeSlots(n int64, near BlockID) Run {
	i := w.pick(near+SlotBlocks, isFull)
	r := Run{Start: BlockID(w.slots[i].index * SlotBlocks)}
	for ; i < len(w.slots) && n > 0; i, n = i+1, n-1 {
		if !isFull(&w.slots[i]) || BlockID(w.slots[i].index*SlotBlocks) != r.End() {
			break
		}
		r.Len += SlotBlocks
	}
	return r
}

// next returns up to n blocks of the slot that stream fills, after opening one where it
// has none with a ready block. The window has a ready block.
func (w *window) next(n int64, near BlockID, stream uint64) Run {
	i := -1
	if index, ok := w.open[stream]; ok {
		i = w.at(index)
	}
	if i < 0 || w.slots[i].ready == 0 {
		i = w.openSlot(near, stream)
	}
	s := &w.slots[i]
	b := BlockID(s.index*SlotBlocks) + BlockID(bits.TrailingZeros16(s.ready))
	return Run{Start: b, Len: w.span(b, n)}
}

// openSlot gives stream a slot to fill: a full one, else one that no stream fills, else
// any, of each the first at or after near, or else the lowest.
func (w *window) openSlot(near BlockID, stream uint64) int {
	i := -1
	if w.full > 0 {
		i = w.pick(near, isFull)
	}
	if i < 0 {
		i = w.pick(near, func(s *slot) bool { return s.ready != 0 && !s.owned })
	}
	if i < 0 {
		return w.pick(near, func(s *slot) bool { return s.ready != 0 })
	}
	if index, ok := w.open[stream]; ok {
		if k := w.at(index); k >= 0 {
			w.slots[k].owned = false
		}
		delete(w.open, stream)
	}
	if isFull(&w.slots[i]) { // all of it came back since another stream filled it
		w.close(w.slots[i])
		w.slots[i].owned = false
	}
	w.adopt(i, stream)
	return i
}

// adopt makes slot i the one that stream, which fills none, fills, unless another does.
func (w *window) adopt(i int, stream uint64) {
	if s := &w.slots[i]; !s.owned {
		s.owned, s.stream = true, stream
		w.open[stream] = s.index
	}
}

// pick returns the position of the first slot with ok from that of block b on, then from
// the lowest, or -1.
func (w *window) pick(b BlockID, ok func(*slot) bool) int {
	from := w.find(uint64(b / SlotBlocks))
	for i := from; i < len(w.slots); i++ {
		if ok(&w.slots[i]) {
			return i
		}
	}
	for i := range w.slots[:from] {
		if ok(&w.slots[i]) {
			return i
		}
	}
	return -1
}

func isFull(s *slot) bool { return s.ready == allBlocks }
