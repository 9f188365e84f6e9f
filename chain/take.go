package chain

import (
	"errors"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

// supply is how a look for clean blocks ended. That it brought none has two reasons, which ask for opposite things.
type supply uint8

const (
	supplyGot  supply = iota + 1 // there are more than before
	supplyFull                   // who looked has all that he may have, if others were not faster
	supplyNone                   // nothing is clean but what he may not have: some must be made clean
)

// wish is what somebody wants of the clean blocks.
type wish struct {
	want  int64 // blocks; 0 or less: he has all that he may have
	may   int64 // how many of those that can be found he may take
	least int64 // what a piece should have, in blocks
	one   bool  // a single run
}

// takeClean is the only way out of clean for blocks that somebody will write: look says what is wanted, and take makes the
// record, both under the plan lock. Where the host has yet to give the blocks the lock is given up between: they are set
// aside and prepared meanwhile, all else may have changed when take is called. What take leaves stays clean.
//
// An error is look's, take's, the device's, or ErrHostSpace: all that is clean is holes that the host does not fill.
func (bs *blockSpace) takeClean(look func() (wish, error), take func(runs []alloc.Run) error) (supply, error) {
	t := taker{p: bs, file: bs.sparseFile()}
	defer t.end()
	for {
		runs, got, err := t.find(look, take)
		if err != nil || got != 0 {
			return got, err
		}
		if good := t.prepare(runs); len(good) > 0 {
			return supplyGot, t.hand(len(runs), good, take)
		}
	}
}

// taker is one takeClean.
type taker struct {
	p      *blockSpace
	file   sparseFile  // nil: the device has all its blocks
	wish   wish        // the last one
	mine   []alloc.Run // set aside
	failed error       // the first failure to prepare some
	full   bool        // the host has no space: what it gave before is all that can be had
	at     alloc.Run   // what it refused
}

// find looks for blocks. Where there is nothing to prepare it takes them, else it sets them aside.
func (t *taker) find(look func() (wish, error), take func(runs []alloc.Run) error) ([]alloc.Run, supply, error) {
	p := t.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		w, err := look()
		if err != nil || w.want <= 0 {
			return nil, supplyFull, err
		}
		n := w.want
		if t.full {
			n = searchBlocks
		}
		runs, err := p.findClean(min(n, w.may), w.least)
		switch {
		case errors.Is(err, errLookAgain):
			continue
		case err != nil:
			return nil, 0, err
		case len(runs) == 0 && len(t.mine) == 0 && p.alloc.Aside() > 0:
			p.waitAside() // others may put some back; who waits has set none aside himself
			continue
		case len(runs) == 0 && t.full:
			return nil, 0, p.hostError(t.failed)
		case len(runs) == 0 && t.failed != nil:
			return nil, 0, t.failed
		case len(runs) == 0:
			return nil, supplyNone, nil
		}
		p.mu.step(len(runs))
		if t.wish = w; w.one && !t.full {
			runs = runs[:1]
		}
		if t.file == nil {
			return runs, supplyGot, take(runs)
		}
		for _, r := range runs {
			if err := p.alloc.SetAside(r); err != nil {
				fault.Misuse("what was found clean can be set aside: %v", err)
			}
			t.mine = append(t.mine, r)
		}
		return runs, 0, nil
	}
}

// prepare returns what of the runs the host has, or gives now. A write of zeros over zeros harms nothing that it touches,
// wherever it fails.
func (t *taker) prepare(runs []alloc.Run) (good []alloc.Run) {
	for _, r := range runs {
		off, n := int64(r.Start)*BlockSize, r.Len*BlockSize
		if t.full {
			if at, n := t.file.Backed(off, n); n >= BlockSize {
				good = append(good, wholeBlocksIn(at, n))
			}
			continue
		}
		done, err := t.file.Prepare(off, n)
		if done >= BlockSize {
			good = append(good, wholeBlocksIn(off, done))
		}
		if err != nil && (t.failed == nil || blockdev.HostFull(err)) {
			t.failed, t.full = err, blockdev.HostFull(err)
			t.at = refusedRun(r, done)
		}
	}
	return t.wish.cut(good)
}

