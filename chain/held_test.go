package chain

import (
	"bytes"
	"errors"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// A .snap file that is open stays readable whatever is destroyed; it goes with its last user, or at the next mount.
func TestHeldSnapshot(t *testing.T) {
	destroys := map[string]func(p *Pool, v *Volume) error{
		"snapshot": func(p *Pool, v *Volume) error {
			return p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{})
		},
		"volume": func(p *Pool, v *Volume) error { return p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}) },
		"unlink": func(p *Pool, _ *Volume) error { return p.Unlink(Req{}, RootIno, "v") },
	}
	ends := map[string]func(t *testing.T, p *Pool, id LayerID) *Pool{
		"released": func(t *testing.T, p *Pool, id LayerID) *Pool {
			p.ReleaseSnap(id)
			s, err := p.Snap(id)
			ok(t, err)
			expect(t, s, 0, fill('s', 8192)) // still open once
			p.ReleaseSnap(id)
			p.ReleaseSnap(id) // once too often
			return p
		},
		"restart": func(t *testing.T, p *Pool, _ LayerID) *Pool { return again(t, p, false) },
		"crash":   func(t *testing.T, p *Pool, _ LayerID) *Pool { return again(t, p, true) },
	}
	for what, destroy := range destroys {
		for how, end := range ends {
			t.Run(what+"/"+how, func(t *testing.T) {
				p := openPool(t, newDisk(t, 4<<20))
				v := mustVolume(t, p, "v", 64<<10)
				write(t, v, fill('s', 8192), 0)
				mustSnapshot(t, v, "s")
				write(t, v, fill('h', 8192), 0)
				_, id, err := p.SnapLookup(RootIno, "v@s")
				ok(t, err)
				ok(t, p.OpenSnap(id))
				ok(t, p.OpenSnap(id))
				ok(t, destroy(p, v))
				ok(t, p.Checkpoint())
				eraseAll(t, p)
				mustCheck(t, p)
				if _, _, err := p.SnapLookup(RootIno, "v@s"); !errors.Is(err, ErrNotFound) {
					t.Errorf("its name: %v", err)
				}
				s, err := p.Snap(id)
				ok(t, err)
				expect(t, s, 0, fill('s', 8192))
				if a, err := p.SnapAttr(id); err != nil || a.Size != 64<<10 {
					t.Errorf("its attributes: %+v, %v", a, err)
				}
				p = end(t, p, id)
				if _, err := p.Snap(id); !errors.Is(err, ErrNotFound) {
					t.Errorf("it outlives its last user: %v", err)
				}
				wantErr(t, "open", p.OpenSnap(id), ErrNotFound)
				eraseAll(t, p)
				mustCheck(t, p)
				if at := p.dev.(*devtest.Disk).Find(fill('s', 512)); at != nil {
					t.Errorf("its content is still at %v", at)
				}
			})
		}
	}
}

// A base that is open when its volume goes becomes, once it is closed, like any nameless layer: what its clones have
// all overwritten is freed.
func TestHeldBaseUnderClones(t *testing.T) {
	for _, how := range []string{"released", "crash", "restart"} {
		t.Run(how, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 64<<10)
			write(t, v, fill('s', 16<<10), 0)
			mustSnapshot(t, v, "s")
			one, two := mustClone(t, v, "s", "one"), mustClone(t, v, "s", "two")
			_, id, err := p.SnapLookup(RootIno, "v@s")
			ok(t, err)
			ok(t, p.OpenSnap(id))
			ok(t, p.Unlink(Req{}, RootIno, "v"))
			for _, c := range []*Volume{one, two} {
				write(t, c, fill('c', 12<<10), 0)
			}
			eraseAll(t, p)
			s, err := p.Snap(id)
			ok(t, err)
			expect(t, s, 0, fill('s', 16<<10))
			if how == "released" {
				p.ReleaseSnap(id)
			} else {
				p = again(t, p, how == "crash")
			}
			eraseAll(t, p)
			mustCheck(t, p)
			if n := blocksOf4K(p.dev.(*devtest.Disk), 's'); n != 1 {
				t.Errorf("%d blocks of the base are left, want 1", n)
			}
		})
	}
}

// A merge gives blocks to a head while a plan from before still reads them for a layer that went: until that plan is
// closed they are not written in place, else it would see what another volume, or a later time, wrote.
func TestMergedUnderAReadPlan(t *testing.T) {
	type reader interface {
		PlanRead(pl *Plan, off, n int64) (Need, error)
	}
	cases := map[string]func(t *testing.T, p *Pool, v *Volume) (r reader, destroy func() error){
		"another volume": func(t *testing.T, p *Pool, v *Volume) (reader, func() error) {
			c := mustClone(t, v, "", "c")
			return c, func() error { return p.Unlink(Req{}, RootIno, "c") }
		},
		"snapshot": func(t *testing.T, p *Pool, v *Volume) (reader, func() error) {
			mustSnapshot(t, v, "s")
			_, id, err := p.SnapLookup(RootIno, "v@s")
			ok(t, err)
			s, err := p.Snap(id)
			ok(t, err)
			return s, func() error { return p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}) }
		},
	}
	for name, setUp := range cases {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 64<<10)
			write(t, v, fill('o', 16<<10), 0)
			r, destroy := setUp(t, p, v)
			var pl Plan
			ok(t, p.volumes.until(func() (Need, error) { return r.PlanRead(&pl, 0, 16<<10) }))
			ok(t, destroy())
			ok(t, p.Flush())
			own := v.head().own
			v.lays.Store(false) // beside others, where that can be
			write(t, v, fill('n', 8<<10), 4<<10)
			_, err := eraseSome(p, 64<<10)
			ok(t, err)
			got := make([]byte, 16<<10)
			_, err = p.volumes.readSpans(&pl, got)
			ok(t, err)
			if !bytes.Equal(got, fill('o', 16<<10)) {
				t.Errorf("the plan reads what was written after it was made")
			}
			pl.Abort()
			if h := v.head(); own != 4 || h.own != 4 {
				t.Errorf("the head owns %d blocks, %d after the write, want 4 and 4", own, h.own)
			}
			var in Plan
			ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(&in, 0, 4<<10) }))
			if !in.InPlace {
				t.Errorf("with the plan closed, a block of the merged layer is not written in place")
			}
			in.Abort()
			expect(t, v, 0, append(fill('o', 4<<10), append(fill('n', 8<<10), fill('o', 4<<10)...)...))
			eraseAll(t, p)
			mustCheck(t, p)
		})
	}
}
