package chain

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// manyLayers makes the volume f with snapshots that each own a block, a clone of one in the middle, and another volume.
func manyLayers(t testing.TB, p *Pool, snaps int) (f, clone, other *Volume) {
	t.Helper()
	f = mustVolume(t, p, "f", int64(snaps+2)*BlockSize)
	for i := range snaps {
		write(t, f, fill(byte(i+1), BlockSize), int64(i)*BlockSize)
		mustSnapshot(t, f, fmt.Sprint("s", i))
	}
	write(t, f, fill('h', BlockSize), int64(snaps)*BlockSize)
	clone = mustClone(t, f, fmt.Sprint("s", snaps/2), "clone")
	other = mustVolume(t, p, "other", 64<<10)
	return f, clone, other
}

// expectClone: the clone shows what its snapshot has shown.
func expectClone(t testing.TB, clone *Volume, snaps int) {
	t.Helper()
	for i := range snaps/2 + 1 {
		expect(t, clone, int64(i)*BlockSize, fill(byte(i+1), BlockSize))
	}
}

// structureOf says of all layers, walks and jobs what replay must find.
func structureOf(p *Pool) string {
	var out []string
	for _, l := range p.tree.layers {
		up := LayerID(0)
		if l.parent != nil {
			up = l.parent.id
		}
		out = append(out, fmt.Sprintf("layer %v of %d or %d over %v: head %v, named %v, kept %v, dead %v, owns %d", l.id, l.vol, l.dir, up,
			l.head, l.named, l.kept, l.dead, l.own))
	}
	for _, w := range p.tree.walks {
		out = append(out, fmt.Sprintf("walk %d of layer %v for job %d", w.id, w.layer.id, w.job.id))
	}
	for _, j := range p.jobs.all {
		out = append(out, fmt.Sprintf("job %d of %d: %s, freed %d, layers %v, more %v", j.id, j.vol, j.reason, j.freed, j.layers, j.more))
	}
	slices.Sort(out)
	return strings.Join(append(out, fmt.Sprint("up to ", p.commits.nextJob)), "\n")
}

