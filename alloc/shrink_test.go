package alloc

import (
	"errors"
	"testing"
)

func TestShrink(t *testing.T) {
	p := cleanPool(t, 16, 70, Run{0, 70})
	for _, total := range []int64{0, -1, 71} {
		wantErr(t, p.Shrink(total), ErrRange)
	}
	must(t, p.Shrink(70))
	wantErr(t, p.Shrink(40), ErrState)
	must(t, p.Set(Run{40, 30}, Clean, InUse))
	wantErr(t, p.Shrink(39), ErrState)
	must(t, p.Shrink(40))
	checkCounts(t, p)
	if p.Total() != 40 || p.Groups() != 3 || !p.groups[2].uniform || p.Counts() != (Counts{Clean: 40}) {
		t.Fatalf("%+v, %d groups", p.Counts(), p.Groups())
	}
	for _, g := range p.touched {
		if g >= 3 {
			t.Fatalf("group %d is gone and touched", g)
		}
	}
	_, err := p.State(40)
	wantErr(t, err, ErrRange)
	p.Grow(50)
	checkCounts(t, p)
	if c := p.GroupCounts(2); c != (Counts{InUse: 8, Clean: 8}) {
		t.Fatalf("%+v", c)
	}

	// A claimed block holds the end, and so does one of a group that is not loaded, by its counts.
	must(t, p.Claim(Run{30, 1}))
	must(t, p.Set(Run{31, 9}, Clean, InUse))
	wantErr(t, p.Shrink(30), ErrState)
	must(t, p.Shrink(31))
	images := map[int]Image{}
	for _, img := range cleanPool(t, 16, 70, Run{0, 20}, Run{34, 10}).Cut() {
		images[img.Group] = img
	}
	q, load := remount(t, 16, 70, images)
	wantErr(t, q.Shrink(32), ErrState)
	must(t, q.Set(Run{34, 10}, Clean, InUse)) // verified by its counts only
	var u *UnloadedError
	if err := q.Shrink(30); !errors.As(err, &u) || u.Group != 1 {
		t.Fatal(err)
	}
	load(1)
	must(t, q.Shrink(30))
	checkCounts(t, q)
	if q.Counts() != (Counts{InUse: 10, Clean: 20}) {
		t.Fatalf("%+v", q.Counts())
	}
}
