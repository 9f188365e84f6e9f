//go:build race

package chain

import (
	"fmt"
	"testing"
)

// mostOf is the longest hold of a place.
func mostOf(place string) int {
	for _, h := range holdsByPlace() {
		if h.place == place {
			return h.most
		}
	}
	return 0
}

// A hold of the plan lock is as long for a read or a write of many pieces as for one of few.
func TestPlansInPieces(t *testing.T) {
	for _, n := range []int{16, 256} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			defer holds.apart()()
			p := openPool(t, newDisk(t, 64<<20))
			v := inPieces(t, p, "v", n)
			b := make([]byte, n*BlockSize)
			_, err := v.ReadAt(b, 0)
			ok(t, err)
			write(t, v, b[:len(b)-1], 1)
			write(t, v, b, 0)
			var pl Plan
			v = inPieces(t, p, "x", n)
			ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, 0, int64(len(b))) }))
			pl.Abort()
			for _, place := range []string{"openVolumes.planCached", "Volume.PlanWrite", "Plan.commitNow", "Plan.Abort"} {
				if most := mostOf(place); most == 0 || most > mostSteps {
					t.Errorf("%s: %d steps under one hold", place, most)
				}
			}
		})
	}
}

// What is lost below many layers that nobody holds is told to all of them, some at a time.
func TestLossClimbsInPieces(t *testing.T) {
	for _, n := range []int{16, 256} {
		p := openPool(t, newDisk(t, 64<<20))
		v := mustVolume(t, p, "v", 1<<20)
		var line []*layer
		p.mu.Lock()
		for at := v.head(); len(line) < n; at = line[len(line)-1] { // never part of the pool
			line = append(line, &layer{id: 1<<40 + LayerID(len(line)), parent: at})
		}
		line[0].parent = nil
		p.mu.Unlock()
		few(t, p, fmt.Sprint(n, " layers"), func() { p.tree.lossBelow(line[n-1]) })
		if steps := stepsOf(p, func() { p.tree.lossBelow(line[n-1]) }); steps > 0 {
			t.Errorf("what those above know is told again, in %d steps", steps)
		}
		p.mu.Lock()
		for range n {
			p.tree.sweepable(true)
		}
		for i, l := range line {
			if l.losses != 1 {
				t.Errorf("layer %d of %d was told %d times", i, n, l.losses)
			}
		}
		p.mu.Unlock()
	}
}

// A claim takes from clean, and Close gives back, some runs at a time, also where clean is in crumbs.
func TestClaimsInPieces(t *testing.T) {
	for _, n := range []int{16, 1024} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			defer holds.apart()()
			d := newDisk(t, 64<<20)
			p := openPool(t, d)
			v := mustVolume(t, p, "v", 1<<30)
			for lb := int64(0); freeNow(p) > 1024; lb++ {
				ok(t, planOne(v, lb))
			}
			for lb := range int64(n) {
				ok(t, v.Punch(lb*2*BlockSize, BlockSize))
			}
			ok(t, p.Checkpoint())
			eraseAll(t, p)
			write(t, v, fill('v', 2*BlockSize), 1<<29)
			ok(t, p.Close())
			for _, place := range []string{"taker.find", "blockSpace.makeReady", "blockSpace.unclaim"} {
				if most := mostOf(place); most == 0 || most > mostSteps {
					t.Errorf("%s: %d steps under one hold", place, most)
				}
			}
			mustCheck(t, openPool(t, d))
		})
	}
}

// A sweep holds the plan lock as long below many layers as below few.
func TestSweepsInPieces(t *testing.T) {
	for _, n := range []int{16, 128} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p, l := sweepOf(t, newDisk(t, 256<<20), n)
			defer holds.apart()()
			did, err := p.works.sweepStep(true)
			if err != nil || !did || !l.swept {
				t.Fatalf("%v, swept %v: %v", did, l.swept, err)
			}
			for _, place := range []string{"works.sweepStep", "layerTree.unlistSome", "layerTree.gatherIn", "works.beginSweep"} {
				if most := mostOf(place); most == 0 || most > mostSteps {
					t.Errorf("%s: %d steps under one hold", place, most)
				}
			}
			for at := range ioByPlace() {
				if at == "works.sweepStep" {
					t.Error("a sweep reads under the plan lock")
				}
			}
			mustCheck(t, p)
		})
	}
}

