package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// Eight writers of 512 bytes share blocks while snapshots are taken: no sector is lost.
func TestSmallWritersWithSnapshots(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var house sync.WaitGroup
	house.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	v := mustVolume(t, p, "v", 64<<10)
	const rounds, depth, sectors = 400, 8, 128
	var last [sectors]byte
	var wg sync.WaitGroup
	for w := range depth {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range rounds {
				s := rng.IntN(sectors/depth)*depth + w // sectors of its own, in blocks of all
				c := byte(1 + i%250)
				if _, err := v.WriteAt(fill(c, 512), int64(s)*512); err != nil {
					t.Error(err)
					return
				}
				last[s] = c
			}
		})
	}
	for i := range 20 {
		mustSnapshot(t, v, fmt.Sprintf("s%d", i))
		if i%3 == 2 {
			if err := p.DestroySnapshots(Req{}, v.ino, []string{fmt.Sprintf("s%d", i-1)}, DestroyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	stop()
	house.Wait()
	for s, c := range last {
		expect(t, v, int64(s)*512, fill(c, 512))
	}
}

// A record is durable only after the data that it names, where that is not what fills a hole: there was something, and a crash must show
// that or what was written.
func TestCommitAgainstUnsyncedData(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 4096), 0)
	mustSnapshot(t, v, "s")
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	write(t, v, fill('b', 4096), 0)
	synced := false
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync {
			synced = true
		}
		if op.Kind == devtest.OpWrite && !synced {
			t.Errorf("a batch at %d was written before the data was synced", op.Off)
		}
		return nil
	})
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	d.Fail(nil)
	if !synced {
		t.Error("a flush without a sync")
	}
}

// A plan whose I/O failed leaves its claims dirty and the volume as it was; others go on.
func TestFailedWrite(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v, o := mustVolume(t, p, "v", 1<<20), mustVolume(t, p, "o", 1<<20)
	write(t, v, fill('a', 4096), 0)
	mustSnapshot(t, v, "s")
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpWrite {
			return syscall.EIO
		}
		return nil
	})
	if _, err := v.WriteAt(fill('b', 4096), 0); !errors.Is(err, syscall.EIO) {
		t.Fatalf("write on a failing device: %v", err)
	}
	d.Fail(nil)
	expect(t, v, 0, fill('a', 4096))
	write(t, o, fill('c', 4096), 0)
	if u := p.Usage(); u.Dirty != BlockSize {
		t.Errorf("%d bytes are dirty", u.Dirty)
	}
	mustCheck(t, p)
}
