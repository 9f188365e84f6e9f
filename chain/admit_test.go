package chain

import (
	"fmt"
	"testing"
)

// growing is a volume whose promise grows with it, some directories deep.
func growing(tb testing.TB, p *Pool, deep int) *Volume {
	tb.Helper()
	dir := RootIno
	for range deep {
		a, err := p.Mkdir(Req{}, dir, "d", 0o755)
		ok(tb, err)
		ok(tb, p.SetProps(Req{}, a.Ino, Setting{Name: "quota", Value: "1G"}))
		dir = a.Ino
	}
	a, err := p.Create(Req{}, dir, "v", 0o600)
	ok(tb, err)
	ok(tb, p.SetProps(Req{}, a.Ino, Setting{Name: "refreservation", Value: "auto"}))
	v, err := p.Volume(a.Ino)
	ok(tb, err)
	return v
}

// admissions returns what admits a write of a block past the end of a volume and lets it go, as often as it is called.
func admissions(tb testing.TB, p *Pool, v *Volume) func() {
	tb.Helper()
	var pl Plan
	ok(tb, p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, 4*BlockSize, BlockSize) })) // there are blocks and pages
	ok(tb, pl.Commit(0))
	p.mu.Lock()
	ok(tb, pl.begin(p.volumes, v))
	h := v.head()
	pl.lo, pl.hi, pl.from, pl.end = 4, 5, 4*BlockSize, 5*BlockSize
	if _, need := pl.lookup(h, 4, 5); !need.None() {
		tb.Fatalf("%+v", need)
	}
	pl.splitAtEnd(h)
	want := pl.edges(h)
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if need, err := p.space.admit(v, &pl, want); err != nil || !need.None() {
			tb.Fatalf("%+v, %v", need, err)
		}
		p.space.letGo(v, &pl)
		p.space.reachChanged(v.ino)
		p.commits.giveBack(pl.room, 0)
		pl.room = nil
	}
}

// The admission of a write past the end of a volume whose promise grows with it, below some quotas, allocates nothing.
func TestAdmissionAllocatesNothing(t *testing.T) {
	p := openPool(t, newDisk(t, 64<<20))
	if n := testing.AllocsPerRun(100, admissions(t, p, growing(t, p, 3))); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAdmission is the admission of a write of a block past the end of a volume whose promise grows with it, by depth.
func BenchmarkAdmission(b *testing.B) {
	for _, deep := range []int{1, 16} {
		b.Run(fmt.Sprintf("deep=%d", deep), func(b *testing.B) {
			p := openPool(b, newDisk(b, 64<<20))
			once := admissions(b, p, growing(b, p, deep))
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}
