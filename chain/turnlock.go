package chain

import (
	"sync/atomic"

	"slatefs/chain/fault"
)

// turnLock is a mutex whose holders take turns. Who gives a sync.Mutex up and takes it again at once has it again, since who
// waits has to wake up first: a loop of short holds, such as the destroy of many snapshots, passes a writer hundreds of times,
// until he has waited for a millisecond, and says so. Here no more than turnPasses holds pass who waits first, and all others
// wait behind him in the order of coming. Some may pass, so that those who read and write at once do not hand the lock from one
// to the next for every hold.
//
// Where nobody waits it costs what a sync.Mutex does. It allocates nothing. newTurnLock makes one.
type turnLock struct {
	state atomic.Int32
	line  chan struct{} // const: full while somebody waits first; who waits to send is served in the order of coming
	freed chan struct{} // const: tells who waits first to look again
	waits atomic.Int64  // how often somebody waited
}

// turnPasses is how many holds may pass who waits first. Each is bounded (planLock), and so is a wait.
const turnPasses = 16

// The state of a turnLock is the sum of turnHeld, when it is held, and, while somebody waits first, turnWaits for each hold that
// may still pass him and for himself.
const (
	turnHeld  = 1
	turnWaits = 2
)

func newTurnLock() turnLock {
	return turnLock{line: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// Lock takes the lock.
func (m *turnLock) Lock() {
	if !m.state.CompareAndSwap(0, turnHeld) {
		m.lockInTurn()
	}
}

// Unlock gives it up.
func (m *turnLock) Unlock() {
	if left := m.state.Add(-turnHeld); left != 0 {
		m.tell(left)
	}
}

func (m *turnLock) tell(left int32) {
	if left&turnHeld != 0 {
		fault.Misuse("a lock is given up that nobody holds")
	}
	select {
	case m.freed <- struct{}{}:
	default: // he has not looked since the last time
	}
}

// lockInTurn passes who waits first, if that may be, or waits.
func (m *turnLock) lockInTurn() {
	for s := m.state.Load(); s == 0 || s&turnHeld == 0 && s > turnWaits; s = m.state.Load() {
		if m.state.CompareAndSwap(s, max(0, s-turnWaits)+turnHeld) {
			return
		}
	}
	m.waits.Add(1)
	m.line <- struct{}{}
	m.lockFirst()
	<-m.line
}

// lockFirst waits first of all, and takes the lock.
func (m *turnLock) lockFirst() {
	for waits := false; ; {
		s := m.state.Load()
		switch {
		case s&turnHeld == 0:
			if m.state.CompareAndSwap(s, turnHeld) {
				return
			}
		case waits:
			<-m.freed
		default:
			waits = m.state.CompareAndSwap(s, turnHeld+turnWaits*(1+turnPasses))
		}
	}
}
