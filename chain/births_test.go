package chain

import (
	"context"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// birthsQueued sums up what jobs have, by birth.
func birthsQueued(t *testing.T, p *Pool) map[LayerID]int64 {
	t.Helper()
	out := map[LayerID]int64{}
	p.structure.Lock()
	defer p.structure.Unlock()
	for _, j := range p.jobs.all {
		for l, from := range map[*runs.List]omap.Key{&j.fresh: {}, &j.ready: j.cursor, &j.bad: {}} {
			err := l.Ascend(p.blocks.lists, omap.Key{}, func(k omap.Key, e runs.Entry) bool {
				return e.Page || j.left(k, e.Len, from, func(_ alloc.BlockID, n int64) bool {
					out[LayerID(k.Hi)] += n
					return true
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// What failed keeps its births, in memory and after a crash and a checkpoint; so does what a write named that came to nothing.
func TestBirthsSurvive(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 64<<10)
	first := v.head().id
	write(t, v, fill('a', 16<<10), 0)
	mustSnapshot(t, v, "s")
	second := v.head().id
	write(t, v, fill('b', 8<<10), 16<<10)
	write(t, v, fill('c', 4<<10), 32<<10)
	var pl Plan
	if err := p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, 40<<10, 4<<10) }); err != nil {
		t.Fatal(err)
	}
	pl.Abort()
	if err := p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Now: true}); err != nil {
		t.Fatal(err)
	}
	if err := p.EraseDrain(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := map[LayerID]int64{first: 4, second: 4}
	same := func(p *Pool, when string) {
		t.Helper()
		got := birthsQueued(t, p)
		delete(got, 0) // what the crash left
		if len(got) != len(want) || got[first] != want[first] || got[second] != want[second] {
			t.Errorf("%s: births %v, want %v", when, got, want)
		}
	}
	same(p, "destroyed")
	for {
		h, err := p.Next(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if h.Token == 0 {
			break
		}
		if _, err := p.Report(blockdev.Done{Token: h.Token, Failed: h.Runs}, How{}); err != nil {
			t.Fatal(err)
		}
	}
	same(p, "failed")
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	p, d = reopen(t, d, 1)
	same(p, "replayed")
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	p, _ = reopen(t, d, 2)
	same(p, "loaded")
	mustCheck(t, p)
}
