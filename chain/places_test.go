package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

// placesWorld has directories that are made, moved and removed, and volumes that end in them.
type placesWorld struct {
	t     *testing.T
	p     *Pool
	d     *devtest.Disk
	rng   *rand.Rand
	n     int
	dirs  []Ino
	above map[Ino]Ino    // of each directory that is there
	names map[Ino]string // of it
	ended map[Ino]Ino    // by volume: the directory that is there and has it
}

// pick is a directory that is not deep: a path costs its depth under the plan lock, and that is not what this is about.
func (w *placesWorld) pick() Ino {
	for {
		dir, deep := w.dirs[w.rng.IntN(len(w.dirs))], 0
		for at := dir; at != RootIno; at = w.above[at] {
			deep++
		}
		if deep < 4 {
			return dir
		}
	}
}

// step does one operation; one that is refused changes nothing.
func (w *placesWorld) step() error {
	w.n++
	dir := w.pick()
	switch k := w.rng.IntN(100); {
	case k < 25:
		name := fmt.Sprint("d", w.n)
		a, err := w.p.Mkdir(Req{}, dir, name, 0o755)
		if err == nil {
			w.dirs, w.above[a.Ino], w.names[a.Ino] = append(w.dirs, a.Ino), dir, name
		}
		return err
	case k < 55:
		return w.end(dir)
	case k < 70:
		to := w.pick()
		if dir == RootIno {
			return nil
		}
		err := w.p.Rename(Req{}, w.above[dir], w.names[dir], to, w.names[dir], 0)
		if err == nil {
			w.above[dir] = to
		}
		return err
	case k < 85:
		return w.remove(dir)
	case k < 90:
		return w.p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: []string{"1h", "0"}[w.rng.IntN(2)]})
	case k < 94:
		for _, id := range w.p.destroyed.ends.inOrder() {
			ok(w.t, w.p.removal.expire(id))
		}
	case k < 97:
		return w.p.Checkpoint()
	default:
		ok(w.t, w.p.Flush())
		w.p, w.d = reopen(w.t, w.d, uint64(w.n))
	}
	return nil
}

// end has a volume end in a directory: at once, or when it is closed.
func (w *placesWorld) end(dir Ino) error {
	name := fmt.Sprint("v", w.n)
	a, err := w.p.Create(Req{}, dir, name, 0o644)
	if err != nil {
		return err
	}
	v, err := w.p.Volume(a.Ino)
	ok(w.t, err)
	ok(w.t, v.Truncate(64<<10))
	write(w.t, v, fill('v', BlockSize), 0)
	w.ended[a.Ino] = dir
	return w.p.Unlink(Req{}, dir, name)
}

func (w *placesWorld) remove(dir Ino) error {
	if dir == RootIno {
		return nil
	}
	up := w.above[dir]
	if err := w.p.Rmdir(Req{}, up, w.names[dir]); err != nil {
		return err
	}
	for vol, at := range w.ended {
		if at == dir {
			w.ended[vol] = up
		}
	}
	w.dirs = slices.DeleteFunc(w.dirs, func(d Ino) bool { return d == dir })
	delete(w.above, dir)
	return nil
}

func (w *placesWorld) judge() {
	w.t.Helper()
	got := map[Ino][]Ino{}
	ok(w.t, EachVolumeEver(w.p, func(v VolumeEver) error { got[v.Ino] = v.Dirs; return nil }))
	for vol, dir := range w.ended {
		at := slices.IndexFunc(got[vol], func(d Ino) bool { return slices.Contains(w.dirs, d) })
		if at < 0 || got[vol][at] != dir || got[vol][len(got[vol])-1] != RootIno {
			w.t.Fatalf("step %d: volume %d ended in directory %d, found in %d", w.n, vol, dir, got[vol])
		}
	}
}

func resolved(t *testing.T, p *Pool, path string) Ino {
	t.Helper()
	a, err := p.Resolve(path)
	ok(t, err)
	return a.Ino
}

