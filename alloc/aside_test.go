package alloc

import (
	"errors"
	"testing"
)

func TestSetAside(t *testing.T) {
	p := cleanPool(t, 16, 64, Run{0, 40})
	mine := Run{4, 16} // over the border of two groups
	must(t, p.SetAside(mine))
	if p.Aside() != 16 || p.Findable() != 24 || p.Counts().Clean != 40 {
		t.Errorf("%d aside, %d to be found, %d clean", p.Aside(), p.Findable(), p.Counts().Clean)
	}
	for _, n := range []int64{1, 8, 12, 40} {
		got, err := p.FindClean(n, 1, 0)
		must(t, err)
		for _, r := range got {
			if r.Start < mine.End() && mine.Start < r.End() {
				t.Errorf("of %d blocks, %v was found and is set aside", n, r)
			}
		}
	}
	if p.AsideEnd() != 20 {
		t.Errorf("set aside up to %d", p.AsideEnd())
	}
	wantErr(t, p.SetAside(Run{19, 2}), ErrAside)
	wantErr(t, p.SetAside(Run{39, 2}), ErrState)
	wantErr(t, p.Claim(Run{0, 5}), ErrAside)
	wantErr(t, p.Set(Run{19, 1}, Clean, InUse), ErrAside)
	wantErr(t, p.Set(Run{19, 1}, Clean, Meta), ErrAside)
	must(t, p.Claim(Run{0, 4}))
	must(t, p.Claim(Run{20, 20}))
	if got, err := p.FindClean(1, 1, 0); err != nil || len(got) > 0 {
		t.Errorf("found %v, %v: all that is left is set aside", got, err)
	}
	p.PutBack(mine)
	got, err := p.FindClean(40, 1, 0)
	must(t, err)
	wantRuns(t, got, Run{4, 16})
	must(t, p.Claim(mine))
	checkCounts(t, p)
}

// A block that may be anything, its group is not loaded, is not taken for a clean one: Load would find another than it was told.
func TestSetAsideUnloaded(t *testing.T) {
	images := map[int]Image{}
	for _, img := range cleanPool(t, 16, 32, Run{8, 8}).Cut() {
		images[img.Group] = img
	}
	p, load := remount(t, 16, 32, images)
	var u *UnloadedError
	if err := p.SetAside(Run{0, 4}); !errors.As(err, &u) || u.Group != 0 || p.Aside() != 0 {
		t.Fatalf("%v, %d aside", err, p.Aside())
	}
	load(0)
	wantErr(t, p.SetAside(Run{0, 4}), ErrState)
	must(t, p.SetAside(Run{8, 4}))
}

// What was set aside and put back lies on both sides of what still is.
func TestAsideInPieces(t *testing.T) {
	p := cleanPool(t, 64, 64, Run{0, 64})
	for _, r := range []Run{{10, 5}, {30, 5}, {15, 5}} {
		must(t, p.SetAside(r))
	}
	got, err := p.FindClean(64, 1, 0)
	must(t, err)
	wantRuns(t, got, Run{48, 16})
	p.PutBack(Run{30, 5})
	got, err = p.FindClean(64, 1, 0)
	must(t, err)
	wantRuns(t, got, Run{32, 32})
	p.PutBack(Run{10, 5})
	p.PutBack(Run{15, 5})
	got, err = p.FindClean(64, 1, 0)
	must(t, err)
	wantRuns(t, got, Run{16, 48}, Run{0, 16})
}
