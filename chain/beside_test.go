package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/erase"
)

// beside is one actor of TestBesideCheckpoints: what it does in each round.
type beside struct {
	name string
	do   func(rng *rand.Rand, i int) error
}

// besideCheckpoints is how many are taken while the actors go on.
const besideCheckpoints = 200

// Checkpoints are taken without a pause while everything that changes a pool goes on: a cut is a copy, and so nothing
// that is built from it changes under the build. Under the race detector this finds a row of the cut that follows a
// pointer into what lives on: of a layer that a snapshot freezes, of a job that is being erased, of a list that others
// read.
func TestBesideCheckpoints(t *testing.T) {
	t.Run("no faults", func(t *testing.T) { besideCheckpointsRun(t, 0) })
	t.Run("faults", func(t *testing.T) { besideCheckpointsRun(t, 50) })
}

// besideCheckpointsRun lets at random one in so many operations of the device fail, but syncs and writes of the journal, which are the
// pool's; 0: none. Whoever is told so goes on, and in the end all is erased. At random: if each so manieth failed, the tries of one
// checkpoint that all others wait for could fail at the same page for ever.
func besideCheckpointsRun(t *testing.T, faults uint64) {
	d := newDisk(t, 32<<20)
	var ahead atomic.Int64 // so that what is tried again later need not be waited for
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	p, err := Open(d, Options{Now: now, CacheBytes: 64 << 10})
	ok(t, err)
	e, err := erase.New(d, erasing{p}, erase.Config{Method: blockdev.Overwrite, Clock: erase.NewClock(now)})
	ok(t, err)
	p.SetZeroNow(e.Now)
	vols := make([]*Volume, 3)
	for i := range vols {
		vols[i] = mustVolume(t, p, fmt.Sprintf("v%d", i), 1<<20)
	}
	at := poolPlace{p.format.RingOff, p.format.Ring}
	var failed atomic.Uint64
	var well atomic.Bool
	d.Fail(func(o devtest.Op) error {
		for range 50 { // whoever waits for the device lets the others run
			runtime.Gosched()
		}
		if faults == 0 || well.Load() || at.class(o) == classPool || rand.Uint64N(faults) != 0 {
			return nil
		}
		failed.Add(1)
		return errPassing
	})

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var house, actors sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{
		"housekeeping": p.Run, "eraser": e.Run, "checkpoints": func(ctx context.Context) error {
			for ctx.Err() == nil {
				if err := p.Checkpoint(); err != nil && !errors.Is(err, errPassing) {
					return err
				}
			}
			return nil
		},
	} {
		house.Go(func() {
			if err := run(ctx); err != nil || ctx.Err() == nil {
				t.Errorf("%s ended: %v", name, err)
			}
		})
	}
	for n, a := range besides(p, vols) {
		actors.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(n)))
			for i := 0; p.Usage().Generation < besideCheckpoints && p.Failed() == nil; i++ {
				if err := a.do(rng, i); err != nil && !isAnswer(err) && !errors.Is(err, errPassing) {
					t.Errorf("%s %d: %v", a.name, i, err)
					return
				}
				runtime.Gosched() // else who is only told that there is nothing keeps a processor for as long as it is let
			}
		})
	}
	actors.Wait()
	well.Store(true)
	stop()
	house.Wait()
	if err := p.Failed(); err != nil {
		t.Fatal(err)
	}
	if faults > 0 && failed.Load() == 0 {
		t.Error("no operation failed")
	}
	ahead.Add(int64(2 * time.Hour)) // the longest back-off is over
	eraseAll(t, p)
	mustCheck(t, p)
	ok(t, p.Close())
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
			p.tree.touch(p.tree.heads[ino])
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
