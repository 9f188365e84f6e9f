// Package erase is the scrubber: it writes zeros over dirty runs at a
// configured rate and tells the pool which of them are zero now.
//
// What holds here:
//
//   - Order. The runs come from the pool, which hands them out only when their
//     unmap is durable. Zeros are written, then the device is synced, then
//     read back (if verify is on), then reported; Report makes the record
//     durable. Only after that may the pool call a block clean.
//   - Fail closed. A run is reported as zeroed only if writing it, the sync
//     and the read-back all went well. Whatever else happened to it, it is
//     reported as failed or given back, and stays dirty. After a failed sync
//     nothing is reported at all: the runs stay handed out, and the pool, which
//     is read-only then, finds them dirty at its next mount.
//   - Upper bound. The background never writes more than rate x time, counted
//     from the moment it found work, from a change of the rate, from the end of
//     a pause, or from the opening of its window. It pays before it writes and earns nothing while there is no
//     work, so no burst follows an idle hour. What it lost to a slow device
//     while it had work it may make up for, up to one second's worth, so that
//     the rate is exact with a full queue.
//   - Intent first. Before the first run of a hand-out is released the pool has
//     it durably that it may be: a crash, or a report that fails, must not make
//     erased of it what lies below the device.
//   - One method at a time. Auto is resolved on blocks that are dirty anyway,
//     by reading back what a method did to them. A method that releases is
//     reported as that, never as one that erases.
//   - One worker. Next, zeroing, sync and Report are one critical section for
//     on-demand work, and background steps exclude it, so that no run is
//     written by two sides.
//
// What is claimed is that the device returns zeros; what a device keeps below
// its logical blocks is out of reach.
//
// What fails, and what is done about it. Each is counted in Stats.Errors and
// logged. Nothing but the end of its context ends Run.
//
//	what       kind of the error  what is done
//	---------  -----------------  ------------------------------------------------
//	Zero       any                the run is tried once more, block by block; what
//	                              fails again is reported failed: it stays dirty,
//	                              out of what is available, and the queue hands it
//	                              out again after a back-off. All else goes on
//	Zero       ErrMethod          zeros are written instead, from then on
//	read-back  any, or not zero   the blocks (of a sample: the run) are reported
//	                              failed, as above
//	a trial    any                Auto takes another method
//	Sync       any                of the pool, whatever it says: FailSync, below
//	Next,      Transient, Object, nothing is taken until a back-off of 1 s, doubled
//	WillRel.   Refused            up to 64 s, is over; what is done is reported.
//	                              Shown as Stats.Trouble
//	Report     Transient          what was zeroed and synced is kept and reported
//	                              again after such a back-off; other hand-outs go
//	                              on while less than 256 MiB are kept. Shown as
//	                              Stats.Kept and Trouble
//	Report     Object, Refused    the hand-out is given back: its blocks stay
//	                              dirty, and the queue knows why
//	Flush      all but Pool       as Report, Transient; only Flush is tried again
//	any        Pool               final: nothing is zeroed or reported any more. Run
//	                              rests until its context ends; it and every Now
//	                              return the error. Who reads the pool reads on
//
// A run of a hand-out that is not whole blocks is a bug of the queue: a panic.
package erase

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.uber.org/atomic"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

const (
	// blockBytes is the unit of freeing and erasing, in bytes.
	blockBytes = 4096
	// maxStepBytes is the most that one step writes.
	maxStepBytes = 32 << 20
	// stepTime is what a step is worth under the rate.
	stepTime = 50 * time.Millisecond
	// flushTime and flushBytes end a batch: one sync and one report.
	flushTime  = time.Second
	flushBytes = 256 << 20
	// napTime bounds each sleep of the background, and by that how late it
	// sees a new rate and a pause.
	napTime = 50 * time.Millisecond
	// shutNap bounds each sleep outside the window, and by that how late it sees
	// a new one, and a clock that was set.
	shutNap = time.Second
)

// Device is what erase needs of the device; a blockdev.Device is one.
// It must be safe for concurrent use.
type Device interface {
	// ReadAt fills p or returns an error.
	ReadAt(p []byte, off int64) (int, error)
	// Zero makes n bytes at off read as zeros. After an error any part of
	// them may still be what it was.
	Zero(off, n int64, m blockdev.Method) error
	// WriteAt writes p, not durably. Only dirty blocks are written to.
	WriteAt(p []byte, off int64) (int, error)
	// Sync makes all that was zeroed durable. A failed Sync is final.
	Sync() error
	// Methods are those that the device has, the best first.
	Methods() []blockdev.Method
}

