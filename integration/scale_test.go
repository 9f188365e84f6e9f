package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scale is the size of one run.
type scale struct {
	pool      string
	volumes   int
	size      int64 // of a volume, bytes
	allocated int64 // of it, by fallocate
	snapshots int   // of each volume
	writes    int   // first writes after each snapshot, to one volume
}

// TestScale makes a large pool with many layers, and prints what it costs: memory of the daemon, time to mount, bytes
// per checkpoint. SLATEFS_SCALE=full, as `make soak` has it: 10 TiB and 110,000 layers.
func TestScale(t *testing.T) {
	s := scale{pool: "1T", volumes: 20, size: 100 << 30, allocated: 40 << 30, snapshots: 100, writes: 16}
	if os.Getenv("SLATEFS_SCALE") == "full" {
		s = scale{pool: "10T", volumes: 100, size: 200 << 30, allocated: 80 << 30, snapshots: 1100, writes: 16}
	}
	needs(t, "losetup", "truncate")
	l := newLab(t)
	// On a loop device: of a pool file with holes fallocate would want the space of its host. Checked as a file, whose holes
	// need not be read.
	image := l.path("big.img")
	l.tool("truncate", "-s", s.pool, image)
	p := l.createPool("big", loop(t, l, image), "", "--assume-zero")
	p.mount()
	p.slatefs("set", "erase_throughput=0", p.mnt)
	s.report(p, "empty")
	s.allocate(p)
	s.report(p, "allocated")
	s.freeze(p)
	s.report(p, "frozen")
	s.checkpoint(p)
	took := s.remount(p, func() { p.umount() })
	t.Logf("mounted after an unmount in %v", took)
	s.report(p, "mounted")
	s.overwrite(p, 2000)
	took = s.remount(p, p.kill)
	t.Logf("mounted after a kill in %v", took)
	s.report(p, "mounted after a kill")
	s.thin(p)
	s.report(p, "thinned")
	start := time.Now()
	p.umount()
	t.Logf("unmounted in %v", time.Since(start).Round(time.Millisecond))
	r := p.try("pool", "check", image)
	p.ok(r)
	t.Logf("checked offline in %v", r.took.Round(time.Millisecond))
}

// allocate makes the volumes, and maps a part of each.
func (s scale) allocate(p *pool) {
	start := time.Now()
	for i := range s.volumes {
		p.slatefs("create", "--size", fmt.Sprint(s.size), p.at(volName(i)))
		fd := open(p.t, p.at(volName(i)), unix.O_RDWR)
		must(p.t, unix.Fallocate(fd, 0, 0, s.allocated))
		closeFD(p.t, fd)
	}
	p.t.Logf("%d volumes of %d GiB, %d GiB of each allocated, in %v", s.volumes, s.size>>30, s.allocated>>30, time.Since(start).Round(time.Millisecond))
}

// freeze makes all snapshots, of all volumes at one instant each time, and writes in between.
func (s scale) freeze(p *pool) {
	start, most, calls := time.Now(), time.Duration(0), time.Duration(0)
	for n := range s.snapshots {
		r := p.try("snapshot", "-r", fmt.Sprintf("%s@s%d", p.mnt, n))
		p.ok(r)
		most, calls = max(most, r.took), calls+r.took
		s.write(p, n%s.volumes, s.writes, uint64(n+1))
	}
	if got, want := p.info().Info.Usage.Layers, s.volumes*(s.snapshots+1); got != want {
		p.t.Errorf("%d layers, want %d", got, want)
	}
	p.t.Logf("%d snapshots in %v: %v for %d at one instant, %v at most", s.volumes*s.snapshots, time.Since(start).Round(time.Millisecond),
		(calls / time.Duration(s.snapshots)).Round(time.Microsecond), s.volumes, most.Round(time.Millisecond))
}

// write writes blocks at random places of what is allocated.
func (s scale) write(p *pool, volume, n int, w uint64) {
	rng := rand.New(rand.NewPCG(w, uint64(volume)))
	fd := open(p.t, p.at(volName(volume)), unix.O_RDWR|unix.O_DIRECT)
	for range n {
		off := rng.Int64N(s.allocated/block) * block
		_, err := unix.Pwrite(fd, stamped(block, volume, off, w), off)
		must(p.t, err)
	}
	closeFD(p.t, fd)
}

func (s scale) overwrite(p *pool, n int) {
	start := time.Now()
	for i := range s.volumes {
		s.write(p, i, n/s.volumes, uint64(i+1)<<32)
	}
	p.t.Logf("%d first writes of 4 KiB in %v", n, time.Since(start).Round(time.Millisecond))
}

// checkpoint measures what a checkpoint writes after some first writes. An online check begins with one, and writes nothing else.
func (s scale) checkpoint(p *pool) {
	for _, n := range []int{1000, 20} {
		p.slatefs("pool", "check", "--online", p.mnt)
		s.overwrite(p, n)
		before, generation := daemonBytes(p), p.info().Info.Usage.Generation
		start := time.Now()
		p.slatefs("pool", "check", "--online", p.mnt)
		bytes, made := daemonBytes(p)-before, p.info().Info.Usage.Generation-generation
		p.t.Logf("checkpoint after %d first writes: %d KiB written in %d checkpoints, with the check %v", n, bytes>>10, made, time.Since(start).Round(time.Millisecond))
	}
}

// remount ends the daemon somehow, and tells how long the next mount takes.
func (s scale) remount(p *pool, end func()) time.Duration {
	end()
	took := p.mount()
	return took.Round(time.Millisecond)
}

// thin destroys a snapshot of each volume, and one volume with all it has.
func (s scale) thin(p *pool) {
	start := time.Now()
	for i := range s.volumes {
		p.slatefs("destroy", fmt.Sprintf("%s@s%d", p.at(volName(i)), s.snapshots/2))
	}
	one := time.Since(start) / time.Duration(s.volumes)
	r := p.try("destroy", "-r", p.at(volName(0)))
	p.ok(r)
	p.t.Logf("a snapshot destroyed in %v, a volume with %d snapshots in %v", one.Round(time.Microsecond), s.snapshots-1, r.took.Round(time.Millisecond))
}

// report prints the memory of the daemon, and what the pool holds.
func (s scale) report(p *pool, when string) {
	p.t.Helper()
	i := p.info().Info
	status := string(read(p.t, fmt.Sprintf("/proc/%d/status", i.Daemon.PID)))
	mem := map[string]int64{}
	for line := range strings.Lines(status) {
		var name string
		var kib int64
		if n, _ := fmt.Sscan(line, &name, &kib); n == 2 {
			mem[name] = kib
		}
	}
	u := i.Usage
	p.t.Logf("%s: VmRSS %d MiB, VmHWM %d MiB; %d layers, live %d GiB, metadata %d MiB, generation %d, journal %d KiB",
		when, mem["VmRSS:"]>>10, mem["VmHWM:"]>>10, u.Layers, u.Live>>30, u.Metadata>>20, u.Generation, u.JournalUsed>>10)
	if mem["VmHWM:"] > 256<<10 {
		p.t.Errorf("%s: the daemon had %d MiB, above 256", when, mem["VmHWM:"]>>10)
	}
}

// daemonBytes is what the daemon has written to the device so far.
func daemonBytes(p *pool) (n int64) {
	for line := range strings.Lines(string(read(p.t, fmt.Sprintf("/proc/%d/io", p.pid())))) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	p.t.Error("no write_bytes")
	return 0
}
