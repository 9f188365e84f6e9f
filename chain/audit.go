package chain

import (
	"context"
	"errors"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
)

// AuditReport is what an audit read on the device, in bytes, and what it found.
type AuditReport struct {
	Clean  int64 // free: each block must be zero
	Lost   int64 // in use by nothing that the metadata names: so must these
	Queued int64 // in erase jobs, or to be sorted into them
	NotYet int64 // of Queued, in blocks that are not zero

	Found  []int64 // device addresses of blocks that are not zero and in no job, at most auditFindings
	More   int64   // blocks found beyond these
	Unread []string
}

// auditFindings bounds the lists of a report.
const auditFindings = 1000

// Audit reads all blocks of the device that are neither live nor claimed nor metadata, and reports those that are not
// zero and in no erase job. It changes nothing. progress, if not nil, is told how many bytes of how many are read.
//
// A pool that is in use stays so: what is clean is asked of the pool while it is read, and what is in jobs, or lost, is
// as a checkpoint says that is taken first. ErrCorrupt: the metadata does not add up, see Check; nothing was read then.
func (p *Pool) Audit(ctx context.Context, progress func(done, total int64)) (*AuditReport, error) {
	queued, lost, err := p.uses(ctx)
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	a := &audit{p: p, progress: progress, total: runBlocks(queued) + runBlocks(lost), buf: blockdev.Aligned(maxIO)}
	p.mu.Lock()
	a.total += p.blocks.Counts().Clean
	p.mu.Unlock()
	for _, r := range lost {
		a.r.Lost += r.Len * BlockSize
		if err := a.read(ctx, r, func(b alloc.BlockID) { a.found(b) }); err != nil {
			return nil, err
		}
	}
	for _, r := range queued {
		a.r.Queued += r.Len * BlockSize
		if err := a.read(ctx, r, func(alloc.BlockID) { a.r.NotYet += BlockSize }); err != nil {
			return nil, err
		}
	}
	return &a.r, a.clean(ctx)
}

// audit is one audit under way.
type audit struct {
	p        *Pool
	r        AuditReport
	progress func(done, total int64)
	done     int64 // blocks
	total    int64
	buf      []byte
}

// read reads a run and tells each block of it that is not zero.
func (a *audit) read(ctx context.Context, r alloc.Run, full func(alloc.BlockID)) error {
	for r.Len > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(r.Len, int64(len(a.buf))/BlockSize)
		b := a.buf[:n*BlockSize]
		if _, err := a.p.dev.ReadAt(b, int64(r.Start)*BlockSize); err != nil {
			a.oneByOne(alloc.Run{Start: r.Start, Len: n}, full)
		} else {
			for i := range n {
				if !allZero(b[i*BlockSize:][:BlockSize]) {
					full(r.Start + alloc.BlockID(i))
				}
			}
		}
		r.Start, r.Len, a.done = r.Start+alloc.BlockID(n), r.Len-n, a.done+n
		a.progress(min(a.done, a.total)*BlockSize, a.total*BlockSize)
	}
	return nil
}

// oneByOne reads blocks of which one cannot be read.
func (a *audit) oneByOne(r alloc.Run, full func(alloc.BlockID)) {
	b := blockdev.Aligned(BlockSize)
	for at := r.Start; at < r.End(); at++ {
		if _, err := a.p.dev.ReadAt(b, int64(at)*BlockSize); err != nil {
			if len(a.r.Unread) < auditFindings {
				a.r.Unread = append(a.r.Unread, err.Error())
			}
		} else if !allZero(b) {
			full(at)
		}
	}
}

func (a *audit) found(b alloc.BlockID) {
	if len(a.r.Found) == auditFindings {
		a.r.More++
		return
	}
	a.r.Found = append(a.r.Found, int64(b)*BlockSize)
}

