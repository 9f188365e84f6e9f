package chain

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// writeScattered writes every so many blocks one block of a volume.
func writeScattered(t *testing.T, v *Volume, n, every int64) {
	t.Helper()
	for i := range n {
		write(t, v, fill(byte('a'+i%26), BlockSize), i*every*BlockSize)
	}
}

// A count looks at so many entries of the map at once, and no more.
func TestTallyInPieces(t *testing.T) {
	d := devtest.New(64<<20, 512)
	ok(t, Create(d, Format{Name: "large", Zeroed: true, RingBytes: 8 << 20, Now: newClock().now}))
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 64 << 20}) // no checkpoint comes between
	ok(t, err)
	t.Cleanup(func() { ok(t, p.Close()) })
	v := mustVolume(t, p, "v", 1<<40)
	const n = 5 * pieceLen
	writeScattered(t, v, n, 2)
	if got := v.head().top.Len(); got != n {
		t.Fatalf("%d entries, want %d", got, n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ta := &tally{hi: 1 << 28}
	pieces := 0
	for ; ta.next < ta.hi; pieces++ {
		from := ta.next
		if need := ta.step(p.blocks, v.head()); !need.None() {
			t.Fatalf("need %+v", need)
		}
		if ta.next <= from || ta.next < ta.hi && ta.next-from > 2*pieceLen {
			t.Fatalf("one piece counts from %d to %d", from, ta.next)
		}
	}
	if ta.n != n || pieces < n/pieceLen {
		t.Errorf("%d blocks in %d pieces", ta.n, pieces)
	}
}

// What happens between the pieces of a count is in it.
func TestTallyFollows(t *testing.T) {
	p := openPool(t, newDisk(t, 32<<20))
	const blocks = 40 * 8
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		v := mustVolume(t, p, fmt.Sprint("v", seed), 1<<40)
		writeScattered(t, v, 40, 8)
		mustSnapshot(t, v, "s")
		if seed%2 == 0 {
			ok(t, p.Checkpoint())
		}
		ta := &tally{lo: rng.Int64N(20)}
		ta.hi, ta.next = ta.lo+rng.Int64N(blocks), ta.lo
		p.mu.Lock()
		v.beginTally(ta)
		p.mu.Unlock()
		for range 12 {
			at := rng.Int64N(blocks)
			switch rng.IntN(8) {
			case 0, 1, 2:
				write(t, v, fill('w', int(1+rng.Int64N(4))*BlockSize), at*BlockSize)
			case 3, 4:
				ok(t, v.Punch(at*BlockSize, (1+rng.Int64N(30))*BlockSize))
			case 5:
				ok(t, v.Allocate(at*BlockSize, 2*BlockSize, false))
			case 6:
				ok(t, p.Rollback(Req{}, v.ino, "s", false))
			case 7:
				ok(t, v.Punch(at*BlockSize, 1<<39)) // in one piece
			}
			p.mu.Lock()
			steps := 1 + rng.IntN(10)
			n, end, miss := v.head().top.Count(p.blocks.maps, ta.next, ta.hi, &steps)
			if miss < 0 {
				ta.n, ta.next = ta.n+n, max(end, ta.next)
			}
			all := 1 << 20
			want, _, miss := v.head().top.Count(p.blocks.maps, ta.lo, ta.next, &all)
			p.mu.Unlock()
			if miss < 0 && want != ta.n {
				t.Fatalf("seed %d: %d blocks are mapped in [%d, %d), counted %d", seed, want, ta.lo, ta.next, ta.n)
			}
		}
		v.endTally(ta)
		ok(t, p.Unlink(Req{}, RootIno, fmt.Sprint("v", seed)))
	}
	if p.volumes.tallies != 0 {
		t.Errorf("%d counts are under way", p.volumes.tallies)
	}
	mustCheck(t, p)
}

// A volume that was written at random is discarded whole, cut, and allocated: what is mapped is known exactly, though it is
// counted in pieces, beside somebody who writes elsewhere in it.
func TestLargeDiscardOfManyEntries(t *testing.T) {
	p := openPool(t, newDisk(t, 32<<20))
	v := mustVolume(t, p, "v", 1<<40)
	const n = 10 * pieceLen
	for name, take := range map[string]func() error{
		"discard":  func() error { return v.Punch(0, 1<<39) },
		"truncate": func() error { return v.Truncate(0) },
	} {
		ok(t, v.Truncate(1<<40))
		writeScattered(t, v, n, 3)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range int64(50) {
				write(t, v, fill('x', BlockSize), 1<<39+i*BlockSize)
			}
		}()
		err := take()
		<-done
		ok(t, err)
		if name == "discard" {
			ok(t, v.Punch(1<<39, 50*BlockSize))
		} else {
			ok(t, v.Truncate(0))
		}
		i, err := p.VolumeInfo(v.ino)
		ok(t, err)
		if i.Refer != 0 {
			t.Errorf("%s: %d bytes are left", name, i.Refer)
		}
		mustCheck(t, p)
	}
}