// A volume with many layers goes in steps: between two of them everybody else goes on, check finds nothing, what is durable is
// what is replayed, what it used is given back, it is not proved gone, and nothing brings it back. In the end one job had it all.
func TestDestroyInSteps(t *testing.T) {
	for _, checkpoints := range []bool{false, true} {
		t.Run(fmt.Sprint("checkpoints ", checkpoints), func(t *testing.T) {
			const snaps = 60
			d := newDisk(t, 16<<20)
			p := openPool(t, d)
			f, clone, other := manyLayers(t, p, snaps)
			head := f.head().id
			eraseAll(t, p)
			steps, held, job := 0, int64(1<<40), uint64(0)
			ok(t, removeSlowly(p, "f", func() {
				if p.removal.firstGoing() == 0 {
					return
				}
				steps++
				write(t, other, fill(byte(steps), 8<<10), 0)
				mustSnapshot(t, other, fmt.Sprint("o", steps))
				expectClone(t, clone, snaps)
				_, err := p.Volume(f.ino)
				wantErr(t, "volume", err, ErrGone)
				_, err = p.Clone(Req{}, f.ino, "s0", RootIno, "late")
				wantErr(t, "clone of a snapshot", err, ErrGone)
				wantErr(t, "destroy", p.DestroyVolume(Req{}, f.ino, DestroyOptions{Snapshots: true}), ErrGone)
				wantErr(t, "destroy of a snapshot", p.DestroySnapshots(Req{}, f.ino, []string{"s0"}, DestroyOptions{}), ErrGone)
				_, err = f.WriteAt(fill('x', 4096), 0)
				wantErr(t, "write", err, ErrGone)
				if checkpoints {
					mustCheck(t, p)
				} else {
					ok(t, p.Flush())
				}
				q, err := Open(d.Clone(), readOnly())
				ok(t, err)
				if was, is := structureOf(p), structureOf(q); was != is {
					t.Fatalf("step %d:\n%s\nreplayed:\n%s", steps, was, is)
				}
				n := p.space.account(f.ino).Numbers().Held
				if j := p.jobs.growing[f.ino]; j != nil {
					if n >= held || p.tree.heads[f.ino] != nil || job != 0 && j.id != job {
						t.Fatalf("step %d: it used %d blocks and uses %d, head %v, job %d, it was %d", steps, held, n, p.tree.heads[f.ino], j.id, job)
					}
					held, job = n, j.id
				}
				e, err := EvidenceOf(p, Subject{Volumes: []Ino{f.ino}})
				if err != nil || e.Complete {
					t.Fatalf("step %d: %+v, %v", steps, e, err)
				}
				if checkpoints { // the eraser and the walks do not end the job
					ok(t, p.Checkpoint()) // which walks wait for
					for did, err := true, error(nil); did; ok(t, err) {
						did, err = p.works.walkOne(t.Context())
					}
					_, err := eraseSome(p, 1<<40)
					ok(t, err)
				}
			}))
			if want := snaps/layersAtOnce + 1; steps != want {
				t.Errorf("%d steps, want %d", steps, want)
			}
			mustCheck(t, p)
			expectClone(t, clone, snaps)
			eraseAll(t, p)
			whole := 0
			recs, err := p.EraseLog()
			ok(t, err)
			for _, r := range recs {
				if r.Volume == "f" && r.Reason == reasonVolume {
					whole++
					if len(r.Layers) != snaps/2 || r.ID != job || !slices.Contains(r.Layers, p.layerUUID(head)) {
						t.Errorf("job %d, it was %d: %d layers, want %d", r.ID, job, len(r.Layers), snaps/2)
					}
				}
			}
			if whole != 1 {
				t.Errorf("%d records of the volume: %+v", whole, recs)
			}
			ok(t, p.DestroyVolume(Req{}, clone.ino, DestroyOptions{}))
			eraseAll(t, p)
			ok(t, p.Checkpoint())
			if e, err := EvidenceOf(p, Subject{Volumes: []Ino{f.ino}}); err != nil || !e.Complete || e.Left != 0 {
				t.Errorf("in the end: %+v, %v", e, err)
			}
			mustCheck(t, p)
			mustCheck(t, openPool(t, d.Clone()))
		})
	}
}

// A crash at any operation of the device while a volume goes in steps: it is there whole, or it goes at the next mount; the clone in
// the middle shows what it did, and what was freed is erased and logged as of one volume.
func TestDestroyInStepsThenCrash(t *testing.T) {
	for _, checkpoints := range []bool{false, true} {
		t.Run(fmt.Sprint("checkpoints ", checkpoints), func(t *testing.T) { crashInSteps(t, checkpoints) })
	}
}

