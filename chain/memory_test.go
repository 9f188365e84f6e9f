package chain

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// widePool is a pool with a small cache on a device of 4 GiB, most of it a volume in one piece that a snapshot holds.
func widePool(t testing.TB, cache int64) (*Pool, *Volume) {
	t.Helper()
	d := devtest.New(4<<30, 512)
	ok(t, Create(d, Format{Name: "scattered", UUID: [16]byte{7}, Zeroed: true, Now: newClock().now}))
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: cache})
	ok(t, err)
	v := mustVolume(t, p, "v", 3<<30)
	ok(t, v.Allocate(0, 3<<30, false))
	ok(t, p.Snapshot(Req{}, []Ino{v.ino}, "s"))
	ok(t, p.Checkpoint())
	return p, v
}

// dirtyNow is what is dirty, and the bound of it, in bytes.
func (p *Pool) dirtyNow() (dirty, bound int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memory.since() + p.memory.cut, 2 * p.memory.limit
}

// firstWrites writes n blocks at random places, without moving a byte.
func firstWrites(v *Volume, n int, seed uint64, after func() error) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	blocks := v.Size() / BlockSize
	var pl Plan
	for range n {
		off := rng.Int64N(blocks) * BlockSize
		if err := v.p.until(func() (Need, error) { return v.PlanWrite(&pl, off, BlockSize) }); err != nil {
			return err
		}
		if err := pl.Commit(pl.Len); err != nil {
			return err
		}
		if err := after(); err != nil {
			return err
		}
	}
	return nil
}

// Scattered first writes make a page dirty each. However large the journal, they wait for a checkpoint when half of the cache
// would be dirty, if nobody else takes one; and a checkpoint makes no more pages than was counted.
func TestDirtyMemoryIsBounded(t *testing.T) {
	for _, house := range []bool{false, true} {
		t.Run(fmt.Sprintf("housekeeping=%v", house), func(t *testing.T) {
			p, v := widePool(t, 8<<20)
			if house {
				keepRunning(t, p)
			}
			before := p.Usage().Generation
			var wg sync.WaitGroup
			const writers, each = 3, 4000
			for i := range uint64(writers) {
				wg.Go(func() {
					err := firstWrites(v, each, i, func() error {
						// each of them may have been admitted before the others were done
						if dirty, bound := p.dirtyNow(); dirty > bound+writers*16*pageMem {
							return fmt.Errorf("%d KiB are dirty, at most %d may be", dirty>>10, bound>>10)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := p.Usage().Generation - before; n < writers*each*pageMem/(8<<20) {
				t.Errorf("%d checkpoints", n)
			}
		})
	}
}

// What counts as dirty before a checkpoint bounds the pages that it makes, whatever the writes are like.
func TestDirtyMemoryCountsPages(t *testing.T) {
	p, v := widePool(t, 64<<20)
	for i, n := range []int{1, 10, 300, 1500} {
		ok(t, firstWrites(v, n, uint64(i), func() error { return nil }))
		if i == 2 {
			ok(t, p.Snapshot(Req{}, []Ino{v.ino}, "t"))
		}
		counted, _ := p.dirtyNow()
		ok(t, p.Checkpoint())
		if p.supers.written > 2*counted+64*BlockSize { // twins are written, and are one page in memory
			t.Errorf("after %d writes %d KiB were dirty, and the checkpoint wrote %d", n, counted>>10, p.supers.written>>10)
		}
		if left, _ := p.dirtyNow(); left > 4*pageMem {
			t.Errorf("%d KiB are dirty after a checkpoint", left>>10)
		}
	}
}

// A checkpoint that comes to nothing leaves dirty what was, and does not count it twice.
func TestDirtyMemoryAfterAFailedCheckpoint(t *testing.T) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 4<<20)
	for i := range int64(100) {
		write(t, v, fill('v', BlockSize), 2*i*BlockSize)
	}
	ok(t, x.Snapshot(Req{}, []Ino{v.ino}, "s"))
	ok(t, x.Checkpoint())
	for i := range int64(100) {
		write(t, v, fill('w', BlockSize), 2*i*BlockSize)
	}
	was, _ := x.dirtyNow()
	x.forget()
	x.bad = devtest.OpRead
	for range 5 {
		if err := x.Checkpoint(); err == nil {
			t.Fatal("a checkpoint that can read no page")
		}
		if now, _ := x.dirtyNow(); now < was/2 || now > was+8*pageMem {
			t.Fatalf("%d KiB are dirty, %d were", now>>10, was>>10)
		}
	}
	x.bad = 0
	ok(t, x.Checkpoint())
	if left, _ := x.dirtyNow(); left > 4*pageMem {
		t.Errorf("%d KiB are dirty after a checkpoint", left>>10)
	}
}

// Groups that were in one state and lose some blocks have pages that nobody loaded: these leave memory as others do.
func TestGroupPagesAreBounded(t *testing.T) {
	p := openPool(t, newDisk(t, 256<<20))
	v := mustVolume(t, p, "v", 160<<20)
	for off := int64(0); off < 160<<20; off += 1 << 20 {
		write(t, v, fill('v', 1<<20), off)
	}
	group := int64(p.format.GroupBlocks)
	for lb := int64(0); lb < v.Size()/BlockSize; lb += group {
		ok(t, v.Punch(lb*BlockSize, BlockSize))
	}
	eraseAll(t, p)
	const most = 16
	p.mu.Lock()
	p.memory.limit = most * BlockSize
	p.mu.Unlock()
	ok(t, p.Checkpoint())
	p.mu.Lock()
	defer p.mu.Unlock()
	if held := p.blocks.alloc.HeldPages(); held > most || p.blocks.alloc.Groups() < 8*most {
		t.Errorf("%d pages of groups are in memory, at most %d may be; there are %d groups", held, most, p.blocks.alloc.Groups())
	}
}

// Who waits until there is less dirty is woken when he is first, and nobody else is: a checkpoint that is written wakes one, and each
// that goes wakes the next. So all are served, in the order of coming, and none of them looks in vain.
func TestWaitersForMemoryGoInTurn(t *testing.T) {
	const many = 24
	p := openPool(t, newDisk(t, 64<<20))
	c := credit{bytes: p.format.Ring / 2} // one at a time
	p.commits.workMu.Lock()               // the first takes no checkpoint
	p.mu.Lock()
	p.memory.cut = 3 * p.memory.limit
	p.mu.Unlock()
	var mu sync.Mutex
	var all sync.WaitGroup
	var turns []int
	waiting := func() (n, woken int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.commits.room.waiting {
			woken += len(w.moved)
		}
		return len(p.commits.room.waiting), woken
	}
	for i := range many {
		all.Go(func() {
			r, err := p.commits.getRoom(context.Background(), c)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			turns = append(turns, i)
			mu.Unlock()
			if _, woken := waiting(); woken > 1 {
				t.Errorf("%d are awake behind waiter %d", woken, i)
			}
			p.blocks.returnRoom(r)
		})
		for n := 0; n <= i; n, _ = waiting() {
			runtime.Gosched()
		}
	}
	p.mu.Lock()
	p.memory.cut = 0 // as a checkpoint does that is durable
	p.commits.roomMoved()
	p.mu.Unlock()
	if n, woken := waiting(); n != many || woken != 1 {
		t.Errorf("%d wait, and %d of them are woken, want one", n, woken)
	}
	p.commits.workMu.Unlock()
	all.Wait()
	if len(turns) != many || !slices.IsSorted(turns) {
		t.Errorf("served in the order %v", turns)
	}
}
