//go:build race

package chain

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"slatefs/chain/fault"
)

// stepsOf counts the steps of fn under one hold of the plan lock.
func stepsOf(p *Pool, fn func()) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
	return p.mu.steps
}

// few: what is done under one hold of the plan lock is bounded.
func few(t *testing.T, p *Pool, what string, fn func()) {
	t.Helper()
	if n := stepsOf(p, fn); n > mostSteps {
		t.Errorf("%s: %d steps under one hold", what, n)
	}
}

// An admission knows what walks cannot find without a look at them, however many fail or wait for a checkpoint that fails.
func TestStrandedIsANumber(t *testing.T) {
	const many = 4 * pieceLen
	x := newSick(t)
	walks := func(name string) {
		for i := range many {
			v := mustVolume(t, x.Pool, fmt.Sprint(name, i), 4*BlockSize)
			write(t, v, fill('v', 2*BlockSize), 0)
			ok(t, x.Unlink(Req{}, RootIno, fmt.Sprint(name, i)))
		}
	}
	judge := func(what string, want int64) {
		t.Helper()
		few(t, x.Pool, what, func() { _ = x.space.free() })
		if u := x.Usage(); u.Stranded != want*BlockSize || u.Freeing < u.Stranded {
			t.Errorf("%s: %d blocks are stranded, want %d, of %d", what, u.Stranded/BlockSize, want, u.Freeing/BlockSize)
		}
	}
	walks("a")
	judge("well", 0)
	x.mu.Lock()
	x.health.noteTry(&x.health.checkpoints, "the checkpoint", errPassing)
	x.mu.Unlock()
	judge("while checkpoints fail", 2*many)
	x.mu.Lock()
	x.health.noteTry(&x.health.checkpoints, "the checkpoint", nil)
	x.mu.Unlock()
	ok(t, x.Checkpoint())
	walks("b")
	fail := int64(0)
	for _, w := range x.tree.walks {
		x.mu.Lock()
		if w.source.Settled() {
			x.tree.noteWalk(w, errPassing)
			fail++
		}
		x.mu.Unlock()
	}
	if fail < many {
		t.Errorf("%d walks fail, want %d", fail, many)
	}
	judge("while walks fail", 2*fail)
	mustCheck(t, x.Pool)
	few(t, x.Pool, "the state of a job", func() {
		for _, j := range x.jobs.all {
			if state, _ := x.tree.jobState(j); j.walks > 0 && len(x.tree.stuck.failing[j]) > 0 && state != "failing" {
				t.Errorf("a job of a failing walk is %s", state)
			}
		}
	})
	x.heal(0)
	judge("well again", 0)
}

// What goes next of all that is going is known without a look at all of it, while much of it fails.
func TestGoingIsOrdered(t *testing.T) {
	const many, first = 4 * pieceLen, Ino(1 << 40)
	x := newSick(t)
	for i := range Ino(many) {
		x.mu.Lock()
		x.removal.begin(first + i)
		_ = x.removal.noteGoing(first+i, errPassing)
		x.mu.Unlock()
	}
	few(t, x.Pool, "before their time", func() {
		if ino := x.removal.firstGoing(); ino != 0 {
			t.Errorf("%d is tried before its time", ino)
		}
	})
	x.mu.Lock()
	x.removal.begin(first + many)
	x.mu.Unlock()
	few(t, x.Pool, "what does not fail", func() {
		if ino := x.removal.firstGoing(); ino != first+many {
			t.Errorf("%d is tried", ino)
		}
	})
	x.now = x.now.Add(2 * time.Second)
	seen := map[Ino]bool{}
	for range many + 1 {
		few(t, x.Pool, "in their turn", func() {
			ino := x.removal.firstGoing()
			seen[ino] = true
			_ = x.removal.noteGoing(ino, errPassing)
		})
	}
	if len(seen) != many+1 || seen[0] {
		t.Errorf("%d were tried, want %d", len(seen), many+1)
	}
	x.now = x.now.Add(lastRetry)
	ok(t, x.removal.finishGoing()) // there are no such inodes
	if n := len(x.names.going); n > 0 || x.removal.turns.ready.Len()+x.removal.turns.sick.Len() > 0 {
		t.Errorf("%d are going still", n)
	}
}

