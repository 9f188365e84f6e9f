package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/chain/fault"
	"slatefs/chain/journal"
)

// Flush makes everything durable that was acknowledged before the call: data first, then the records that name it.
// Concurrent calls share one commit. An error is final, the pool is read-only.
func (p *Pool) Flush() error {
	p.mu.Lock()
	since := p.started
	err := p.failed
	p.mu.Unlock()
	if err != nil {
		return err
	}
	done := func() bool { return p.ended > since } // by one that began after this call
	if ok, err := p.commit(done, p.mayCommit); ok || err != nil {
		return err
	}
	err = p.checkpointUnless(done) // the ring has no room for a batch of its own
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended > since { // its batch is durable, whatever became of its pages
		return p.failed
	}
	return err
}

func never() bool  { return false }
func always() bool { return true }

// commit writes the records that wait as a batch, unless that is done already or may not be. It tells whether they are
// durable.
//
// The order is invariant 4: a record exists only once its data has arrived, so the sync before the batch covers the
// data of every record in it. The journal syncs the batch itself.
func (p *Pool) commit(done, may func() bool) (bool, error) {
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	p.mu.Lock()
	if p.failed != nil {
		defer p.mu.Unlock()
		return false, p.failed
	}
	if ok := done(); ok || !may() {
		defer p.mu.Unlock()
		return ok, nil
	}
	p.started++
	number, lsn, gen := p.started, p.lsn, p.super.generation
	batch := p.cutBatch(false)
	p.mu.Unlock()

	if err := p.dev.Sync(); err != nil {
		return false, p.fail(fmt.Errorf("sync of the device: %w", err))
	}
	if err := p.stillHeld(); err != nil {
		return false, p.fail(err)
	}
	if len(batch) > 0 {
		if _, err := p.append(gen, batch); err != nil {
			return false, p.fail(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room.cutting = 0
	p.ended, p.durable = number, lsn
	p.poke()
	return true, nil
}

// cutBatch takes the records that wait, which are a batch from now on; an empty one too where it is written. Commit lock
// and plan lock are held.
func (p *Pool) cutBatch(empty bool) []byte {
	batch := p.pending
	p.pending = nil
	if len(batch) > 0 || empty {
		p.room.cutting = p.journal.Takes(int64(len(batch)))
	}
	return batch
}

// append writes a batch that was cut. That there is room for it is the invariant of rooms.
func (p *Pool) append(gen uint64, batch []byte) (journal.Pos, error) {
	at, err := p.journal.Append(gen, batch)
	if errors.Is(err, journal.ErrFull) {
		fault.Misuse("journal room: a batch of %d bytes does not fit: %v", len(batch), err)
	}
	if err != nil {
		return at, fmt.Errorf("journal batch of %d bytes: %w", len(batch), err)
	}
	return at, nil
}

// wantsCheckpoint: half of the ring is used, or too much waits in memory. The plan lock is held.
func (p *Pool) wantsCheckpoint() bool {
	used := p.journal.Used() + int64(len(p.pending))
	return used >= p.format.ring/2 || p.deepest() > maxStoreys
}

// maxStoreys bounds the stack that a lookup goes down: snapshots since the last checkpoint.
const maxStoreys = 8

func (p *Pool) deepest() (depth int) {
	for l := range p.dirtyLayers {
		if l.head {
			_, d := l.top.bottom()
			depth = max(depth, d)
		}
	}
	return depth
}

// Run keeps house until ctx is done: it claims blocks ahead, takes checkpoints, walks and sweeps. An error is final.
func (p *Pool) Run(ctx context.Context) error {
	for {
		did, err := p.keepHouse(ctx)
		if err != nil {
			return err
		}
		if did && ctx.Err() == nil {
			continue
		}
		if err := p.rest(ctx); err != nil {
			return nil //nolint:nilerr // it is ctx's
		}
	}
}

// rest returns when there may be work, or with ctx's error.
func (p *Pool) rest(ctx context.Context) error {
	var due <-chan time.Time
	if d, any := p.untilOverdue(); any {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.wake:
	case <-due:
	}
	return nil
}

// keepHouse does one piece of background work, and tells whether there was any.
func (p *Pool) keepHouse(ctx context.Context) (did bool, err error) {
	p.mu.Lock()
	if err := p.writable(); err != nil {
		p.mu.Unlock()
		return false, err
	}
	checkpoint := p.wantsCheckpoint() || p.walkWaits()
	short := p.host.refuse.failing() // the host is asked again now and then, not for each thing that needs it
	claim := !short && p.blocks.WindowReady() < p.format.window/2 && p.claimable() > 0 && p.writers()
	grant := !short && p.storeLow()
	ask := short && p.host.refuse.due(p.opt.Now())
	walk := p.walkReady()
	reap := p.reapable() != nil || len(p.going) > 0
	trim := p.logFull()
	over := p.overdue()
	p.mu.Unlock()
	switch {
	case checkpoint:
		return true, p.Checkpoint()
	case claim:
		got, err := p.claim()
		if err != nil && !errors.Is(err, ErrHostSpace) || got == supplyGot {
			return got == supplyGot, err
		}
	}
	if ask {
		p.askHost()
	}
	if grant {
		if ok, err := p.grant(ctx); err != nil && !errors.Is(err, ErrHostSpace) || ok {
			return ok, err
		}
	}
	if reap {
		if err := p.reapAll(); err != nil && !errors.Is(err, ErrNoSpace) {
			return true, err
		}
	}
	if over != 0 {
		if err := p.expire(over); !errors.Is(err, ErrNoSpace) {
			return true, err
		}
	}
	if trim {
		return true, p.trimLog()
	}
	if walk != nil {
		return true, p.walkStep(walk)
	}
	return p.sweepStep(false)
}

func (p *Pool) writers() bool {
	for _, v := range p.vols {
		if v.writes > 0 {
			return true
		}
	}
	return false
}
