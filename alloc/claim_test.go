package alloc

import "testing"

// windowPool returns a pool of which the given runs are claimed and ready.
func windowPool(t testing.TB, total int64, runs ...Run) *Pool {
	t.Helper()
	p := cleanPool(t, 64, total, Run{0, total})
	for _, r := range runs {
		must(t, p.Claim(r))
		must(t, p.Ready(r))
	}
	checkCounts(t, p)
	return p
}

func TestClaimsAreNamedOnceAndOnlyReady(t *testing.T) {
	p := cleanPool(t, 16, 64, Run{0, 64})
	must(t, p.Claim(Run{14, 6}))
	if p.Take(4, 0, 1) != nil || p.WindowReady() != 0 {
		t.Fatal("named before the record was durable")
	}
	wantErr(t, p.Ready(Run{14, 7}), ErrNamed)
	wantErr(t, p.Ready(Run{64, 1}), ErrRange)
	must(t, p.Ready(Run{15, 3}))
	wantRuns(t, p.Unnamed(), Run{14, 6})
	wantRuns(t, p.Take(9, 14, 1), Run{15, 3})
	wantRuns(t, p.Unnamed(), Run{14, 1}, Run{18, 2})
	wantErr(t, p.Unclaim(Run{14, 2}), ErrNamed) // 15 was named
	wantErr(t, p.Unclaim(Run{60, 9}), ErrRange)
	must(t, p.Unclaim(Run{14, 1}))
	wantErr(t, p.Claim(Run{15, 1}), ErrState)
	must(t, p.Use(Run{15, 3}))
	wantErr(t, p.Use(Run{15, 1}), ErrState)
	must(t, p.Use(Run{18, 1})) // as replay does
	wantRuns(t, p.Unnamed(), Run{19, 1})
	checkCounts(t, p)
}

func TestAbandonAndRestore(t *testing.T) {
	p := cleanPool(t, 16, 64, Run{0, 64})
	must(t, p.Claim(Run{8, 40}))
	must(t, p.Ready(Run{8, 40}))
	wantRuns(t, p.Take(2, 7, 1), Run{8, 2})
	images := map[int]Image{}
	for _, img := range p.Cut() {
		images[img.Group] = img
	}
	window := p.Unnamed()

	q, load := remount(t, 16, 64, images)
	for _, r := range window {
		must(t, q.Restore(r))
		must(t, q.Restore(r))
	}
	wantErr(t, q.Restore(Run{48, 16}), ErrState)
	if len(unsettled(t, q)) != 0 {
		t.Fatal("Restore changed a group")
	}
	must(t, q.Unclaim(Run{10, 1}))             // its record followed the checkpoint
	wantErr(t, q.Unclaim(Run{8, 1}), ErrNamed) // named before it
	_, err := q.Abandon()
	wantErr(t, err, ErrUnloaded)
	if q.Counts().Claimed != 39 {
		t.Fatalf("%+v", q.Counts())
	}
	load(0)
	load(2)
	runs, err := q.Abandon()
	must(t, err)
	wantRuns(t, runs, Run{8, 2}, Run{11, 37})
	checkCounts(t, q)
	if q.Counts().Claimed != 0 || len(q.Unnamed()) != 0 || q.WindowReady() != 0 {
		t.Fatalf("%+v %v", q.Counts(), q.Unnamed())
	}
}

func TestTakeSmall(t *testing.T) {
	p := windowPool(t, 256, Run{16, 64}, Run{128, 32})
	wantRuns(t, p.Take(3, 0, 1), Run{16, 3})              // opens the lowest slot
	wantRuns(t, p.Take(3, 0, 2), Run{32, 3})              // another stream, another slot
	wantRuns(t, p.Take(2, 0, 1), Run{19, 2})              // goes on
	wantRuns(t, p.Take(2, 130, 1), Run{131, 2})           // right after near
	wantRuns(t, p.Take(2, 9, 1), Run{21, 2})              // near is not in the window
	wantRuns(t, p.Take(4, 0, 3), Run{48, 4})              // 128 is not full any more
	wantRuns(t, p.Take(4, 140, 4), Run{141, 4})           // crosses into the next slot
	wantRuns(t, p.Take(15, 0, 1), Run{23, 9}, Run{64, 6}) // the end of its slot, then a full one
	if p.Take(0, 0, 1) != nil || p.Take(-1, 0, 1) != nil {
		t.Fatal("took without being asked")
	}
	checkCounts(t, p)
}

func TestTakeOpensNearFirst(t *testing.T) {
	p := windowPool(t, 256, Run{16, 16}, Run{128, 16}, Run{160, 16})
	wantRuns(t, p.Take(2, 100, 1), Run{128, 2})
	wantRuns(t, p.Take(2, 180, 2), Run{16, 2}) // nothing after near: the lowest
	wantRuns(t, p.Take(2, 1, 3), Run{160, 2})
	wantRuns(t, p.Take(2, 1, 4), Run{18, 2}) // all are filled by somebody: any
	checkCounts(t, p)
}

func TestTakeSlots(t *testing.T) {
	p := windowPool(t, 256, Run{8, 40}, Run{128, 64})
	wantRuns(t, p.Take(40, 140, 1), Run{144, 40})                       // two slots after near, the rest behind them
	wantRuns(t, p.Take(33, 0, 1), Run{16, 32}, Run{184, 1})             // the stream fills the slot of 176
	wantRuns(t, p.Take(64, 0, 2), Run{128, 16}, Run{8, 8}, Run{185, 7}) // what there is
	if p.WindowReady() != 0 || p.Take(16, 0, 1) != nil {
		t.Fatal(p.Unnamed())
	}
	checkCounts(t, p)
	if len(p.win.open) != 0 {
		t.Fatal("streams left behind", p.win.open)
	}
}

func TestAppendTakeDoesNotAllocate(t *testing.T) {
	p := windowPool(t, 1<<16, Run{1024, 16384})
	buf := make([]Run, 0, 4)
	near := BlockID(0)
	if n := testing.AllocsPerRun(1000, func() {
		buf = p.AppendTake(buf[:0], 1, near, 7)
		near = buf[0].Start
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int64
		step BlockID
	}{{"n=1/near=yes", 1, 0}, {"n=1/near=no", 1, 1 << 30}, {"n=16", 16, 0}, {"n=256", 256, 0}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			buf, near := make([]Run, 0, 64), BlockID(0)
			var p *Pool
			for b.Loop() {
				if p == nil || p.WindowReady() < c.n {
					b.StopTimer()
					p = windowPool(b, 1<<16, Run{1024, 16384})
					b.StartTimer()
				}
				buf = p.AppendTake(buf[:0], c.n, near, 7)
				near = buf[0].Start + c.step
			}
		})
	}
}