// Whatever becomes of directories, what ended in one is found in it, or in the nearest that was above it when it was removed.
func TestPlacesOfEnded(t *testing.T) {
	for seed := range uint64(4) {
		d := newDisk(t, 8<<20)
		w := &placesWorld{
			t: t, p: openPool(t, d), d: d, rng: rand.New(rand.NewPCG(seed, 12)),
			dirs: []Ino{RootIno}, above: map[Ino]Ino{}, names: map[Ino]string{}, ended: map[Ino]Ino{},
		}
		for range 150 {
			if err := w.step(); err != nil && !errors.Is(err, ErrNotEmpty) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExist) {
				t.Fatalf("seed %d, step %d: %v", seed, w.n, err)
			}
			w.judge()
		}
		drained(t, w.p)
		mustCheck(t, w.p)
	}
}

// A volume that is written, open when its name goes, and closed after its directory was removed, ended in the one above.
func TestPlaceOfOrphan(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "a/", "a/b/", "a/b/v")
	v := existing(t, p, "a/b/v")
	ok(t, v.Truncate(64<<10))
	write(t, v, fill('v', BlockSize), 0)
	a, b := resolved(t, p, "a"), resolved(t, p, "a/b")
	ok(t, p.OpenFile(v.ino, true))
	ok(t, p.Unlink(Req{}, b, "v"))
	ok(t, p.Rmdir(Req{}, a, "b"))
	p.ReleaseFile(v.ino, true)
	p.Forget(v.ino)
	ok(t, p.Rename(Req{}, RootIno, "a", RootIno, "c", 0))
	ok(t, EachVolumeEver(p, func(e VolumeEver) error {
		if !slices.Equal(e.Dirs, []Ino{a, RootIno}) {
			t.Errorf("it is in directories %d, want %d: %+v", e.Dirs, a, e)
		}
		return nil
	}))
	mustCheck(t, p)
}

// What ended in a directory that was removed, and the one above it too, in which nothing else ended, ended in the one above that.
func TestPlaceOfNested(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "a/", "a/b/", "a/b/c/", "a/b/c/v")
	v := existing(t, p, "a/b/c/v")
	ok(t, v.Truncate(64<<10))
	write(t, v, fill('v', BlockSize), 0)
	a, b, c := resolved(t, p, "a"), resolved(t, p, "a/b"), resolved(t, p, "a/b/c")
	ok(t, p.Unlink(Req{}, c, "v"))
	ok(t, p.Rmdir(Req{}, b, "c"))
	ok(t, p.Rmdir(Req{}, a, "b"))
	ok(t, EachVolumeEver(p, func(e VolumeEver) error {
		if !slices.Equal(e.Dirs, []Ino{c, b, a, RootIno}) {
			t.Errorf("it is in directories %d, want %d: %+v", e.Dirs, []Ino{c, b, a, RootIno}, e)
		}
		return nil
	}))
	mustCheck(t, p)
}

// Where a directory was that an older program removed, nobody knows.
func TestPlaceUnknown(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "a/", "a/v")
	v := existing(t, p, "a/v")
	ok(t, v.Truncate(64<<10))
	write(t, v, fill('v', BlockSize), 0)
	a := resolved(t, p, "a")
	ok(t, p.Unlink(Req{}, a, "v"))
	ok(t, p.Rmdir(Req{}, RootIno, "a"))
	p.mu.Lock()
	p.names.cat.Put(placeKey(a), nil)
	p.mu.Unlock()
	ok(t, EachVolumeEver(p, func(e VolumeEver) error {
		if !slices.Equal(e.Dirs, []Ino{a, 0}) || !e.Gone {
			t.Errorf("it is in directories %d: %+v", e.Dirs, e)
		}
		return nil
	}))
}

