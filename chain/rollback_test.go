package chain

import (
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// history is v with snapshots a, b and c, each of one block of its letter more, and d in the head.
func history(t *testing.T) (*Pool, *Volume) {
	t.Helper()
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 0)
	for i, name := range []string{"a", "b", "c"} {
		write(t, v, fill(name[0], 4096), int64(i)*4096)
		mustSnapshot(t, v, name)
	}
	write(t, v, fill('d', 4096), 3*4096)
	return p, v
}

func TestRollback(t *testing.T) {
	want := map[string]string{"a": "a", "b": "ab", "c": "abc"}
	for _, crash := range []bool{false, true} {
		p, v := history(t)
		for _, to := range []string{"b", "c", "a", "a", "c"} { // forth and back: later snapshots stay
			ok(t, p.Rollback(Req{}, v.ino, to, false))
			if v.Size() != int64(len(want[to]))*4096 {
				t.Errorf("at %s the size is %d", to, v.Size())
			}
			for i, c := range want[to] {
				expect(t, v, int64(i)*4096, fill(byte(c), 4096))
			}
			write(t, v, fill('x', 4096), 0)
			p = again(t, p, crash)
			v, _ = p.Volume(v.ino)
			expect(t, v, 0, fill('x', 4096))
			for _, s := range []string{"a", "b", "c"} {
				for i, c := range want[s] {
					expect(t, snapOf(t, v, s), int64(i)*4096, fill(byte(c), 4096))
				}
			}
			eraseAll(t, p)
			mustCheck(t, p)
		}
		if at := p.dev.(*devtest.Disk).Find(fill('d', 512)); at != nil {
			t.Errorf("what was rolled back is still at %v", at)
		}
		if n := blocksOf4K(p.dev.(*devtest.Disk), 'x'); n != 1 {
			t.Errorf("%d blocks of old heads are left, want the one of the head", n)
		}
	}
}

func TestRollbackRefused(t *testing.T) {
	p, v := history(t)
	plant(t, p, "d/")
	dir, err := p.Resolve("d")
	ok(t, err)
	for _, c := range []struct {
		what string
		ino  Ino
		name string
		err  error
	}{{"unknown", v.ino, "x", ErrNotFound}, {"no volume", dir.Ino, "a", ErrInvalid}, {"nothing", 99, "a", ErrNotFound}, {"the head", v.ino, "", ErrNotFound}} {
		wantErr(t, c.what, p.Rollback(Req{}, c.ino, c.name, true), c.err)
	}
	ok(t, p.OpenFile(v.ino, true))
	wantErr(t, "open for writing", p.Rollback(Req{}, v.ino, "a", false), ErrBusy)
	expect(t, v, 3*4096, fill('d', 4096))
	ok(t, p.Rollback(Req{}, v.ino, "b", true))
	expect(t, v, 0, append(fill('a', 4096), fill('b', 4096)...))
	p.ReleaseFile(v.ino, true)
	ok(t, p.OpenFile(v.ino, false)) // readers are no reason
	ok(t, p.Rollback(Req{}, v.ino, "a", false))
	p.ReleaseFile(v.ino, false)
	// Now b and c are a branch of their own.
	tree, err := p.Tree(v.ino)
	ok(t, err)
	var line []string
	for _, l := range tree {
		line = append(line, l.Name)
	}
	if len(line) != 4 || line[0] != "a" || line[1] != "b" || line[2] != "c" || !tree[3].Head || len(tree[0].Children) != 2 {
		t.Errorf("%+v", tree)
	}
	wantErr(t, "destroy", p.DestroyVolume(Req{}, v.ino, DestroyOptions{}), ErrHasSnapshots)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
	eraseAll(t, p)
	if u := p.Usage(); u.Live != 0 || u.Layers != 0 {
		t.Errorf("%+v", u)
	}
}

func TestClone(t *testing.T) {
	p, v := history(t)
	_, err := p.SetAttr(Req{}, v.ino, SetAttr{Mode: ptrTo(uint32(0o640))})
	ok(t, err)
	plant(t, p, "d/")
	dir, err := p.Resolve("d")
	ok(t, err)
	layers := p.Usage().Layers
	for _, c := range []struct {
		what string
		ino  Ino
		snap string
		dir  Ino
		name string
		err  error
	}{
		{"unknown snapshot", v.ino, "x", RootIno, "c", ErrNotFound},
		{"a directory", dir.Ino, "", RootIno, "c", ErrInvalid},
		{"nothing", 99, "", RootIno, "c", ErrNotFound},
		{"taken name", v.ino, "a", RootIno, "v", ErrExist},
		{"taken name, of the head", v.ino, "", RootIno, "v", ErrExist},
		{"no directory", v.ino, "", v.ino, "c", ErrNotDir},
		{"invalid name", v.ino, "", dir.Ino, "..", ErrInvalid},
		{".snap", v.ino, "a", dir.Ino, ".snap", ErrPerm},
	} {
		_, err := p.Clone(Req{}, c.ino, c.snap, c.dir, c.name)
		wantErr(t, c.what, err, c.err)
		mustCheck(t, p)
	}
	if n := p.Usage().Layers; n != layers {
		t.Errorf("refused clones left %d layers, there were %d", n, layers)
	}
	write(t, v, fill('e', 4096), 3*4096) // not flushed: a clone of the head has it
	for i, c := range []struct{ snap, want string }{{"a", "a"}, {"c", "abc"}, {"", "abce"}} {
		a, err := p.Clone(Req{UID: 5, GID: 6}, v.ino, c.snap, dir.Ino, c.want)
		ok(t, err)
		if a.UID != 5 || a.GID != 6 || a.Mode != 0o640 || a.Size != int64(len(c.want))*4096 || a.Name != c.want || a.Parent != dir.Ino {
			t.Errorf("%+v", a)
		}
		p = again(t, p, i%2 == 0)
		v, _ = p.Volume(v.ino)
		w, err := p.Volume(a.Ino)
		ok(t, err)
		for j, b := range c.want {
			expect(t, w, int64(j)*4096, fill(byte(b), 4096))
		}
		write(t, w, fill('w', 4096), 0)
		expect(t, v, 0, fill('a', 4096))
		write(t, v, fill('e', 4096), 3*4096)
		expect(t, w, 0, fill('w', 4096))
	}
	mustCheck(t, p)
}

func ptrTo[T any](v T) *T { return &v }
