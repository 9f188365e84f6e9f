package chain

import (
	"errors"
	"fmt"

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

// cleanRuns are the clean blocks of a group.
func (bs *blockSpace) cleanRuns(g int) (runs []alloc.Run, err error) {
	err = bs.commits.underPlan(func() error {
		defer bs.trimGroups()
		runs = nil
		return bs.groupRuns(g, func(r alloc.Run, st alloc.State) {
			if st == alloc.Clean {
				runs = append(runs, r)
			}
		})
	})
	return runs, err
}

// groupRuns calls fn for the runs of blocks in one state that make up a group. The caller holds the plan lock.
func (bs *blockSpace) groupRuns(g int, fn func(alloc.Run, alloc.State)) error {
	first := alloc.BlockID(g * bs.format.GroupBlocks)
	end := min(first+alloc.BlockID(bs.format.GroupBlocks), alloc.BlockID(bs.alloc.Total()))
	for b := first; b < end; {
		bs.mu.step(1)
		if _, err := bs.stateLoaded(b); err != nil {
			return err
		}
		st, n, err := bs.stateRun(g, b, end)
		if err != nil {
			return fmt.Errorf("block %d: %w", b, err)
		}
		fn(alloc.Run{Start: b, Len: n}, st)
		b += alloc.BlockID(n)
	}
	return nil
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
