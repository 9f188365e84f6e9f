package chain

import (
	"context"
	"time"

	"slatefs/chain/fault"
)

// keeper does what is due in the background, a chore at a time, and what fails again later.
type keeper struct {
	*core
	health    *health
	commits   *commitLog
	plans     *planTable
	blocks    *blockSpace
	destroyed *destroyedIndex
	names     *nameTable
	origins   *originTable
	jobs      *jobQueue
	tree      *layerTree
	works     *works
	removal   *remover
	persist   *checkpointer

	inquire func(Subject) *inquiry // const
	chores  []*chore               // const: only Run's are tried
}

// chore is a kind of background work. It is tried again with a back-off, whatever kept it from being done, and keeps no
// other from being done.
type chore struct {
	name string
	due  func() bool                               // there is some; the plan lock is held
	do   func(context.Context) (did bool, e error) // one piece of it; did: there may be more
	try  fault.Backoff
}

// chores of a pool, in the order in which they are looked at. Walks, sweeps, layers that go and what was destroyed and
// has had its time have a back-off for each thing, so that one that is damaged does not keep the others.
func (hk *keeper) newChores() []*chore {
	return []*chore{
		{name: "the checkpoint", due: hk.checkpointDue, do: func(context.Context) (bool, error) { return hk.persist.checkpointOnce() == nil, nil }},
		{name: "claiming blocks ahead", due: hk.claimDue, do: func(context.Context) (bool, error) {
			got, err := hk.blocks.claim()
			return got == supplyGot, err
		}},
		{name: "space of the host", due: hk.askDue, do: func(context.Context) (bool, error) { hk.blocks.askHost(); return false, nil }},
		{name: "pages for metadata", due: func() bool { return hk.blocks.storeLow() && !hk.blocks.onHost.refuse.Failing() }, do: hk.works.grant},
		{name: "layers that nobody holds", due: hk.removal.reapDue, do: func(context.Context) (bool, error) {
			return true, hk.removal.reapWaiting()
		}},
		{name: "what was destroyed and has had its time", due: func() bool { return hk.destroyed.overdue() != 0 }, do: hk.removal.expireOne},
		{name: "days of the erase log", due: hk.jobs.lineDue, do: func(context.Context) (bool, error) { return true, hk.closeDays() }},
		{name: "what has left the erase log", due: hk.jobs.logLeaves, do: func(context.Context) (bool, error) { return true, hk.dropLogged() }},
		{name: "the erase log", due: hk.jobs.logFull, do: func(context.Context) (bool, error) { return true, hk.cutLog() }},
		{name: "accounts that have nothing left", due: func() bool { return len(hk.origins.closing) > 0 }, do: hk.closeSome},
		{name: "groups of blocks", due: func() bool { return hk.blocks.shunnedDue() >= 0 }, do: hk.blocks.readShunned},
		{name: "walks", due: func() bool { return hk.tree.walkReady(false) != nil }, do: hk.works.walkOne},
		{name: "sweeps", due: func() bool { return hk.tree.sweepable(false) != nil }, do: func(context.Context) (bool, error) {
			return hk.works.sweepStep(false)
		}},
	}
}

// Run keeps house until ctx is done: it claims blocks ahead, takes checkpoints, walks and sweeps. What it cannot do it
// tries again later, and shows in Usage; when the pool turns read-only it rests. It returns nil.
func (p *Pool) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if !p.keeper.keepHouse(ctx) {
			p.keeper.rest(ctx)
		}
	}
	return nil
}

// rest returns when there may be work, or when ctx is done.
func (hk *keeper) rest(ctx context.Context) {
	var due <-chan time.Time
	if d, any := hk.untilDue(); any {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-hk.wake:
	case <-due:
	}
}

// untilDue is how long it is until something is to be tried again, or what is kept has had its time, or a day is over.
func (hk *keeper) untilDue() (d time.Duration, any bool) {
	hk.mu.Lock()
	defer hk.mu.Unlock()
	if hk.writable() != nil {
		return 0, false
	}
	d, any = hk.destroyed.untilOverdue()
	if w, is := hk.jobs.untilDayOver(); is && (!any || w < d) {
		d, any = w, true
	}
	if w, is := hk.health.troubles.until(hk.opt.Now()); is && (!any || w < d) {
		d, any = w, true
	}
	return d, any
}

// keepHouse does one piece of background work, and tells whether there was any.
func (hk *keeper) keepHouse(ctx context.Context) bool {
	for _, c := range hk.chores {
		if ctx.Err() != nil {
			return false
		}
		hk.mu.Lock()
		due := hk.writable() == nil && hk.health.mayTry(&c.try)
		if due && !c.due() {
			due = false
			hk.health.forgetTry(&c.try) // there is none of it any more
		}
		hk.mu.Unlock()
		if !due {
			continue
		}
		did, err := c.do(ctx)
		hk.mu.Lock()
		hk.health.noteTry(&c.try, c.name, err)
		hk.mu.Unlock()
		if did && err == nil {
			return true
		}
	}
	return false
}

// checkpointDue: half of the ring is used, too much waits in memory, a walk waits for one, or the last one failed.
func (hk *keeper) checkpointDue() bool {
	return hk.health.mayTry(&hk.health.checkpoints) && (hk.persist.wantsCheckpoint() || hk.tree.walkWaits() || hk.health.checkpoints.Failing())
}

// askDue: the host had no space, and is asked again now and then, not for each thing that needs it.
func (hk *keeper) askDue() bool {
	return hk.blocks.onHost.refuse.Failing() && hk.blocks.onHost.refuse.Due(hk.opt.Now())
}

// claimDue: the window is half empty, and somebody writes.
func (hk *keeper) claimDue() bool {
	return !hk.blocks.onHost.refuse.Failing() && hk.blocks.alloc.WindowReady() < hk.format.Window/2 && hk.blocks.claimable() > 0 && hk.plans.wrote
}
