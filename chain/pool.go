package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/journal"
	"slatefs/chain/ledger"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/super"
)

// Options are what a pool is opened with.
type Options struct {
	Now        func() time.Time // the clock; required
	Logger     *slog.Logger     // nil: silent
	CacheBytes int64            // for map, list and catalog pages; 0: 64 MiB
	ReadOnly   bool             // nothing is written: for check, dump and mount -o ro; the journal is replayed in memory
	Host       *Host            // who holds the pool from now on; nil: nobody, for tools of a device that is nobody else's
	TakeOver   bool             // even if another host holds it
	ZeroNow    func(ctx context.Context, bytes int64) (int64, error)
}

const defaultCache = 64 << 20

// Pool is one open pool. All methods may be called from any goroutine.
//
// Two locks order everything. The structure lock serialises what cuts trees: destroys, rollbacks, walk steps, sweep
// steps and the build of a checkpoint. The plan lock, taken after it, guards all state in memory; it is held for
// microseconds, and while a page is read only where a control operation finds it gone from the cache. The order of
// all locks, and where a wait for room of the journal stands among them, is in room.go.
type Pool struct {
	dev    blockdev.Device
	opt    Options
	log    *slog.Logger
	name   string
	uuid   uuid.UUID
	super  super.Block // as it is on the device
	slot   int         // where it lies
	format super.Geometry

	structure workLock

	mu          planLock
	store       *meta.Store
	maps        *meta.Maps
	lists       *meta.Family
	groups      *meta.Family
	cat         catalog.Table
	groupTable  meta.Tree
	groupPtrs   []meta.Ptr              // pages of the groups; the builder's
	groupsCut   []cutGroup              // groups that went since the last checkpoint
	singles     map[catalog.Kind][]byte // rows that every checkpoint compares; the builder's
	parts       map[meta.Key]int        // catalog rows of each object; the builder's
	gone        []meta.Key              // rows of objects that ended since the last checkpoint
	blocks      *alloc.Pool
	layers      map[LayerID]*layer
	byVol       map[Ino][]*layer // oldest first; of 0: those that clones hold
	heads       map[Ino]*layer
	snaps       snapIndex
	vols        map[Ino]*Volume // those in use
	jobs        map[uint64]*job
	order       omap.Map[*job]    // the same, as they are erased
	sick        map[*job]struct{} // those that are failing
	handouts    map[blockdev.Token]*handout
	lastToken   blockdev.Token
	volJobs     map[Ino]*job // the one that collects what a volume overwrites
	walks       map[uint64]*walk
	drops       []meta.Tree         // dead lists of dead layers, whose pages go back
	spent       []list              // worked off since the last checkpoint
	nameless    map[*layer]struct{} // layers that wait for a sweep or for their children to go
	dirtyLayers map[*layer]struct{}
	answers     answers
	logState
	doomedState
	policyState
	going       map[Ino]*backoff // inodes that are removed in steps
	nextLayer   LayerID
	nextJob     uint64
	nextIno     Ino
	dirtyN      int64 // blocks in jobs that can be zeroed
	noneN       int64 // part of them: in jobs of erase=none
	sickN       int64 // part of them: in jobs that are failing
	deadN       int   // layers that are dead
	failedN     int64
	wrote       bool           // somebody has planned a write
	tallies     int            // of all volumes, under way
	namedN      int64          // claimed blocks in open plans
	cleaned     int64          // blocks erased, by this process
	freeing     int64          // blocks of dead layers that no walk has sorted yet
	needN       int64          // pages that the next checkpoint may need for maps
	accounts    accountant     // of the tree of layers
	ledger      *ledger.Ledger // nil until the journal has been replayed
	pending     []byte
	lsn         uint64 // records made
	durable     uint64 // records that are on the device
	room        rooms
	epochs      epochs
	moved       chan struct{} // closed when a plan ends; nil while nobody waits
	written     int64         // bytes of the last checkpoint
	failed      error         // the pool is read-only since then
	closed      bool
	checkpoints backoff
	chores      []*chore            // only Run's are tried
	troubles    map[*backoff]string // what is failing
	failing     map[*walk]struct{}
	shunned     map[int]*backoff // groups whose pages cannot be read
	damages     map[string]bool  // what damaged pages touch, as far as it was met
	merge       *merge           // prepared for the record that is being made
	last        journal.Pos      // the last batch, and the generation in it; under commitMu
	lastGen     uint64
	unbuilt     bool // the last cut came to nothing
	leaving     bool // checkpoints say that nobody holds the pool
	zeroNow     func(ctx context.Context, bytes int64) (int64, error)
	demand      int                                         // calls of it that run
	grower      func(ctx context.Context, lack int64) error // nil: the pool does not grow by itself
	growable    bool                                        // the grower may be asked
	host        hostState
	asideGone   chan struct{} // closed when something set aside is put back; nil while nobody waits

	journal  *journal.Journal
	commitMu workLock
	started  uint64 // commits begun; under mu
	ended    uint64 // the last one that succeeded

	unpublished *cut        // built, and not on the device: under workMu
	building    bool        // under the structure lock: the store may be given more pages
	claimMu     workLock    // one claim at a time
	unready     []alloc.Run // claimed, and the record is not known to be durable; under claimMu
	resizeMu    workLock    // one change of the pool's size at a time; taken before all others
	workMu      workLock    // one checkpoint at a time
	wake        chan struct{}
	ready       chan struct{}

	// What a room below needs of one above it: all there are. They are set when the pool is made.

	owner          recordOwner          // who carries records out
	takeCheckpoint func() error         // a checkpoint; workMu is held
	giveUpOne      func() (bool, error) // of what was destroyed and is kept, before its time, when space is short
	onFail         func()               // wakes who waits for what will never be; the plan lock is held
}

