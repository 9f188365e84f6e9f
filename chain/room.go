package chain

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"slatefs/chain/fault"
)

// Room. The journal is a ring, and a checkpoint makes it empty; so whoever makes records must know before he starts that
// they fit, and that the checkpoint that would make room still fits behind them. A batch of records therefore begins with
// a reservation of what it may need at most (like the credits of a handle in Linux' jbd2): rooms owns the ring and says
// yes or no, a room is what one batch has got, do takes each record out of it, and what is left is given back.
//
// The invariant, at any instant, under the plan lock:
//
//	what waits for the next commit + all open rooms + what a checkpoint needs for its end <= what is free in the ring
//
// where a batch that was cut and is being written is free no more, each batch counts with its header and padding, and
// what a checkpoint needs for its end is the padding of its own batch and some grants of pages while it is built. So
// journal.Append is never full: a full one is a bug of this process, and said so (fault.Misuse). It holds because
//
//   - getRoom and tryRoom give only what leaves the invariant true, and do takes no more than was given (checked, see strictRoom);
//   - a commit, which turns bytes that wait into a batch with padding, is made only if the invariant holds behind it; where
//     it does not, Flush takes a checkpoint, whose batch is what was kept free (commitLog.commit, checkpointer.cut);
//   - a checkpoint waits for no room and for no plan, only for locks whose holders wait for neither.
//
// A tail of the ring, an eighth, is only for records that free, erase or finish, which are made under one hold of the
// plan lock: rooms of plans last as long as the I/O of a stalled device, and must not keep a delete or an erase.
//
// # Locks
//
// A wait for room stands among the locks: see Pool.lockOrder. So nobody waits for room who holds structure, commitMu,
// mu or workMu, or a room already. Who needs one under the plan lock takes it with tryRoom, and tells with a Need that
// there was none. Who waits is served in the order of coming: those that may use the tail wait
// for each other only, all others for everybody. Who was served and holds nothing, since a Need that was seen to does not,
// passes those that still wait, and they leave him his bytes until the next checkpoint: he may have given up.
//
// # Pages
//
// The second currency of a room are pages of the metadata store. What maps will need is known for each head (needN) and
// granted ahead; what open rooms may add is in rooms.pages, and both leave what is available. Rows come and go with each
// checkpoint and are not granted ahead: where the pool has few clean blocks left, a change that might leave the next
// checkpoint short takes one first (pagesShort), so that no checkpoint lacks pages: that would be the end of the pool.
//
// # What a batch may take
//
// Nothing that grows with what users make may be one batch. What is bounded, and by what:
//
//	batch                                     bound
//	write: commit or abort of a plan          planBytes: 64 for each run, 22 for each block of it
//	discard, step of                          unmapRuns runs of 16; more than largeDiscard blocks: one recDetach
//	step of a walk, step of a sweep           stepBytes: walkRuns runs and those of a leaf
//	claim; release of the window              claimRuns runs of claimBytes; pieceLen of them
//	grant of pages                            grantRuns runs of 16
//	seals of one call of Next                 sealBytes: as many as there is room for
//	report of erased blocks                   reportBytes and stepBytes: walkRuns runs, the rest in further ones
//	name made, moved, replaced or removed     changeBytes: 3 rows of names, 5 inodes, an orphan, xattrsAtOnce attributes
//	attribute set                             changeBytes: MaxXattr and its name, twice
//	properties set                            maxProp for each, of which there are as many as properties
//	removal of what has more attributes       an orphan first, then xattrsAtOnce a batch, then the inode (going.go)
//	removal of a volume: kept, open snapshots keptAtOnce, heldAtOnce a batch, before (going.go)
//	removal of one with many layers           layersAtOnce a batch, one record
//	removal of a directory: orphans of it     orphansAtOnce a batch, before (going.go)
//	and layers that it is charged for         homesAtOnce a batch, one record
//	destroy -r, -R, of snapshots              one volume a batch; snapshotsAtOnce snapshots; one merge
//	snapshot of several volumes at one        one record, 10 for each: ErrTooBig where the ring has no room for it
//	instant
//	orphans at a mount, what is kept and      one a batch
//	overdue
//	erase log: days that are over; cut;       daysAtOnce lines of 20; one record of sums; logPage keys of 20
//	rows that have left
type rooms struct {
	open    int64     // mu: bytes that open rooms may still take
	pages   int64     // mu: pages that the next checkpoint may need for open rooms
	cutting int64     // mu: ring bytes of the batch that was cut and is not written yet
	spent   *room     // mu: do takes from it; nil: no batch of records is being made
	waiting []*waiter // mu: who waits for room, first come first
	passes  int       // mu: who waited with a Need, was served, and will try again: they pass those that wait
	passing int64     // mu: bytes that those will take
}

// credit is what a batch of records needs before it starts.
type credit struct {
	bytes int64 // of the journal, at most
	pages int64 // of the store, that the next checkpoint may need for them
	frees bool  // its records free, erase or finish: it may take the tail
	cuts  bool  // its records cut or join trees
	light bool  // its records leave next to nothing in memory, or a checkpoint waits for them
}

