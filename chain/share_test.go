package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"slatefs/chain/omap"
)

// What a guest writes over a snapshot shows that is kept, so its end would free more and more: nobody is refused for want of it.
func TestKeptIsFollowed(t *testing.T) {
	const blocks = 512
	p := delayed(t, newDisk(t, 8<<20))
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	v := mustVolume(t, p, "v", blocks*BlockSize)
	write(t, v, fill('a', blocks*BlockSize), 0)
	mustSnapshot(t, v, "s")
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}))
	counts := func(want int64) {
		t.Helper()
		if n := p.Usage().Destroyed / BlockSize; n != want {
			t.Errorf("%d blocks of what is kept are counted on, want %d", n, want)
		}
		keptHolds(t, p)
	}
	counts(0)
	before := p.Usage().Avail
	for i := range int64(4) {
		write(t, v, fill('b', blocks/4*BlockSize), i*blocks/4*BlockSize)
		counts((i + 1) * blocks / 4)
		ok(t, p.Checkpoint())
		counts((i + 1) * blocks / 4)
	}
	if now := p.Usage().Avail; now < before-blocks*BlockSize/8 {
		t.Errorf("%d bytes were available, and %d are, though the snapshot would free what was written", before, now)
	}
	w := mustVolume(t, p, "w", 8<<20)
	n := int64(0)
	for ; n < 8<<20; n += BlockSize {
		if _, err := w.WriteAt(fill('c', BlockSize), n); errors.Is(err, ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if wantKept(t, p); n < before-blocks*BlockSize/8 {
		t.Errorf("%d bytes could be written, of %d that were available", n, before)
	}
}

// A walk takes away what a volume has discarded that is kept: what its end would free is not counted twice.
func TestKeptIsFollowedDown(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 1<<20), 0)
	mustSnapshot(t, v, "s")
	write(t, v, fill('b', 1<<19), 1<<18)
	ok(t, v.detach(0, 96))
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
	keptHolds(t, p)
	was := p.Usage().Destroyed
	ok(t, p.EraseDrain(t.Context())) // it walks
	keptHolds(t, p)
	if gone := was - p.Usage().Destroyed; gone != 32*BlockSize {
		t.Errorf("the walk has taken %d bytes from what is counted on, want %d", gone, 32*BlockSize)
	}
}

// Of a line of kept snapshots each block counts that no later one shows, whatever is between them and the volume, and in
// memory or on the device.
func TestKeptLineIsFollowed(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		off := rng.Int64N(250)
		write(t, v, fill('a', int(1+rng.Int64N(6))*BlockSize), off*BlockSize)
		keptHolds(t, p)
		switch {
		case i%7 == 3:
			mustSnapshot(t, v, fmt.Sprint("s", i))
		case i%7 == 5:
			if all, err := p.Snapshots(v.ino); err == nil && len(all) > 2 {
				ok(t, p.DestroySnapshots(Req{}, v.ino, []string{all[rng.IntN(len(all))].Name}, DestroyOptions{}))
			}
		case i%23 == 0:
			ok(t, p.Checkpoint())
		case i%29 == 0:
			ok(t, p.removal.expire(p.destroyed.ends.inOrder()[0]))
		}
		if t.Failed() {
			t.Fatalf("after step %d", i)
		}
	}
	mustCheck(t, p)
}

// Whatever becomes of trees, what is counted on of what is kept is what would fall.
func TestKeptModel(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 6
	}
	base := newDisk(t, stampedPool)
	for seed := range seeds {
		w, err := newStampedWorld(base, seed%2 == 0)
		ok(t, err)
		rng := rand.New(rand.NewPCG(seed, 12))
		for range 150 {
			if err := w.step(rng.Uint32()); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, w.told())
			}
			if keptHolds(t, w.p); t.Failed() {
				t.Fatalf("seed %d\n%s", seed, w.told())
			}
		}
		ok(t, w.close())
	}
}

// What a head loses while its list is looked at is counted once: by the look, or, behind it, by who follows.
func TestKeptWhileItIsCounted(t *testing.T) {
	const blocks = 64
	p := delayed(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", blocks*BlockSize)
	for i, name := range []string{"a", "b"} { // the even blocks are of the one, the odd ones of the other
		for b := int64(i); b < blocks; b += 2 {
			write(t, v, fill('a', BlockSize), b*BlockSize)
		}
		mustSnapshot(t, v, name)
	}
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"a", "b"}, DestroyOptions{}))
	for b := int64(16); b < 48; b++ {
		write(t, v, fill('b', BlockSize), b*BlockSize)
	}
	l := v.head()
	for at := range 16 { // so far the look has come
		s := &share{part: &falling{}, from: 0, line: []fallPart{{to: l.floor()}}}
		p.mu.Lock()
		l.share, s.upTo = s, omap.Key{Hi: 1}
		var seen int64
		for range at {
			k, e, more := l.lost.Fresh.Ceil(s.upTo)
			if !more { // what lies in a row is one
				break
			}
			s.upTo, seen = k.Next(), seen+e.Blocks()
		}
		p.mu.Unlock()
		for _, b := range []int64{int64(at), int64(48 + at)} {
			write(t, v, fill('c', BlockSize), b*BlockSize)
		}
		seen += p.tree.weighMemory(l, s)
		if want := int64(32 + 2*(at+1)); seen+s.part.n != want {
			t.Errorf("%d: %d are found, and %d followed, want %d", at, seen, s.part.n, want)
		}
	}
	p.mu.Lock()
	p.tree.recount(l.parent)
	p.mu.Unlock()
}

// A writer is beside who counts: what he overwrites meanwhile is counted once.
func TestKeptBesideAWriter(t *testing.T) {
	p := delayed(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 2<<20)
	write(t, v, fill('a', 2<<20), 0)
	var names []string
	for i := range 12 {
		write(t, v, fill('b', 256<<10), int64(i)*128<<10)
		names = append(names, fmt.Sprint("s", i))
		mustSnapshot(t, v, names[i])
	}
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			rng, err := rand.New(rand.NewPCG(uint64(round), 1)), error(nil)
			for err == nil && ctx.Err() == nil {
				_, err = v.WriteAt(fill('c', BlockSize), rng.Int64N(512)*BlockSize)
			}
			done <- err
		}()
		for i, name := range names[4*round : 4*round+4] {
			ok(t, p.DestroySnapshots(Req{}, v.ino, []string{name}, DestroyOptions{}))
			if i%2 == 0 {
				ok(t, p.Checkpoint())
			}
		}
		cancel()
		ok(t, <-done)
		keptHolds(t, p)
	}
}