// A volume with many layers is destroyed some at a time: no hold of the plan lock grows with them.
func TestDestroyInPieces(t *testing.T) {
	for _, n := range []int{16, 1024} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := linePool(t, int64(n)*8+(1<<15))
			v, names := lineOf(t, p, "vm", n)
			clone := mustClone(t, v, names[n/2], "clone")
			ok(t, p.Checkpoint())
			defer holds.apart()()
			_, err := p.removal.destroyAll(Req{}, []Ino{v.ino})
			ok(t, err)
			for _, place := range []string{"works.changeWith"} {
				if most := mostOf(place); most == 0 || most > mostSteps {
					t.Errorf("%s: %d steps under one hold", place, most)
				}
			}
			if h := holdsByPlace()[0]; h.most > mostSteps {
				t.Errorf("%s: %d steps under one hold", h.place, h.most)
			}
			if len(p.tree.byVol[v.ino])+len(p.jobs.growing) > 0 {
				t.Errorf("%d layers are left", len(p.tree.byVol[v.ino]))
			}
			_ = clone
			mustCheck(t, p)
		})
	}
}

// A merge holds the plan lock as long where many layers hang below as where few do, and whatever the lists have in memory, and
// however many walks go to the child.
func TestMergesInPieces(t *testing.T) {
	for _, n := range []int{16, 80} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p, l, _ := mergeOf(t, newDisk(t, 256<<20), n, false)
			v, wide := detached(t, p, n)
			defer holds.apart()()
			ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{Now: true})) // and what was left of the other one
			if p.tree.layers[l.id] == l || p.tree.layers[wide.id] == wide {
				t.Fatal("not merged")
			}
			for _, place := range []string{"works.changeWith", "layerTree.outlook", "reapTry.look"} {
				if most := mostOf(place); most == 0 || most > mostSteps {
					t.Errorf("%s: %d steps under one hold", place, most)
				}
			}
			if h := holdsByPlace()[0]; h.most > mostSteps {
				t.Errorf("%s: %d steps under one hold, for %s", h.place, h.most, h.callers)
			}
			mustCheck(t, p)
		})
	}
}

// A removal in one batch, with the most that one takes of each kind, is short enough, also when a rename brings it about.
func TestRemovalInOneBatch(t *testing.T) {
	defer holds.apart()()
	p := openPool(t, newDisk(t, 64<<20))
	a, err := p.Mkdir(Req{}, RootIno, "a", 0o755)
	ok(t, err)
	b, err := p.Mkdir(Req{}, a.Ino, "b", 0o755)
	ok(t, err)
	for i, by := range []func() error{
		func() error { return p.Unlink(Req{}, RootIno, "v0") },
		func() error { return p.Rename(Req{}, b.Ino, "w1", RootIno, "v1", 0) },
	} {
		ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "7d"}))
		v := mustVolume(t, p, fmt.Sprint("v", i), 1<<20)
		_, err := p.Create(Req{}, b.Ino, fmt.Sprint("w", i), 0o600)
		ok(t, err)
		for k := range xattrsAtOnce {
			ok(t, p.SetXattr(Req{}, v.ino, fmt.Sprint("user.", k), []byte("x"), 0))
		}
		for k := range wholeAtOnce - 1 {
			write(t, v, fill('v', BlockSize), int64(k)*BlockSize)
			mustSnapshot(t, v, fmt.Sprint("s", k))
			if k == 0 {
				ok(t, p.OpenSnap(p.tree.snaps.names[snapName{v.ino, fmt.Sprint("s", k)}].id))
			} else {
				ok(t, p.DestroySnapshots(Req{}, v.ino, []string{fmt.Sprint("s", k)}, DestroyOptions{}))
			}
		}
		ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "0"}))
		ok(t, by())
		if most := mostOf("works.changeWith"); most == 0 || most > mostSteps {
			t.Errorf("%d steps under one hold", most)
		}
	}
	t.Logf("%d steps at most", mostOf("works.changeWith"))
	mustCheck(t, p)
}
