package chain

import (
	"context"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
)

// lotsToReclaim makes a pool with something of each kind that counts as available and is not clean: dirty blocks, a large
// discard that waits for its walk, the burial of a volume, dead blocks below a nameless layer, things that are destroyed and
// kept, a job of erase=none, and claims.
func lotsToReclaim(t *testing.T) (*Pool, *devtest.Disk) {
	t.Helper()
	d := newDisk(t, 32<<20)
	p := openPool(t, d)
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1d"}))
	kept := mustVolume(t, p, "kept", 1<<20)
	write(t, kept, fill('k', 256<<10), 0)
	mustSnapshot(t, kept, "s")
	write(t, kept, fill('K', 128<<10), 0)
	ok(t, p.DestroySnapshots(Req{}, kept.ino, []string{"s"}, DestroyOptions{}))
	other := mustVolume(t, p, "other", 1<<20)
	write(t, other, fill('o', 256<<10), 0)
	ok(t, p.Unlink(Req{}, RootIno, "other"))
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "0"}))

	v := mustVolume(t, p, "v", 1<<40)
	for i := range int64(100) { // scattered, so that the walk has pages to read
		write(t, v, fill('v', BlockSize), i<<27)
	}
	base := mustVolume(t, p, "base", 1<<20)
	write(t, base, fill('b', 512<<10), 0)
	mustSnapshot(t, base, "s")
	for _, name := range []string{"c1", "c2"} {
		_, err := p.Clone(Req{}, base.ino, "s", RootIno, name)
		ok(t, err)
	}
	ok(t, p.Unlink(Req{}, RootIno, "base"))
	for _, name := range []string{"c1", "c2"} {
		a, err := p.Resolve(name)
		ok(t, err)
		c, err := p.Volume(a.Ino)
		ok(t, err)
		write(t, c, fill('c', 256<<10), 0)
	}
	none := mustVolume(t, p, "none", 1<<20)
	ok(t, p.SetProps(Req{}, none.ino, Setting{Name: PropErase, Value: "none"}))
	write(t, none, fill('n', 256<<10), 0)
	ok(t, none.Punch(0, 256<<10))
	ok(t, p.Checkpoint())
	ok(t, v.Truncate(0))
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	ok(t, p.Flush())
	return p, d
}

// All that counts as available becomes clean, on an overlay: the device is not written.
func TestCheckReclaim(t *testing.T) {
	p, d := lotsToReclaim(t)
	u, ops := p.Usage(), d.Ops()
	for what, n := range map[string]int64{
		"dirty": u.Dirty, "freeing": u.Freeing + int64(len(p.tree.walks)), "destroyed": u.Destroyed, "unscheduled": u.Unscheduled, "claimed": u.Claimed,
	} {
		if n == 0 {
			t.Errorf("nothing is %s: %+v", what, u)
		}
	}
	r, err := CheckReclaim(t.Context(), d, Options{Now: newClock().now})
	ok(t, err)
	for _, e := range append(r.Errors, r.Leaks...) {
		t.Error(e)
	}
	if least := u.Clean + u.Claimed + u.Dirty + u.Freeing + u.Destroyed; r.Counted < least || r.Reclaimed < r.Counted {
		t.Errorf("%d counted and %d reclaimed, want at least %d", r.Counted, r.Reclaimed, least)
	}
	if d.Ops() != ops {
		t.Errorf("the device was written %d times", d.Ops()-ops)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := CheckReclaim(ctx, d, Options{Now: newClock().now}); err == nil {
		t.Error("it goes on without its context")
	}
}

// What counts as available and would never come is an error that names it: of each kind one that damage keeps back.
func TestCheckReclaimNamesWhatDoesNotCome(t *testing.T) {
	rot := func(d *devtest.Disk, ptr meta.Ptr) {
		for _, b := range []int64{int64(ptr.Addr), int64(ptr.Twin)} {
			if b != 0 {
				d.Flip(b*BlockSize+100, 3)
			}
		}
	}
	for _, c := range []struct {
		name string
		harm func(t *testing.T, p *Pool, d *devtest.Disk)
		says string
	}{
		{"a page of a walk", func(t *testing.T, p *Pool, d *devtest.Disk) {
			ok(t, p.Checkpoint())
			for _, w := range p.tree.walks {
				if !w.source.Settled() {
					continue
				}
				var page meta.Ptr
				enter := func(ptr meta.Ptr) bool { return !w.burial || ptr.Birth > w.layer.died }
				_, _, err := p.blocks.maps.Step(w.source.Base(), w.pages, 1<<20, enter, func(meta.Piece) {}, func(ptr meta.Ptr) { page = ptr })
				ok(t, err)
				if page.IsNil() {
					continue
				}
				rot(d, page)
				return
			}
			t.Fatal("no walk waits")
		}, "walk "},
		{"a list of an erase job", func(t *testing.T, p *Pool, d *devtest.Disk) {
			ok(t, p.Checkpoint())
			for _, j := range p.jobs.all {
				for _, l := range []*runs.List{&j.ready, &j.fresh} {
					for _, tree := range l.Trees {
						rot(d, tree.Root)
						return
					}
				}
			}
			t.Fatal("no job has a list on the device")
		}, "erase job "},
		{"a group's page", func(t *testing.T, p *Pool, d *devtest.Disk) {
			ok(t, p.Checkpoint())
			for g, ptr := range p.blocks.groupPtrs {
				if !ptr.IsNil() && p.blocks.alloc.GroupCounts(g).Clean > 0 {
					rot(d, ptr)
					return
				}
			}
			t.Fatal("no group has a page")
		}, "group "},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, d := lotsToReclaim(t)
			c.harm(t, p, d)
			r, err := CheckReclaim(t.Context(), d, Options{Now: newClock().now})
			ok(t, err)
			if all := strings.Join(r.Errors, "\n"); !strings.Contains(all, c.says) {
				t.Errorf("%q is not among %d errors:\n%s", c.says, len(r.Errors), all)
			}
			p.mu.Lock()
			p.closed = true // its own check would find the damage
			p.mu.Unlock()
		})
	}
}
