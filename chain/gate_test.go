package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// thing is what passes a gate in the test of it.
type thing struct {
	gateMark
	n     int
	ended bool
}

// What was at the instant of a cut is in its rows, whatever passes, ends or begins before they are taken.
func TestGate(t *testing.T) {
	var mu planLock
	g := newGate(&mu, func(x *thing) int { return x.n }, func(x *thing) bool { return !x.ended }, func(x *thing) any { return x.n })
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]*thing, 40)
	for i := range all {
		all[i] = &thing{}
	}
	next := 0
	change := func() {
		switch x := all[rng.IntN(len(all))]; {
		case x.ended:
		case rng.IntN(12) == 0:
			g.end(x)
			x.ended = true
		default:
			g.pass(x)
			next++
			x.n = next
		}
	}
	for range 300 {
		mu.Lock()
		for range rng.IntN(60) {
			change()
		}
		var want []int
		for _, x := range all {
			if x.gen == g.gen && !x.ended {
				want = append(want, x.n)
			}
		}
		if g.n != len(want) {
			t.Fatalf("%d have changed, want %d", g.n, len(want))
		}
		g.begin()
		for more := true; more; more = g.next() {
			for range rng.IntN(4) {
				change()
			}
		}
		got := slices.Concat(g.give()...)
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Fatalf("rows %v, want %v", got, want)
		}
		mu.Unlock()
		for i, x := range all {
			if x.ended {
				all[i] = &thing{}
			}
		}
	}
}

// late is where a change is made between the instant of a cut and its rows.
type late struct {
	p    *Pool
	v, w *Volume
}

// do makes a record with the locks that a checkpoint has.
func (x late) do(rs ...record) error {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	defer x.p.commits.within(x.p.commits.tryRoom(credit{bytes: changeBytes, frees: true}))()
	for _, r := range rs {
		if err := x.p.commits.do(r); err != nil {
			return err
		}
	}
	return nil
}

func (x late) snap() LayerID { return x.p.tree.snaps.names[snapName{x.v.ino, "s"}].id }
func (x late) job() uint64   { return x.p.jobs.byVol[x.v.ino].id }

// lateChanges are changes of every kind that can come between, and some that cannot: by is the goroutine of the checkpoint, which
// has the structure lock, or another one, which has none.
var lateChanges = map[string]struct{ by, beside func(late) error }{
	"a write":                 {beside: func(x late) error { return planOne(x.v, 1) }},
	"a write that makes more": {beside: func(x late) error { return planOne(x.v, 300) }},
	"many writes": {beside: func(x late) error {
		for lb := range int64(12) {
			if err := errors.Join(planOne(x.v, lb), planOne(x.w, lb)); err != nil {
				return err
			}
		}
		return nil
	}},
	"a write that is given up": {beside: func(x late) error {
		var pl Plan
		need, err := x.v.PlanWrite(&pl, 20*BlockSize, BlockSize)
		if err != nil || !need.None() {
			return fmt.Errorf("need %+v: %w", need, err)
		}
		pl.Abort()
		return nil
	}},
	"a discard": {beside: func(x late) error { return x.v.Punch(2*BlockSize, 3*BlockSize) }},
	"a freeze": {by: func(x late) error {
		return x.do(&recFreeze{vols: []Ino{x.v.ino, x.w.ino}, name: "late", when: x.p.opt.Now()})
	}},
	"a freeze between writes": {by: func(x late) error {
		before := planOne(x.v, 2)
		err := x.do(&recFreeze{vols: []Ino{x.v.ino}, name: "late", when: x.p.opt.Now()})
		return errors.Join(before, err, planOne(x.v, 0), planOne(x.v, 7))
	}},
	"a discard in one piece": {by: func(x late) error {
		return x.do(&recDetach{layer: x.v.head().id, lo: 0, hi: 8, mapped: 8, when: x.p.opt.Now()})
	}},
	"a size":       {by: func(x late) error { return x.do(&recResize{x.v.head().id, 1 << 30}) }},
	"another name": {by: func(x late) error { return x.do(&recRename{x.snap(), "other"}) }},
	"a name that goes and comes": {by: func(x late) error {
		id := x.snap()
		return x.do(&recUnname{layer: id, held: true, when: x.p.opt.Now()}, &recRevive{layer: id, name: "new"})
	}},
	"a job that goes first": {by: func(x late) error { return x.do(&recFirst{x.job()}) }},
	"a seal":                {by: func(x late) error { return x.do(&recSeal{job: x.job()}) }},
	"a job that ends": {by: func(x late) error {
		j := x.p.jobs.all[x.job()]
		r := &recErased{job: j.id, upTo: meta.Key(lastKey), when: x.p.opt.Now()}
		j.fresh.AscendMemory(omap.Key{}, func(k omap.Key, e runs.Entry) bool {
			r.zeroed = append(r.zeroed, runs.Run{Dev: alloc.BlockID(k.Lo), Len: e.Len, Birth: LayerID(k.Hi)})
			return true
		})
		return x.do(&recSeal{job: j.id}, r)
	}},
	"a row and an answer": {by: func(x late) error {
		return x.do(&recAnswer{unique: 77, ino: x.v.ino}, &recPut{key: propKey(x.v.ino, PropErase), val: marshalProp(PropErase, EraseNone)})
	}},
}

