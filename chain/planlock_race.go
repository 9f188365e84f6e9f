//go:build race

package chain

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"slatefs/chain/fault"
)

// owner is the thread that holds a lock, 0: none. While one is held its goroutine keeps its thread, so no other goroutine
// is taken for it.
type owner struct{ thread atomic.Int64 }

func (o *owner) mine() bool { return o.thread.Load() == int64(syscall.Gettid()) }

func (o *owner) taken() {
	runtime.LockOSThread()
	o.thread.Store(int64(syscall.Gettid()))
}

func (o *owner) given(what string) {
	if !o.mine() {
		fault.Misuse("%s is given up by a goroutine that does not hold it", what)
	}
	o.thread.Store(0)
	runtime.UnlockOSThread()
}

// planLock is described in planlock.go.
type planLock struct {
	sync.Mutex
	owner
	steps int       // of this hold
	at    holdPlace // where it began
}

func (m *planLock) Lock() {
	if m.mine() {
		fault.Misuse("the plan lock is taken by its holder")
	}
	m.Mutex.Lock()
	m.taken()
	m.steps = 0
	runtime.Callers(2, m.at[:])
}

func (m *planLock) Unlock() {
	holds.note(m.at, m.steps)
	m.given("the plan lock")
	m.Mutex.Unlock()
}

func (m *planLock) step(n int) { m.steps += n }

// workLock is described in planlock.go.
type workLock struct {
	sync.Mutex
	owner
	after []*owner // locks that come later: who holds one may not take this one
}

func (m *workLock) Lock() {
	for _, o := range m.after {
		if o.mine() {
			fault.Misuse("locks are taken in the wrong order")
		}
	}
	m.Mutex.Lock()
	m.taken()
}

func (m *workLock) Unlock() {
	m.given("a lock of the pool")
	m.Mutex.Unlock()
}

// orderLocks is described in planlock.go.
func orderLocks(order [][]*workLock, last *planLock) {
	later := []*owner{&last.owner}
	for i := len(order) - 1; i >= 0; i-- {
		for _, m := range order[i] {
			later = append(later, &m.owner) // itself, and those of its row
		}
		for _, m := range order[i] {
			m.after = later[:len(later):len(later)]
		}
	}
}

func (o *owner) assertHeld() {
	if !o.mine() {
		fault.Misuse("a lock of the pool is not held where it is needed")
	}
}

func (o *owner) assertFree() {
	if o.mine() {
		fault.Misuse("a lock of the pool is held where it may not be")
	}
}

// holdPlace is where a hold began: who took the lock, and his callers.
type holdPlace [8]uintptr

// holds is the histogram of all holds of plan locks in this process, by place.
var holds holdTable

type holdTable struct {
	mu sync.Mutex
	at map[holdPlace]*holdCount
}

// holdCount is what is known of the holds of one place.
type holdCount struct {
	n    int
	most int     // steps of the longest one
	by   [16]int // holds by their steps: 0, 1, up to 3, 7, 15 ...
}

func (t *holdTable) note(at holdPlace, steps int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[holdPlace]*holdCount{}
	}
	c := t.at[at]
	if c == nil {
		c = &holdCount{}
		t.at[at] = c
	}
	c.add(steps)
}

func (c *holdCount) add(steps int) {
	c.n++
	c.most = max(c.most, steps)
	b := 0
	for ; steps > 0 && b < len(c.by)-1; b++ {
		steps >>= 1
	}
	c.by[b]++
}