// clean reads what is clean, group by group. Between the look at the states and the read a block may have been claimed
// and written: what is not zero is looked at once more, and by itself.
func (a *audit) clean(ctx context.Context) error {
	for g := range a.p.blocks.Groups() {
		runs, err := a.p.cleanRuns(g)
		if err != nil {
			return err
		}
		for _, r := range runs {
			a.r.Clean += r.Len * BlockSize
			var suspects []alloc.BlockID
			if err := a.read(ctx, r, func(b alloc.BlockID) { suspects = append(suspects, b) }); err != nil {
				return err
			}
			for _, b := range suspects {
				if err := a.suspect(b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// suspect reads a block again that was not zero though it is clean. Between the look at its state and the read it may have
// been claimed, written, freed and erased: it is found if it is clean after the read as well, and nothing was erased
// meanwhile, or if it is so time and again.
func (a *audit) suspect(b alloc.BlockID) error {
	const tries = 16
	st, cleaned, err := a.state(b)
	for i := 0; err == nil && st == alloc.Clean && i < tries; i++ {
		full := false
		a.oneByOne(alloc.Run{Start: b, Len: 1}, func(alloc.BlockID) { full = true })
		if !full {
			return nil
		}
		before := cleaned
		if st, cleaned, err = a.state(b); err == nil && st == alloc.Clean && (cleaned == before || i == tries-1) {
			a.found(b)
			return nil
		}
	}
	return err
}

// state is the state of a block, and how many blocks this process has erased.
func (a *audit) state(b alloc.BlockID) (st alloc.State, cleaned int64, err error) {
	p := a.p
	p.mu.Lock()
	defer p.mu.Unlock()
	st, err = p.stateLoaded(b)
	return st, p.cleaned, err
}

// stateLoaded is the state of a block, whose group is brought in if need be.
func (p *Pool) stateLoaded(b alloc.BlockID) (alloc.State, error) {
	st, err := p.blocks.State(b)
	var u *alloc.UnloadedError
	if errors.As(err, &u) {
		if err = p.loadGroup(u.Group); err == nil {
			st, err = p.blocks.State(b)
		}
	}
	return st, wrapCorrupt(err)
}

// cleanRuns are the clean blocks of a group.
func (p *Pool) cleanRuns(g int) (runs []alloc.Run, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.groupRuns(g, func(r alloc.Run, st alloc.State) {
		if st == alloc.Clean {
			runs = append(runs, r)
		}
	})
	p.unloadAfter(g)
	return runs, err
}

// unloadAfter bounds the group pages in memory of who goes through all groups in order.
func (p *Pool) unloadAfter(g int) {
	if g%maxGroupsLoaded == maxGroupsLoaded-1 {
		p.unloadGroups()
	}
}

// groupRuns calls fn for the runs of blocks in one state that make up a group. The caller holds the plan lock.
func (p *Pool) groupRuns(g int, fn func(alloc.Run, alloc.State)) error {
	first := alloc.BlockID(g * p.format.GroupBlocks)
	end := min(first+alloc.BlockID(p.format.GroupBlocks), alloc.BlockID(p.blocks.Total()))
	for b := first; b < end; {
		p.mu.step(1)
		if _, err := p.stateLoaded(b); err != nil {
			return err
		}
		st, n, err := p.stateRun(g, b, end)
		if err != nil {
			return fmt.Errorf("block %d: %w", b, err)
		}
		fn(alloc.Run{Start: b, Len: n}, st)
		b += alloc.BlockID(n)
	}
	return nil
}

// uses finds the blocks in use that are not live: those on their way to be erased, and those that nothing names.
func (p *Pool) uses(ctx context.Context) (queued, lost []alloc.Run, err error) {
	if p.opt.ReadOnly {
		return p.usesHere(ctx)
	}
	view, release, err := p.holdCheckpoint()
	if err != nil {
		return nil, nil, err
	}
	defer release()
	return view.usesHere(ctx)
}

func (p *Pool) usesHere(ctx context.Context) (queued, lost []alloc.Run, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &checker{p: p, view: p.journal == nil, r: &CheckReport{}, pages: map[alloc.BlockID]string{}}
	if err := p.settleGroups(); err != nil {
		return nil, nil, wrapCorrupt(err)
	}
	for _, step := range []func(){c.layers, c.jobs, c.walks} {
		step()
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
	if len(c.r.Errors) > 0 { // whose a block is cannot be told
		return nil, nil, fmt.Errorf("pool %s: %s: %w", p.name, c.r.Errors[0], ErrCorrupt)
	}
	for g := range p.blocks.Groups() {
		err := p.groupRuns(g, func(r alloc.Run, st alloc.State) {
			if st != alloc.InUse {
				return
			}
			c.eachMark(r, func(r alloc.Run, as uint8) {
				switch {
				case as == 0:
					lost = append(lost, r)
				case as&seenLive == 0:
					queued = append(queued, r)
				}
			})
		})
		if err != nil {
			return nil, nil, err
		}
		p.unloadAfter(g)
	}
	return queued, lost, nil
}

// eachMark calls fn for the pieces of a run by what was seen of them; 0 is nothing.
func (c *checker) eachMark(r alloc.Run, fn func(r alloc.Run, as uint8)) {
	for r.Len > 0 {
		at, m, ok := c.markAt(r.Start)
		n := r.Len
		if ok {
			n = min(n, int64(at)+m.n-int64(r.Start))
		} else {
			m = mark{}
			if k, _, later := c.seen.Ceil(devKey(r.Start)); later {
				n = min(n, int64(k.Hi)-int64(r.Start))
			}
		}
		fn(alloc.Run{Start: r.Start, Len: n}, m.as)
		r.Start, r.Len = r.Start+alloc.BlockID(n), r.Len-n
	}
}

// Used are the parts of the device that may hold anything but zeros, which is all but clean blocks: guest blocks, and
// metadata, in the order of the device. The pool was opened read-only.
func (p *Pool) Used() (guest, meta []blockdev.Extent, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opt.ReadOnly {
		return nil, nil, fmt.Errorf("pool %s is in use: %w", p.name, ErrBusy)
	}
	for g := range p.blocks.Groups() {
		err := p.groupRuns(g, func(r alloc.Run, st alloc.State) {
			x := blockdev.Extent{Off: int64(r.Start) * BlockSize, Len: r.Len * BlockSize}
			switch st {
			case alloc.InUse, alloc.Claimed:
				guest = append(guest, x)
			case alloc.Meta:
				meta = append(meta, x)
			case alloc.Clean:
			}
		})
		if err != nil {
			return nil, nil, err
		}
		p.unloadAfter(g)
	}
	return guest, meta, nil
}

// stateRun is the state of block b and how many up to end share it.
func (p *Pool) stateRun(g int, b, end alloc.BlockID) (st alloc.State, n int64, err error) {
	if st, err = p.blocks.State(b); err != nil {
		return st, 0, err
	}
	k := p.blocks.GroupCounts(g)
	for _, whole := range []int64{k.InUse, k.Claimed, k.Meta, k.Clean} {
		if whole == k.Total() {
			return st, int64(end - b), nil
		}
	}
	for n = 1; b+alloc.BlockID(n) < end; n++ {
		if next, err := p.blocks.State(b + alloc.BlockID(n)); err != nil || next != st {
			return st, n, err
		}
	}
	return st, n, nil
}
