package chain

import (
	"context"
	"errors"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Pace is how somebody reads all metadata beside others. The zero Pace reads as fast as it can.
type Pace struct {
	Rest     func(ctx context.Context, bytes int64) error // is called when so much was read, and may wait; nil: never
	Progress func(done, total int64)                      // bytes of metadata; nil: nobody looks
}

// ErrOvertaken is for who reads the pages of a checkpoint while later ones needed their room.
var ErrOvertaken = fault.Mark(fault.Transient, errors.New("so much is written that what is read had to be given up"))

// CheckOnline checks a pool that is in use, as Check does, beside all others: a checkpoint is taken, and what it left is read while
// later ones follow. It holds no lock that anybody waits for. What is in memory only (the accounts of the ledger) is not checked, and
// clean blocks are not read; of a pool opened read-only neither.
//
// Errors: ErrOvertaken, if that happened time and again; those of a checkpoint; pace's, and ctx's.
func (p *Pool) CheckOnline(ctx context.Context, pace Pace) (r *CheckReport, err error) {
	if p.opt.ReadOnly {
		p.mu.Lock()
		s, slot := p.supers.super, p.supers.slot
		p.mu.Unlock()
		view := newPool(p.dev, Options{Now: p.opt.Now, ReadOnly: true, CacheBytes: viewCache(p.opt)}, s, slot)
		if err := mount(view); err != nil {
			return brokenReport(err)
		}
		defer view.commits.journal.Close()
		return checkAt(ctx, view, pace)
	}
	lost := lostSupers(p)
	if r, err = checkPinned(ctx, p, pace); r != nil {
		r.Lost = append(lost, r.Lost...)
	}
	return r, err
}

// viewCache is what clean pages of a view may take: most of them it reads once. Its marks may have as much.
func viewCache(o Options) int64 { return o.CacheBytes / 4 }

// viewMem is what a check of a view has in all, in bytes: the pool's own pages give way to it. Whose each page is it knows of all.
func viewMem(o Options, pages int) int64 {
	return viewCache(o) + int64(viewMarks(viewCache(o)))*markMem + int64(pages)*pageMarkMem
}

// viewMarks is how many runs a check of a view remembers at once: as many as its cache has room for, within bounds.
func viewMarks(cache int64) int { return int(min(max(cache/markMem, leastMarks), checkMarks)) }

// brokenReport is that of a pool that cannot be read to the end.
func brokenReport(err error) (*CheckReport, error) {
	if errors.Is(err, ErrCorrupt) {
		return &CheckReport{Errors: []string{err.Error()}}, nil
	}
	return nil, err
}

// pinTries is how often a checkpoint is read anew that was given up.
const pinTries = 3

// checkPinned checks a checkpoint.
func checkPinned(ctx context.Context, p *Pool, pace Pace) (r *CheckReport, err error) {
	for range pinTries {
		view, pin, err := pinCheckpoint(p)
		if err != nil {
			return brokenReport(err)
		}
		r, err = checkAt(ctx, view, pace)
		if pin.Release() || err != nil {
			return r, err
		}
	}
	return nil, fmt.Errorf("pool %s: check: %w", p.name, ErrOvertaken)
}

// pinLimit bounds the pages that a check keeps from being used again: 16 MiB, or a quarter of all.
func pinLimit(s *meta.Store) int { return max(4096, s.UsedPages()/4) }

// pinCheckpoint takes a checkpoint and opens the pool as it left it, read-only; its pages stay until the pin is released. One at
// a time: others wait.
func pinCheckpoint(p *Pool) (view *Pool, pin *pinned, err error) {
	if err := p.Checkpoint(); err != nil {
		return nil, nil, err
	}
	p.persist.pinning.Lock()
	p.commits.workMu.Lock()
	p.mu.Lock()
	s, slot := p.supers.super, p.supers.slot
	p.memory.lend(viewMem(p.opt, p.blocks.store.UsedPages()))
	p.mu.Unlock()
	pin = &pinned{p.blocks.store.Pin(pinLimit(p.blocks.store)), p.persist}
	p.commits.workMu.Unlock()
	view = newPool(p.dev, Options{Now: p.opt.Now, ReadOnly: true, CacheBytes: viewCache(p.opt)}, s, slot)
	if err := loadAlone(view); err != nil {
		if !pin.Release() {
			err = ErrOvertaken
		}
		return nil, nil, wrapCorrupt(err)
	}
	return view, pin, nil
}

// pinned is a pin that one has at a time.
type pinned struct {
	*meta.Pin
	of *checkpointer
}

// Release ends it: see meta.Pin.
func (p *pinned) Release() (whole bool) {
	defer p.of.pinning.Unlock()
	p.of.mu.Lock()
	p.of.memory.lend(0)
	p.of.mu.Unlock()
	return p.Pin.Release()
}

// checkAt is checkMemory at a pace, that reads no clean blocks.
func checkAt(ctx context.Context, p *Pool, pace Pace) (*CheckReport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return newChecker(ctx, p, pace).check(false)
}

// newChecker begins a check.
func newChecker(ctx context.Context, p *Pool, pace Pace) *checker {
	c := &checker{
		p: p, ctx: ctx, view: p.commits.journal == nil, r: &CheckReport{}, pages: map[alloc.BlockID]string{}, pace: pace,
		most: checkMarks, wide: 1, have: map[LayerID]int64{},
	}
	if c.view {
		c.most = viewMarks(p.opt.CacheBytes)
	}
	if p.opt.ReadOnly && !c.view && pace.Rest == nil {
		c.wide = checkWide
	}
	return c
}

// What a check remembers: of how many runs at once, and in bytes of one, and of a page.
const (
	checkMarks  = 1 << 20
	leastMarks  = 1 << 12
	markMem     = 60
	pageMarkMem = 48
)

// checkWide is how many pages are looked at before, and how many copies are read at once, where nobody else uses the pool. It is
// little of a cache.
const checkWide = 256

// passes runs fn for one part of the device after the other, with as many runs in each as a check may remember: see narrow.
func (c *checker) passes(fn func()) {
	total := alloc.BlockID(c.p.blocks.alloc.Total())
	for c.lo = 0; c.lo < total && c.goesOn(); c.lo = c.hi {
		c.hi, c.seen, c.dead, c.again = total, omap.Map[mark]{}, 0, c.lo > 0
		fn()
		c.readCopies()
		c.seen.Ascend(omap.Key{}, func(_ omap.Key, m mark) bool {
			if m.as&(seenLive|seenDirty|seenWalk) != 0 && m.as&seenMeta == 0 && c.p.origins.covers(m.birth) {
				c.have[m.birth] += m.n
			}
			return true
		})
	}
}

// narrow ends the part of the device that this pass looks at in the middle of what it has seen, when that is too much.
func (c *checker) narrow() {
	if c.seen.Len() < c.most {
		return
	}
	half, n := c.hi, 0
	c.seen.Ascend(omap.Key{}, func(k omap.Key, _ mark) bool {
		half, n = alloc.BlockID(k.Hi), n+1
		return n <= c.most/2
	})
	if half <= c.lo || half >= c.hi {
		return
	}
	c.hi = half
	c.seen.CutAt(devKey(half))
	if at, m, ok := c.markAt(half - 1); ok && at+alloc.BlockID(m.n) > half {
		m.n = int64(half - at)
		c.seen.Set(devKey(at), m)
	}
}

// goesOn tells whether nobody has ended the check.
func (c *checker) goesOn() bool {
	if c.err == nil {
		c.err = c.ctx.Err()
	}
	return c.err == nil
}

// read notes that so many pages were read, and rests.
func (c *checker) read(pages int) {
	c.done += int64(pages)
	if c.pace.Progress != nil {
		c.pace.Progress(min(c.done, c.total())*BlockSize, c.total()*BlockSize)
	}
	if c.pace.Rest != nil && c.goesOn() {
		c.err = c.pace.Rest(c.ctx, int64(pages)*BlockSize)
	}
}

func (c *checker) total() int64 { return int64(c.p.blocks.store.UsedPages()) }
