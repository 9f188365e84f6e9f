package chain

import (
	"context"
	"fmt"
	"math"

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
	a.total += p.blocks.alloc.Counts().Clean
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
	for g := range a.p.blocks.alloc.Groups() {
		var runs []alloc.Run
		if err := a.p.blocks.groupInPieces(g, func(r alloc.Run, st alloc.State) {
			if st == alloc.Clean {
				runs = append(runs, r)
			}
		}); err != nil {
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
	err = p.commits.underPlan(func() (err error) {
		st, err = p.blocks.stateLoaded(b)
		cleaned = p.jobs.cleaned
		return err
	})
	return st, cleaned, err
}

// uses finds the blocks in use that are not live: those on their way to be erased, and those that nothing names.
func (p *Pool) uses(ctx context.Context) (queued, lost []alloc.Run, err error) {
	if p.opt.ReadOnly {
		return p.usesHere(ctx)
	}
	for range pinTries {
		view, pin, err := pinCheckpoint(p)
		if err != nil {
			return nil, nil, err
		}
		queued, lost, err = view.usesHere(ctx)
		if pin.Release() {
			return queued, lost, err
		}
	}
	return nil, nil, fmt.Errorf("pool %s: audit: %w", p.name, ErrOvertaken)
}

func (p *Pool) usesHere(ctx context.Context) (queued, lost []alloc.Run, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := newChecker(ctx, p, Pace{})
	c.hi, c.most = alloc.BlockID(p.blocks.alloc.Total()), math.MaxInt // its caller keeps all of it
	if err := p.blocks.settleGroups(); err != nil {
		return nil, nil, wrapCorrupt(err)
	}
	for _, step := range []func(){c.layers, c.jobs, c.walks} {
		step()
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
	if c.readCopies(); len(c.r.Errors) > 0 { // whose a block is cannot be told
		return nil, nil, fmt.Errorf("pool %s: %s: %w", p.name, c.r.Errors[0], ErrCorrupt)
	}
	for g := range p.blocks.alloc.Groups() {
		err := p.blocks.groupRuns(g, func(r alloc.Run, st alloc.State) {
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
		p.blocks.trimGroups()
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
	if !p.opt.ReadOnly {
		return nil, nil, fmt.Errorf("pool %s is in use: %w", p.name, ErrBusy)
	}
	p.mu.Lock()
	groups := p.blocks.alloc.Groups()
	p.mu.Unlock()
	for g := range groups { // nothing changes
		err := p.blocks.groupInPieces(g, func(r alloc.Run, st alloc.State) {
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
	}
	return guest, meta, nil
}