// portrait is what a pool shows of its volumes, snapshots, answers and jobs, but for what a recovery makes of claims.
func portrait(t *testing.T, p *Pool, vs ...Ino) string {
	t.Helper()
	var b strings.Builder
	for _, ino := range vs {
		i, err := p.VolumeInfo(ino)
		ok(t, err)
		s, err := p.Snapshots(ino)
		ok(t, err)
		i.Avail = 0
		var shown []runs.Run
		for lb := int64(0); lb < 512; {
			p.mu.Lock()
			some, end, _, err := p.volumes.oldRuns(ino, lb, 512, true)
			p.mu.Unlock()
			ok(t, err)
			for _, r := range some { // a checkpoint joins what lies in a row
				if k := len(shown) - 1; k >= 0 && shown[k].Birth == r.Birth && shown[k].Dev+alloc.BlockID(shown[k].Len) == r.Dev {
					shown[k].Len += r.Len
					continue
				}
				shown = append(shown, r)
			}
			lb = end
		}
		fmt.Fprintf(&b, "%+v\n%+v\n%v\n", i, s, shown)
	}
	for _, j := range p.EraseJobs() {
		if j.Reason != reasonRecovery {
			j.State = ""
			parts := p.jobs.all[j.ID]
			fmt.Fprintf(&b, "%+v %d %d %d\n", j, parts.freshN, parts.readyN, parts.badN)
		}
	}
	fmt.Fprintln(&b, p.names.answers.last())
	v, there, err := p.names.propRow(vs[0], PropErase)
	fmt.Fprintln(&b, v, there, err)
	return b.String()
}

// A cut is a copy of one instant. Whatever changes between it and the rows that are taken of it is not in it, and is there
// when it is durable itself: when the power is cut after the checkpoint; when there is no crash; and when the cut comes to
// nothing.
func TestChangesAfterTheInstant(t *testing.T) {
	for name, change := range lateChanges {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fails %v", name, fails), func(t *testing.T) {
				d := newDisk(t, 8<<20)
				c := newClock()
				p, err := openAs(d, testHost(1, c), c, false)
				ok(t, err)
				x := late{p, mustVolume(t, p, "v", 64*BlockSize), mustVolume(t, p, "w", 64*BlockSize)}
				for lb := range int64(16) {
					ok(t, planOne(x.v, lb))
				}
				mustSnapshot(t, x.v, "s")
				for lb := range int64(8) {
					ok(t, planOne(x.v, lb))
					ok(t, planOne(x.v, 32+lb))
					ok(t, planOne(x.w, lb))
				}
				ok(t, p.Flush())
				ok(t, x.v.Punch(32*BlockSize, 4*BlockSize)) // a job, of which nothing is in a checkpoint
				before := portrait(t, p, x.v.ino, x.w.ino)
				var after string
				d.Fail(func(op devtest.Op) error {
					p.mu.Lock()
					waits := len(p.tree.gate.waiting) > 0
					p.mu.Unlock()
					if waits && after == "" {
						after = "soon"
						if change.by != nil {
							err = change.by(x)
						} else {
							done := make(chan error)
							go func() { done <- change.beside(x) }()
							err = <-done
						}
						if err != nil {
							t.Error(err)
						}
					}
					if waits && fails && op.Kind == devtest.OpRead {
						return errors.New("nobody knows whose it is")
					}
					return nil
				})
				err = p.Checkpoint()
				d.Fail(nil)
				if after == "" || fails != (err != nil) || p.Failed() != nil {
					t.Fatalf("changed %q: %v, %v", after, err, p.Failed())
				}
				if after = portrait(t, p, x.v.ino, x.w.ino); after == before {
					t.Fatal("nothing has changed")
				}
				if !fails {
					same(t, "after a crash", d.Clone().Crash(rand.New(rand.NewPCG(1, 1))), before, x)
				}
				mustCheck(t, p)
				ok(t, p.Checkpoint())
				if now := portrait(t, p, x.v.ino, x.w.ino); now != after {
					t.Errorf("after another checkpoint:\n%s\nwant\n%s", now, after)
				}
				same(t, "after a checkpoint and a crash", d.Clone().Crash(rand.New(rand.NewPCG(1, 1))), after, x)
				mustCheck(t, p)
				ok(t, p.Close())
				same(t, "closed", d, after, x)
			})
		}
	}
}

// same opens a disk and compares.
func same(t *testing.T, what string, d *devtest.Disk, want string, x late) {
	t.Helper()
	c := newClock()
	p, err := openAs(d, testHost(1, c), c, true)
	ok(t, err)
	if got := portrait(t, p, x.v.ino, x.w.ino); got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
	mustCheck(t, p)
	ok(t, p.Close())
}
