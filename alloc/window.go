package alloc

import (
	"math/bits"
	"slices"
)

// window is the set of claimed blocks which no plan has named yet, by slot and sorted.
// The caller bounds its size (64 MiB in all: 1,024 slots where the pool is not in crumbs).
type window struct {
	slots   []slot
	open    map[uint64]uint64 // stream: index of the slot that it fills
	ready   int64             // blocks
	waiting int64             // blocks
	full    int               // slots with all blocks ready
}

// slot is the part of the window in one slot, never empty. Bit i is block i of it.
type slot struct {
	index   uint64 // first block / SlotBlocks
	stream  uint64 // that fills it, where owned
	ready   uint16
	waiting uint16 // claimed, the record not durable yet
	owned   bool
}

const allBlocks = 1<<SlotBlocks - 1

func newWindow() window { return window{open: map[uint64]uint64{}} }

// find returns the position of the first slot at or after index.
func (w *window) find(index uint64) int {
	i, _ := slices.BinarySearchFunc(w.slots, index, func(s slot, index uint64) int {
		switch {
		case s.index < index:
			return -1
		case s.index > index:
			return 1
		}
		return 0
	})
	return i
}

// at returns the position of slot index, or -1.
func (w *window) at(index uint64) int {
	if i := w.find(index); i < len(w.slots) && w.slots[i].index == index {
		return i
	}
	return -1
}

// set gives slot i its bits and keeps the sums.
func (w *window) set(i int, ready, waiting uint16) {
	s := &w.slots[i]
	w.ready += int64(bits.OnesCount16(ready) - bits.OnesCount16(s.ready))
	w.waiting += int64(bits.OnesCount16(waiting) - bits.OnesCount16(s.waiting))
	if s.ready == allBlocks {
		w.full--
	}
	if ready == allBlocks {
		w.full++
	}
	s.ready, s.waiting = ready, waiting
}

// part splits the blocks of r that lie in its first slot off: their bits, and the rest.
func part(r Run) (index uint64, mask uint16, rest Run) {
	lo := int64(r.Start % SlotBlocks)
	n := min(r.Len, SlotBlocks-lo)
	mask = uint16((1<<n - 1) << lo)
	return uint64(r.Start / SlotBlocks), mask, Run{Start: r.Start + BlockID(n), Len: r.Len - n}
}

// add puts all of r, which is not in the window, into it as waiting.
func (w *window) add(r Run) {
	for r.Len > 0 {
		index, mask, rest := part(r)
		i := w.at(index)
		if i < 0 {
			i = w.find(index)
			w.slots = slices.Insert(w.slots, i, slot{index: index})
		}
		w.set(i, w.slots[i].ready, w.slots[i].waiting|mask)
		r = rest
	}
}

// has returns the first block of r that is not in the window, and whether all are.
func (w *window) has(r Run) (BlockID, bool) {
	for r.Len > 0 {
		index, mask, rest := part(r)
		var in uint16
		if i := w.at(index); i >= 0 {
			in = w.slots[i].ready | w.slots[i].waiting
		}
		if missing := mask &^ in; missing != 0 {
			return BlockID(index*SlotBlocks) + BlockID(bits.TrailingZeros16(missing)), false
		}
		r = rest
	}
	return 0, true
}

// markReady makes the waiting blocks of r ready.
func (w *window) markReady(r Run) {
	for r.Len > 0 {
		index, mask, rest := part(r)
		if i := w.at(index); i >= 0 {
			s := w.slots[i]
			w.set(i, s.ready|s.waiting&mask, s.waiting&^mask)
		}
		r = rest
	}
}

// remove takes what the window has of r out of it.
func (w *window) remove(r Run) {
	first := w.find(uint64(r.Start / SlotBlocks))
	kept, i := first, first
	for ; i < len(w.slots) && BlockID(w.slots[i].index*SlotBlocks) < r.End(); i++ {
		s := w.slots[i]
		lo := max(r.Start, BlockID(s.index*SlotBlocks))
		_, mask, _ := part(Run{Start: lo, Len: int64(r.End() - lo)})
		w.set(i, s.ready&^mask, s.waiting&^mask)
		if s = w.slots[i]; s.ready|s.waiting == 0 {
			w.close(s)
			continue
		}
		w.slots[kept] = s
		kept++
	}
	w.slots = slices.Delete(w.slots, kept, i)
}

// close forgets the stream that fills s.
func (w *window) close(s slot) {
	if s.owned && w.open[s.stream] == s.index {
		delete(w.open, s.stream)
	}
}

// span returns the ready blocks from b on without a gap, at most n, in one slot: their number.
func (w *window) span(b BlockID, n int64) int64 {
	i := w.at(uint64(b / SlotBlocks))
	if i < 0 {
		return 0
	}
	free := ^(w.slots[i].ready >> (b % SlotBlocks)) // shifted-in zeros end the run
	return min(n, int64(bits.TrailingZeros16(free)))
}

// runsOf returns what slots hold, ready or not, or the first of it: at least most runs.
func runsOf(slots []slot, most int) []Run {
	var out []Run
	for _, s := range slots {
		if len(out) > most {
			break
		}
		for in := s.ready | s.waiting; in != 0; {
			lo := bits.TrailingZeros16(in)
			n := bits.TrailingZeros16(^(in >> lo))
			out = appendRun(out, Run{Start: BlockID(s.index*SlotBlocks) + BlockID(lo), Len: int64(n)})
			in &^= uint16((1<<n - 1) << lo)
		}
	}
	return out
}
