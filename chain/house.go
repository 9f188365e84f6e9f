package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slatefs/chain/fault"
)

// chore is a kind of background work. It is tried again with a back-off, whatever kept it from being done, and keeps no
// other from being done.
type chore struct {
	name string
	due  func() bool                               // there is some; the plan lock is held
	do   func(context.Context) (did bool, e error) // one piece of it; did: there may be more
	try  backoff
}

// chores of a pool, in the order in which they are looked at. Walks, sweeps, layers that go and what was destroyed and
// has had its time have a back-off for each thing, so that one that is damaged does not keep the others.
func (p *Pool) newChores() []*chore {
	return []*chore{
		{name: "the checkpoint", due: p.checkpointDue, do: func(context.Context) (bool, error) { return p.checkpointOnce() == nil, nil }},
		{name: "claiming blocks ahead", due: p.claimDue, do: func(context.Context) (bool, error) {
			got, err := p.claim()
			return got == supplyGot, err
		}},
		{name: "space of the host", due: p.askDue, do: func(context.Context) (bool, error) { p.askHost(); return false, nil }},
		{name: "pages for metadata", due: func() bool { return p.storeLow() && !p.host.refuse.failing() }, do: p.grant},
		{name: "layers that nobody holds", due: func() bool { return p.reapable() != nil || p.firstGoing() != 0 || p.fallsStale() }, do: func(context.Context) (bool, error) {
			return true, p.reapAll()
		}},
		{name: "what was destroyed and has had its time", due: func() bool { return p.overdue() != 0 }, do: p.expireOne},
		{name: "the erase log", due: p.logFull, do: func(context.Context) (bool, error) { return true, p.trimLog() }},
		{name: "groups of blocks", due: func() bool { return p.shunnedDue() >= 0 }, do: p.readShunned},
		{name: "walks", due: func() bool { return p.walkReady(false) != nil }, do: p.walkOne},
		{name: "sweeps", due: func() bool { return p.sweepable(false) != nil }, do: func(context.Context) (bool, error) {
			return p.sweepStep(false)
		}},
	}
}

// Run keeps house until ctx is done: it claims blocks ahead, takes checkpoints, walks and sweeps. What it cannot do it
// tries again later, and shows in Usage; when the pool turns read-only it rests. It returns nil.
func (p *Pool) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if !p.keepHouse(ctx) {
			p.rest(ctx)
		}
	}
	return nil
}

// rest returns when there may be work, or when ctx is done.
func (p *Pool) rest(ctx context.Context) {
	var due <-chan time.Time
	if d, any := p.untilDue(); any {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-p.wake:
	case <-due:
	}
}

// untilDue is how long it is until something is to be tried again, or what is kept has had its time.
func (p *Pool) untilDue() (d time.Duration, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writable() != nil {
		return 0, false
	}
	d, any = p.untilOverdue()
	now := p.opt.Now()
	for b := range p.troubles {
		p.mu.step(1)
		w := b.at.Sub(now)
		if w <= 0 { // its time has come, and it could not be tried
			w = firstRetry
		}
		if !any || w < d {
			d, any = w, true
		}
	}
	return d, any
}

// keepHouse does one piece of background work, and tells whether there was any.
func (p *Pool) keepHouse(ctx context.Context) bool {
	for _, c := range p.chores {
		if ctx.Err() != nil {
			return false
		}
		p.mu.Lock()
		due := p.writable() == nil && p.mayTry(&c.try)
		if due && !c.due() {
			due = false
			p.forgetTry(&c.try) // there is none of it any more
		}
		p.mu.Unlock()
		if !due {
			continue
		}
		did, err := c.do(ctx)
		p.mu.Lock()
		p.noteTry(&c.try, c.name, err)
		p.mu.Unlock()
		if did && err == nil {
			return true
		}
	}
	return false
}

// checkpointDue: half of the ring is used, too much waits in memory, a walk waits for one, or the last one failed.
func (p *Pool) checkpointDue() bool {
	return p.mayTry(&p.checkpoints) && (p.wantsCheckpoint() || p.walkWaits() || p.checkpoints.failing())
}

// askDue: the host had no space, and is asked again now and then, not for each thing that needs it.
func (p *Pool) askDue() bool { return p.host.refuse.failing() && p.host.refuse.due(p.opt.Now()) }

