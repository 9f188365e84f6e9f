package chain

import (
	"errors"
	"fmt"

	"slatefs/chain/fault"
	"slatefs/chain/journal"
)

// Flush makes everything durable that was acknowledged before the call: data first, then the records that name it.
// Concurrent calls share one commit. An error of the pool is final, the pool is read-only. After a transient one, all that
// was to become durable still waits for the next call.
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
	number, lsn, gen := p.started, p.lsn, p.super.Generation
	batch := p.cutBatch(false)
	p.mu.Unlock()

	_, err := p.makeDurable(gen, batch, false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room.cutting = 0
	if err != nil {
		p.pending = append(batch, p.pending...)
		return false, err
	}
	p.ended, p.durable = number, lsn
	p.poke()
	return true, nil
}

// makeDurable syncs what the records of a batch name, and writes the batch; an empty one only for a checkpoint's cut: it
// proves, if the superblock of this generation should be lost, that it was. A cut that came to nothing has proved that. The commit lock is held. A lost sync or
// journal write is of the pool, which has failed then. Any other error leaves the journal as it was.
func (p *Pool) makeDurable(gen uint64, batch []byte, cut bool) (at journal.Pos, err error) {
	if err := p.dev.Sync(); err != nil {
		return at, p.fail(fmt.Errorf("sync of the device: %w", err))
	}
	if err := p.mustHold(); err != nil {
		return at, err
	}
	if len(batch) == 0 && (!cut || p.unbuilt && p.lastGen == gen) {
		return p.last, nil
	}
	if at, err = p.append(gen, batch); err != nil {
		return at, p.fail(err)
	}
	p.last, p.lastGen = at, gen
	return at, nil
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
	return used >= p.format.Ring/2 || p.deepest() > maxStoreys
}

// maxStoreys bounds the stack that a lookup goes down: snapshots since the last checkpoint.
const maxStoreys = 8

func (p *Pool) deepest() (depth int) {
	for l := range p.dirtyLayers {
		p.mu.step(1)
		if l.head {
			_, d := l.top.Bottom()
			depth = max(depth, d)
		}
	}
	return depth
}
