//go:build race

package chain

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"slatefs/chain/fault"
	"slatefs/chain/tail"
)

// owner is the thread that holds a lock, 0: none. While one is held its goroutine keeps its thread, so no other goroutine
// is taken for it.
type owner struct{ thread atomic.Int64 }

// mine asks the kernel only where somebody holds it: each step asks this of all who may share a lock.
func (o *owner) mine() bool {
	t := o.thread.Load()
	return t != 0 && t == int64(syscall.Gettid())
}

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
	shareLock
	owner
	later   laterLog
	tail    *tail.Tail // of the pool's records; nil: nobody takes over
	steps   int        // of this hold
	at      holdPlace  // where it began
	sharers [64]sharer
}

// sharer is one who shares the lock: as with an owner, his goroutine keeps its thread meanwhile.
type sharer struct {
	owner
	steps int
	at    holdPlace
}

// sharer is the hold by which this goroutine shares the lock, or nil.
func (m *planLock) sharer() *sharer {
	for i := range m.sharers {
		if s := &m.sharers[i]; s.mine() {
			return s
		}
	}
	return nil
}

// RLock is shareLock's.
func (m *planLock) RLock(lane uint8) {
	if m.mine() || m.sharer() != nil {
		fault.Misuse("the plan lock is taken by its holder")
	}
	m.shareLock.RLock(lane)
	runtime.LockOSThread()
	for i := 0; ; i = (i + 1) % len(m.sharers) {
		if s := &m.sharers[i]; s.thread.CompareAndSwap(0, -1) {
			s.steps, s.at = 0, holdPlace{}
			runtime.Callers(2, s.at[:])
			s.thread.Store(int64(syscall.Gettid()))
			break
		}
		if i == 0 {
			runtime.Gosched()
		}
	}
	planHolders.add(m)
}

// RUnlock is shareLock's.
func (m *planLock) RUnlock(lane uint8) {
	s := m.sharer()
	if s == nil {
		fault.Misuse("the plan lock is given up by a goroutine that does not share it")
	}
	holds.note(s.at, s.steps)
	planHolders.remove(m)
	s.given("the plan lock")
	m.shareLock.RUnlock(lane)
}

func (m *planLock) Lock() {
	if m.mine() || m.sharer() != nil {
		fault.Misuse("the plan lock is taken by its holder")
	}
	m.shareLock.Lock()
	m.taken()
	m.steps, m.at = 0, holdPlace{}
	runtime.Callers(2, m.at[:])
	planHolders.add(m)
}

func (m *planLock) Unlock() {
	if m.mine() {
		holds.note(m.at, m.steps)
		planHolders.remove(m)
	}
	m.given("the plan lock")
	m.tail.Publish()
	said := m.later.said.Load()
	m.shareLock.Unlock()
	if said {
		m.later.write()
	}
}

func (m *planLock) step(n int) {
	if s := m.sharer(); s != nil && !m.mine() {
		s.steps += n
		return
	}
	m.steps += n
}

func (m *planLock) assertShared() {
	if !m.mine() && m.sharer() == nil {
		fault.Misuse("the plan lock is not held where it is needed")
	}
}

func (m *planLock) assertFree() {
	if m.owner.assertFree(); m.sharer() != nil {
		fault.Misuse("the plan lock is shared where it may not be")
	}
}

// place is where this goroutine's hold of the lock began.
func (m *planLock) place() holdPlace {
	if s := m.sharer(); s != nil {
		return s.at
	}
	return m.at
}

// assertOwn is described in planlock.go.
func (v *Volume) assertOwn() {
	if m := &v.p.mu; !m.mine() && (m.sharer() == nil || !v.own.mine()) {
		fault.Misuse("what a volume has of its own is touched without its lock")
	}
}

// planHolders are the plan locks of all pools that are held. It allocates nothing, as nothing does that a request comes by.
var planHolders holderTable

type holderTable [256]atomic.Pointer[planLock]

func (t *holderTable) add(m *planLock) {
	for i := range t {
		if t[i].Load() == nil && t[i].CompareAndSwap(nil, m) {
			return
		}
	}
	fault.Misuse("more than %d plan locks are held in this process", len(t))
}

func (t *holderTable) remove(m *planLock) {
	for i := range t {
		if t[i].CompareAndSwap(m, nil) { // who shares a lock has an entry each, and all are alike
			return
		}
	}
}

// planHeld is the plan lock, of whatever pool, that this goroutine holds, alone or not, or nil.
func planHeld() *planLock {
	for i := range planHolders {
		if m := planHolders[i].Load(); m != nil && (m.mine() || m.sharer() != nil) {
			return m
		}
	}
	return nil
}

// watchLog is described in planlock.go.
func watchLog(log *slog.Logger) *slog.Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return slog.New(watchedLog{log.Handler()})
}

// watchedLog is a handler that is not called with a plan lock held.
type watchedLog struct{ slog.Handler }

func (h watchedLog) Enabled(ctx context.Context, level slog.Level) bool {
	if planHeld() != nil {
		fault.Misuse("a line is written to the log with the plan lock held")
	}
	return h.Handler.Enabled(ctx, level)
}

// WithAttrs and WithGroup are slog.Handler's.
func (h watchedLog) WithAttrs(as []slog.Attr) slog.Handler {
	return watchedLog{h.Handler.WithAttrs(as)}
}

func (h watchedLog) WithGroup(name string) slog.Handler { return watchedLog{h.Handler.WithGroup(name)} }

// workLock is described in planlock.go.
type workLock struct {
	sync.Mutex
	owner
	after []*owner  // locks that come later: who holds one may not take this one
	last  *planLock // which comes last of all
}

func (m *workLock) Lock() {
	for _, o := range m.after {
		if o.mine() {
			fault.Misuse("locks are taken in the wrong order")
		}
	}
	if m.last != nil && m.last.sharer() != nil {
		fault.Misuse("locks are taken in the wrong order")
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
			m.after, m.last = later[:len(later):len(later)], last
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
	io map[holdPlace]*holdIO // operations of the device, asked for by the holder
}

// noteIO is told of an operation of a device.
func (t *holdTable) noteIO() {
	m := planHeld()
	if m == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.io == nil {
		t.io = map[holdPlace]*holdIO{}
	}
	at := m.place()
	o := t.io[at]
	if o == nil {
		o = &holdIO{}
		runtime.Callers(3, o.first[:])
		t.io[at] = o
	}
	o.n++
}

// holdIO is what the holds of one place asked a device for.
type holdIO struct {
	n     int
	first [32]uintptr // who asked first
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
