package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// A look for clean blocks says why it brought none: because the window is full, or because nothing is clean.
func TestSupplyTellsFullFromNone(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	look := func(want supply) {
		t.Helper()
		got, err := p.blocks.claim()
		ok(t, err)
		if got != want {
			t.Errorf("a claim with %d of %d blocks ready and %d to claim ended with %d, want %d",
				p.blocks.alloc.WindowReady(), p.format.Window, p.blocks.claimable(), got, want)
		}
	}
	for p.blocks.alloc.WindowReady() < p.format.Window {
		look(supplyGot)
	}
	look(supplyFull)
	write(t, mustVolume(t, p, "v", 1<<20), fill('x', BlockSize), 0)
	shunAll(p)
	look(supplyNone)
}

func shunAll(p *Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for g := range p.blocks.alloc.Groups() {
		p.blocks.alloc.Shun(g)
	}
}

// meddler is a context that does something the first time that somebody asks whether it is over: in reclaim, between
// the look that was in vain and what follows from it.
type meddler struct {
	context.Context
	once sync.Once
	fn   func()
}

func (m *meddler) Err() error {
	m.once.Do(m.fn)
	return nil
}

// Blocks that become clean between a writer's look for some and its conclusion that nothing is left are found.
func TestNoSpaceIsNotToldOfAnOlderState(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 4<<20)
	var wrote int64
	for {
		if _, err := v.WriteAt(fill('x', BlockSize), wrote); err != nil {
			wantErr(t, "the last write", err, ErrNoSpace)
			break
		}
		wrote += BlockSize
	}
	for _, c := range []struct {
		name string
		wait func(ctx context.Context) error
	}{
		{"a writer", func(ctx context.Context) error { return p.works.provide(ctx, p.blocks.alloc.WindowReady()+1) }},
		{"fallocate", func(ctx context.Context) error {
			return p.works.reclaim(ctx, 1, func() bool { return p.blocks.claimable() > 0 })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrote -= 16 * BlockSize
			ok(t, v.Punch(wrote, 16*BlockSize))
			ok(t, p.Flush())
			ok(t, c.wait(&meddler{Context: t.Context(), fn: func() { eraseAll(t, p) }}))
		})
	}
}

// 64 writers share a window of a few writes, on a pool with plenty of clean blocks: none is told that there is no space.
func TestCrowdOnTinyWindow(t *testing.T) {
	const writers, rounds, each = 64, 40, 8 * BlockSize
	d := newDisk(t, 128<<20)
	p := openPool(t, d)
	ctx, stop := context.WithCancel(t.Context())
	var house, crowd sync.WaitGroup
	house.Go(func() { _ = p.Run(ctx) })
	for w := range int64(writers) {
		v := mustVolume(t, p, fmt.Sprintf("v%d", w), rounds*each)
		crowd.Go(func() {
			for i := range int64(rounds) {
				if _, err := v.WriteAt(fill('x', each), i*each); err != nil {
					t.Errorf("writer %d, write %d of %d: %v; %d bytes are clean", w, i, rounds, err, p.Usage().Clean)
					return
				}
			}
		})
	}
	crowd.Wait()
	stop()
	house.Wait()
}

// A group whose page cannot be read takes its clean blocks out of what is available and of what a writer waits for.
func TestUnreadableGroupIsNotAvailable(t *testing.T) {
	d := newDisk(t, 16<<20)
	p := openPool(t, d)
	before := p.Usage().Avail
	g := p.blocks.alloc.Groups() - 1
	clean := p.blocks.alloc.GroupCounts(g).Clean * BlockSize
	p.mu.Lock()
	p.blocks.alloc.Shun(g)
	p.mu.Unlock()
	if got := before - p.Usage().Avail; clean == 0 || got != clean {
		t.Errorf("%d bytes less are available, %d cannot be found", got, clean)
	}
	shunAll(p)
	if err := p.works.provide(t.Context(), p.format.Window); !errors.Is(err, ErrNoSpace) {
		t.Errorf("looking again and again for what cannot be found: %v", err)
	}
}

// fallocate is not refused what the window holds: it is counted as available, and nobody has named it.
func TestAllocateTakesFromTheWindow(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	ok(t, p.space.grantPages(400))                                           // so that no clean block is kept for metadata
	v, huge := mustVolume(t, p, "v", 8<<20), mustVolume(t, p, "huge", 1<<40) // its size can't be promised
	for off := int64(0); p.blocks.claimable() > 0; off += BlockSize {
		write(t, v, fill('x', BlockSize), off)
		for got := supplyGot; got == supplyGot; { // the window takes what is left
			var err error
			got, err = p.blocks.claim()
			ok(t, err)
		}
	}
	if p.blocks.alloc.WindowReady() < 16 || p.blocks.claimable() > 8 {
		t.Fatalf("%d blocks in the window, %d beside it", p.blocks.alloc.WindowReady(), p.blocks.claimable())
	}
	ok(t, huge.Allocate(0, 8*BlockSize, true))
	if i, err := p.VolumeInfo(huge.ino); err != nil || i.Refer != 8*BlockSize {
		t.Errorf("%d bytes are mapped, %v", i.Refer, err)
	}
	write(t, v, fill('y', BlockSize), 7<<20)
}

// A plan that kept dirty blocks from being erased, and ends after the eraser had looked and before the writer concludes
// that nothing is left, leaves no record. The writer looks again.
func TestNoSpaceIsNotToldWhenAPlanHasEnded(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 4<<20)
	write(t, v, fill('x', 32*BlockSize), 0)
	var reader Plan
	need, err := v.PlanRead(&reader, 0, BlockSize)
	if err != nil || !need.None() {
		t.Fatalf("%+v, %v", need, err)
	}
	ok(t, v.Punch(16*BlockSize, 16*BlockSize)) // dirty, and the reader may see them
	ok(t, p.Flush())
	inVain := 0
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) {
		p.mu.Lock()
		lsn := p.commits.lsn
		p.mu.Unlock()
		done, err := eraseSome(p, n)
		p.mu.Lock()
		same := p.commits.lsn == lsn
		p.mu.Unlock()
		if done == 0 && same {
			if inVain++; inVain == 1 {
				reader.Abort()
			}
		}
		return done, err
	})
	before := p.jobs.cleaned
	ok(t, p.works.reclaim(t.Context(), 1, func() bool { return p.jobs.cleaned > before }))
	if inVain == 0 {
		t.Error("the plan held nothing up")
	}
}
