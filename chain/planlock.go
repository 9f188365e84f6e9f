//go:build !race

package chain

import (
	"log/slog"
	"sync"

	"slatefs/chain/tail"
)

// planLock is the plan lock. Who has it alone (Lock) may change what it guards, and stops every volume, reads included, so what is
// done under one hold is bounded: no read of the device, no line of the log, and no loop over all volumes, jobs, snapshots or
// groups; and so are the holds that pass who waits (turnLock). Who shares it (RLock) stops only those, by a hold that is bounded
// alike: he looks at what it guards and changes none of it, but for what a lock below this one guards besides (Volume.own), and
// counters that are atomic. What he would have to change, or to read, he leaves to a hold of its own: he gives the lock up and
// takes it alone.
//
// An ordinary build has nothing else here. A build for the race detector (planlock_race.go) knows who holds it, counts
// what a hold does (step) and where the longest one was; the tests judge that (planlock_test.go).
type planLock struct {
	shareLock
	later laterLog
	tail  *tail.Tail // of the pool's records; nil: nobody takes over
}

// Unlock gives the lock up, and then writes to the log what was said under it. Records that were made are published before.
func (m *planLock) Unlock() {
	m.tail.Publish()
	said := m.later.said.Load()
	m.shareLock.Unlock()
	if said {
		m.later.write()
	}
}

// step counts n steps of the hold: records made, rows, entries, layers, jobs or groups looked at.
func (*planLock) step(int) {}

// assertHeld ends a process with invariants if its goroutine does not hold the lock alone, assertShared if it does not hold it at
// all, assertFree if it does.
func (*planLock) assertHeld()   {}
func (*planLock) assertShared() {}
func (*planLock) assertFree()   {}

// workLock is any other lock of a pool. Its place among them is in Pool.lockOrder.
type workLock struct{ sync.Mutex }

func (*workLock) assertHeld() {}
func (*workLock) assertFree() {}

// assertOwn ends a process with invariants if its goroutine may not change what Volume.own guards.
func (*Volume) assertOwn() {}

// watchLog makes a logger end a process with invariants when its caller holds a plan lock.
func watchLog(log *slog.Logger) *slog.Logger { return log }

// orderLocks tells locks which ones come later, from the first to the last; those of one row are never held together.
func orderLocks([][]*workLock, *planLock) {}
