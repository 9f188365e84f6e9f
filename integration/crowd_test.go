package integration

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCrowdOfWriters writes to half of a pool from 128 threads, 1 MiB each with O_DIRECT: many more at once than the window
// of claimed blocks holds. With so much clean none of them is told that there is no space.
func TestCrowdOfWriters(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("create", "--size", "1G", p.at("v"))
		const threads, end = 128, int64(256 << 20)
		var next atomic.Int64
		var crowd sync.WaitGroup
		for range threads {
			crowd.Go(func() {
				fd, err := unix.Open(p.at("v"), unix.O_RDWR|unix.O_DIRECT, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() {
					if err := unix.Close(fd); err != nil {
						t.Error(err)
					}
				}()
				for off := next.Add(1<<20) - 1<<20; off < end; off = next.Add(1<<20) - 1<<20 {
					if n, err := unix.Pwrite(fd, stamped(1<<20, 0, off, 1), off); n != 1<<20 || err != nil {
						t.Errorf("write at %d: %d, %v; %+v", off, n, err, p.info().Info.Usage)
						return
					}
				}
			})
		}
		crowd.Wait()
		holds(t, p.at("v"), 0, end, 1, nil)
		p.end()
		p.check()
	})
}
