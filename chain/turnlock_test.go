package chain

import (
	"runtime"
	"sync"
	"testing"
)

// TestTurnLock: a loop that takes the lock again as soon as it has given it up passes who waits turnPasses times at most.
func TestTurnLock(t *testing.T) {
	m := newTurnLock()
	for round := range 200 {
		had := false // m
		m.Lock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Lock()
			had = true
			m.Unlock()
		}()
		for m.state.Load() <= turnHeld { // until he waits
			runtime.Gosched()
		}
		passed := 0
		for m.Unlock(); ; m.Unlock() {
			if m.Lock(); had {
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

// TestTurnLockExcludes: one at a time, and nobody waits for ever.
func TestTurnLockExcludes(t *testing.T) {
	m := newTurnLock()
	var wg sync.WaitGroup
	holders, holds := 0, 0
	const loops, each = 8, 2000
	for range loops {
		wg.Go(func() {
			for range each {
				m.Lock()
				if holders++; holders != 1 {
					t.Error("two hold the lock")
				}
				if holds++; holds%64 == 0 {
					runtime.Gosched()
				}
				holders--
				m.Unlock()
			}
		})
	}
	wg.Wait()
	if holds != loops*each || m.state.Load() != 0 || len(m.line) != 0 {
		t.Errorf("%d holds of %d, state %d, %d wait", holds, loops*each, m.state.Load(), len(m.line))
	}
}

// TestTurnLockFree: nothing that a request comes by allocates.
func TestTurnLockFree(t *testing.T) {
	m := newTurnLock()
	if n := testing.AllocsPerRun(100, func() { m.Lock(); m.Unlock() }); n > 0 { //nolint:staticcheck // an empty section
		t.Errorf("%v allocations", n)
	}
}