// claimDue: the window is half empty, and somebody writes.
func (p *Pool) claimDue() bool {
	return !p.host.refuse.failing() && p.blocks.WindowReady() < p.format.Window/2 && p.claimable() > 0 && p.wrote
}

// noteTry notes how a try of something ended that is tried again: it is failing, or well again. An error of the pool is
// nobody's in particular, and one of a pool that is closed, or of who gave up waiting, says nothing. The plan lock is held.
func (p *Pool) noteTry(b *backoff, what string, err error) {
	switch {
	case err == nil:
		delete(p.troubles, b)
		if b.succeed() {
			p.log.Info("works again", "pool", p.name, "what", what)
			p.poke()
		}
		return
	case p.failed != nil, fault.Of(err) == fault.Pool, errors.Is(err, ErrClosed), errors.Is(err, ErrHostSpace), errors.Is(err, context.Canceled):
		return
	}
	wait := b.fail(p.opt.Now(), err)
	p.troubles[b] = what
	if errors.Is(err, ErrNoSpace) {
		return // Usage says so
	}
	p.log.Error("could not be done, and is tried again", "pool", p.name, "what", what, "kind", fault.Of(err).String(), "tries", b.tries,
		"wait", wait, "error", err)
}

// passing: the device could not, or one thing is damaged. It concerns what was tried, and nobody who needed it done only
// because it would help.
func passing(err error) bool {
	return fault.Of(err) == fault.Transient || fault.Of(err) == fault.Object
}

// mayTry: its time has come. The clock is looked at only for what is failing.
func (p *Pool) mayTry(b *backoff) bool { return !b.failing() || b.due(p.opt.Now()) }

// forgetTry: what was tried is no more. Nil: it is no more already.
func (p *Pool) forgetTry(b *backoff) {
	if b == nil {
		return
	}
	delete(p.troubles, b)
	*b = backoff{}
}

// Trouble is something that could not be done in the background and is tried again.
type Trouble struct {
	What  string
	Tries int       // that failed, one after the other
	Next  time.Time // not tried before
	Kind  string    // whom the error concerns: see chain/fault
	Error string    // of the last try
}

// troubleList lists what is failing, the most often tried first.
func (p *Pool) troubleList() (out []Trouble) {
	add := func(what string, b *backoff) {
		out = append(out, Trouble{what, b.tries, b.at, fault.Of(b.err).String(), b.err.Error()})
	}
	p.mu.step(len(p.troubles) + len(p.sick))
	for b, what := range p.troubles {
		add(what, b)
	}
	for j := range p.sick {
		add(fmt.Sprintf("erase job %d, of %s", j.id, cmp.Or(j.volume, "nobody")), &j.sick)
	}
	slices.SortFunc(out, func(a, b Trouble) int { return cmp.Or(cmp.Compare(b.Tries, a.Tries), cmp.Compare(a.What, b.What)) })
	return out
}

// noteDamage names something that a damaged page touches. The plan lock is held.
func (p *Pool) noteDamage(what string) {
	if p.damages[what] {
		return
	}
	p.damages[what] = true
	p.log.Error("metadata is damaged", "pool", p.name, "what", what)
}

// shun passes by a group whose page cannot be read now: its clean blocks are not available until it can be. The plan lock is
// held.
func (p *Pool) shun(g int, err error) {
	b := p.shunned[g]
	if b == nil {
		b = &backoff{}
		p.shunned[g] = b
	}
	p.noteTry(b, fmt.Sprintf("reading group %d of the blocks", g), wrapCorrupt(err))
	p.blocks.Shun(g)
}

// shunnedDue is a group that is passed by and may be tried again, or -1. The plan lock is held.
func (p *Pool) shunnedDue() int {
	for g, b := range p.shunned {
		p.mu.step(1)
		if p.mayTry(b) {
			return g
		}
	}
	return -1
}

// readShunned tries to read a group that is passed by.
func (p *Pool) readShunned(context.Context) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.shunnedDue()
	if g < 0 {
		return false, nil
	}
	if g < p.blocks.Groups() { // else it went with the pool's end
		if err := p.loadGroup(g); err != nil {
			p.shun(g, err)
			return true, nil
		}
	}
	p.noteTry(p.shunned[g], fmt.Sprintf("reading group %d of the blocks", g), nil)
	delete(p.shunned, g)
	return true, nil
}
