package chain

import (
	"errors"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// orphan is a volume that was unlinked, or renamed over, while it was open.
func orphan(t *testing.T, p *Pool, rename bool) *Volume {
	t.Helper()
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, fill('o', 16<<10), 0)
	ok(t, p.SetXattr(Req{}, v.ino, "user.a", []byte("x"), 0))
	mustSnapshot(t, v, "s")
	write(t, v, fill('p', 4096), 0)
	ok(t, p.OpenFile(v.ino, true))
	ok(t, p.OpenFile(v.ino, false))
	if rename {
		plant(t, p, "new")
		ok(t, p.Rename(Req{}, RootIno, "new", RootIno, "v", 0))
	} else {
		ok(t, p.Unlink(Req{}, RootIno, "v"))
	}
	return v
}

// What was unlinked while it was open goes on until it is closed and forgotten.
func TestOrphanLivesUntilForgotten(t *testing.T) {
	for _, rename := range []bool{false, true} {
		p := openPool(t, newDisk(t, 4<<20))
		v := orphan(t, p, rename)
		if a, err := p.Lookup(RootIno, "v"); rename == errors.Is(err, ErrNotFound) || a.Ino == v.ino {
			t.Errorf("the name: %+v, %v", a, err)
		}
		a, err := p.GetAttr(v.ino)
		ok(t, err)
		if a.Nlink != 0 || a.Parent != 0 || a.Name != "" || a.Size != 64<<10 {
			t.Errorf("%+v", a)
		}
		for _, step := range []func(){
			func() {},
			func() { p.Forget(v.ino) },
			func() { p.ReleaseFile(v.ino, true); p.Forget(v.ino) },
		} {
			step()
			write(t, v, fill('q', 4096), 8192)
			expect(t, v, 0, fill('p', 4096))
			expect(t, v, 4096, fill('o', 4096))
			mustCheck(t, p)
		}
		p.ReleaseFile(v.ino, false)
		expect(t, v, 0, fill('p', 4096)) // the kernel may still open it by its number
		p.Forget(v.ino)
		if _, err := p.GetAttr(v.ino); !errors.Is(err, ErrNotFound) {
			t.Errorf("after it was forgotten: %v", err)
		}
		if _, err := v.WriteAt(fill('r', 4096), 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("write to it: %v", err)
		}
		if _, err := v.ReadAt(make([]byte, 4096), 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("read of it: %v", err)
		}
		if v.Size() != 0 {
			t.Errorf("its size is %d", v.Size())
		}
		p.ReleaseFile(v.ino, false) // late calls are harmless
		p.Forget(v.ino)
		eraseAll(t, p)
		for _, c := range "opqr" {
			if at := p.dev.(*devtest.Disk).Find(fill(byte(c), 512)); at != nil {
				t.Errorf("%c is still at %v", c, at)
			}
		}
	}
}

// An orphan does not outlive the process that had it open: the next mount frees and erases it.
func TestOrphanEndsAtTheNextMount(t *testing.T) {
	for _, crash := range []bool{false, true} {
		p := openPool(t, newDisk(t, 4<<20))
		v := orphan(t, p, false)
		keep := mustVolume(t, p, "keep", 8192)
		write(t, keep, fill('k', 4096), 0)
		p = again(t, p, crash)
		if _, err := p.Volume(v.ino); !errors.Is(err, ErrNotFound) {
			t.Errorf("crash=%v: %v", crash, err)
		}
		if names, _ := p.ListXattr(v.ino); len(names) != 0 {
			t.Errorf("its attributes: %q", names)
		}
		eraseAll(t, p)
		mustCheck(t, p)
		for _, c := range "op" {
			if at := p.dev.(*devtest.Disk).Find(fill(byte(c), 512)); at != nil {
				t.Errorf("%c is still at %v", c, at)
			}
		}
		if u := p.Usage(); u.Live != 4096 || u.Volumes != 1 {
			t.Errorf("%+v", u)
		}
	}
}

// Clones of an orphan live on, and -R finds it although it has no name.
func TestOrphanWithClones(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, fill('o', 16<<10), 0)
	mustSnapshot(t, v, "s")
	c := mustClone(t, v, "s", "c")
	write(t, c, fill('c', 4096), 0)
	ok(t, p.OpenFile(c.ino, false))
	ok(t, p.Unlink(Req{}, RootIno, "c"))
	wantErr(t, "destroy", p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}), ErrHasClones)
	wantErr(t, "destroy -R", p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{Clones: true}), ErrBusy)
	expect(t, c, 0, fill('c', 4096))
	p.ReleaseFile(c.ino, false)
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{Clones: true}))
	p.Forget(c.ino)
	eraseAll(t, p)
	mustCheck(t, p)
	if at := p.dev.(*devtest.Disk).Find(fill('c', 512)); at != nil {
		t.Errorf("the clone is still at %v", at)
	}
	expect(t, v, 0, fill('o', 16<<10))
}

func TestOpenFiles(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	plant(t, p, "f", "d/")
	wantErr(t, "open of nothing", p.OpenFile(99, false), ErrNotFound)
	wantErr(t, "open of a directory", p.OpenFile(3, false), ErrInvalid)
	ok(t, p.OpenFile(2, false))
	ok(t, p.OpenFile(2, false))
	ok(t, p.OpenFile(2, true))
	err := p.DestroyVolume(Req{}, 2, DestroyOptions{})
	var busy *BusyError
	if !errors.As(err, &busy) || busy.What != "f" || busy.Readers != 2 || busy.Writers != 1 {
		t.Fatalf("%+v", err)
	}
	if want := "f: busy: open 2 times for reading, 1 times for writing"; busy.Error() != want || !errors.Is(err, ErrBusy) || errors.Is(err, ErrExist) {
		t.Errorf("%q", busy.Error())
	}
	p.ReleaseFile(2, true)
	p.ReleaseFile(2, false)
	wantErr(t, "destroy", p.DestroyVolume(Req{}, 2, DestroyOptions{}), ErrBusy)
	p.ReleaseFile(2, false)
	ok(t, p.DestroyVolume(Req{}, 2, DestroyOptions{}))
	p.ReleaseFile(2, true) // of a volume that is gone
	wantErr(t, "destroy twice", p.DestroyVolume(Req{}, 2, DestroyOptions{}), ErrNotFound)
}
