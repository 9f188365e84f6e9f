package erase

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"slatefs/chain/blockdev"
)

// TestModel lets the background, two demanders and random faults work on one
// device; every block must end zero, synced and reported once per hand-out.
func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var logged bytes.Buffer
		log := slog.New(slog.NewTextHandler(&logged, nil))
		bubble(t, Config{Rate: 4 * mib, Verify: blockdev.VerifyFull, Logger: log}, func(t *testing.T, b *bench) {
			var faults int
			b.dev.zero = func(_, n int64) error {
				if rng.IntN(8) == 0 {
					faults++
					return errFake
				}
				return nil
			}
			b.dev.read = func(p []byte, _ int64) (int, error) {
				if rng.IntN(20) == 0 {
					faults++
					return len(p) / 2, errFake
				}
				return len(p), nil
			}
			b.q.backOff = func(job uint64, failed []blockdev.Extent) {
				go func() { time.Sleep(3 * time.Second); b.q.add(job, failed...) }()
			}
			const blocks = 6000
			var all []blockdev.Extent
			for at := int64(0); at < blocks; {
				x := ext(at, min(1+rng.Int64N(400), blocks-at))
				all = append(all, x)
				at = x.End() / blockBytes
			}
			b.dev.fill(all...)
			for i, x := range all {
				b.q.add(uint64(i/3), x)
			}
			b.start(t)
			stop := make(chan struct{})
			for i := range int64(2) {
				go func() {
					for pause := time.Duration(0); ; pause = time.Duration(300+i*170) * time.Millisecond {
						select {
						case <-stop:
							return
						case <-time.After(pause):
							if _, err := b.Now(t.Context(), 50*blockBytes*(i+1)); err != nil {
								t.Errorf("seed %d: Now: %v", seed, err)
							}
						}
					}
				}()
			}
			for range 10_000 {
				if z, _ := b.q.sums(); z >= blocks*blockBytes {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			close(stop)
			time.Sleep(2 * time.Second)
			z, f := b.q.sums()
			s := b.Stats()
			if n := b.dev.dirty(ext(0, blocks)); n != 0 || z != blocks*blockBytes {
				t.Errorf("seed %d: %d blocks dirty, %d bytes reported zeroed of %d", seed, n, z, blocks*blockBytes)
			}
			if faults == 0 || f == 0 || logged.Len() == 0 || s.Failed != f || s.Background+s.Demand != z || s.Pending != 0 {
				t.Errorf("seed %d: faults %d, failed %d, %+v", seed, faults, f, s)
			}
		})
	}
}
