package chain

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

var (
	borderRounds = flag.Int("border.rounds", 2500, "rounds of TestBorder")
	borderSeed   = flag.Uint64("border.seed", 1, "seed of TestBorder")
)

// border is a pool that is too small for all who write to it: volumes with promises, and others.
type border struct {
	*testing.T
	d        *devtest.Disk
	p        *Pool
	rng      *rand.Rand
	vols     []*borderVolume
	eraser   sync.Mutex
	snapshot int
	refused  struct{ writes, promises int }
}

// borderVolume is a volume, and what each of its blocks holds; 0: zeros.
type borderVolume struct {
	name     string
	ino      Ino
	promised bool
	blocks   []byte
	snaps    []string
}

// The border under fire: on a full pool promised writers never fail, the others get ENOSPC and lose nothing, promises
// are never more than there is, also over a crash.
func TestBorder(t *testing.T) {
	b := &border{T: t, d: newDisk(t, 8<<20), rng: rand.New(rand.NewPCG(*borderSeed, 7))}
	rounds := *borderRounds
	if testing.Short() {
		rounds /= 10
	}
	b.open()
	for i := range 7 {
		v := &borderVolume{name: fmt.Sprint("v", i), promised: i < 4, blocks: make([]byte, 192)}
		if !v.promised {
			v.blocks = make([]byte, 1200)
		}
		vol := mustVolume(t, b.p, v.name, int64(len(v.blocks))*BlockSize)
		v.ino = vol.ino
		if v.promised {
			ok(t, b.p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "auto"}))
		}
		b.vols = append(b.vols, v)
	}
	for round := range rounds {
		b.round()
		if t.Failed() {
			t.Fatalf("in round %d of seed %d: %+v", round, *borderSeed, b.p.Usage())
		}
		if round%20 == 19 {
			b.crash()
		}
	}
	t.Logf("%d writes and %d snapshots, clones and promises were refused", b.refused.writes, b.refused.promises)
	if b.refused.writes == 0 || b.refused.promises == 0 {
		t.Error("the pool was never full")
	}
	b.verify()
	ok(t, b.p.Close())
}

func (b *border) open() {
	p, err := Open(b.d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(b, err)
	b.p = p
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) {
		b.eraser.Lock()
		defer b.eraser.Unlock()
		return eraseSome(p, n)
	})
}

// round lets all writers and the housekeeping loose, with structure changes between.
func (b *border) round() {
	ctx, stop := context.WithCancel(context.Background())
	var house, wg sync.WaitGroup
	house.Go(func() {
		if err := b.p.Run(ctx); err != nil {
			b.Error("housekeeping: ", err)
		}
	})
	var mu sync.Mutex
	for _, v := range b.vols {
		vol, err := b.p.Volume(v.ino)
		ok(b, err)
		rng := rand.New(rand.NewPCG(b.rng.Uint64(), 3))
		wg.Go(func() {
			for range 12 {
				refused := b.write(v, vol, rng)
				mu.Lock()
				b.refused.writes += refused
				mu.Unlock()
			}
		})
	}
	for range 3 {
		b.control()
	}
	wg.Wait()
	stop()
	house.Wait()
	if b.Failed() {
		return
	}
	ok(b, b.p.Flush())
	if _, short := b.p.Headroom(); short > 0 {
		b.Errorf("promises are short by %d", short)
	}
}

// write overwrites a few blocks, or punches some. It returns how many writes were refused.
func (b *border) write(v *borderVolume, vol *Volume, rng *rand.Rand) (refused int) {
	at, n := rng.IntN(len(v.blocks)), 1+rng.IntN(4)
	n = min(n, len(v.blocks)-at)
	c := byte(1 + rng.IntN(250))
	if rng.IntN(12) == 0 {
		if err := vol.Punch(int64(at)*BlockSize, int64(n)*BlockSize); err != nil {
			b.Errorf("%s: punch: %v", v.name, err)
		}
		clear(v.blocks[at : at+n])
		return 0
	}
	for i := at; i < at+n; i++ {
		switch _, err := vol.WriteAt(fill(c, BlockSize), int64(i)*BlockSize); {
		case err == nil:
			v.blocks[i] = c
		case v.promised || !errors.Is(err, ErrNoSpace):
			b.Errorf("%s, promised %v: %v", v.name, v.promised, err)
			return refused
		default:
			refused++
		}
	}
	return refused
}

// control takes or destroys a snapshot or a clone, or changes a promise.
func (b *border) control() {
	v := b.vols[b.rng.IntN(len(b.vols))]
	var err error
	switch k := b.rng.IntN(10); {
	case k < 3 && len(v.snaps) < 3:
		b.snapshot++
		name := fmt.Sprint("s", b.snapshot)
		if err = b.p.Snapshot(Req{}, []Ino{v.ino}, name); err == nil {
			v.snaps = append(v.snaps, name)
		}
	case k < 6 && len(v.snaps) > 0:
		i := b.rng.IntN(len(v.snaps))
		if err := b.p.DestroySnapshots(Req{}, v.ino, v.snaps[i:i+1], DestroyOptions{Defer: true}); err != nil {
			b.Errorf("destroy of %s@%s: %v", v.name, v.snaps[i], err)
		}
		v.snaps = slices.Delete(v.snaps, i, i+1)
	case k < 7 && len(v.snaps) > 0:
		_, err = b.p.Clone(Req{}, v.ino, v.snaps[0], RootIno, "clone")
	case k < 8:
		if err := b.p.Unlink(Req{}, RootIno, "clone"); err != nil && !errors.Is(err, ErrNotFound) {
			b.Errorf("unlink of a clone: %v", err)
		}
	case v.promised: // up and back, so that all of it stays promised
		if err = b.p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "2M"}); err == nil {
			ok(b, b.p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "auto"}))
		}
	}
	if errors.Is(err, ErrNoSpace) {
		b.refused.promises++
	} else if err != nil && !errors.Is(err, ErrExist) {
		b.Errorf("%s: %v", v.name, err)
	}
}

// crash cuts the power after a flush, and opens the pool again.
func (b *border) crash() {
	d := b.d.Crash(rand.New(rand.NewPCG(b.rng.Uint64(), 5)))
	b.d = d
	b.open()
	b.verify()
}

func (b *border) verify() {
	mustCheck(b, b.p)
	for _, v := range b.vols {
		vol, err := b.p.Volume(v.ino)
		ok(b, err)
		for i, c := range v.blocks {
			expect(b, vol, int64(i)*BlockSize, fill(c, BlockSize))
		}
	}
}
