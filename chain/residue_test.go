package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
)

// After a crash the operator's words that were freed are overwritten by the second checkpoint, wherever the crash was: no
// page that is free holds them.
func TestCrashLeavesNoWords(t *testing.T) {
	base := newDisk(t, 4<<20)
	var x Ino
	story := func(d *devtest.Disk) error {
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			return err
		}
		a, err := p.Symlink(Req{}, RootIno, "l", string(fill('x', 3000)))
		if err != nil {
			return err
		}
		x = a.Ino
		for _, f := range []func() error{
			p.Checkpoint, func() error { return p.Unlink(Req{}, RootIno, "l") }, p.Flush, p.Checkpoint, p.Checkpoint, p.Close,
		} {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}
	whole := base.Clone()
	ok(t, story(whole))
	left := 0
	for k := 1; k <= whole.Ops(); k++ {
		d := base.Clone()
		d.CrashAt(k)
		_ = story(d)
		d = d.Crash(rand.New(rand.NewPCG(3, uint64(k))))
		p := openPool(t, d)
		for range super.Slots { // the second one for what only the journal said
			ok(t, p.Checkpoint())
		}
		if _, err := p.Readlink(x); err == nil { // it is there still
			continue
		}
		if len(d.Find(fill('x', 64))) > 0 {
			left++ // in the ring, perhaps
		}
		inPages(t, p, 'x', false)
		if t.Failed() {
			t.Fatalf("crash at operation %d of %d", k, whole.Ops())
		}
	}
	if left == 0 {
		t.Error("no crash left the words anywhere")
	}
}

// piece is what residue looks at: writes begin and end at any byte, but what survives of one in a piece of a block is in
// the same piece of the block that shows it.
const piece64 = 64

// residueHunt reads the whole device: what is not metadata holds nothing but what the model does, and metadata holds no
// guest bytes.
func residueHunt(w *world) error {
	live := map[[piece64]byte]bool{{}: true}
	add := func(b []byte) {
		for i := 0; i+piece64 <= len(b); i += piece64 {
			live[[piece64]byte(b[i:])] = true
		}
	}
	for _, d := range w.m.disks {
		add(d.data)
		for _, s := range d.snaps {
			add(s.data)
		}
	}
	for _, g := range w.m.kept {
		add(g.s.data)
		if g.d != nil {
			add(g.d.data)
			for _, s := range g.d.snaps {
				add(s.data)
			}
		}
	}
	p, dev := w.p, w.p.dev.(*devtest.Disk)
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range alloc.BlockID(p.blocks.alloc.Total()) {
		st, err := p.blocks.alloc.State(b)
		var u *alloc.UnloadedError
		if errors.As(err, &u) {
			if err = p.blocks.loadGroup(u.Group); err == nil {
				st, err = p.blocks.alloc.State(b)
			}
		}
		if err != nil {
			return err
		}
		raw := dev.Peek(int64(b)*BlockSize, BlockSize)
		for i := 0; i < BlockSize; i += piece64 {
			c := [piece64]byte(raw[i:])
			switch {
			case st == alloc.Meta && guestBytes(c):
				return fmt.Errorf("block %d, metadata, byte %d: guest bytes % x", b, i, c[:8])
			case st != alloc.Meta && !live[c]:
				return fmt.Errorf("block %d, %v, byte %d: % x, which nothing holds", b, st, i, c[:8])
			}
		}
	}
	return nil
}

// guestBytes: the world writes one odd byte over and over.
func guestBytes(c [piece64]byte) bool {
	return c[0]&1 == 1 && bytes.Count(c[:], c[:1]) == piece64
}

// Erasing fails here and there, for good or for a while, on a pool that fills up, with crashes between: what failed stays
// dirty, is given to nobody, and is zero in the end.
func TestResidueFaults(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		d := newDisk(t, 2<<20)
		w, err := openWorld(d, newModel(), seed)
		ok(t, err)
		rng := rand.New(rand.NewPCG(seed, 11))
		failed := 0
		for round := range 5 {
			bad := alloc.BlockID(rng.IntN(2 << 20 / BlockSize))
			zero := func(ctx context.Context, n int64) (int64, error) { return eraseFaulty(w.p, n, bad, &failed) }
			w.p.SetZeroNow(zero)
			for range 40 {
				if err := w.step(); err != nil && !isNoSpace(err) {
					t.Fatalf("seed %d: %v\n%s", seed, err, lastSteps(w.trace))
				}
				if rng.IntN(4) == 0 {
					_, err := zero(t.Context(), 64*BlockSize)
					ok(t, err)
				}
			}
			if round%2 == 0 {
				for _, h := range w.held {
					ok(t, w.finish(h))
				}
				for _, h := range w.reads {
					h.pl.Abort()
				}
				ok(t, w.flush())
				n, err := openWorld(w.p.dev.(*devtest.Disk).Crash(rng), w.m, seed+uint64(round))
				ok(t, err)
				n.n, n.stamp, n.trace = w.n, w.stamp, w.trace
				w = n
			}
		}
		w.p.opt.Now = later(w.p.opt.Now) // what failed is tried again
		checkWorld(t, w, fmt.Sprintf("seed %d, %d runs failed", seed, failed), true)
	}
}

// later is a clock a day ahead of another.
func later(now func() time.Time) func() time.Time {
	return func() time.Time { return now().Add(24 * time.Hour) }
}

// eraseFaulty is eraseSome on a device whose block bad cannot be zeroed.
func eraseFaulty(p *Pool, n int64, bad alloc.BlockID, failed *int) (done int64, err error) {
	for done < n {
		h, err := p.Next(min(n-done, 16*BlockSize))
		if err != nil || h.Token == 0 {
			return done, err
		}
		var good, broken []blockdev.Extent
		for _, r := range h.Runs {
			if r.Off <= int64(bad)*BlockSize && int64(bad)*BlockSize < r.End() {
				broken = append(broken, r)
				*failed++
				continue
			}
			if err := p.dev.Zero(r.Off, r.Len, blockdev.Overwrite); err != nil {
				return done, err
			}
			good, done = append(good, r), done+r.Len
		}
		if err := p.dev.Sync(); err != nil {
			return done, err
		}
		if err := report(p, h.Token, good, broken); err != nil {
			return done, err
		}
		if len(good) == 0 {
			return done, nil
		}
	}
	return done, nil
}