// What is failing is listed by how often it was tried, and the next time is known, without a look at all of it.
func TestTroublesAreOrdered(t *testing.T) {
	const many = 4 * pieceLen
	x := newSick(t)
	begin := x.now
	all := make([]fault.Backoff, many)
	fail := func(i int) {
		few(t, x.Pool, "a try that fails", func() { x.health.noteTry(&all[i], fmt.Sprint("thing ", i), errPassing) })
	}
	due := func(want time.Duration, is bool) {
		t.Helper()
		x.mu.Lock()
		d, any := x.health.troubles.until(x.now)
		x.mu.Unlock()
		if d != want || any != is {
			t.Errorf("%v after the beginning: %v until something is tried, %v, want %v, %v", x.now.Sub(begin), d, any, want, is)
		}
	}
	due(0, false)
	for i := range all {
		fail(i)
	}
	due(time.Second, true)
	fail(7)
	fail(7)
	fail(9)
	few(t, x.Pool, "the list", func() {
		l := x.health.troubleList()
		if len(l) != troublesShown || l[0].What != "thing 7" || l[0].Tries != 3 || l[1].What != "thing 9" || l[2].Tries != 1 {
			t.Errorf("%+v", l)
		}
	})
	x.now = begin.Add(1500 * time.Millisecond)
	due(500*time.Millisecond, true) // that of 9; what could not be tried has a second
	x.now = begin.Add(2 * time.Second)
	due(time.Second, true)
	x.now = begin.Add(3500 * time.Millisecond)
	due(500*time.Millisecond, true) // that of 7
	if u := x.Usage(); u.Troubled != many || len(u.Troubles) != troublesShown {
		t.Errorf("%d troubles are counted, %d listed", u.Troubled, len(u.Troubles))
	}
	few(t, x.Pool, "the next time", func() { _, _ = x.health.troubles.until(x.now) })
	for i := range all {
		x.mu.Lock()
		if i%2 == 0 {
			x.health.noteTry(&all[i], "", nil)
		} else {
			x.health.forgetTry(&all[i])
		}
		x.mu.Unlock()
	}
	due(0, false)
	if u := x.Usage(); u.Troubled > 0 || len(u.Troubles) > 0 {
		t.Errorf("left: %+v", u.Troubles)
	}
	for i := range many {
		x.mu.Lock()
		x.health.noteDamage(fmt.Sprintf("thing %03d", many-i))
		x.mu.Unlock()
	}
	if u := x.Usage(); u.Damaged != many || len(u.Damages) != troublesShown || !slices.IsSorted(u.Damages) {
		t.Errorf("%d are damaged, listed %q", u.Damaged, u.Damages)
	}
}

