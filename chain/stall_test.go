package chain

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	stallSnaps = flag.Int("stall.snaps", 192, "snapshots in a line of TestStall")
	stallJobs  = flag.Int("stall.jobs", 1500, "erase jobs of TestStall")
)

// planOne writes a block without moving a byte.
func planOne(v *Volume, lb int64) error {
	var pl Plan
	if err := poolOf(v).volumes.until(func() (Need, error) { return v.PlanWrite(&pl, lb*BlockSize, BlockSize) }); err != nil {
		return err
	}
	return pl.Commit(pl.Len)
}

// lineOf makes a volume with snapshots in a line without moving a byte: each owns two blocks, and the next one has overwritten
// one of them.
func lineOf(t testing.TB, p *Pool, name string, n int) (*Volume, []string) {
	t.Helper()
	v := mustVolume(t, p, name, int64(n+2)*BlockSize)
	var names []string
	for i := range n {
		ok(t, planOne(v, int64(i)))
		ok(t, planOne(v, int64(i+1)))
		names = append(names, fmt.Sprintf("s%05d", i))
		takeSnapshot(t, p, names[i], v)
		if i%64 == 63 {
			ok(t, p.Checkpoint())
		}
	}
	return v, names
}

// freeJobs makes n erase jobs of a block each.
func freeJobs(t testing.TB, p *Pool, n int) {
	t.Helper()
	v := mustVolume(t, p, "source", 4*BlockSize)
	for range n {
		ok(t, planOne(v, 0))
		takeSnapshot(t, p, "x", v)
		ok(t, planOne(v, 0))
		ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"x"}, DestroyOptions{Now: true}))
	}
}

// What is done to a line of snapshots and to many erase jobs beside a writer: it says how long the writer waited at most, and
// proves that the work is in proportion. Each row has a verdict on the goal, which fails no test: the machine may be busy.
// -stall.snaps=4096 -stall.jobs=110000 is the full size (make soak).
func TestStall(t *testing.T) {
	snaps, jobs := *stallSnaps, *stallJobs
	p := linePool(t, int64(snaps)*8+int64(jobs)*4+(1<<15))
	v, names := lineOf(t, p, "vm", snaps)
	freeJobs(t, p, jobs)
	w := startWriter(t, p)
	defer func() {
		close(w.stop)
		w.wg.Wait()
		ok(t, w.err)
		ok(t, p.Close())
	}()
	step := func(what string, most int64, fn func()) {
		t.Helper()
		p.structure.Lock()
		was := p.tree.pieced + p.tree.weighs
		p.structure.Unlock()
		start := time.Now()
		var longest stalled
		var writes int
		var verdict string
		held, where := stepsOfHolds(func() { longest, writes, verdict = w.during(fn) })
		p.structure.Lock()
		did := p.tree.pieced + p.tree.weighs - was
		p.structure.Unlock()
		t.Logf("%-44s %12v, %7d steps, a writer waited %9v at most (%d writes); %s%s%s", what,
			time.Since(start).Round(10*time.Microsecond), did, longest.all.Round(time.Microsecond), writes, verdict,
			longest.causes(), longestHold(held, where))
		if did > most {
			t.Errorf("%s: %d steps, at most %d", what, did, most)
		}
	}
	n := int64(snaps)
	step("forecast of all snapshots", 12*n+200, func() {
		f, err := p.ForecastDestroy(v.ino, names, DestroyOptions{})
		ok(t, err)
		if f.Freed != (n-1)*BlockSize { // the last one has lost none
			t.Errorf("frees %d blocks, want %d", f.Freed/BlockSize, n-1)
		}
	})
	step("forecast of the volume", 12*n+200, func() {
		_, err := p.ForecastDestroy(v.ino, nil, DestroyOptions{Snapshots: true})
		ok(t, err)
	})
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1d"}))
	step("destroy of half, kept", 30*n+200, func() { ok(t, p.DestroySnapshots(Req{}, v.ino, names[:n/2], DestroyOptions{})) })
	if p.destroyed.blocks != n/2 {
		t.Errorf("%d blocks are counted on, want %d", p.destroyed.blocks, n/2)
	}
	var kept []DestroyedInfo
	step("list of what is kept", 12*n+200, func() { kept = p.Destroyed() })
	step("undestroy of one", 30*n+200, func() {
		_, err := p.Undestroy(Req{}, kept[n/4].ID, 0, "")
		ok(t, err)
	})
	step("destroy of the volume, kept", 40*n+200, func() { ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true})) })
	step("undestroy of the volume", 40*n+200, func() {
		_, err := p.Undestroy(Req{}, p.destroyed.vols[v.ino], 0, "")
		ok(t, err)
	})
	step("destroy of the other half, not kept", 60*n+200, func() {
		ok(t, p.DestroySnapshots(Req{}, v.ino, names[n/2:], DestroyOptions{Now: true}))
	})
	step("list of all jobs", 40*int64(jobs), func() { p.EraseJobs() })
	step("usage", 100, func() { p.Usage() })
	step("a thousand erased", 1000+40*n, func() {
		for range 1000 {
			_, err := eraseOne(p)
			ok(t, err)
		}
	})
	step("destroy of the volume, not kept", 60*n+200, func() {
		ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Now: true}))
	})
	dirty := dirtyThings(p)
	step("checkpoint", 200+6*dirty, func() { ok(t, p.Checkpoint()) })
	t.Logf("%d layers, jobs, walks, groups and times had changed", dirty)
	step("walks", 60*n+200, func() { ok(t, p.EraseDrain(t.Context())) })
}

// dirtyThings is how many things a checkpoint has to look at: those that it has a row, a page or a map to write of, and those
// that have ended since they changed.
func dirtyThings(p *Pool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(len(p.tree.gate.changed) + len(p.jobs.gate.changed) + len(p.tree.walkGate.changed) + p.blocks.alloc.Changed() +
		len(p.names.aged))
}

func longestHold(steps int, where string) string {
	if steps == 0 {
		return ""
	}
	return fmt.Sprintf(", the longest hold had %d steps (%s)", steps, where)
}

// eraseOne takes one hand-out, and reports it as zero.
func eraseOne(p *Pool) (bool, error) {
	h, err := p.Next(1 << 20)
	if err != nil || h.Token == 0 {
		return false, err
	}
	return true, report(p, h.Token, h.Runs, nil)
}