// room is what a batch of records has got. It belongs to one goroutine at a time; the plan lock guards it.
type room struct{ left, pages int64 }

type waiter struct {
	frees bool
	moved chan struct{} // signalled when room was given back and this one is first
}

// tailBytes of the journal are kept for records that free, erase or finish.
func (cl *commitLog) tailBytes() int64 { return cl.format.Ring / 8 }

// padding bounds what one more batch costs beside its records.
func (cl *commitLog) padding() int64 { return cl.journal.Takes(0) + int64(cl.format.Unit) }

// refillBytes is what the grants take that a checkpoint may need while it is built, as records and batches. There is
// rarely one: what it needs is granted before (grantAhead).
func (cl *commitLog) refillBytes() int64 { return 2 * (refillRuns*16 + cl.padding()) }

// endBytes is what a checkpoint needs behind all records: it divides what waits from what open rooms will bring.
func (cl *commitLog) endBytes() int64 { return cl.padding() + cl.refillBytes() }

// freeBytes of the ring hold no batch that is needed, and get none that is under way.
func (cl *commitLog) freeBytes() int64 {
	return cl.format.Ring - cl.journal.Durable() - cl.room.cutting
}

// holds tells whether the invariant stays true with a credit more.
func (cl *commitLog) holds(c credit) bool {
	if !cl.memory.holds(c) {
		return false
	}
	n := cl.journal.Takes(int64(len(cl.pending))+cl.room.open+c.bytes) + cl.endBytes()
	return n+cl.keeps(c) <= cl.freeBytes() && cl.everHolds(c, int64(len(cl.pending))+cl.room.open)
}

// keeps is what a credit must leave.
func (cl *commitLog) keeps(c credit) int64 {
	if c.frees {
		return 0
	}
	return cl.tailBytes()
}

// everHolds tells whether a credit fits beside other bytes when the ring is empty but for what the last checkpoint left.
func (cl *commitLog) everHolds(c credit, others int64) bool {
	return cl.journal.Takes(others+c.bytes)+cl.endBytes()+cl.refillBytes()+cl.keeps(c) <= cl.format.Ring
}

// getRoom waits until there is room for a credit, and takes it. No lock is held but those before a wait for room, and no
// room. Errors: ErrTooBig for what never fits, ctx's, or why the pool takes no changes.
func (cl *commitLog) getRoom(ctx context.Context, c credit) (*room, error) {
	cl.assertMayWait()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if !cl.everHolds(c, 0) {
		return nil, fmt.Errorf("pool %s: records of %d bytes, a journal of %d: %w", cl.name, c.bytes, cl.format.Ring, ErrTooBig)
	}
	w := &waiter{c.frees, make(chan struct{}, 1)}
	cl.room.waiting = append(cl.room.waiting, w)
	defer cl.leaveQueue(w)
	for {
		if err := cl.writable(); err != nil {
			return nil, err
		}
		first := cl.firstWaiting(w)
		if first && cl.holds(cl.besidePassing(c)) {
			r := &room{}
			cl.take(r, c)
			return r, nil
		}
		if err := cl.awaitRoom(ctx, c, w, first); err != nil {
			return nil, err
		}
	}
}

// assertMayWait: who waits for room may hold no lock that a checkpoint takes.
func (cl *commitLog) assertMayWait() {
	cl.workMu.assertFree()
	cl.structure.assertFree()
	cl.commitMu.assertFree()
	cl.mu.assertFree()
}

