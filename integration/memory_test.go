package integration

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crumbs is the size of one run of TestMemory.
type crumbs struct {
	pool      string
	allocated int64 // of its one volume, by fallocate
	writes    int   // first writes of a block, at random places
	threads   int
}

// TestMemory scatters first writes over all of a large pool, while a checkpoint follows the other and what the first half
// of the writes replaced is erased. Each write makes a page of the map dirty, most entries of a list lie in a page of their
// own, and each group of blocks gains some and loses some; beside that 128 requests of 1 MiB wait. The daemon stays within
// 256 MiB. SLATEFS_SCALE=full, as `make soak` has it: 10 TiB and 1,000,000 writes.
func TestMemory(t *testing.T) {
	c := crumbs{pool: "1T", allocated: 900 << 30, writes: 30_000, threads: 8}
	if os.Getenv("SLATEFS_SCALE") == "full" {
		c = crumbs{pool: "10T", allocated: 9 << 40, writes: 1_000_000, threads: 8}
	}
	needsRoot(t)
	needs(t, "losetup", "truncate", "fio")
	l := newLab(t)
	image := l.path("big.img")
	l.tool("truncate", "-s", c.pool, image) // on a loop device, as TestScale has it
	p := l.createPool("crumbs", loop(t, l, image), "", "--assume-zero")
	const memory = 256 << 20
	g := newCgroup(t, memory+memoryMargin)
	p.mountIn(g, memory)
	p.slatefs("set", "erase_throughput=0", p.mnt)
	s := scale{volumes: 1, size: c.allocated, allocated: c.allocated}
	s.allocate(p)
	s.report(p, "allocated")

	p.slatefs("snapshot", p.at(volName(0))+"@a")
	c.scatter(p, c.writes/2, 1)
	s.report(p, "in crumbs")
	p.slatefs("snapshot", p.at(volName(0))+"@b")
	p.slatefs("destroy", p.at(volName(0))+"@a")
	before := p.info().Info.Usage
	p.slatefs("create", "--size", "1G", p.at("large"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.scatter(p, c.writes, 2)
	}()
	for serving := true; serving; {
		p.manyLarge(p.at("large"), "512M")
		select {
		case <-done:
			serving = false
		case <-time.After(time.Second):
		}
	}
	s.report(p, "twice, and 128 x 1 MiB beside")
	p.inBounds(g, memory, "in the end")
	after := p.info().Info.Usage
	t.Logf("%d checkpoints, %d MiB erased meanwhile", after.Generation-before.Generation, (before.Dirty-after.Dirty)>>20)
	if after.Generation == before.Generation {
		t.Error("no checkpoint was taken")
	}
	if after.Dirty >= before.Dirty {
		t.Errorf("nothing was erased: %d bytes are dirty, %d were", after.Dirty, before.Dirty)
	}
	start := time.Now()
	p.umount()
	t.Logf("unmounted in %v", time.Since(start).Round(time.Millisecond))
	r := p.try("pool", "check", image)
	p.ok(r)
	t.Logf("checked offline in %v", r.took.Round(time.Millisecond))
}

// scatter writes blocks at random places, by several threads at once, and reads some back.
func (c crumbs) scatter(p *pool, n int, w uint64) {
	p.t.Helper()
	start := time.Now()
	var done atomic.Int64
	var longest [8]time.Duration
	var wg sync.WaitGroup
	for i := range c.threads {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(w, uint64(i)))
			fd, err := unix.Open(p.at(volName(0)), unix.O_RDWR|unix.O_DIRECT, 0)
			if err != nil {
				p.t.Error(err)
				return
			}
			defer unix.Close(fd)
			for k := range n / c.threads {
				off := rng.Int64N(c.allocated/block) * block
				b := stamped(block, 0, off, w)
				began := time.Now()
				if _, err := unix.Pwrite(fd, b, off); err != nil {
					p.t.Errorf("write at %d: %v", off, err)
					return
				}
				longest[i] = max(longest[i], time.Since(began))
				done.Add(1)
				p.writes.Add(1)
				if k%100 != 0 {
					continue
				}
				got := stamped(block, 0, 0, 0)
				if _, err := unix.Pread(fd, got, off); err != nil || !slices.Equal(got, b) {
					p.t.Errorf("at %d is not what was written there: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	p.t.Logf("%d scattered first writes of 4 KiB in %v, %.0f a second, the longest %v", done.Load(), took.Round(time.Millisecond),
		float64(done.Load())/took.Seconds(), slices.Max(longest[:]).Round(time.Millisecond))
}
