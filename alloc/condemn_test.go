package alloc

import "testing"

// What a damaged page called clean is never clean again by itself; what has changed since, and metadata, are known.
func TestCondemn(t *testing.T) {
	p := New(64, 128)
	page := newPage(64, 64, Clean)
	page.fill(0, 8, InUse)
	page.fill(8, 4, Meta)
	c := page.count(64)
	if err := p.SetGroup(1, c.counts(), false, 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		run      Run
		from, to State
	}{{Run{64, 2}, InUse, Clean}, {Run{100, 5}, Clean, InUse}} {
		if err := p.Set(r.run, r.from, r.to); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Condemn(1, []Run{{72, 4}, {0, 3}}); n != 47 {
		t.Fatalf("%d clean blocks given up, want 47", n)
	}
	want := Counts{InUse: 58, Meta: 4, Clean: 2}
	if got := p.GroupCounts(1); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if sum := p.Counts(); sum != (Counts{InUse: 122, Meta: 4, Clean: 2}) {
		t.Fatalf("in all %+v", sum)
	}
	for b, want := range map[BlockID]State{64: Clean, 65: Clean, 66: InUse, 72: Meta, 75: Meta, 76: InUse, 100: InUse, 127: InUse} {
		if got, err := p.State(b); err != nil || got != want {
			t.Errorf("block %d: %v, %v; want %v", b, got, err, want)
		}
	}
	if is := p.Cut(); len(is) != 1 || is[0].Group != 1 || is[0].Pending {
		t.Errorf("the next image: %+v", is)
	}
	if p.Condemn(1, nil) != 0 || p.Condemn(0, nil) != 0 {
		t.Error("a group that is known was condemned")
	}
}
