package chain

import (
	"errors"
	"fmt"

	"slatefs/chain/codec"
	"slatefs/chain/fault"
	"slatefs/chain/journal"
)

// commitLog is the one way to change a pool: records go into the batch that waits (do), a batch goes into the journal when the
// data before it is durable (commit), and nobody begins who does not know that his records fit (room.go).
type commitLog struct {
	*core
	supers *superblocks
	memory *memory

	nextJob        uint64           // mu
	pending        []byte           // mu
	dataFirst      bool             // mu: what is on the device must be durable before the batch that waits is written
	lsn            uint64           // mu: records made
	durable        uint64           // mu: records that are on the device
	cold           coldHold         // mu: the hold that there is
	room           rooms            // mu
	last           journal.Pos      // commitMu: the last batch, and the generation in it
	lastGen        uint64           // commitMu
	unbuilt        bool             // workMu: the last cut came to nothing
	journal        *journal.Journal // self
	commitMu       workLock         // self
	started        uint64           // mu: commits begun
	ended          uint64           // mu: the last one that succeeded
	workMu         workLock         // self: one checkpoint at a time
	owner          recordOwner      // const: who carries records out
	takeCheckpoint func() error     // const: a checkpoint; workMu is held
}

// flush is Pool.Flush.
func (cl *commitLog) flush() error {
	cl.mu.Lock()
	since := cl.started
	err := cl.failed
	cl.mu.Unlock()
	if err != nil {
		return err
	}
	done := func() bool { return cl.ended > since } // by one that began after this call
	if ok, err := cl.commit(done, cl.mayCommit); ok || err != nil {
		return err
	}
	err = cl.checkpointUnless(done) // the ring has no room for a batch of its own
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.ended > since { // its batch is durable, whatever became of its pages
		return cl.failed
	}
	return err
}

func never() bool  { return false }
func always() bool { return true }

// commit writes the records that wait as a batch, unless that is done already or may not be. It tells whether they are
// durable.
//
// The order is invariant 4: a record exists only once its data has arrived, so the sync before the batch covers the
// data of every record in it. The journal syncs the batch itself. One sync is enough for both where all records fill holes
// (fillsHole): whatever part of the batch and of the data a crash leaves, such a block reads as zeros, as the hole did, or as
// what was written. But only after a batch of this mount whose data had a sync of its own: what the last one read in the journal,
// and has not made durable, may be lost in the next crash, and then no batch may lie behind it.
func (cl *commitLog) commit(done, may func() bool) (bool, error) {
	cl.commitMu.Lock()
	defer cl.commitMu.Unlock()
	cl.mu.Lock()
	if cl.failed != nil {
		defer cl.mu.Unlock()
		return false, cl.failed
	}
	if ok := done(); ok || !may() {
		defer cl.mu.Unlock()
		return ok, nil
	}
	cl.started++
	number, lsn, gen, dataFirst := cl.started, cl.lsn, cl.supers.super.Generation, cl.dataFirst
	batch := cl.cutBatch(false)
	cl.mu.Unlock()

	_, err := cl.makeDurable(gen, batch, dataFirst, false)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.room.cutting = 0
	if err != nil {
		cl.cutFailed(batch)
		return false, err
	}
	cl.mu.tail.Done(cl.journal.Pos())
	cl.ended, cl.durable = number, lsn
	cl.poke()
	return true, nil
}

// makeDurable syncs what the records of a batch name, and writes the batch; an empty one only for a checkpoint's cut: it
// proves, if the superblock of this generation should be lost, that it was. A cut that came to nothing has proved that. The commit lock is held. A lost sync or
// journal write is of the pool, which has failed then. Any other error leaves the journal as it was.
func (cl *commitLog) makeDurable(gen uint64, batch []byte, dataFirst, cut bool) (at journal.Pos, err error) {
	began := sinceThen()
	if dataFirst || len(batch) == 0 { // no data before its map
		if err := cl.dev.Sync(); err != nil {
			return at, cl.fail(fmt.Errorf("sync of the device: %w", err))
		}
	}
	if err := cl.supers.mustHold(); err != nil {
		return at, err
	}
	if len(batch) == 0 && (!cut || cl.unbuilt && cl.lastGen == gen) {
		cl.counts.commits.add(sinceThen() - began)
		return cl.last, nil
	}
	if at, err = cl.append(gen, batch); err != nil {
		return at, cl.fail(err)
	}
	cl.counts.commits.add(sinceThen() - began)
	cl.counts.batches.Add(1)
	cl.counts.batchBytes.Add(cl.journal.Takes(int64(len(batch))))
	cl.last, cl.lastGen = at, gen
	return at, nil
}

// cutBatch takes the records that wait, which are a batch from now on; an empty one too where it is written. Commit lock
// and plan lock are held.
func (cl *commitLog) cutBatch(empty bool) []byte {
	cl.mu.assertHeld()
	batch := cl.pending
	cl.pending, cl.dataFirst = nil, false
	cl.mu.tail.Cut()
	if len(batch) > 0 || empty {
		cl.room.cutting = cl.journal.Takes(int64(len(batch)))
	}
	return batch
}

// cutFailed: what was cut waits again, before what was made since. Of a pool that has failed nobody knows whether the batch is
// on the device, and nothing follows.
func (cl *commitLog) cutFailed(batch []byte) {
	cl.mu.assertHeld()
	cl.pending, cl.dataFirst = append(batch, cl.pending...), true
	if cl.failed == nil {
		cl.mu.tail.Undo()
	}
}

// append writes a batch that was cut. That there is room for it is the invariant of rooms.
func (cl *commitLog) append(gen uint64, batch []byte) (journal.Pos, error) {
	at, err := cl.journal.Append(gen, batch)
	if errors.Is(err, journal.ErrFull) {
		fault.Misuse("journal room: a batch of %d bytes does not fit: %v", len(batch), err)
	}
	if err != nil {
		return at, fmt.Errorf("journal batch of %d bytes: %w", len(batch), err)
	}
	return at, nil
}

// maxStoreys bounds the stack that a lookup goes down: snapshots since the last checkpoint.
const maxStoreys = 8

// do makes a record part of the pool: into the batch that waits for the next commit, then into memory. It takes the room
// for it from what its batch has reserved (commitLog.draw). The plan lock is held; for records that cut or join lists the
// structure lock too. What reads pages is prepared before anything changes: an error of that, transient or of one object,
// leaves all as it was; and where the hold has missed a page there is no first record (cold.go). An error of apply means that memory and journal differ: the pool fails.
func (cl *commitLog) do(r record) error {
	cl.mu.assertHeld()
	cl.mu.step(1)
	if invariants && cutsTrees(r) {
		cl.structure.assertHeld()
	}
	if err := cl.owner.prepareRecord(r); err != nil {
		return err
	}
	if cl.missed() {
		return errMissed
	}
	cl.cold.made = true
	e := codec.Encoder{B: cl.pending}
	kind := kindOf(r)
	e.Byte(kind)
	r.encode(&e)
	n := len(e.B) - len(cl.pending)
	cl.mu.tail.Add(e.B[len(cl.pending):])
	cl.pending, cl.dataFirst = e.B, cl.dataFirst || !fillsHole(r)
	cl.takeRoom(int64(n), kind)
	cl.lsn++
	if err := cl.owner.applyRecord(r); err != nil {
		return cl.failLocked(err)
	}
	return nil
}
