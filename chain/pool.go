package chain

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/blockdev"
	"slatefs/chain/property"
)

// Options are what a pool is opened with.
type Options struct {
	Now        func() time.Time // the clock; required. Several threads ask it at once
	Logger     *slog.Logger     // nil: silent
	CacheBytes int64            // for pages, clean and dirty, and what becomes pages: see memory.go; 0: 128 MiB
	ReadOnly   bool             // nothing is written: for check, dump and mount -o ro; the journal is replayed in memory
	Host       *Host            // who holds the pool from now on; nil: nobody, for tools of a device that is nobody else's
	TakeOver   bool             // even if another host holds it
	ZeroNow    func(ctx context.Context, bytes int64) (int64, error)

	// Tail is a memory file for the records that are not durable yet, which a successor of this process inherits: then he sets
	// Inherit, and all that was acknowledged is there, flushed or not. Opened is what users have open all the while. Nil: what was
	// not flushed ends with the process.
	Tail    *os.File
	Inherit bool
	Opened  []Opened
	Watched bool // somebody has copies of snapshots of which this process was told nothing: OnSnapChange and a first Taken follow

	// Properties are what the pool keeps for others, besides this package's own: theirs are set and read as those are. A value
	// whose property is not among them stays as it is, and cannot be asked for.
	Properties property.Table
}

const defaultCache = 128 << 20

// Pool is one open pool: the verbs, and the records. All methods may be called from any goroutine. What it has is in rooms, each
// of which knows those below it and none above; go run ./.ci/house draws them, docs/architecture.md tells of them.
type Pool struct {
	*core
	health    *health
	memory    *memory
	supers    *superblocks
	commits   *commitLog
	plans     *planTable
	blocks    *blockSpace
	destroyed *destroyedIndex
	names     *nameTable
	events    *eventTable
	origins   *originTable
	jobs      *jobQueue
	tree      *layerTree
	space     *admission
	works     *works
	volumes   *openVolumes
	removal   *remover
	namespace *namespaces
	persist   *checkpointer
	keeper    *keeper
}

// lockOrder is the order of all locks of a pool but the plan lock, which comes last: who holds one takes only later ones, and
// of one row none is taken behind another. A build for the race detector asserts it (planlock.go). With the wait for room of
// the journal (room.go), which is no lock:
//
//	resizeMu | sacrificing > claimMu > a wait for room > workMu > structure > commitMu > mu
//
// The structure lock serialises what cuts trees: destroys, rollbacks, steps of walks and sweeps, and the build of a
// checkpoint. The plan lock, mu, guards all state in memory; it stops every reader and writer, and is held for microseconds.
//
// The comment of each field of the pool and its rooms begins with its guard: the lock, or const (set when the pool is made),
// or self (it may be used at any time: a lock, or a thing with locks of its own). Of several locks all are held to write, any
// one to read.
func (p *Pool) lockOrder() [][]*workLock {
	return [][]*workLock{
		{&p.works.resizeMu, &p.destroyed.sacrificing}, {&p.blocks.claimMu}, {&p.commits.workMu}, {&p.structure}, {&p.commits.commitMu},
	}
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

// FailSync makes the pool read-only because a sync of its device failed that the pool did not make itself: a write with
// RWF_DSYNC through a Ring, which goes past the bookkeeping of blockdev.File. It returns what every change is answered
// from then on, ErrReadOnly with blockdev.ErrSyncFailed and err in it; of two failures the first one's.
func (p *Pool) FailSync(err error) error {
	return p.fail(fmt.Errorf("sync of the device: %w: %w", blockdev.ErrSyncFailed, err))
}

// SetZeroNow installs what zeroes blocks while a writer waits: erase.Eraser.Now. It returns the bytes made clean.
func (p *Pool) SetZeroNow(fn func(ctx context.Context, bytes int64) (int64, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.works.zeroNow = fn
}

// Flush makes everything durable that was acknowledged before the call: data first, then the records that name it.
// Concurrent calls share one commit. An error of the pool is final, the pool is read-only. After a transient one, all that
// was to become durable still waits for the next call.
func (p *Pool) Flush() error { return p.commits.flush() }

// Fulfil does what a need asks for: it reads a page, waits for another plan, claims blocks (which may erase on demand),
// makes room in the journal or takes a step that frees. It blocks. After it the plan is made again. Errors: ErrNoSpace,
// ErrReadOnly, ErrCorrupt or the device's.
func (p *Pool) Fulfil(ctx context.Context, n Need) error { return p.works.fulfil(ctx, n) }

// Path is the path of an inode from the mount's root, for messages.
func (p *Pool) Path(ino Ino) string { return p.names.path(ino) }

// VolumeUUID is the UUID of a volume, a destroyed one too.
func (p *Pool) VolumeUUID(ino Ino) uuid.UUID { return p.volumeUUID(ino) }

// LayerUUID is the UUID of a layer, and so of a snapshot.
func (p *Pool) LayerUUID(id LayerID) uuid.UUID { return p.layerUUID(id) }

// Checkpoint writes the state of the pool at one instant, so that the journal before it is not needed any more.
//
// Commit first; then the cut, under the plan lock; then its batch N becomes durable; the pages are built beside the
// old ones, without a lock; they are published, written and synced;
// at last the superblock that names them and N is written and synced. What lies on disk is so exactly the records up
// to N. Pages that the old superblock needs are not touched before that.
//
// An error that is not of the pool leaves the old superblock, which is as good as before, and the journal after it. What
// is transient is tried again at once, since somebody waits.
func (p *Pool) Checkpoint() error {
	return p.commits.checkpointUnless(never)
}
