package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// openHeir opens a pool with a tail, as a daemon does that is the first, or that inherits.
func openHeir(d *devtest.Disk, f *os.File, inherit bool) (*Pool, error) {
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20, Properties: testProperties, Tail: f, Inherit: inherit})
	if err == nil {
		p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
		p.removal.whole = 1 // volumes go in steps
	}
	return p, err
}

// killedVerb is something that is done to the volume v, or to u, whose snapshots are s0 to s2, and what may be there after it was
// killed: one of the states.
type killedVerb struct {
	do     func(p *Pool, v, u *Volume) error
	states []string // as sketch draws them; nil: as before
}

// What v and u are before, and may be.
const (
	vBefore = "v=onu base=o later=on"
	uBefore = " u=3 s0=0 s1=1 s2=2"
)

// killedVerbs are what takes several steps.
var killedVerbs = map[string]killedVerb{
	"snapshot": {
		func(p *Pool, v, _ *Volume) error { return p.Snapshot(Req{}, []Ino{v.ino}, "new") },
		[]string{vBefore + uBefore, vBefore + " new=onu" + uBefore},
	},
	"snapshot of two": {
		func(p *Pool, v, u *Volume) error { return p.Snapshot(Req{}, []Ino{v.ino, u.ino}, "new") },
		[]string{vBefore + uBefore, vBefore + " new=onu" + uBefore + " new=3"},
	},
	"rollback": {
		func(p *Pool, v, _ *Volume) error { return p.Rollback(Req{}, v.ino, "base", false) },
		[]string{vBefore + uBefore, "v=o base=o later=on" + uBefore},
	},
	"clone": {
		func(p *Pool, v, _ *Volume) error { _, err := p.Clone(Req{}, v.ino, "base", RootIno, "c"); return err },
		[]string{vBefore + uBefore, "c=o " + vBefore + uBefore},
	},
	"destroy of a snapshot": {func(p *Pool, v, _ *Volume) error {
		return errors.Join(p.DestroySnapshots(Req{}, v.ino, []string{"base"}, DestroyOptions{}), p.removal.reapWaiting())
	}, []string{vBefore + uBefore, "v=onu later=on" + uBefore}},
	"destroy of a volume": {func(p *Pool, _, u *Volume) error {
		return errors.Join(p.DestroyVolume(Req{}, u.ino, DestroyOptions{Snapshots: true}), p.removal.reapWaiting())
	}, []string{vBefore + uBefore, vBefore}},
	"rename over": {
		func(p *Pool, _, _ *Volume) error { return p.Rename(Req{}, RootIno, "v", RootIno, "u", 0) },
		[]string{vBefore + uBefore, "u" + vBefore[1:]},
	},
	"checkpoint": {func(p *Pool, _, _ *Volume) error { return p.Checkpoint() }, nil},
	"flush":      {func(p *Pool, _, _ *Volume) error { return p.Flush() }, nil},
	"erase": {func(p *Pool, _, _ *Volume) error {
		if err := p.EraseDrain(context.Background()); err != nil {
			return err
		}
		_, err := eraseSome(p, 1<<40)
		return err
	}, nil},
	"close":     {func(p *Pool, _, _ *Volume) error { return p.Close() }, nil},
	"hand over": {func(p *Pool, _, _ *Volume) error { return HandOver(p) }, nil},
}

