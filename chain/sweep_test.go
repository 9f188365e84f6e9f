package chain

import "testing"

// building lets fn run as if a checkpoint were built meanwhile: merges are left to the housekeeping.
func building(p *Pool, fn func()) {
	p.structure.Lock()
	p.built = make(chan struct{})
	p.structure.Unlock()
	fn()
	p.structure.Lock()
	p.buildEnds()
	p.structure.Unlock()
}

// What a sweep took from a layer is handed out again, though the layer's map still shows it. When all that hangs on the layer
// goes before it could be merged, its map is not walked: nobody else's blocks are erased.
func TestSweptIsNotWalked(t *testing.T) {
	const size = 64 * BlockSize
	for what, last := range map[string]func(p *Pool, v *Volume) error{
		"destroy":  func(p *Pool, v *Volume) error { return p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}) },
		"rollback": func(p *Pool, v *Volume) error { return p.Rollback(Req{}, v.ino, "first", false) },
	} {
		t.Run(what, func(t *testing.T) {
			p := openPool(t, newDisk(t, 6<<20))
			v := mustVolume(t, p, "v", size)
			write(t, v, fill('0', BlockSize), 0)
			ok(t, p.Snapshot(Req{}, []Ino{v.ino}, "first"))
			write(t, v, fill('a', size), 0)
			ok(t, p.Snapshot(Req{}, []Ino{v.ino}, "a"))
			c, err := p.Clone(Req{}, v.ino, "a", RootIno, "clone")
			ok(t, err)
			clone, err := p.Volume(c.Ino)
			ok(t, err)
			ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{Defer: true}))
			ok(t, p.Flush())
			for i, o := range []*Volume{v, clone} {
				write(t, o, fill(byte('1'+i), size/2), 0)
			}
			ok(t, p.Checkpoint())
			eraseAll(t, p)
			other := mustVolume(t, p, "other", 4<<20) // takes what was swept
			wrote := int64(0)
			for ; p.Usage().Avail > 1<<20; wrote += BlockSize {
				write(t, other, fill('x', BlockSize), wrote)
			}
			building(p, func() {
				ok(t, p.DestroyVolume(Req{}, clone.ino, DestroyOptions{}))
				ok(t, last(p, v))
			})
			mustCheck(t, p)
			ok(t, p.removal.reapWaiting())
			eraseAll(t, p)
			expect(t, other, 0, fill('x', int(wrote)))
			mustCheck(t, p)
			if n := len(p.tree.nameless); n != 0 {
				t.Errorf("%d layers are left that nobody holds", n)
			}
		})
	}
}

// What a destroy leaves to the housekeeping, since a checkpoint is being built, is told from the moment on at which it returns;
// and who waits until all is erased does not wait for less.
func TestDestroyWhileBuilding(t *testing.T) {
	p := openPool(t, newDisk(t, 6<<20))
	v := mustVolume(t, p, "v", 64*BlockSize)
	write(t, v, fill('a', 16*BlockSize), 0)
	takeSnapshot(t, p, "s", v)
	write(t, v, fill('b', 16*BlockSize), 0)
	building(p, func() { ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{})) })
	if u, e := p.Usage(), p.Erasing()[v.ino]; u.Going != 16*BlockSize || e.Freeing != 16*BlockSize {
		t.Errorf("going %d, freeing %d of the volume", u.Going, e.Freeing)
	}
	ok(t, p.EraseDrain(t.Context()))
	if js := p.EraseJobs(); len(js) != 1 || js[0].Dirty != 16*BlockSize || js[0].Layer != "s" {
		t.Errorf("jobs: %+v", js)
	}
	if u, e := p.Usage(), p.Erasing()[v.ino]; u.Going != 0 || e.Freeing != 0 {
		t.Errorf("going %d, freeing %d of the volume, and it is in a job", u.Going, e.Freeing)
	}
	eraseAll(t, p)
}
