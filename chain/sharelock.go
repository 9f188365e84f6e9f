package chain

import (
	"math/rand/v2"
	"sync/atomic"
)

// shareLock is a turnLock that many may hold at once who change nothing of what it guards. Who shares it counts himself in one of
// several lanes, so that two who look from two threads touch no word of memory that the other one writes. Who has it alone takes
// the turn, which keeps those away who come, and waits until the lanes are empty: each hold is bounded, and so is that.
//
// Who comes to share it while somebody has it alone takes his turn like all others, for an instant: so he waits for no more holds
// than they do, and those who share pass nobody, since whoever has the turn keeps them out.
//
// It allocates nothing. newShareLock makes one.
type shareLock struct {
	turnLock
	lanes   [planLanes]lane
	drains  atomic.Bool   // who has the turn sleeps until a lane is empty
	drained chan struct{} // const: tells him to look again
	alone   int64         // guarded by the lock: how often somebody had it alone
}

// LockUse is how often a lock was had that stops more than who waits for the same.
type LockUse struct {
	Alone int64 // it was held by one alone
	Waits int64 // somebody who came waited, since it was held by one alone, or to have it alone
}

// use is what the lock was used for so far. It is held.
func (m *shareLock) use() LockUse { return LockUse{m.alone, m.waits.Load()} }

// planLanes is a power of two: as many event loops as there may be.
const planLanes = 8

// lane is a counter that has its cache lines for itself.
type lane struct {
	n atomic.Int64
	_ [120]byte
}

// anyLane is a lane for who has none of his own.
func anyLane() uint8 { return uint8(rand.Uint32() % planLanes) }

// shareSpins is how often somebody looks again before he sleeps: for about as long as a hold takes.
const shareSpins = 64

func newShareLock() shareLock {
	return shareLock{turnLock: newTurnLock(), drained: make(chan struct{}, 1)}
}

// Lock takes the lock for its holder alone.
func (m *shareLock) Lock() {
	m.turnLock.Lock()
	for i := range m.lanes {
		if m.lanes[i].n.Load() != 0 {
			m.waits.Add(1)
			m.drain(&m.lanes[i])
		}
	}
	m.alone++
}

// drain waits until nobody in a lane shares the lock. The turn is held.
func (m *shareLock) drain(l *lane) {
	for spins := 0; l.n.Load() != 0; spins++ {
		if spins < shareSpins {
			continue
		}
		m.drains.Store(true)
		if l.n.Load() != 0 {
			<-m.drained
		}
		m.drains.Store(false)
	}
}

// RLock takes the lock to share it, in a lane; any number is one.
func (m *shareLock) RLock(at uint8) {
	l := &m.lanes[at%planLanes]
	if l.n.Add(1); m.state.Load()&turnHeld != 0 {
		m.shareInTurn(l)
	}
}

// RUnlock gives up what RLock took in the same lane.
func (m *shareLock) RUnlock(at uint8) { m.leaveLane(&m.lanes[at%planLanes]) }

func (m *shareLock) leaveLane(l *lane) {
	if l.n.Add(-1) == 0 && m.drains.Load() {
		select {
		case m.drained <- struct{}{}:
		default: // he has not looked since the last time
		}
	}
}

// shareInTurn is RLock for who found somebody to have it alone, and is counted in the lane already.
func (m *shareLock) shareInTurn(l *lane) {
	m.leaveLane(l)
	for range shareSpins {
		if m.state.Load()&turnHeld != 0 {
			continue
		}
		if l.n.Add(1); m.state.Load()&turnHeld == 0 {
			m.waits.Add(1)
			return
		}
		m.leaveLane(l)
	}
	m.turnLock.Lock()
	l.n.Add(1)
	m.Unlock()
}