// waitForRoom waits until there is room for a credit, and takes none: a Need that was seen to holds nothing.
func (cl *commitLog) waitForRoom(ctx context.Context, c credit) error {
	r, err := cl.getRoom(ctx, c)
	if err != nil {
		return err
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.giveBack(r, 0)
	cl.room.passes++
	cl.room.passing += c.bytes
	return nil
}

// besidePassing is a credit with what those take that were served.
func (cl *commitLog) besidePassing(c credit) credit {
	c.bytes += cl.room.passing
	return c
}

// passed ends one pass, or all of them.
func (cl *commitLog) passed(n int, bytes int64) {
	cl.room.passes -= n
	cl.room.passing -= min(bytes, cl.room.passing)
	if cl.room.passes == 0 {
		cl.room.passing = 0
	}
}

// awaitRoom does what may make room: who is first takes a checkpoint, if that helps; else it waits for what others give
// back. The plan lock is given up meanwhile.
func (cl *commitLog) awaitRoom(ctx context.Context, c credit, w *waiter, first bool) error {
	helps := first && cl.everHolds(c, cl.room.open)
	cl.mu.Unlock()
	defer cl.mu.Lock()
	if helps {
		return cl.checkpointUnless(func() bool { return cl.holds(cl.besidePassing(c)) })
	}
	select {
	case <-w.moved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (cl *commitLog) firstWaiting(w *waiter) bool {
	for _, o := range cl.room.waiting {
		if o == w {
			return true
		}
		if !w.frees || o.frees {
			return false
		}
	}
	return true
}

func (cl *commitLog) leaveQueue(w *waiter) {
	cl.room.waiting = slices.DeleteFunc(cl.room.waiting, func(o *waiter) bool { return o == w })
	cl.roomMoved()
}

// roomMoved wakes who waits first, of all and of those that free. The plan lock is held.
func (cl *commitLog) roomMoved() {
	cl.mu.assertHeld()
	for i, w := range cl.room.waiting {
		if i == 0 || w.frees {
			cl.signal(w.moved)
		}
		if w.frees {
			return
		}
	}
}

// tryRoom takes room without waiting; nil: there is none, or others wait for some. The plan lock is held.
func (cl *commitLog) tryRoom(c credit) *room {
	cl.mu.assertHeld()
	var r room
	if !cl.tryRoomFor(&r, c) {
		return nil
	}
	return &r
}

// tryRoomFor is tryRoom for a room that the caller owns, and allocates nothing.
func (cl *commitLog) tryRoomFor(r *room, c credit) bool {
	pass := cl.room.passes > 0
	if !pass && !cl.firstWaiting(&waiter{frees: c.frees}) || !cl.holds(c) {
		return false
	}
	if pass {
		cl.passed(1, c.bytes)
	}
	cl.take(r, c)
	return true
}

func (cl *commitLog) take(r *room, c credit) {
	cl.room.open += c.bytes
	cl.room.pages += c.pages
	*r = room{c.bytes, c.pages}
}

// giveBack ends a room, or makes it smaller: keep bytes of it stay. The plan lock is held.
func (cl *commitLog) giveBack(r *room, keep int64) {
	cl.mu.assertHeld()
	if r == nil {
		return
	}
	if n := r.left - keep; n > 0 {
		cl.room.open -= n
		r.left -= n
	}
	if keep == 0 {
		cl.room.pages -= r.pages
		r.pages = 0
	}
	cl.roomMoved()
}

// draw lets do take from a room, nil where there will be no records, until drawn. The plan lock is held, and must be until
// then.
func (cl *commitLog) draw(r *room) {
	cl.mu.assertHeld()
	if cl.room.spent != nil {
		fault.Misuse("journal room: a batch of records began within another")
	}
	cl.room.spent = r
}

func (cl *commitLog) drawn() { cl.room.spent = nil }

// within is draw and giveBack for a batch that is made under one hold of the plan lock.
func (cl *commitLog) within(r *room) (end func()) {
	cl.draw(r)
	return func() { cl.drawn(); cl.giveBack(r, 0) }
}

// unlocked gives the plan lock up in the middle of a batch, while fn runs.
func (cl *commitLog) unlocked(fn func()) {
	spent, cold := cl.room.spent, cl.cold
	cl.room.spent, cl.cold = nil, coldHold{}
	cl.mu.Unlock()
	fn()
	cl.mu.Lock()
	cl.room.spent, cl.cold = spent, cold
}

// strictRoom: a record that was not reserved ends the process, as any broken invariant. Without it, that is said in the
// log, and the record takes what nobody has; only where there is nothing left the process ends.
var strictRoom = invariants

// takeRoom takes n bytes of a record that was just added to what waits.
func (cl *commitLog) takeRoom(n int64, kind byte) {
	r, left := cl.room.spent, int64(0)
	if r != nil {
		left = max(0, r.left)
		r.left -= min(n, left)
		cl.room.open -= min(n, left)
	}
	if n <= left {
		return
	}
	if strictRoom {
		fault.Misuse("journal room: a record of kind %d takes %d bytes, %d are reserved", kind, n, left)
	}
	cl.mu.say(cl.log, slog.LevelError, "a record takes more of the journal than was reserved", "pool", cl.name,
		"kind", kind, "bytes", n, "reserved", left)
}

// mayCommit tells whether what waits may become a batch of its own and leave the invariant true.
func (cl *commitLog) mayCommit() bool {
	n := int64(len(cl.pending))
	return n == 0 || cl.journal.Takes(n)+cl.journal.Takes(cl.room.open)+cl.endBytes() <= cl.freeBytes()
}

// endRoom is the room of a grant while a checkpoint is built: what was kept for that, and more while the ring has it; nil
// if it has not.
func (cl *commitLog) endRoom() *room {
	c := credit{bytes: refillRuns * 16}
	if cl.journal.Takes(int64(len(cl.pending))+cl.room.open+c.bytes)+cl.padding() > cl.freeBytes() {
		return nil
	}
	r := &room{}
	cl.take(r, c)
	return r
}

// checkpointUnless takes a checkpoint if, when its turn has come, that is still wanted: others may have taken one
// meanwhile.
func (cl *commitLog) checkpointUnless(done func() bool) error {
	cl.workMu.Lock()
	defer cl.workMu.Unlock()
	cl.mu.Lock()
	err, enough := cl.failed, done()
	cl.mu.Unlock()
	if err != nil || enough {
		return err
	}
	for range checkpointTries {
		if err = cl.takeCheckpoint(); fault.Of(err) != fault.Transient {
			break
		}
	}
	return err
}

// wakeWaiting makes all that wait for room look again. The plan lock is held.
func (cl *commitLog) wakeWaiting() {
	for _, w := range cl.room.waiting {
		cl.signal(w.moved)
	}
}
