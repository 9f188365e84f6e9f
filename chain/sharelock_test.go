package chain

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestShareLockExcludes: who has the lock alone shares it with nobody, and nobody waits for ever.
func TestShareLockExcludes(t *testing.T) {
	m := newShareLock()
	var wg sync.WaitGroup
	var sharing, together atomic.Int64
	alone, holds := 0, 0
	const loops, each = 4, 2000
	for i := range uint8(2 * loops) {
		wg.Go(func() {
			for n := range each {
				m.RLock(i)
				if alone != 0 {
					t.Error("the lock is shared with who has it alone")
				}
				if sharing.Add(1) > 1 {
					together.Add(1)
				}
				if n%16 == 0 {
					runtime.Gosched()
				}
				sharing.Add(-1)
				m.RUnlock(i)
			}
		})
	}
	for range loops {
		wg.Go(func() {
			for n := range each {
				m.Lock()
				if alone++; alone != 1 || sharing.Load() != 0 {
					t.Errorf("%d have the lock alone, and %d share it", alone, sharing.Load())
				}
				if holds++; n%16 == 0 {
					runtime.Gosched()
				}
				alone--
				m.Unlock()
			}
		})
	}
	wg.Wait()
	if holds != loops*each || m.state.Load() != 0 || len(m.line) != 0 || m.drains.Load() {
		t.Errorf("%d holds of %d, state %d, %d wait", holds, loops*each, m.state.Load(), len(m.line))
	}
	if together.Load() == 0 {
		t.Error("no two shared the lock")
	}
	for i := range m.lanes {
		if n := m.lanes[i].n.Load(); n != 0 {
			t.Errorf("%d are counted in lane %d", n, i)
		}
	}
}

// TestShareLockSleeps: who waits for one that shares the lock sleeps, and is woken; who comes meanwhile waits behind him.
func TestShareLockSleeps(t *testing.T) {
	m := newShareLock()
	for range 200 {
		m.RLock(1)
		var had atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			m.Lock()
			had.Store(true)
			m.Unlock()
		})
		for !m.drains.Load() && !had.Load() {
			runtime.Gosched()
		}
		wg.Go(func() {
			m.RLock(2)
			if !had.Load() {
				t.Error("who came later shared the lock first")
			}
			m.RUnlock(2)
		})
		for len(m.line) == 0 && !had.Load() {
			runtime.Gosched()
		}
		if had.Load() {
			t.Error("the lock was had alone while it was shared")
		}
		m.RUnlock(1)
		wg.Wait()
	}
	if u := m.use(); u.Alone != 200 || u.Waits < 400 { // he, and who came meanwhile
		t.Errorf("%+v", u)
	}
}

// TestShareLockTurn: a loop of holds passes who wants to share the lock no oftener than others who wait.
func TestShareLockTurn(t *testing.T) {
	m := newShareLock()
	for round := range 200 {
		var had atomic.Bool
		m.Lock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.RLock(3)
			had.Store(true)
			m.RUnlock(3)
		}()
		for m.state.Load() <= turnHeld { // until he waits
			runtime.Gosched()
		}
		passed := 0
		for m.Unlock(); ; m.Unlock() {
			if m.Lock(); had.Load() {
				break
			}
			passed++
		}
		m.Unlock()
		if <-done; passed > turnPasses {
			t.Fatalf("round %d: %d holds passed who waited, at most %d may", round, passed, turnPasses)
		}
	}
}

// TestShareLockFree: nothing that a request comes by allocates.
func TestShareLockFree(t *testing.T) {
	m := newShareLock()
	n := testing.AllocsPerRun(100, func() {
		m.RLock(1)
		m.RUnlock(1)
		m.Lock()
		m.Unlock() //nolint:staticcheck // an empty section
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPlansShare: reads and writes in place, of what is cached, are planned and ended while somebody else shares the plan lock; a
// first write is not, and a plan that is ended meanwhile is told to who waits for it.
func TestPlansShare(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, fill('a', 64<<10), 0)
	mustSnapshot(t, v, "s")
	write(t, v, fill('b', 32<<10), 0)
	ok(t, p.Flush())
	write(t, v, fill('b', BlockSize), 0) // after a first write this one is planned by who has the lock alone
	s, err := p.Snap(p.tree.snaps.names[snapName{v.ino, "s"}].id)
	ok(t, err)
	type made struct {
		what string
		err  error
	}
	done := make(chan made)
	p.mu.RLock(0)
	go func() {
		defer close(done)
		var pl, waits Plan
		try := func(what string, plan func(pl *Plan, off, n int64) (Need, error), off, n int64) {
			need, err := plan(&pl, off, n)
			if err == nil && !need.None() {
				err = errMissed
			}
			done <- made{what, err}
		}
		try("read", v.PlanRead, 0, 64<<10)
		pl.Abort()
		try("read of a snapshot", s.PlanRead, 0, 64<<10)
		_, err := pl.CommitNow()
		done <- made{"end of a read", err}
		try("write in place", v.PlanWrite, BlockSize, 2*BlockSize)
		ended, err := pl.CommitNow()
		if !ended || !pl.InPlace && err == nil {
			err = errMissed
		}
		done <- made{"end of a write in place", err}
		try("less than a block in place", v.PlanWrite, BlockSize+512, 512)
		if need, err := v.PlanWrite(&waits, BlockSize, 100); err != nil || !need.is(needPlan) {
			done <- made{"a write of less than a sector beside it", errMissed}
		}
		pl.Abort()
		try("write of less than a sector", v.PlanWrite, BlockSize+5, 100) // which is behind the other one
	}()
	var last string
	for m := range done {
		if last = m.what; last == "write of less than a sector" {
			if m.err == nil {
				t.Errorf("%s: it passed who waits for its block", m.what)
			}
			continue
		}
		if m.err != nil {
			t.Errorf("%s: %v", m.what, m.err)
		}
	}
	first := make(chan struct{})
	go func() {
		defer close(first)
		carryOut(t, planWrite(t, v, 48<<10, BlockSize), fill('c', BlockSize), 48<<10)
	}()
	for p.mu.state.Load()&turnHeld == 0 { // he wants it alone
		runtime.Gosched()
	}
	select {
	case <-first:
		t.Error("a first write was made beside who shares the lock")
	default:
	}
	p.mu.RUnlock(0)
	<-first
}
