package alloc

import (
	"slices"
	"testing"
)

// failer is a testing.T, or one of rapid.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// unsettled are the groups that changed and are not loaded, by a look at all of them: Unsettled must find one as long as there are any.
func unsettled(t failer, p *Pool) (all []int) {
	t.Helper()
	for g := range p.groups {
		if p.pending(g) {
			all = append(all, g)
		}
	}
	for {
		g, found, more := p.Unsettled(1)
		switch {
		case found && !slices.Contains(all, g):
			t.Fatal("settled, and found:", g)
		case !found && !more && len(all) > 0:
			t.Fatal("not found:", all)
		}
		if found || !more {
			return all
		}
	}
}

// Groups that change while they are not loaded are found one after the other, without a look at all that changed.
func TestUnsettled(t *testing.T) {
	const groups = 64
	images := map[int]Image{}
	whole := New(16, 16*groups)
	for g := range groups {
		must(t, whole.Set(Run{BlockID(16 * g), 1}, InUse, Clean))
	}
	for _, img := range whole.Cut() {
		images[img.Group] = img
	}
	p, load := remount(t, 16, 16*groups, images)
	for g := range groups {
		if g%2 == 0 {
			load(g) // it needs none afterwards
		}
		must(t, p.Set(Run{BlockID(16*g + 4), 1}, InUse, Meta))
	}
	for left := groups / 2; left > 0; left-- {
		if n := len(unsettled(t, p)); n != left {
			t.Fatalf("%d are not settled, want %d", n, left)
		}
		g, _, _ := p.Unsettled(1)
		load(g)
	}
	if _, found, more := p.Unsettled(groups); found || more {
		t.Fatal("all are settled")
	}
	if img := p.Cut(); len(img) != groups || len(unsettled(t, p)) > 0 {
		t.Fatalf("%d images", len(img))
	}
}