// lockOrder is the order of all locks of a pool but the plan lock, which comes last: who holds one takes only later ones.
func (p *Pool) lockOrder() [][]*workLock {
	return [][]*workLock{{&p.resizeMu, &p.sacrificing}, {&p.claimMu}, {&p.workMu}, {&p.structure}, {&p.commitMu}}
}

// Name is the pool's name.
func (p *Pool) Name() string { return p.name }

// UUID identifies the pool.
func (p *Pool) UUID() uuid.UUID { return p.uuid }

// Device is what the pool lies on.
func (p *Pool) Device() blockdev.Device { return p.dev }

// Failed is nil, or the error that made the pool read-only.
func (p *Pool) Failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// ReadOnly tells whether the pool was opened for reading only: nothing is written to its device.
func (p *Pool) ReadOnly() bool { return p.opt.ReadOnly }

// failLocked makes the pool read-only for good: by it, and by nothing else, an error becomes one of the pool. It is for a
// lost sync, a lost journal write, another host's pool, and for what is in memory and contradicts itself. The first error
// stays.
func (p *Pool) failLocked(err error) error {
	if p.failed == nil {
		p.failed = fault.Mark(fault.Pool, fmt.Errorf("pool %s is read-only: %w", p.name, errors.Join(ErrReadOnly, err)))
		p.log.Error("pool turned read-only", "pool", p.name, "error", err)
		p.signal(p.wake)
		p.signal(p.ready)
		p.onFail()
	}
	return p.failed
}

func (p *Pool) fail(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failLocked(err)
}

// FailSync makes the pool read-only because a sync of its device failed that the pool did not make itself: a write with
// RWF_DSYNC through a Ring, which goes past the bookkeeping of blockdev.File. It returns what every change is answered
// from then on, ErrReadOnly with blockdev.ErrSyncFailed and err in it; of two failures the first one's.
func (p *Pool) FailSync(err error) error {
	return p.fail(fmt.Errorf("sync of the device: %w: %w", blockdev.ErrSyncFailed, err))
}

// writable is nil while changes are accepted.
func (p *Pool) writable() error {
	switch {
	case p.failed != nil:
		return p.failed
	case p.closed:
		return fmt.Errorf("pool %s: %w", p.name, ErrClosed)
	case p.opt.ReadOnly:
		return fmt.Errorf("pool %s was opened read-only: %w", p.name, ErrReadOnly)
	}
	return nil
}

func (p *Pool) signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// poke tells the eraser and the housekeeping that there may be work.
func (p *Pool) poke() {
	p.signal(p.wake)
	p.signal(p.ready)
}

// SetZeroNow installs what zeroes blocks while a writer waits: erase.Eraser.Now. It returns the bytes made clean.
func (p *Pool) SetZeroNow(fn func(ctx context.Context, bytes int64) (int64, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.zeroNow = fn
}

// epochs tell which plans are older than a moment. A plan belongs to the epoch in which it was made.
type epochs struct {
	now  uint64
	open map[uint64]int
}

func (e *epochs) pin() uint64 {
	if e.open == nil {
		e.open = map[uint64]int{}
	}
	e.open[e.now]++
	return e.now
}

func (e *epochs) unpin(at uint64) {
	if e.open[at]--; e.open[at] == 0 {
		delete(e.open, at)
	}
}

// seal ends the present epoch and returns it.
func (e *epochs) seal() uint64 {
	e.now++
	return e.now - 1
}

// over tells whether every plan of that epoch and before is closed.
func (e *epochs) over(at uint64) bool {
	for o := range e.open {
		if o <= at {
			return false
		}
	}
	return true
}

// answers are the results of the last requests, by FUSE unique.
type answers struct {
	ring []recAnswer
	next int
}

const answersKept = 4096

func (a *answers) add(r recAnswer) {
	if len(a.ring) < answersKept {
		a.ring = append(a.ring, r)
		return
	}
	a.ring[a.next] = r
	a.next = (a.next + 1) % answersKept
}
