package chain

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/property"
	"slatefs/chain/super"
)

// core is what every room has: the device, the clock and the log, the two locks that order everything, and whether the pool
// has failed. The structure lock serialises what cuts trees: destroys, rollbacks, walk steps, sweep steps; and freezes, and the
// cut of a checkpoint. The plan lock, taken after all others, guards all state in memory (planlock.go).
type core struct {
	dev       blockdev.Device // const
	opt       Options         // const
	known     property.Table  // const: what can be set
	log       *slog.Logger    // const
	name      string          // const
	uuid      uuid.UUID       // const
	format    super.Geometry  // structure, mu
	structure workLock        // self
	mu        planLock        // self
	failed    error           // mu: the pool is read-only since then
	closed    bool            // mu
	counts    counts
	built     chan struct{} // structure: while a checkpoint is built, closed at its end; else nil
	wake      chan struct{} // self
	ready     chan struct{} // self
	onFail    func()        // const: wakes who waits for what will never be; the plan lock is held
}

// lockTrees takes the structure lock for who cuts or joins trees, or puts or frees pages, when no checkpoint is being built.
func (co *core) lockTrees() {
	for {
		co.structure.Lock()
		built := co.built
		if built == nil {
			return
		}
		co.structure.Unlock()
		<-built
	}
}

// assertTrees: who cuts trees has waited for the end of a build. The structure lock is held.
func (co *core) assertTrees() {
	co.structure.assertHeld()
	if co.built != nil {
		fault.Misuse("trees are cut while a checkpoint is built")
	}
}

// buildEnds lets those go on that wait for it. The structure lock is held.
func (co *core) buildEnds() {
	close(co.built)
	co.built = nil
}

// failLocked makes the pool read-only for good: by it, and by nothing else, an error becomes one of the pool. It is for a
// lost sync, a lost journal write, another host's pool, and for what is in memory and contradicts itself. The first error
// stays.
func (co *core) failLocked(err error) error {
	co.mu.assertHeld()
	if co.failed == nil {
		co.failed = fault.Mark(fault.Pool, fmt.Errorf("pool %s is read-only: %w", co.name, errors.Join(ErrReadOnly, err)))
		co.mu.say(co.log, slog.LevelError, "pool turned read-only", "pool", co.name, "error", err)
		co.signal(co.wake)
		co.signal(co.ready)
		co.onFail()
	}
	return co.failed
}

func (co *core) fail(err error) error {
	co.mu.Lock()
	defer co.mu.Unlock()
	return co.failLocked(err)
}

// writable is nil while changes are accepted.
func (co *core) writable() error {
	switch {
	case co.failed != nil:
		return co.failed
	case co.closed:
		return fmt.Errorf("pool %s: %w", co.name, ErrClosed)
	case co.opt.ReadOnly:
		return fmt.Errorf("pool %s was opened read-only: %w", co.name, ErrReadOnly)
	}
	return nil
}

func (co *core) signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// poke tells the eraser and the housekeeping that there may be work.
func (co *core) poke() {
	co.signal(co.wake)
	co.signal(co.ready)
}

// hostError says what the host's refusal is: transient, and of who asked.
func (co *core) hostError(err error) error {
	return fault.Mark(fault.Transient, hostSpaceError{fmt.Errorf("pool %s: %w: %w", co.name, ErrHostSpace, err)})
}

// walkRuns bounds the runs of one step and so its record.
func (co *core) walkRuns() int { return int(min(1024, co.format.Ring/512)) }

// stepBytes bounds the record of one step of a walk or a sweep.
func (co *core) stepBytes() int64 { return int64(co.walkRuns()+256) * 24 }
