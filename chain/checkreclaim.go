package chain

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"slatefs/chain/blockdev"
)

// CheckReclaim proves that what counts as available can be had. It opens the pool on dev over an overlay, as a mount after a
// crash would, does there what the background would do in the end, walks, sweeps, the end of all that is destroyed and
// kept, and the erase of all that is dirty, and compares what is clean then with what was counted. What lacks is an error
// that names what would not come. At last it checks what the pool has become. dev is not written, and must not change.
//
// Errors are those of Open. What goes wrong after it is a finding.
func CheckReclaim(ctx context.Context, dev blockdev.Device, o Options) (*CheckReport, error) {
	o.ReadOnly, o.Host, o.TakeOver, o.ZeroNow = false, nil, true, nil
	over := blockdev.NewOverlay(dev)
	p, err := Open(over, o)
	if errors.Is(err, ErrCorrupt) {
		return &CheckReport{Errors: []string{err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	c := &reclaimer{p: p, r: &CheckReport{}}
	c.start()
	c.drive(ctx)
	if err := ctx.Err(); err != nil {
		return c.r, err
	}
	c.left()
	c.find()
	c.compare()
	p.mu.Lock()
	failed, damages := p.failed, slices.Sorted(maps.Keys(p.health.damages))
	p.mu.Unlock()
	if failed != nil {
		c.r.bad("while reclaiming: %v", failed)
		return c.r, nil
	}
	for _, d := range damages {
		c.r.bad("while reclaiming: %s", d)
	}
	after, err := p.Check(ctx)
	if err != nil {
		c.r.bad("after reclaiming: %v", err)
		return c.r, ctx.Err()
	}
	for _, e := range after.Errors {
		c.r.bad("after reclaiming: %s", e)
	}
	for _, l := range after.Leaks {
		c.r.leak("after reclaiming: %s", l)
	}
	c.r.Blocks, c.r.Pages, c.r.Layers = after.Blocks, after.Pages, after.Layers
	return c.r, nil
}

// reclaimer is one CheckReclaim.
type reclaimer struct {
	p      *Pool
	r      *CheckReport
	unused int64 // blocks that were counted
	meta   int64 // and those of the store, which takes some of them while it is driven
	found  int64
}

func (c *reclaimer) start() {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	c.unused, c.meta = p.space.unused(), p.blocks.alloc.Counts().Meta
	p.jobs.demand++ // jobs of erase=none are erased for who needs the space
}

// drive does what the background does, until there is nothing left to do.
func (c *reclaimer) drive(ctx context.Context) {
	for more := true; more && ctx.Err() == nil; {
		more = false
		for _, step := range []struct {
			what string
			do   func(context.Context) (bool, error)
		}{
			{"walks and sweeps", c.drain},
			{"erase", c.erase},
			{"the end of what is destroyed and kept", c.endKept},
		} {
			did, err := step.do(ctx)
			if err != nil && ctx.Err() == nil {
				c.r.bad("reclaiming: %s: %v", step.what, err)
				return
			}
			more = more || did
		}
	}
}

// drain brings into jobs what is freed.
func (c *reclaimer) drain(ctx context.Context) (bool, error) {
	before := c.records()
	err := c.p.EraseDrain(ctx)
	return c.records() != before, err
}

func (c *reclaimer) records() uint64 {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.p.commits.lsn
}

// reclaimStep is how much is erased at once, in bytes.
const reclaimStep = 256 << 20

// erase zeroes all that is handed out.
func (c *reclaimer) erase(ctx context.Context) (did bool, err error) {
	p := c.p
	for ctx.Err() == nil {
		h, err := p.Next(reclaimStep)
		if err != nil || h.Token == 0 {
			return did, err
		}
		did = true
		for _, x := range h.Runs {
			if err := p.dev.Zero(x.Off, x.Len, blockdev.Overwrite); err != nil {
				return did, err
			}
		}
		if _, err := p.Report(blockdev.Done{Token: h.Token, Zeroed: h.Runs}, How{}); err != nil {
			return did, err
		}
		if err := p.Flush(); err != nil {
			return did, err
		}
	}
	return did, nil
}

// endKept ends one of the things that are destroyed and kept, as a writer who needs its space would.
func (c *reclaimer) endKept(context.Context) (bool, error) { return c.p.removal.sacrifice() }

// left names what did not become clean and was counted.
func (c *reclaimer) left() {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(p.jobs.all)) {
		j := p.jobs.all[id]
		if n := j.dirtyBlocks() + j.badN; n > 0 {
			c.r.bad("erase job %d (%s): %d blocks of it cannot be erased%s", id, cmp.Or(j.volume, j.reason), n, because(j.sick.Err))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.tree.walks)) {
		w := p.tree.walks[id]
		c.r.bad("walk %d: the blocks of layer %v from block %d on cannot be freed", id, w.layer.id, w.next)
	}
	if p.tree.freeing != 0 && len(p.tree.walks) == 0 {
		c.r.bad("%d blocks are said to be freed still, and no walk brings them", p.tree.freeing)
	}
	for _, id := range p.destroyed.ends.inOrder() {
		c.r.bad("destroyed thing %d (%s): it cannot be ended", id, p.destroyed.rows[id].what())
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// stranded checks what walks cannot find now.
func (c *checker) stranded() {
	var sick, waiting int64
	for _, l := range c.p.tree.layers {
		fails, waits := 0, 0
		for _, w := range l.walks {
			if w.try.Failing() {
				fails++
			}
			if _, is := c.p.tree.walkTurns.waiting.Get(w.key()); is {
				waits++
			}
		}
		switch {
		case fails != l.sickWalks || waits != l.waitWalks:
			c.r.bad("layer %v: %d walks are failing and %d wait, counted %d and %d", l.id, fails, waits, l.sickWalks, l.waitWalks)
		case !l.dead:
		case fails > 0:
			sick += l.own
		case waits > 0:
			waiting += l.own
		}
	}
	if s := &c.p.tree.stuck; sick != s.sickN || waiting != s.waitN {
		c.r.bad("%d blocks are of failing walks and %d of those that wait, counted %d and %d", sick, waiting, s.sickN, s.waitN)
	}
}

// find counts the clean blocks that can be found, and names groups in which they cannot be.
func (c *reclaimer) find() {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for g := range p.blocks.alloc.Groups() {
		n := p.blocks.alloc.GroupCounts(g).Clean
		if n == 0 || p.blocks.alloc.Loaded(g) {
			continue
		}
		if err := p.blocks.loadGroup(g); err != nil {
			p.blocks.alloc.Shun(g)
			c.r.bad("group %d: %d clean blocks cannot be found: %v", g, n, err)
		}
		p.blocks.trimGroups()
	}
	c.found = p.blocks.alloc.Findable()
}

// compare compares what was found with what was counted.
func (c *reclaimer) compare() {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	took := p.blocks.alloc.Counts().Meta - c.meta
	c.r.Counted, c.r.Reclaimed = c.unused*BlockSize, (c.found+took)*BlockSize
	if lack := c.unused - c.found - took; lack > 0 {
		c.r.bad("%d blocks were counted as available or reserved, %d of them cannot be had", c.unused, lack)
	}
	if u := p.space.unused() + took; u < c.unused {
		c.r.bad("%d blocks were counted as available or reserved, in the end %d", c.unused, u)
	}
}
