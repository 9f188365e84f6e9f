package chain

import (
	"fmt"
	"testing"
)

func takeSnapshot(t testing.TB, p *Pool, name string, vs ...*Volume) {
	t.Helper()
	var inos []Ino
	for _, v := range vs {
		inos = append(inos, v.ino)
	}
	if err := p.Snapshot(Req{}, inos, name); err != nil {
		t.Fatal(err)
	}
}

// TestReplayNumbers: records name jobs and walks by numbers that apply counts up, so replay must come to the same ones
// however the layers of a volume were found.
func TestReplayNumbers(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	v, w := mustVolume(t, p, "a", 1<<20), mustVolume(t, p, "b", 1<<20)
	for i := range 6 {
		write(t, v, fill(byte('a'+i), 16<<10), 0)
		takeSnapshot(t, p, fmt.Sprint(i), v)
	}
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}); err != nil {
		t.Fatal(err)
	}
	write(t, w, fill('x', 16<<10), 0)
	takeSnapshot(t, p, "last", w)
	if err := p.DestroySnapshots(Req{}, w.ino, []string{"last"}, DestroyOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		q, err := Open(d.Clone(), Options{Now: newClock().now, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if q.commits.nextJob != p.commits.nextJob || len(q.tree.walks) != len(p.tree.walks) || len(q.jobs.all) != len(p.jobs.all) {
			t.Fatalf("%d jobs and %d walks up to number %d, after replay %d and %d up to %d",
				len(p.jobs.all), len(p.tree.walks), p.commits.nextJob, len(q.jobs.all), len(q.tree.walks), q.commits.nextJob)
		}
		for id := range p.tree.walks {
			if q.tree.walks[id] == nil {
				t.Fatalf("walk %d is not there after replay", id)
			}
		}
	}
}
