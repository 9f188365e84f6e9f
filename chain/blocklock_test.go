package chain

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// waiters is how many wait in the queue of a volume.
func (v *Volume) waiters() int {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	return len(v.waiting)
}

// awaitWaiters returns when so many wait in the queue.
func awaitWaiters(v *Volume, n int) {
	for v.waiters() != n {
		runtime.Gosched()
	}
}

// Who waits for blocks is not passed by who comes later and wants the same ones; who wants others passes.
func TestWaitingForBlocksIsNotPassed(t *testing.T) {
	for name, alone := range map[string]func(v *Volume) error{
		"punch":           func(v *Volume) error { return v.Punch(0, 8*BlockSize) },
		"zero range":      func(v *Volume) error { return v.ZeroRange(0, 8*BlockSize, true) },
		"zeros":           func(v *Volume) error { _, err := v.WriteAt(make([]byte, 8*BlockSize), 0); return err },
		"shrink":          func(v *Volume) error { return v.Truncate(0) },
		"sub-block write": func(v *Volume) error { _, err := v.WriteAt(fill('p', 100), 10); return err },
	} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 16*BlockSize)
			write(t, v, fill('o', 16*BlockSize), 0)
			ok(t, p.Flush())
			first := planWrite(t, v, 0, BlockSize)
			done := make(chan error, 1)
			go func() { done <- alone(v) }()
			awaitWaiters(v, 1)

			var late Plan
			need, err := v.PlanWrite(&late, 0, BlockSize)
			if err != nil || !need.is(needPlan) {
				t.Fatalf("a write that came later: %+v, %v", need, err)
			}
			if name != "shrink" { // which wants all to the end
				elsewhere := planWrite(t, v, 12*BlockSize, BlockSize)
				carryOut(t, elsewhere, fill('e', BlockSize), 12*BlockSize)
			}
			carryOut(t, first, fill('f', BlockSize), 0)
			for !need.None() {
				ok(t, p.Fulfil(context.Background(), need))
				need, err = v.PlanWrite(&late, 0, BlockSize)
				ok(t, err)
			}
			carryOut(t, &late, fill('l', BlockSize), 0)
			ok(t, <-done)
			expect(t, v, 0, fill('l', BlockSize))
			if n := v.waiters(); n != 0 {
				t.Errorf("%d wait still", n)
			}
			mustCheck(t, p)
		})
	}
}

// Whoever gives up, and whose volume is gone, is not waited for.
func TestQueueForBlocksIsLeft(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, v *Volume, pl *Plan){
		"quit": func(_ *testing.T, _ *Volume, pl *Plan) { pl.Quit(); pl.Quit() },
		"destroyed": func(t *testing.T, v *Volume, pl *Plan) {
			ok(t, poolOf(v).Unlink(Req{}, RootIno, "v"))
			_, err := v.PlanWrite(pl, 10, 100)
			wantErr(t, "write to what is gone", err, ErrGone)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 16*BlockSize)
			write(t, v, fill('o', 16*BlockSize), 0)
			ok(t, p.Flush())
			first := planWrite(t, v, 0, BlockSize)
			var part, late Plan
			for _, pl := range []*Plan{&part, &part, &late} { // made twice it has one place
				off, n := int64(0), int64(BlockSize)
				if pl == &part {
					off, n = 10, 100
				}
				if need, err := v.PlanWrite(pl, off, n); err != nil || !need.is(needPlan) {
					t.Fatalf("%+v, %v", need, err)
				}
			}
			need, err := v.PlanWrite(&late, 0, BlockSize)
			ok(t, err)
			if v.waiters() != 2 {
				t.Errorf("%d wait", v.waiters())
			}
			end(t, v, &part)
			ok(t, p.Fulfil(context.Background(), need)) // though the first write is not at its end
			if name == "quit" {
				need, err := v.PlanWrite(&late, 0, BlockSize)
				if err != nil || !need.None() {
					t.Fatalf("behind who has quit: %+v, %v", need, err)
				}
				late.Abort()
			} else {
				late.Quit()
			}
			first.Abort()
			if n := v.waiters(); n != 0 {
				t.Errorf("%d wait still", n)
			}
			mustCheck(t, p)
		})
	}
}

// A plan that waits and is begun for something else would be waited for without end.
func TestPlanInAQueueIsNotReused(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 16*BlockSize)
	first := planWrite(t, v, 0, BlockSize)
	defer first.Abort()
	var part Plan
	_, err := v.PlanWrite(&part, 10, 100)
	ok(t, err)
	defer part.Quit()
	defer func() {
		if recover() == nil {
			t.Error("it was begun")
		}
	}()
	_, _ = mustVolume(t, p, "w", BlockSize).PlanWrite(&part, 0, BlockSize)
}

// Ways to have blocks for oneself come to their end beside writers that never pause, and the other way round.
func TestNobodyStarvesForBlocks(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 16*BlockSize)
	write(t, v, fill('o', 16*BlockSize), 0)
	var stop atomic.Bool
	var writers sync.WaitGroup
	var writes atomic.Int64
	for w := range 8 {
		writers.Go(func() {
			for i := w; !stop.Load(); i++ {
				b, off := fill('w', BlockSize), int64(i%4*BlockSize)
				if i%8 == 0 {
					b, off = b[:100], off+10
				}
				if _, err := v.WriteAt(b, off); err != nil {
					t.Error(err)
					return
				}
				writes.Add(1)
			}
		})
	}
	for i := range 100 {
		was := writes.Load()
		switch i % 3 {
		case 0:
			ok(t, v.Punch(0, 4*BlockSize))
		case 1:
			_, err := v.WriteAt(make([]byte, 2*BlockSize), BlockSize)
			ok(t, err)
		case 2:
			ok(t, v.Truncate(0))
		}
		for writes.Load() == was { // they have their turn too
			runtime.Gosched()
		}
	}
	stop.Store(true)
	writers.Wait()
	eraseAll(t, p)
	mustCheck(t, p)
}

// What waits in the queue is looked up again while others look at it, who share the plan lock as well.
func TestQueuedPlansAreLookedAt(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 16*BlockSize)
	write(t, v, fill('o', 16*BlockSize), 0)
	ok(t, p.Flush())
	first := planWrite(t, v, 10, 100)
	var wg sync.WaitGroup
	for i := range int64(2) {
		wg.Go(func() {
			var pl Plan
			for range 1000 {
				if need, err := v.PlanWrite(&pl, 200+1000*i, 100); err != nil || !need.is(needPlan) {
					t.Errorf("%+v, %v", need, err)
					break
				}
			}
			pl.Quit()
		})
	}
	wg.Wait()
	carryOut(t, first, fill('f', 100), 10)
}
