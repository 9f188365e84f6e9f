package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// childrenStand: the children of all layers stand in the order of their numbers.
func childrenStand(t *testing.T, p *Pool) {
	t.Helper()
	for _, l := range p.tree.layers {
		if !slices.IsSortedFunc(l.children, func(a, b *layer) int { return int(a.id) - int(b.id) }) {
			t.Errorf("the children of layer %v are in no order", l.id)
		}
	}
}

// Whatever clones hang on a snapshot that goes, the same of them are named when its record is replayed, and few are looked at.
func TestHeirsAreTheSame(t *testing.T) {
	for _, clones := range []int{1, maxHeirs - 1, maxHeirs, 5 * maxHeirs} {
		t.Run(fmt.Sprint(clones), func(t *testing.T) {
			d := newDisk(t, 16<<20)
			p := openPool(t, d)
			v := mustVolume(t, p, "v", 1<<20)
			write(t, v, fill('a', 1<<18), 0)
			mustSnapshot(t, v, "s")
			for i := range clones {
				_, err := p.Clone(Req{}, v.ino, "s", RootIno, fmt.Sprintf("c%02d", i))
				ok(t, err)
				if i%3 == 0 { // one that is merged away: its child stands where it stood
					c := existing(t, p, fmt.Sprintf("c%02d", i))
					mustSnapshot(t, c, "gone")
				}
			}
			for i := 0; i < clones; i += 3 {
				ok(t, p.DestroySnapshots(Req{}, existing(t, p, fmt.Sprintf("c%02d", i)).ino, []string{"gone"}, DestroyOptions{}))
			}
			childrenStand(t, p)
			ok(t, p.Checkpoint())
			ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{Defer: true}))
			keptBy := func(p *Pool) (all []string) {
				recs, err := p.EraseLog()
				ok(t, err)
				for _, r := range recs {
					if r.KeptBy != "" {
						all = append(all, r.KeptBy)
					}
				}
				return all
			}
			was := keptBy(p)
			if len(was) != 1 {
				t.Fatalf("%q", was)
			}
			names := strings.Split(was[0], ", ")
			last := names[len(names)-1]
			switch {
			case clones+1 <= maxHeirs && (len(names) != clones+1 || last != "v"):
				t.Errorf("%q of %d", names, clones+1)
			case clones+1 > maxHeirs && (len(names) != maxHeirs+1 || last != "others"):
				t.Errorf("%q of %d", names, clones+1)
			}
			p, _ = reopen(t, d, 1)
			if now := keptBy(p); !slices.Equal(now, was) {
				t.Errorf("after a crash it is kept by %q, was by %q", now, was)
			}
			childrenStand(t, p)
		})
	}
}
