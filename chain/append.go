package chain

// Appends. A file system that writes for O_APPEND says where it takes the end to be, since its own lock orders the
// appends of all who go through it. That is right until a command changes the size beside it: from then on, until it is
// seen to know better, an append goes to the end that there is.
//
// A process that goes on where another one ended takes it that a command did that, of all that is open for writing. What was sent to
// the other one already, and is sent again, is no append then: it goes where it said, as it did if it was done.
//
// A request that is one of several parts of one append goes where it says as long as the two agree. Beside a command
// each part goes to the end, in the order in which they come.

// appendAt is where an append begins that was sent for off. The plan lock is held.
func (v *Volume) appendAt(off, size int64) int64 {
	v.p.mu.assertHeld()
	if v.beside && off == size {
		v.beside = false
	}
	if v.beside {
		return size
	}
	return off
}

// PlanAppend is PlanWrite of an append that was sent for off. known is false, and nothing is held, where off may not be
// the end any more: Append knows what to do then.
func (v *Volume) PlanAppend(pl *Plan, off, n int64) (need Need, known bool, err error) {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if h := v.head(); h != nil {
		v.appendAt(off, h.size) // which may show that the end is known again
	}
	if v.beside {
		pl.quit()
		return Need{}, false, nil
	}
	need, err = v.planCold(pl, off, n)
	return need, true, err
}

// Append is WriteAt at the end, for an append that was sent for off; stable: it is durable when it returns. Nobody
// writes past the end, or moves it, meanwhile.
func (v *Volume) Append(b []byte, off int64, stable bool) (int, error) {
	fence, at, err := v.fenceEnd(off)
	if err != nil {
		return 0, err
	}
	defer fence.Abort()
	if room := MaxSize - at; 0 < room && room < int64(len(b)) {
		b = b[:room]
	}
	return v.writeAt(fence, b, at, stable)
}

// fenceEnd fences all from the end on, and says where an append that was sent for off begins.
func (v *Volume) fenceEnd(off int64) (*Plan, int64, error) {
	for {
		lo := min(off, v.Size()) / BlockSize
		fence, err := v.fence(lo, mapEnd)
		if err != nil {
			return nil, 0, err
		}
		v.p.mu.Lock()
		h, err := v.usable()
		at := off
		if err == nil {
			at = v.appendAt(off, h.size)
		}
		v.p.mu.Unlock()
		if err == nil && at/BlockSize >= lo {
			return fence, at, nil
		}
		fence.Abort() // it was cut meanwhile
		if err != nil {
			return nil, 0, err
		}
	}
}