// What hangs on a volume is looked at as far as one batch takes it away, whatever else is kept, and in use.
func TestBurdenIsBounded(t *testing.T) {
	const many = 2 * pieceLen
	p := openPool(t, newDisk(t, 64<<20))
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "7d"}))
	v, other := mustVolume(t, p, "v", 1<<20), mustVolume(t, p, "other", 1<<20)
	var open []LayerID
	var kept []string
	for i := range many {
		for _, v := range []*Volume{v, other} {
			write(t, v, fill('v', BlockSize), int64(i)*BlockSize)
			mustSnapshot(t, v, fmt.Sprint("k", i))
			mustSnapshot(t, v, fmt.Sprint("o", i))
			id := p.tree.snaps.names[snapName{v.ino, fmt.Sprint("o", i)}].id
			ok(t, p.OpenSnap(id))
			open = append(open, id)
		}
		kept = append(kept, fmt.Sprint("k", i))
	}
	ok(t, p.DestroySnapshots(Req{}, other.ino, kept, DestroyOptions{}))
	look := func(kept, held int) {
		t.Helper()
		few(t, p, "a look at what a volume has", func() {
			n, err := p.names.inode(v.ino)
			ok(t, err)
			b, err := p.removal.burdenOf(v.ino, n)
			if err != nil || len(b.kept) != kept || len(b.held) != held {
				t.Errorf("%d kept, want %d, and %d held, want %d: %v", len(b.kept), kept, len(b.held), held, err)
			}
		})
	}
	look(0, heldAtOnce+1)
	ok(t, p.DestroySnapshots(Req{}, v.ino, kept, DestroyOptions{}))
	look(keptAtOnce+1, heldAtOnce+1)
	mustCheck(t, p)
	r := Req{purge: true}
	ok(t, p.Unlink(r, RootIno, "v"))
	mustCheck(t, p)
	if n := p.tree.openSnaps.Len(); n != many {
		t.Errorf("%d snapshots are in use and not destroyed, want %d", n, many)
	}
	for _, id := range open {
		p.ReleaseSnap(id)
	}
	if n := p.tree.openSnaps.Len(); n != 0 {
		t.Errorf("%d snapshots are in use still", n)
	}
	ok(t, p.Unlink(r, RootIno, "other"))
	if n := p.destroyed.snaps.Len(); n != 0 {
		t.Errorf("%d snapshots are kept still", n)
	}
}

// A directory that goes leaves what it is charged for to the one above, without a look at what others are charged for.
func TestHomelessOfOneDirectory(t *testing.T) {
	const many = 2 * pieceLen
	d := newDisk(t, 64<<20)
	p := openPool(t, d)
	home := func(name string, n int) Ino {
		a, err := p.Mkdir(Req{}, RootIno, name, 0o755)
		ok(t, err)
		for i := range n {
			f, err := p.Create(Req{}, a.Ino, "v", 0o600)
			ok(t, err)
			v, err := p.Volume(f.Ino)
			ok(t, err)
			ok(t, v.Truncate(1<<16))
			write(t, v, fill('v', 2*BlockSize), 0)
			mustSnapshot(t, v, "s")
			mustClone(t, v, "s", fmt.Sprint(name, i))
			mustClone(t, v, "s", fmt.Sprint(name, i, "x")) // else the layer goes to the only one
			ok(t, p.Unlink(Req{purge: true}, a.Ino, "v"))
		}
		if got := len(p.tree.homeless(a.Ino, math.MaxInt)); got != n {
			t.Errorf("directory %s is charged for %d layers, want %d", name, got, n)
		}
		return a.Ino
	}
	home("a", many)
	b := home("b", 3)
	ok(t, p.Close())
	p = openPool(t, d)
	steps := 0
	ok(t, p.works.change(func(time.Time) error {
		before := p.mu.steps
		err := p.commits.do(&recHome{b, RootIno})
		steps = p.mu.steps - before
		return err
	}))
	if n := len(p.tree.homeless(RootIno, math.MaxInt)); n != 3 || len(p.tree.homeless(b, math.MaxInt)) > 0 || steps > 16 {
		t.Errorf("%d layers are charged to the root, want 3; %d steps", n, steps)
	}
	mustCheck(t, p)
	if most, where := stepsOfHolds(func() { ok(t, p.Rmdir(Req{}, RootIno, "a")) }); most > mostSteps {
		t.Errorf("%s: %d steps under one hold", where, most)
	}
	mustCheck(t, p)
	ok(t, p.Flush())
	q, err := Open(d.Clone(), readOnly())
	ok(t, err)
	if n := len(q.tree.homeless(RootIno, math.MaxInt)); n != many+3 {
		t.Errorf("%d layers are charged to the root after a replay, want %d", n, many+3)
	}
	if n := len(p.tree.homeless(RootIno, math.MaxInt)); n != many+3 {
		t.Errorf("%d layers are charged to the root, want %d", n, many+3)
	}
}