func crashInSteps(t *testing.T, checkpoints bool) {
	const snaps = 40
	remove := func(p *Pool) error {
		return removeSlowly(p, "f", func() {
			if checkpoints {
				_ = p.Checkpoint()
			}
		})
	}
	base := newDisk(t, 8<<20)
	p := openPool(t, base)
	f, _, _ := manyLayers(t, p, snaps)
	ino := f.ino
	ok(t, p.Close())
	whole := base.Clone()
	p = openPool(t, whole)
	before := whole.Ops()
	ok(t, remove(p))
	ok(t, p.Close())
	total := whole.Ops() - before
	seen := map[string]int{}
	for k := 1; k <= total; k++ {
		d := base.Clone()
		p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
		ok(t, err)
		d.CrashAt(k)
		_ = remove(p) // the power is cut
		d = d.Crash(rand.New(rand.NewPCG(uint64(k), 1)))
		q, err := Open(d.Clone(), readOnly())
		ok(t, err)
		_, err = q.Lookup(RootIno, "f")
		there, left := err == nil, len(q.tree.byVol[ino])
		switch {
		case there && left == snaps+1:
			seen["there"]++
		case there:
			t.Fatalf("crash at %d: it is there with %d layers", k, left)
		case left > 0 && left < snaps+1:
			seen["between"]++
		default:
			seen["gone"]++
		}
		p = openPool(t, d)
		clone := existing(t, p, "clone")
		expectClone(t, clone, snaps)
		mustCheck(t, p)
		if there {
			v := existing(t, p, "f")
			if names := snapNames(t, v); len(names) != snaps {
				t.Fatalf("crash at %d: %d snapshots", k, len(names))
			}
			expect(t, v, 0, fill(1, BlockSize))
			ok(t, p.DestroyVolume(Req{}, ino, DestroyOptions{Snapshots: true, Defer: true}))
		}
		if len(p.tree.byVol[ino])+len(p.jobs.growing) > 0 {
			t.Fatalf("crash at %d: %d layers are left, jobs %v", k, len(p.tree.byVol[ino]), p.jobs.growing)
		}
		eraseAll(t, p)
		expectClone(t, clone, snaps)
		recs, err := p.EraseLog()
		ok(t, err)
		logged := 0
		for _, r := range recs {
			if r.Reason == reasonVolume && len(r.Layers) == snaps/2 {
				logged++
			}
		}
		if logged != 1 {
			t.Fatalf("crash at %d: %d records of the volume: %+v", k, logged, recs)
		}
		ok(t, p.Close())
	}
	if seen["there"] == 0 || seen["between"] == 0 || seen["gone"] == 0 {
		t.Errorf("%d crashes: %v", total, seen)
	}
	t.Logf("%d crashes: %v", total, seen)
}

// What is kept goes in steps when its time is over, and nothing brings it back from then on; kept and open snapshots of it go with
// it, as far as they may.
func TestKeptGoesInSteps(t *testing.T) {
	const snaps = 50
	p := delayed(t, newDisk(t, 16<<20))
	f, clone, _ := manyLayers(t, p, snaps)
	for _, i := range []int{3, 4, 30, 45} {
		ok(t, p.DestroySnapshots(Req{}, f.ino, []string{fmt.Sprint("s", i)}, DestroyOptions{Defer: true}))
	}
	var open []LayerID
	for i := 32; i < 44; i++ {
		l, err := p.tree.snapshot(f.ino, fmt.Sprint("s", i))
		ok(t, err)
		ok(t, p.OpenSnap(l.id))
		open = append(open, l.id)
	}
	ok(t, p.DestroyVolume(Req{}, f.ino, DestroyOptions{Snapshots: true, Defer: true}))
	mustCheck(t, p)
	kept := p.Destroyed()
	id := idOf(t, p, "f")
	ok(t, p.works.change(func(now time.Time) error { return p.removal.endDestroyed(id, now) }))
	steps := 0
	for {
		first := p.removal.firstGoing()
		if first == 0 {
			break
		}
		steps++
		for _, d := range kept {
			_, err := p.Undestroy(Req{}, d.ID, 0, "")
			wantErr(t, "undestroy of "+d.Volume+"@"+d.Snapshot, err, ErrNotFound)
		}
		mustCheck(t, p)
		ok(t, p.works.change(func(now time.Time) error { return p.removal.noteGoing(first, p.removal.goStep(first, now)) }))
	}
	if steps < snaps/layersAtOnce {
		t.Errorf("%d steps", steps)
	}
	for i, id := range open {
		s, err := p.Snap(id)
		ok(t, err)
		expect(t, s, int64(32+i)*BlockSize, fill(byte(32+i+1), BlockSize))
	}
	ok(t, p.removal.reapAll())
	mustCheck(t, p)
	expectClone(t, clone, snaps)
	for _, id := range open {
		p.ReleaseSnap(id)
	}
	ok(t, p.DestroyVolume(Req{}, clone.ino, DestroyOptions{Now: true}))
	ok(t, p.removal.reapAll())
	eraseAll(t, p)
	ok(t, p.Checkpoint())
	mustCheck(t, p)
	if e, err := EvidenceOf(p, Subject{Volumes: []Ino{f.ino}}); err != nil || !e.Complete {
		t.Errorf("in the end: %+v, %v", e, err)
	}
}
