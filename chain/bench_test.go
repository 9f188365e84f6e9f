package chain

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev/devtest"
)

// benchPool is a pool of real geometry with a volume of size bytes that is mapped in one piece.
func benchPool(b *testing.B, size int64) (*Pool, *Volume) {
	b.Helper()
	d := devtest.New(size*3, 512)
	f := Format{Name: "bench", UUID: [16]byte{7}, Zeroed: true, Now: newClock().now}
	if err := Create(d, f); err != nil {
		b.Fatal(err)
	}
	p, err := Open(d, Options{Now: time.Now}) // as a mount has it: the clock of the tests has a lock
	if err != nil {
		b.Fatal(err)
	}
	a, err := p.Create(Req{}, RootIno, "v", 0o600)
	if err != nil {
		b.Fatal(err)
	}
	v, err := p.Volume(a.Ino)
	if err != nil {
		b.Fatal(err)
	}
	if err := v.Allocate(0, size, false); err != nil {
		b.Fatal(err)
	}
	return p, v
}

// planned writes n blocks at random, without moving a byte.
func plannedWrites(b *testing.B, v *Volume, n int, seed uint64) {
	b.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	blocks := v.Size() / BlockSize
	var pl Plan
	for range n {
		off := rng.Int64N(blocks) * BlockSize
		if err := v.p.until(func() (Need, error) { return v.PlanWrite(&pl, off, BlockSize) }); err != nil {
			b.Fatal(err)
		}
		if err := pl.Commit(pl.Len); err != nil {
			b.Fatal(err)
		}
		if poolOf(v).wantsCheckpointNow() {
			if err := poolOf(v).Checkpoint(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (p *Pool) wantsCheckpointNow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.persist.wantsCheckpoint()
}

// BenchmarkPlanWrite is the pool's part of a 4 KiB random write: in place, and first writes after a snapshot.
func BenchmarkPlanWrite(b *testing.B) {
	for _, snapshot := range []bool{false, true} {
		b.Run(fmt.Sprintf("snapshot=%v", snapshot), func(b *testing.B) {
			p, v := benchPool(b, 1<<30)
			if snapshot {
				if err := p.Snapshot(Req{}, []Ino{v.ino}, "s"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			plannedWrites(b, v, b.N, 1)
		})
	}
}

// BenchmarkPlanRead is the pool's part of a 4 KiB random read, by the number of layers below.
func BenchmarkPlanRead(b *testing.B) {
	for _, layers := range []int{1, 32} {
		b.Run(fmt.Sprintf("layers=%d", layers), func(b *testing.B) {
			p, v := benchPool(b, 256<<20)
			for i := range layers - 1 {
				if err := p.Snapshot(Req{}, []Ino{v.ino}, fmt.Sprintf("s%d", i)); err != nil {
					b.Fatal(err)
				}
				plannedWrites(b, v, 1000, uint64(i))
			}
			if err := p.Checkpoint(); err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			var pl Plan
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				off := rng.Int64N(v.Size()/BlockSize) * BlockSize
				if err := p.volumes.until(func() (Need, error) { return v.PlanRead(&pl, off, BlockSize) }); err != nil {
					b.Fatal(err)
				}
				pl.Abort()
			}
		})
	}
}

// BenchmarkPlanMany is the pool's part of 4 KiB at random by as many goroutines as there are processors (-cpu), in one volume or each
// in its own: what they cost each other. A write is in place.
func BenchmarkPlanMany(b *testing.B) {
	for _, kind := range []string{"read", "write", "mix"} {
		for _, own := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/own=%v", kind, own), func(b *testing.B) {
				p, first := benchPool(b, 256<<20)
				vols := []*Volume{first}
				for i := 1; own && i < runtime.GOMAXPROCS(0); i++ {
					v := mustVolume(b, p, fmt.Sprint("v", i), 16<<20)
					if err := v.Allocate(0, 16<<20, false); err != nil {
						b.Fatal(err)
					}
					vols = append(vols, v)
				}
				planned(b, vols[0], kind, 2, 0) // what only the first write does
				var at atomic.Int64
				b.ReportAllocs()
				before, cpu := p.Usage().PlanLock, cpuTime()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					me := int(at.Add(1)) - 1
					m := newPlanner(vols[me%len(vols)], kind, me)
					for pb.Next() {
						if err := m.one(); err != nil {
							b.Error(err)
							return
						}
					}
				})
				cpu, after := cpuTime()-cpu, p.Usage().PlanLock
				b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(after.Alone-before.Alone-1)/float64(b.N), "alone/op")
				b.ReportMetric(float64(after.Waits-before.Waits)/float64(b.N), "waits/op")
			})
		}
	}
}

// cpuTime is what this process has had of the processors.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// planner makes plans of 4 KiB at random and ends them, without moving a byte.
type planner struct {
	v    *Volume
	kind string // read, write or mix
	rng  *rand.Rand
	size int64
	pl   Plan
}

func newPlanner(v *Volume, kind string, me int) *planner {
	return &planner{v: v, kind: kind, rng: rand.New(rand.NewPCG(uint64(me), 1)), size: v.Size(), pl: Plan{Lane: uint8(me)}}
}

func (m *planner) one() error {
	off := m.rng.Int64N(m.size/BlockSize) * BlockSize
	if m.kind == "read" || m.kind == "mix" && m.rng.IntN(10) < 7 {
		if err := m.v.p.until(func() (Need, error) { return m.v.PlanRead(&m.pl, off, BlockSize) }); err != nil {
			return err
		}
		m.pl.Abort()
		return nil
	}
	if err := m.v.p.until(func() (Need, error) { return m.v.PlanWrite(&m.pl, off, BlockSize) }); err != nil {
		return err
	}
	return m.pl.Commit(m.pl.Len)
}

func planned(b *testing.B, v *Volume, kind string, n, me int) {
	b.Helper()
	m := newPlanner(v, kind, me)
	for range n {
		if err := m.one(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStructure is what a checkpoint and a destroy cost after 25,600 random first writes (100 MiB).
func BenchmarkStructure(b *testing.B) {
	for range b.N {
		p, v := benchPool(b, 1<<30)
		if err := p.Snapshot(Req{}, []Ino{v.ino}, "s"); err != nil {
			b.Fatal(err)
		}
		plannedWrites(b, v, 25600, 1)
		start := time.Now()
		if err := p.Checkpoint(); err != nil {
			b.Fatal(err)
		}
		built := time.Now()
		if err := p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(built.Sub(start).Microseconds())/1000, "ms/checkpoint")
		b.ReportMetric(float64(time.Since(built).Microseconds())/1000, "ms/destroy")
	}
}
