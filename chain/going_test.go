package chain

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"slatefs/chain/catalog"
)

// plantXattrs gives an inode attributes beyond the bound, as pools from before it may have them.
func plantXattrs(t testing.TB, p *Pool, ino Ino, n int) {
	t.Helper()
	for i := 0; i < n; {
		ok(t, p.works.change(func(now time.Time) error {
			for range 32 {
				if err := p.namespace.putXattr(ino, fmt.Sprintf("user.%d", i), []byte("value")); err != nil {
					return err
				}
				i++
			}
			return nil
		}))
	}
}

func xattrRows(t testing.TB, p *Pool) (n int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	ok(t, p.names.cat.Each(catalog.Xattr, func(uint64, []byte) error { n++; return nil }))
	return n
}

// A file with more attributes than the journal has room for is removed, and the pool lives; so where it is renamed over.
func TestRemoveOfManyAttributes(t *testing.T) {
	for name, remove := range map[string]func(p *Pool) error{
		"unlink":  func(p *Pool) error { return p.Unlink(Req{}, RootIno, "f") },
		"rename":  func(p *Pool) error { return p.Rename(Req{}, RootIno, "g", RootIno, "f", 0) },
		"destroy": func(p *Pool) error { return p.DestroyVolume(Req{}, 2, DestroyOptions{}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newPool64(t, 64<<20))
			stop := keepRunning(t, p)
			plant(t, p, "f", "g")
			plantXattrs(t, p, 2, 13_400)
			ok(t, remove(p))
			ok(t, p.Flush())
			ok(t, p.Failed())
			if n := xattrRows(t, p); n > 0 {
				t.Errorf("%d rows of attributes are left", n)
			}
			stop()
		})
	}
}

// removeSlowly is Unlink, with a commit after each step, and more between them.
func removeSlowly(p *Pool, name string, between func()) error {
	err := p.works.change(func(now time.Time) error {
		e, err := p.names.find(RootIno, name)
		if err != nil {
			return err
		}
		return p.removal.unlink(Req{}, RootIno, e, now)
	})
	for err == nil {
		if err = p.Flush(); err != nil {
			return err
		}
		between()
		first := p.removal.firstGoing()
		if first == 0 {
			return p.removal.reapAll()
		}
		err = p.works.change(func(now time.Time) error { return p.removal.goStep(first, now) })
	}
	return err
}

// A crash between two steps of a removal: the file is there whole, or it goes at the next mount, whatever is kept then.
func TestRemovalInStepsThenCrash(t *testing.T) {
	const attributes = 200
	base := newDisk(t, 4<<20)
	p := openPool(t, base)
	v := mustVolume(t, p, "f", 64<<10)
	write(t, v, fill('f', 32<<10), 0)
	mustSnapshot(t, v, "s")
	write(t, v, fill('g', 8<<10), 0)
	plantXattrs(t, p, v.ino, attributes)
	ok(t, p.Close())
	whole := base.Clone()
	p = openPool(t, whole)
	before := whole.Ops()
	ok(t, removeSlowly(p, "f", func() {}))
	ok(t, p.Close())
	total := whole.Ops() - before
	seen := map[bool]int{}
	for k := 1; k <= total; k++ {
		d := base.Clone()
		p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
		ok(t, err)
		d.CrashAt(k)
		_ = removeSlowly(p, "f", func() {}) // the power is cut
		d = d.Crash(rand.New(rand.NewPCG(uint64(k), 1)))
		p = openPool(t, d)
		a, err := p.Lookup(RootIno, "f")
		there := err == nil
		seen[there]++
		want := 0
		if there {
			want = attributes
			if names, err := p.ListXattr(a.Ino); err != nil || len(names) < want {
				t.Fatalf("crash at %d: %d attributes, %v", k, len(names), err)
			}
		} else if n := xattrRows(t, p); n > 0 || len(p.tree.layers) > 0 && len(p.tree.heads) > 0 {
			t.Fatalf("crash at %d: %d rows of attributes are left, heads %v", k, n, p.tree.heads)
		}
		ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "7d"}))
		mustCheck(t, p)
		eraseAll(t, p)
		ok(t, p.Close())
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("the file was there after %d crashes, gone after %d", seen[true], seen[false])
	}
}

