package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

// beside is one actor of TestBesideCheckpoints: what it does in each round.
type beside struct {
	name string
	do   func(rng *rand.Rand, i int) error
}

// besideCheckpoints is how many are taken while the actors go on.
const besideCheckpoints = 60

// Checkpoints are taken without a pause while everything that changes a pool goes on: a cut is a copy, and so nothing
// that is built from it changes under the build. Under the race detector this finds a row of the cut that follows a
// pointer into what lives on: of a layer that a snapshot freezes, of a job that is being erased, of a list that others
// read.
func TestBesideCheckpoints(t *testing.T) {
	d := newDisk(t, 32<<20)
	d.Fail(func(devtest.Op) error { // no fault: whoever waits for the device lets the others run
		for range 50 {
			runtime.Gosched()
		}
		return nil
	})
	p, err := Open(d, Options{Now: time.Now, CacheBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	p.SetZeroNow(func(context.Context, int64) (int64, error) { return 0, nil }) // the eraser below does it
	vols := make([]*Volume, 3)
	for i := range vols {
		vols[i] = mustVolume(t, p, fmt.Sprintf("v%d", i), 1<<20)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var house, actors sync.WaitGroup
	house.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error("housekeeping: ", err)
		}
	})
	house.Go(func() {
		for ctx.Err() == nil {
			if err := p.Checkpoint(); err != nil {
				t.Error("checkpoint: ", err)
				return
			}
		}
	})
	house.Go(func() {
		for ctx.Err() == nil {
			if _, err := eraseSome(p, 1<<20); err != nil {
				t.Error("eraser: ", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-p.Ready():
			}
		}
	})
	for n, a := range besides(p, vols) {
		actors.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(n)))
			for i := 0; p.Usage().Generation < besideCheckpoints && p.Failed() == nil; i++ {
				if err := a.do(rng, i); err != nil && !isAnswer(err) {
					t.Errorf("%s %d: %v", a.name, i, err)
					return
				}
			}
		})
	}
	actors.Wait()
	stop()
	house.Wait()
	if err := p.Failed(); err != nil {
		t.Fatal(err)
	}
	eraseAll(t, p)
	mustCheck(t, p)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// isAnswer tells what an actor may be answered because of what the others did.
func isAnswer(err error) bool {
	for _, e := range []error{ErrNotFound, ErrExist, ErrBusy, ErrHasClones, ErrHasSnapshots, ErrNoSpace, ErrNoAttr} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Snapshots of many volumes are taken while a checkpoint has cut them and is writing their rows: many, since the build
// must be caught between two locks.
func TestSnapshotsWhileRowsAreWritten(t *testing.T) {
	const volumes, rounds = 150, 25
	p := openPool(t, newDisk(t, 64<<20))
	var inos []Ino
	for i := range volumes {
		inos = append(inos, mustVolume(t, p, fmt.Sprintf("v%d", i), 1<<20).ino)
	}
	for i := range rounds {
		for _, ino := range inos { // so that a row is due
			p.mu.Lock()
			p.touch(p.heads[ino])
			p.mu.Unlock()
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.Checkpoint(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			for k := 0; k < volumes; k += 10 {
				if err := p.Snapshot(Req{}, inos[k:k+10], fmt.Sprintf("s%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Wait()
	}
}

// besides are the actors: each change of structure, the settings that rows carry, and those who look.
func besides(p *Pool, vols []*Volume) []beside {
	some := func(rng *rand.Rand) *Volume { return vols[rng.IntN(len(vols))] }
	snap := func(rng *rand.Rand) string { return fmt.Sprintf("s%d", rng.IntN(4)) }
	clone := func(rng *rand.Rand) string { return fmt.Sprintf("c%d", rng.IntN(4)) }
	writer := func(rng *rand.Rand, i int) error {
		v := some(rng)
		if i%8 == 7 {
			return v.Punch(int64(rng.IntN(200))*BlockSize, 16*BlockSize)
		}
		_, err := v.WriteAt(fill(byte(i), BlockSize*(1+rng.IntN(4))), int64(rng.IntN(250))*BlockSize)
		return err
	}
	return []beside{
		{"write", writer},
		{"write", writer},
		{"snapshot", func(rng *rand.Rand, _ int) error {
			return p.Snapshot(Req{Actor: "test"}, []Ino{vols[0].ino}, snap(rng))
		}},
		{"snapshot of another", func(rng *rand.Rand, _ int) error {
			return p.Snapshot(Req{Actor: "test"}, []Ino{vols[1].ino, vols[2].ino}, snap(rng))
		}},
		{"rollback", func(rng *rand.Rand, _ int) error { return p.Rollback(Req{}, some(rng).ino, snap(rng), true) }},
		{"destroy", func(rng *rand.Rand, _ int) error {
			return p.DestroySnapshots(Req{Actor: "test"}, some(rng).ino, []string{snap(rng)}, DestroyOptions{Defer: rng.IntN(2) == 0})
		}},
		{"rename of a snapshot", func(rng *rand.Rand, _ int) error {
			return p.RenameSnapshot(Req{}, some(rng).ino, snap(rng), snap(rng))
		}},
		{"clone", func(rng *rand.Rand, i int) error {
			from := ""
			if i%2 == 0 {
				from = snap(rng)
			}
			_, err := p.Clone(Req{}, some(rng).ino, from, RootIno, clone(rng))
			return err
		}},
		{"write and destroy of a clone", func(rng *rand.Rand, i int) error {
			a, err := p.Lookup(RootIno, clone(rng))
			if err != nil {
				return err
			}
			if v, err := p.Volume(a.Ino); err == nil && i%2 == 0 {
				_, err = v.WriteAt(fill('c', BlockSize), int64(rng.IntN(250))*BlockSize)
				return err
			}
			return p.DestroyVolume(Req{Actor: "test"}, a.Ino, DestroyOptions{Snapshots: true, Defer: true})
		}},
		{"setting", func(rng *rand.Rand, i int) error {
			value := []string{"none", "64K", "auto"}[i%3]
			return p.SetProps(Req{}, some(rng).ino, Setting{Name: propRefreservation, Value: value})
		}},
		{"order of erasing", func(rng *rand.Rand, _ int) error {
			for _, j := range p.EraseJobs() {
				if rng.IntN(2) == 0 {
					return p.EraseFirst(Req{}, j.ID)
				}
			}
			return nil
		}},
		{"attribute", func(rng *rand.Rand, i int) error {
			return p.SetXattr(Req{}, some(rng).ino, "user.n", fill(byte(i), 100), 0)
		}},
		{"look", func(rng *rand.Rand, _ int) error {
			p.Usage()
			p.Erasing()
			for _, look := range []func(Ino) error{
				func(ino Ino) error { _, err := p.Snapshots(ino); return err },
				func(ino Ino) error { _, err := p.VolumeInfo(ino); return err },
				func(ino Ino) error { _, err := p.Tree(ino); return err },
				func(ino Ino) error {
					_, err := p.ForecastDestroy(ino, nil, DestroyOptions{Snapshots: true, Defer: true})
					return err
				},
			} {
				if err := look(some(rng).ino); err != nil {
					return err
				}
			}
			_, err := p.EraseLog()
			return err
		}},
	}
}