// searchBlocks is how many blocks one step of the search for some that a full host has already looks at: 4 GiB.
const searchBlocks = 4 << 30 / BlockSize

// cut leaves of the runs what was wished for.
func (w wish) cut(runs []alloc.Run) (out []alloc.Run) {
	for left := w.want; left > 0 && len(runs) > 0 && (!w.one || len(out) == 0); runs = runs[1:] {
		r := runs[0]
		r.Len = min(r.Len, left)
		left -= r.Len
		out = append(out, r)
	}
	return out
}

// refusedRun is what the host is asked for again after it refused a run from byte done on: a few blocks it may have even
// when it is full, and then that is no sign that it has space.
func refusedRun(r alloc.Run, done int64) alloc.Run {
	k := done / BlockSize
	return alloc.Run{Start: r.Start + alloc.BlockID(k), Len: min(r.Len-k, maxIO/BlockSize)}
}

// wholeBlocksIn are the whole blocks in n bytes at off.
func wholeBlocksIn(off, n int64) alloc.Run {
	lo := (off + BlockSize - 1) / BlockSize
	return alloc.Run{Start: alloc.BlockID(lo), Len: max(0, (off+n)/BlockSize-lo)}
}

// hand puts back the last runs that were set aside and gives the good part of them to take, under one hold of the plan lock.
func (t *taker) hand(last int, good []alloc.Run, take func(runs []alloc.Run) error) error {
	p := t.p
	p.mu.Lock()
	defer p.mu.Unlock()
	t.putLast(last)
	if err := p.writable(); err != nil {
		return err
	}
	return take(good)
}

// end puts back what is left, and notes what the host said.
func (t *taker) end() {
	for len(t.mine) > 0 {
		t.endSome()
	}
	if t.full {
		t.p.mu.Lock()
		defer t.p.mu.Unlock()
		t.p.hostRefuses(t.failed, t.at)
	}
}

func (t *taker) endSome() {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.putLast(takeRuns)
}

// putLast puts back the last n runs that were set aside, or all. The plan lock is held.
func (t *taker) putLast(n int) {
	left := max(0, len(t.mine)-n)
	t.p.putBack(t.mine[left:])
	t.mine = t.mine[:left]
}

// putBack ends what was set aside, and wakes who waits for that. The plan lock is held.
func (bs *blockSpace) putBack(runs []alloc.Run) {
	bs.mu.assertHeld()
	bs.mu.step(len(runs))
	for _, r := range runs {
		bs.alloc.PutBack(r)
	}
	if bs.asideGone != nil && len(runs) > 0 {
		close(bs.asideGone)
		bs.asideGone = nil
	}
}

// waitAside gives the plan lock up until something that was set aside is put back.
func (bs *blockSpace) waitAside() {
	if bs.asideGone == nil {
		bs.asideGone = make(chan struct{})
	}
	gone := bs.asideGone
	bs.mu.Unlock()
	<-gone
	bs.mu.Lock()
}

// claimRuns bounds the runs of one claim, so that its records stay small on a fragmented pool; takeRuns those that are taken
// under one hold of the plan lock.
const (
	claimRuns = 256
	takeRuns  = pieceLen / 2
)

// errLookAgain: the plan lock was given up, to read a group. What was looked at may have changed.
var errLookAgain = errors.New("look again")

// findClean finds up to n clean blocks, in few runs, none where n is not positive. The plan lock is held. errLookAgain: it was given up.
func (bs *blockSpace) findClean(n, least int64) ([]alloc.Run, error) {
	bs.mu.assertHeld()
	if n > 0 {
		runs, err := bs.alloc.FindCleanRuns(n, least, 0, takeRuns)
		var u *alloc.UnloadedError
		if errors.As(err, &u) {
			if err := bs.bringGroup(u.Group); err != nil {
				bs.shun(u.Group, err)
			}
			return nil, errLookAgain
		}
		return runs, err
	}
	return nil, nil
}