// What is going can be reached by nobody, and is never kept: it lost attributes already.
func TestGoingIsOutOfReach(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "f", 64<<10)
	plantXattrs(t, p, v.ino, 200)
	a, err := p.Mkdir(Req{}, RootIno, "d", 0o755)
	ok(t, err)
	plantXattrs(t, p, a.Ino, 200)
	ok(t, removeSlowly(p, "f", func() {
		if p.removal.firstGoing() == 0 {
			return
		}
		wantErr(t, "attribute", p.SetXattr(Req{}, v.ino, "user.late", nil, 0), ErrGone)
		_, err := p.Volume(v.ino)
		wantErr(t, "volume", err, ErrGone)
		wantErr(t, "open", p.OpenFile(v.ino, true), ErrGone)
		_, err = v.WriteAt(fill('x', 4096), 0)
		wantErr(t, "write", err, ErrGone)
	}))
	ok(t, removeSlowly(p, "d", func() {
		if p.removal.firstGoing() == 0 {
			return
		}
		_, err := p.Mkdir(Req{}, a.Ino, "late", 0o755)
		wantErr(t, "mkdir", err, ErrGone)
		wantErr(t, "rename", p.Rename(Req{}, RootIno, "g", a.Ino, "late", 0), ErrNotFound)
	}))
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "7d"}))
	v = mustVolume(t, p, "kept", 64<<10)
	plantXattrs(t, p, v.ino, 200)
	ok(t, p.Unlink(Req{}, RootIno, "kept"))
	kept := p.Destroyed()
	if len(kept) != 1 {
		t.Fatalf("%+v", kept)
	}
	_, err = p.Undestroy(Req{}, kept[0].ID, 0, "")
	ok(t, err)
	if names, err := p.ListXattr(v.ino); err != nil || len(names) < 200 {
		t.Errorf("brought back with %d attributes, %v", len(names), err)
	}
	ok(t, p.Unlink(Req{}, RootIno, "kept"))
	for _, d := range p.Destroyed() {
		ok(t, p.removal.expire(d.ID))
	}
	if n := xattrRows(t, p); n > 0 {
		t.Errorf("%d rows of attributes are left", n)
	}
}

// A directory that is charged for many orphans, and a volume of which many snapshots are open or kept, go all the same.
func TestRemoveWithManyOpen(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	a, err := p.Mkdir(Req{}, RootIno, "d", 0o755)
	ok(t, err)
	var open []Ino
	for i := range 30 {
		f, err := p.Create(Req{}, a.Ino, fmt.Sprint("f", i), 0o644)
		ok(t, err)
		ok(t, p.OpenFile(f.Ino, true))
		ok(t, p.Unlink(Req{}, a.Ino, fmt.Sprint("f", i)))
		open = append(open, f.Ino)
	}
	ok(t, p.Rmdir(Req{}, RootIno, "d"))
	mustCheck(t, p)
	for _, ino := range open {
		ok(t, func() error { _, err := p.GetAttr(ino); return err }())
		p.ReleaseFile(ino, true)
		p.Forget(ino)
	}
	v := mustVolume(t, p, "v", 1<<20)
	var held []LayerID
	for i := range 60 {
		write(t, v, fill(byte(i), 4096), int64(i)*4096)
		mustSnapshot(t, v, fmt.Sprint("s", i))
		l, err := p.tree.snapshot(v.ino, fmt.Sprint("s", i))
		ok(t, err)
		ok(t, p.OpenSnap(l.id))
		held = append(held, l.id)
	}
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "7d"}))
	for i := 60; i < 120; i++ {
		mustSnapshot(t, v, fmt.Sprint("s", i))
		ok(t, p.DestroySnapshots(Req{}, v.ino, []string{fmt.Sprint("s", i)}, DestroyOptions{}))
	}
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Now: true}))
	mustCheck(t, p)
	if d := p.Destroyed(); len(d) > 0 {
		t.Errorf("kept: %d", len(d))
	}
	for _, id := range held {
		p.ReleaseSnap(id)
	}
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "0"}))
	eraseAll(t, p)
	if len(p.tree.layers) > 0 {
		t.Errorf("%d layers are left", len(p.tree.layers))
	}
}