// prepare makes a pool with what killedVerbs work on. The last of it is acknowledged, and not flushed.
func prepare(t *testing.T, d *devtest.Disk, f *os.File) (p *Pool, v, u *Volume) {
	t.Helper()
	p, err := openHeir(d, f, false)
	ok(t, err)
	gone := mustVolume(t, p, "gone", 64<<10)
	v, u = mustVolume(t, p, "v", 64<<10), mustVolume(t, p, "u", 64<<10)
	for i := range byte(3) {
		write(t, u, fill('0'+i, 8<<10), 0)
		mustSnapshot(t, u, fmt.Sprint("s", i))
	}
	write(t, gone, fill('g', 64<<10), 0)
	write(t, v, fill('o', 4096), 0)
	mustSnapshot(t, v, "base")
	write(t, v, fill('n', 4096), 4096)
	mustSnapshot(t, v, "later")
	ok(t, p.Checkpoint())
	ok(t, p.Unlink(Req{}, RootIno, "gone")) // there is something to erase
	p.Forget(gone.ino)
	ok(t, p.Flush())
	write(t, v, fill('u', 4096), 8192)
	write(t, u, fill('3', 8<<10), 0)
	return p, v, u
}

// sketch draws what is there: of each volume and its snapshots the first byte of each block that is not zero, a run of the same once.
func sketch(t *testing.T, p *Pool) (s string) {
	t.Helper()
	draw := func(name string, r readerAt) {
		b := make([]byte, 64<<10)
		n, err := r.ReadAt(b, 0)
		ok(t, err)
		var marks []byte
		for i := 0; i < n; i += 4096 {
			if b[i] != 0 && !slices.Contains(marks, b[i]) {
				marks = append(marks, b[i])
			}
		}
		if s != "" {
			s += " "
		}
		s += name + "=" + string(marks)
	}
	for _, name := range []string{"c", "v", "u"} {
		a, err := p.Lookup(RootIno, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		ok(t, err)
		v, err := p.Volume(a.Ino)
		ok(t, err)
		draw(name, v)
		for _, snap := range []string{"base", "later", "s0", "s1", "s2", "new"} {
			if p.HasSnapshot(v.ino, snap) {
				draw(snap, snapOf(t, v, snap))
			}
		}
	}
	return s
}

// TestKilledVerbs ends the process at each operation of the device in each of killedVerbs: what was acknowledged is there, flushed or
// not, and the verb is done as a whole or not at all. The successor is ended as well, on its way.
func TestKilledVerbs(t *testing.T) {
	for name, verb := range killedVerbs {
		t.Run(name, func(t *testing.T) {
			if verb.states == nil {
				verb.states = []string{vBefore + uBefore}
			}
			base := newDisk(t, 4<<20)
			points, seen := 0, map[string]int{}
			for k := 1; ; k++ {
				d, f := base.Clone(), memFile(t)
				p, v, u := prepare(t, d, f)
				d.CrashAt(k)
				err := verb.do(p, v, u)
				whole := !d.Crashed()
				if whole {
					ok(t, err)
				}
				got := succeed(t, d.Clone(), f, uint64(k), fmt.Sprintf("operation %d", k))
				seen[got]++
				if i := slices.Index(verb.states, got); i < 0 || whole && i != len(verb.states)-1 {
					t.Fatalf("killed at operation %d (the verb returned: %v): there is %q, want one of %q", k, whole, got, verb.states)
				}
				if points++; whole {
					break
				}
			}
			t.Logf("killed at %d points: %v", points, seen)
		})
	}
}

// succeed opens what a process has left that was killed, once to be killed as well, and draws it. All of it is checked, then erased.
func succeed(t *testing.T, d *devtest.Disk, f *os.File, seed uint64, at string) string {
	t.Helper()
	d.CrashAt(1 + rand.New(rand.NewPCG(seed, 1)).IntN(12))
	if p, err := openHeir(d, f, true); err == nil {
		_ = p.Checkpoint()
		_ = p.Flush()
	}
	d = d.Clone()
	p, err := openHeir(d, f, true)
	if err != nil {
		t.Fatalf("%s: open: %v", at, err)
	}
	mustCheck(t, p)
	s := sketch(t, p)
	ok(t, p.removal.reapWaiting())
	eraseAll(t, p)
	if after := sketch(t, p); after != s {
		t.Errorf("%s: after all was erased there is %q, before it %q", at, after, s)
	}
	mustCheck(t, p)
	ok(t, p.Close())
	mustReclaim(t, d)
	return s
}
