package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/tail"
)

// memFile is memory that a process of its own could leave to another.
func memFile(t testing.TB) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("tail", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "tail")
	t.Cleanup(func() { ok(t, f.Close()) })
	return f
}

// openWorldWith is openWorld with a tail.
func openWorldWith(d *devtest.Disk, m *model, seed uint64, f *os.File, inherit bool) (*world, error) {
	return openWorldAs(d, m, seed, Options{Tail: f, Inherit: inherit})
}

// either is a model of what a process leaves that is killed in the middle of an operation: all that was acknowledged before is
// there, and of the operation any part. What has which name is as in base.
func either(base, before, after *model) *model {
	m := base.clone()
	for name, d := range m.disks {
		b, a := before.disks[name], after.disks[name]
		if b == nil || a == nil || b.ino != a.ino {
			d.flush()
			continue
		}
		later := a.clone()
		d.data, d.size = b.data, b.size
		d.flush()
		for s := range int64(maxDisk / sector) {
			d.later[s] = append(d.later[s], later.data[s*sector:(s+1)*sector])
			if n := len(b.later[s]); len(later.later[s]) > n {
				d.later[s] = append(d.later[s], later.later[s][n:]...)
			}
		}
		d.sizes = append(d.sizes, a.size)
		if n := len(b.sizes); len(a.sizes) > n {
			d.sizes = append(d.sizes, a.sizes[n:]...)
		}
	}
	return m
}

// TestKilled ends the process at an operation of the device: what it has written is there, synced or not, and its memory is gone
// but for the tail. A successor has all that was acknowledged, flushed or not. Then it is ended as well, while it recovers.
func TestKilled(t *testing.T) {
	seeds := *crashSeeds
	if testing.Short() {
		seeds = 3
	}
	points := 0
	for seed := *crashFirst; seed < *crashFirst+seeds; seed++ {
		base := newDisk(t, crashDisk)
		d := base.Clone()
		w, err := openWorldWith(d, newModel(), seed, memFile(t), false)
		ok(t, err)
		if err := w.steps(crashSteps); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(w.trace, "\n"))
		}
		checkWorld(t, w, fmt.Sprintf("seed %d, not killed", seed), true)
		step := max(1, d.Ops()/40)
		for k := 1 + int(seed)%step; k <= d.Ops(); k += step {
			killOnce(t, base.Clone(), seed, k)
			points++
		}
	}
	t.Logf("killed at %d points, each twice", points)
}

func killOnce(t *testing.T, d *devtest.Disk, seed uint64, k int) {
	t.Helper()
	where, f, m := fmt.Sprintf("-crash.first=%d, operation %d", seed, k), memFile(t), newModel()
	d.CrashAt(k)
	w, err := openWorldWith(d, m, seed, f, false)
	if err == nil {
		err = w.steps(crashSteps)
	}
	if err != nil && !errors.Is(err, devtest.ErrCrashed) {
		t.Fatalf("%s: %v", where, err)
	}
	if w == nil {
		return // it had not begun
	}
	before, after, trace := w.before, w.m, w.trace
	rng := rand.New(rand.NewPCG(seed, uint64(k)))
	d = d.Clone()
	again := d.Clone()
	again.CrashAt(1 + rng.IntN(12))
	if w, err := openWorldWith(again, newModel(), seed, f, true); err == nil {
		_ = w.p.Checkpoint()
		_ = w.p.Flush()
	}
	at := where + "\n" + lastSteps(trace)
	d = again.Clone()
	w, err = openWorldWith(d, newModel(), seed+1, f, true)
	if err != nil {
		t.Fatalf("%s: open: %v", at, err)
	}
	one, two := either(before, before, after), either(after, before, after)
	e1, e2 := one.verify(w.p, false), two.verify(w.p, false)
	switch {
	case e1 == nil:
		w.m = one
	case e2 == nil:
		w.m = two
	default:
		t.Fatalf("%s:\nneither before the last operation: %v\nnor after it: %v", at, e1, e2)
	}
	if err := w.m.adopt(w.p); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	checkWorld(t, w, at, false)
	w.trace, w.n = nil, 1000
	if err := w.steps(8); err != nil {
		t.Fatalf("%s: going on: %v\n%s", at, err, lastSteps(w.trace))
	}
	checkWorld(t, w, at+"\n--\n"+lastSteps(w.trace), true)
}

