// Package alloc knows the state of every block of a pool and which blocks may be
// handed to a writer. It does no I/O and imports only the standard library, so that
// "no reuse before erase" is a property of one small package.
//
// A block is in one of four states: in use (live or dirty, the erase jobs decide
// which), claimed, metadata, or clean. The invariants kept here:
//
//   - One owner. A block is in one state, and every change names the state that it
//     leaves: a block found in another one is an error, and nothing changes.
//   - Only blocks in use become clean, by Set, which follows a durable erase record.
//     The one exception is Unclaim, for claimed blocks that no plan ever named.
//   - Who must do something to a clean block before it leaves clean, without the plan lock,
//     sets it aside first (SetAside): it stays clean, and nobody else finds or changes it.
//   - Take, the only way to a writer, hands out blocks of the window: claimed blocks
//     which no plan has named yet, and only those that are ready, that is whose claim
//     record is durable. A block leaves the window when it is named and comes back
//     only by Use, erase, Set to clean and Claim.
//   - Claimed blocks outside the window were named, in this process or before a crash.
//     They can only become in use. After a crash that holds for all claimed blocks
//     (Abandon).
//   - Counts are exact at any time, for groups without a page in memory too.
//
// Blocks are kept by group, a fixed power of two of blocks. A group whose blocks are
// all in one state is uniform and has no page; any other has a page of two bits per
// block, which may be in memory (loaded) or not. A change to a group that is not loaded
// is counted at once, and applied and verified when the page is loaded, so that replay
// needs no page.
//
// A Pool is not safe for concurrent use: the caller holds the plan lock of its pool
// around every method.
package alloc

import (
	"errors"
	"fmt"
)

const (
	// BlockSize is the size of a block in bytes.
	BlockSize = 4096
	// SlotBlocks is the size of a slot in blocks. Slots are aligned to their size.
	SlotBlocks = 16
)

var (
	// ErrState is returned when a block is not in the state that a change starts from.
	ErrState = errors.New("block in another state")
	// ErrMove is returned by Set for a change that only other methods, or nobody, may make.
	ErrMove = errors.New("change of state not allowed")
	// ErrRange is returned for a run or group that does not lie in the pool.
	ErrRange = errors.New("outside the pool")
	// ErrNamed is returned by Unclaim and Ready for blocks that are not in the window.
	ErrNamed = errors.New("block not in the window")
	// ErrUnloaded is what every *UnloadedError wraps.
	ErrUnloaded = errors.New("group not loaded")
	// ErrCorrupt is returned for counts or a page that contradict each other.
	ErrCorrupt = errors.New("corrupt group")
)

// UnloadedError says which group must be loaded before the call can be repeated.
// Errors of this package hold it as a pointer.
type UnloadedError struct {
	Group int
}

// Error names the group.
func (e *UnloadedError) Error() string {
	return fmt.Sprintf("alloc: group %d: %v", e.Group, ErrUnloaded)
}

// Unwrap returns ErrUnloaded.
func (e *UnloadedError) Unwrap() error { return ErrUnloaded }

// BlockID is the number of a block on the device, counted from 0.
type BlockID uint64

// Run is Len consecutive blocks from Start on.
type Run struct {
	Start BlockID
	Len   int64 // blocks
}

// End returns the first block after r.
func (r Run) End() BlockID { return r.Start + BlockID(r.Len) }

// String formats r as a half-open interval of blocks.
func (r Run) String() string { return fmt.Sprintf("[%d,%d)", r.Start, r.End()) }

// State is the state of a block. The values are those of group pages on disk.
type State uint8

// The states of a block. A page of zeros hands out nothing.
const (
	InUse   State = 0 // live or dirty
	Claimed State = 1 // of the pool's claims: in the window, or named by a plan
	Meta    State = 2 // of the metadata store
	Clean   State = 3 // zero on disk and free

	states = 4
)

// String returns the state in words.
func (s State) String() string {
	switch s {
	case InUse:
		return "in use"
	case Claimed:
		return "claimed"
	case Meta:
		return "metadata"
	case Clean:
		return "clean"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Counts is a number of blocks per state.
type Counts struct{ InUse, Claimed, Meta, Clean int64 }

// Total returns the blocks in all states.
func (c Counts) Total() int64 { return c.InUse + c.Claimed + c.Meta + c.Clean }

// tally is Counts indexed by State.
type tally [states]int64

func (t tally) counts() Counts {
	return Counts{InUse: t[InUse], Claimed: t[Claimed], Meta: t[Meta], Clean: t[Clean]}
}

func (c Counts) tally() tally {
	return tally{InUse: c.InUse, Claimed: c.Claimed, Meta: c.Meta, Clean: c.Clean}
}

// appendRun adds r to runs and joins it to the last one where they touch.
func appendRun(runs []Run, r Run) []Run {
	if k := len(runs) - 1; k >= 0 && runs[k].End() == r.Start {
		runs[k].Len += r.Len
		return runs
	}
	return append(runs, r)
}
