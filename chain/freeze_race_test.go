//go:build race

package chain

import (
	"fmt"
	"sync"
	"testing"
)

// A freeze holds the plan lock as long for many volumes as for few, and reads nothing under it, while all are written.
func TestFreezeInPieces(t *testing.T) {
	for _, n := range []int{16, 1024} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := newDisk(t, 128<<20)
			p := openPool(t, d)
			_, inos := manyVolumes(t, p, n)
			ok(t, p.Close())
			p = openPool(t, d) // what it knew of names is gone
			vs := make([]*Volume, n)
			for i := range n {
				var err error
				vs[i], err = p.Volume(inos[i])
				ok(t, err)
			}
			before := ioByPlace()
			defer holds.apart()()
			var wg sync.WaitGroup
			stop := make(chan struct{})
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						if err := planOne(vs[i%n], 0); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
			for i := range 3 {
				ok(t, p.Snapshot(Req{}, inos, fmt.Sprint("s", i)))
			}
			close(stop)
			wg.Wait()
			for _, h := range holdsByPlace() {
				if h.most > mostSteps {
					t.Errorf("%s: %d steps under one hold", h.place, h.most)
				}
			}
			for _, place := range []string{"freeze.look", "ahead.judgeQuotas", "freeze.instant", "layerTree.piece", "openVolumes.older"} {
				t.Logf("%s: %d steps at most", place, mostOf(place))
			}
			if mostOf("freeze.instant") == 0 {
				t.Error("no freeze was counted")
			}
			for place, io := range ioByPlace() {
				if io.n != before[place].n {
					t.Errorf("%s reads under the plan lock", place)
				}
			}
		})
	}
}

// The instant is as many steps for many volumes as for few.
func TestFreezeInstantIsConstant(t *testing.T) {
	var steps []int
	for _, n := range []int{2, 200} {
		func() {
			defer holds.apart()()
			p := openPool(t, newDisk(t, 64<<20))
			_, inos := manyVolumes(t, p, n)
			ok(t, p.Snapshot(Req{}, inos, "s"))
			steps = append(steps, mostOf("freeze.instant"))
		}()
	}
	if steps[0] != steps[1] || steps[0] == 0 {
		t.Errorf("steps of the instant: %v", steps)
	}
}