// What a process made durable after another one left its tail is not written over by it.
func TestTailOfAnotherTime(t *testing.T) {
	d, f := newDisk(t, 2<<20), memFile(t)
	p, err := Open(d, Options{Now: newClock().now, Tail: f})
	ok(t, err)
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, fill('a', 4096), 0)

	d = d.Clone()
	q := openPool(t, d)
	mustVolume(t, q, "w", 64<<10)
	ok(t, q.Flush())
	_, err = Open(d.Clone(), Options{Now: newClock().now, Tail: f, Inherit: true})
	wantErr(t, "a tail that does not continue the journal", err, tail.ErrForeign)
	_, err = Open(d.Clone(), Options{Now: newClock().now, Tail: memFile(t), Inherit: true})
	wantErr(t, "no tail", err, tail.ErrFormat)
}

// What is open while its daemon is replaced is not taken away, and goes with its last user.
func TestOpenedStays(t *testing.T) {
	for _, rename := range []bool{false, true} {
		d, f := newDisk(t, 4<<20), memFile(t)
		p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20, Tail: f})
		ok(t, err)
		v := orphan(t, p, rename)
		u := mustVolume(t, p, "u", 64<<10)
		write(t, u, fill('s', 4096), 0)
		mustSnapshot(t, u, "s")
		write(t, u, fill('t', 4096), 0)
		infos, err := p.Snapshots(u.ino)
		ok(t, err)
		snap := infos[0].Layer
		ok(t, p.OpenSnap(snap))
		ok(t, p.DestroySnapshots(Req{}, u.ino, []string{"s"}, DestroyOptions{}))

		q, err := Open(d.Clone(), Options{Now: newClock().now, CacheBytes: 1 << 20, Tail: f, Inherit: true, Opened: []Opened{
			{Ino: v.ino, Readers: 1, Writers: 1}, {Layer: snap, Readers: 1}, {Ino: 4711, Readers: 1}, {Layer: 4711, Readers: 1},
		}})
		ok(t, err)
		w, err := q.Volume(v.ino)
		ok(t, err)
		expect(t, w, 0, fill('p', 4096))
		s, err := q.Snap(snap)
		ok(t, err)
		expect(t, s, 0, fill('s', 4096))
		mustCheck(t, q)
		q.ReleaseFile(v.ino, true)
		q.ReleaseFile(v.ino, false)
		q.Forget(v.ino)
		if _, err := q.GetAttr(v.ino); !errors.Is(err, ErrNotFound) {
			t.Errorf("after it was forgotten: %v", err)
		}
		q.ReleaseSnap(snap)
		if _, err := q.Snap(snap); !errors.Is(err, ErrGone) {
			t.Errorf("a destroyed snapshot after its last close: %v", err)
		}
		mustCheck(t, q)
		ok(t, q.Close())
	}
}

// An append through a file that was open before its daemon was replaced goes to the end, also if a command has moved that and the
// kernel does not know yet. What goes to where the end is shows that it does.
func TestAppendsOfAnHeir(t *testing.T) {
	d, f := newDisk(t, 4<<20), memFile(t)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20, Tail: f})
	ok(t, err)
	v := mustVolume(t, p, "v", 100)
	ok(t, v.Resize(5000, true))
	q, err := Open(d.Clone(), Options{
		Now: newClock().now, CacheBytes: 1 << 20, Tail: f, Inherit: true, Opened: []Opened{{Ino: v.ino, Writers: 1}},
	})
	ok(t, err)
	w, err := q.Volume(v.ino)
	ok(t, err)
	for _, off := range []int64{100, 101, 5002} { // where the kernel takes the end to be
		if n, err := w.Append([]byte{'a'}, off, false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	expect(t, w, 5000, []byte("aaa"))
	if w.Size() != 5003 || w.beside {
		t.Errorf("%d bytes; the end is not known: %v", w.Size(), w.beside)
	}
	mustCheck(t, q)
	q.ReleaseFile(v.ino, true)
	ok(t, q.Close())
}
