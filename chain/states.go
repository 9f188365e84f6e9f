package chain

import (
	"errors"
	"fmt"
	"math"

	"slatefs/alloc"
)

// stateLoaded is the state of a block, whose group is brought in if need be.
func (bs *blockSpace) stateLoaded(b alloc.BlockID) (alloc.State, error) {
	st, err := bs.alloc.State(b)
	var u *alloc.UnloadedError
	if errors.As(err, &u) {
		if err = bs.loadGroup(u.Group); err == nil {
			st, err = bs.alloc.State(b)
		}
	}
	return st, wrapCorrupt(err)
}

// groupInPieces calls fn for the runs of blocks in one state that make up a group, as groupRuns does, under holds of the plan lock for
// some of them each: what changes between two holds is seen before or after. A run may come in parts.
func (bs *blockSpace) groupInPieces(g int, fn func(alloc.Run, alloc.State)) error {
	type part struct {
		alloc.Run
		st alloc.State
	}
	var parts []part
	for b, more := alloc.BlockID(g*bs.format.GroupBlocks), true; more; {
		next := b
		err := bs.commits.underPlan(func() (err error) {
			defer bs.trimGroups()
			parts = parts[:0]
			next, more, err = bs.someRuns(g, b, pieceLen, func(r alloc.Run, st alloc.State) { parts = append(parts, part{r, st}) })
			return err
		})
		if err != nil {
			return err
		}
		for _, p := range parts {
			fn(p.Run, p.st)
		}
		b = next
	}
	return nil
}

// groupRuns calls fn for the runs of blocks in one state that make up a group. The caller holds the plan lock.
func (bs *blockSpace) groupRuns(g int, fn func(alloc.Run, alloc.State)) error {
	_, _, err := bs.someRuns(g, alloc.BlockID(g*bs.format.GroupBlocks), math.MaxInt, fn)
	return err
}

// someRuns is groupRuns from a block of the group on, for most runs; next is where it ended, if there is
// more.
func (bs *blockSpace) someRuns(g int, b alloc.BlockID, most int, fn func(alloc.Run, alloc.State)) (next alloc.BlockID, more bool, _ error) {
	end := min(alloc.BlockID(g+1)*alloc.BlockID(bs.format.GroupBlocks), alloc.BlockID(bs.alloc.Total()))
	for ; b < end && most > 0; most-- {
		bs.mu.step(1)
		if _, err := bs.stateLoaded(b); err != nil {
			return b, true, err
		}
		st, n, err := bs.stateRun(g, b, end)
		if err != nil {
			return b, true, fmt.Errorf("block %d: %w", b, err)
		}
		fn(alloc.Run{Start: b, Len: n}, st)
		b += alloc.BlockID(n)
	}
	return b, b < end, nil
}

// stateRun is the state of block b and how many up to end share it.
func (bs *blockSpace) stateRun(g int, b, end alloc.BlockID) (st alloc.State, n int64, err error) {
	if st, err = bs.alloc.State(b); err != nil {
		return st, 0, err
	}
	k := bs.alloc.GroupCounts(g)
	for _, whole := range []int64{k.InUse, k.Claimed, k.Meta, k.Clean} {
		if whole == k.Total() {
			return st, int64(end - b), nil
		}
	}
	for n = 1; b+alloc.BlockID(n) < end; n++ {
		if next, err := bs.alloc.State(b + alloc.BlockID(n)); err != nil || next != st {
			return st, n, err
		}
	}
	return st, n, nil
}