// Queue is what erase needs of the pool. Next, WillRelease, Report, GiveBack, Flush and
// FailSync are called by one goroutine at a time, with no lock of the caller's
// held. What an error means its kind says (chain/fault); see the table above.
type Queue interface {
	// Next hands out dirty runs of the first job that is ready, in device order,
	// whole blocks, at most max bytes (at least one block), under a token. Nobody
	// else touches them, and they are not handed out again, until they are
	// reported or given back; what was reported failed comes again only after the
	// queue's back-off. No runs: nothing is ready now; Ready says when to ask
	// again. On error nothing is handed out.
	Next(max int64) (blockdev.Handout, error)
	// WillRelease notes, durably, that the runs of a hand-out may be released
	// from now on: whatever is reported of them, by whatever method, they were
	// released. On error none may be.
	WillRelease(t blockdev.Token) error
	// Report takes what became of runs of one hand-out, all or any part of them:
	// zeros that are on the device and synced, and how, or not. They are in no
	// hand-out any more, and the slices are the queue's. It is durable when a
	// Flush after it returns. Empty left: all was taken. On error left was not,
	// and may be reported again or given back.
	Report(d blockdev.Done, how blockdev.How) (left blockdev.Done, err error)
	// GiveBack ends a hand-out: what of it was not reported is dirty as before,
	// and handed out again.
	GiveBack(t blockdev.Token)
	// Flush makes durable what was reported.
	Flush() error
	// FailSync tells that a sync of the device failed, and returns what every
	// change is answered from then on.
	FailSync(err error) error
	// Ready has capacity 1 and receives when Next may have something again.
	// Only Run receives from it.
	Ready() <-chan struct{}
	// Clean is how many bytes are zero and free now. Any goroutine calls it.
	Clean() int64
	// Deadlines are the jobs that are due at a time, in the order in which Next hands them out. Any goroutine calls it.
	Deadlines() []blockdev.Due
}

// Config is how an Eraser works.
type Config struct {
	Rate   int64           // background, bytes/s; see SetRate
	Method blockdev.Method // see SetMethod
	Verify blockdev.Verify // what is read back after each sync; see SetVerify
	Clock  Clock           // required
	Logger *slog.Logger    // failed runs are logged here; nil: nowhere
}

// Eraser zeroes what its Queue hands out. All methods are safe for concurrent
// use, except that Run runs once at a time.
type Eraser struct {
	dev   Device
	queue Queue
	clock Clock
	log   *slog.Logger

	limits *atomic.Pointer[limits]
	window *atomic.Pointer[Window] // nil: always open
	choice *atomic.Pointer[choice] // resolved under worker
	verify *atomic.Uint32
	need   *atomic.Int64 // bytes/s that deadlines need; 0: none
	paused *atomic.Bool
	dead   *atomic.Error // the final error, once there is one
	wake   chan struct{} // capacity 1: ends await
	worker chan struct{} // capacity 1: holding its token is holding the worker lock

	pending batch          // the background's, not yet synced; held by worker
	kept    []result       // synced, and not reported durably yet; held by worker
	rest    fault.Backoff  // of Next; held by worker
	noted   blockdev.Token // the last hand-out of which the pool knows that it may be released; held by worker
	buf     []byte         // read-back; held by worker
	stats   recorder

	reckonAt   time.Time // of Run: the need is reckoned again
	toldLate   uint64    // of Run: the job that was told of last, 0: none is late
	toldBroken bool
}

// New makes an Eraser for dev that works for q; it starts nothing and touches
// no device. ErrMethod: the device does not have that method.
func New(dev Device, q Queue, c Config) (*Eraser, error) {
	if c.Clock == nil {
		return nil, errors.New("erase: new: no clock")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Eraser{
		dev: dev, queue: q, clock: c.Clock, log: c.Logger,
		limits: atomic.NewPointer(&limits{}), window: atomic.NewPointer[Window](nil), choice: atomic.NewPointer[choice](nil),
		need:   atomic.NewInt64(0),
		verify: atomic.NewUint32(0), paused: atomic.NewBool(false), dead: atomic.NewError(nil),
		wake: make(chan struct{}, 1), worker: make(chan struct{}, 1),
	}
	e.SetRate(c.Rate)
	e.SetVerify(c.Verify)
	if err := e.SetMethod(c.Method); err != nil {
		return nil, fmt.Errorf("erase: new: %w", err)
	}
	return e, nil
}

// SetPaused stops the background after the step at hand, and what it has zeroed
// is reported first; or it goes on. On-demand work is done all the same.
func (e *Eraser) SetPaused(paused bool) {
	e.paused.Store(paused)
	e.poke()
}

// lock takes the worker lock. It returns the final error if there is one, or
// ctx's; the lock is held only if it returns nil.
func (e *Eraser) lock(ctx context.Context) error {
	select {
	case e.worker <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := e.dead.Load(); err != nil {
		e.unlock()
		return err
	}
	return nil
}

func (e *Eraser) unlock() { <-e.worker }

// die makes err the final error, unless there is one, and returns the final
// error. The caller holds the worker lock.
func (e *Eraser) die(err error) error {
	if first := e.dead.Load(); first != nil {
		return first
	}
	e.dead.Store(err)
	e.poke()
	return err
}

// poke wakes the background if it waits for work.
func (e *Eraser) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