// A row that leads nowhere, or away from a directory that is there, is found by a check.
func TestCheckFindsPlaces(t *testing.T) {
	put := func(dir Ino, row []byte) func(*testing.T, *sample) {
		return func(_ *testing.T, x *sample) { x.p.names.cat.Put(placeKey(dir), row) }
	}
	expectFound(t, []damage{
		{"of one that is there", put(4, marshalPlace(RootIno)), "it is there, of type 2", false},
		{"of a file", put(2, marshalPlace(0)), "it is there, of type 1", false},
		{"leads nowhere", put(99, marshalPlace(98)), "it is gone, and nothing ended in 98", false},
		{"leads to none", put(99, marshalPlace(98)), "it is gone, and nothing ended in 98", false},
		{"no row", put(4, []byte{1}), "row of kind 22 of inode 4", false},
	})
}

// TestPlaceOfAnOlderProgram: one that keeps no such rows has removed a directory in which something ended.
func TestPlaceOfAnOlderProgram(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	dir, err := p.Mkdir(Req{}, RootIno, "d", 0o755)
	ok(t, err)
	a, err := p.Create(Req{}, dir.Ino, "v", 0o644)
	ok(t, err)
	v, err := p.Volume(a.Ino)
	ok(t, err)
	ok(t, v.Truncate(64<<10))
	write(t, v, fill('v', BlockSize), 0)
	ok(t, p.Unlink(Req{}, dir.Ino, "v"))
	ok(t, p.Rmdir(Req{}, RootIno, "d"))
	ok(t, p.works.changeIn(credit{bytes: 4096, pages: changePages, frees: true}, func(time.Time) error {
		return p.commits.do(&recPut{key: placeKey(dir.Ino), val: marshalPlace(0)}) // as it was before d was removed
	}))
	mustCheck(t, p)
}

// TestBytesStayedBesideJobsOfNobody: a job whose blocks nobody knows, of a crash or of a repair, may hold what went along.
func TestBytesStayedBesideJobsOfNobody(t *testing.T) {
	for _, reason := range []string{reasonRecovery, reasonRepair} {
		p := openPool(t, newDisk(t, 16<<20))
		write(t, mustVolume(t, p, "v", 1<<20), fill('v', 64<<10), 0)
		ok(t, p.Flush())
		p.mu.Lock()
		j := p.jobs.newJob(0, "", "", reason, "", p.opt.Now())
		j.freshN++ // a block that is dirty
		newest := p.tree.nextLayer
		p.mu.Unlock()
		stayed, err := BytesStayed(p, newest)
		ok(t, err)
		if stayed {
			t.Errorf("%s: bytes stayed", reason)
		}
		p.mu.Lock()
		j.freshN--
		p.mu.Unlock()
	}
}

// TestBytesStayed: the blocks of a job are all that its bytes were in only if none went along into another block, all is known of
// what is that old, and nothing that a crash left was only released.
func TestBytesStayed(t *testing.T) {
	stayed := func(what string, p *Pool, want bool) {
		t.Helper()
		for range 2 { // of what is in no row yet, and of rows
			p.mu.Lock()
			newest := p.tree.nextLayer
			p.mu.Unlock()
			if yes, err := BytesStayed(p, newest); err != nil || yes != want {
				t.Errorf("%s: %v, %v, want %v", what, yes, err, want)
			}
			ok(t, p.Checkpoint())
		}
	}
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('v', 64<<10), 0)
	mustSnapshot(t, v, "s")
	stayed("whole blocks", p, true)
	write(t, v, fill('w', 512), 0)
	stayed("less than a block", p, false)

	old := openPool(t, readGolden(t))
	drained(t, old)
	stayed("an older program's pool", old, false)

	d := newDisk(t, 16<<20)
	p = openPool(t, d)
	v = mustVolume(t, p, "v", 1<<20)
	ok(t, p.Flush())
	write(t, v, fill('v', 64<<10), 0) // its record is lost
	p, _ = reopen(t, d, 1)
	released(t, p)
	stayed("a crash, and released", p, false)
}
