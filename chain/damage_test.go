package chain

import (
	"errors"
	"strings"
	"testing"

	"slatefs/chain/fault"
	"slatefs/chain/meta"
)

// spoil damages every copy of a page for good.
func (x *sick) spoil(ptr meta.Ptr) {
	x.t.Helper()
	if ptr.IsNil() {
		x.t.Fatal("there is no such page")
	}
	x.d.Flip(int64(ptr.Addr)*BlockSize+100, 3)
	if ptr.Twin != 0 {
		x.d.Flip(int64(ptr.Twin)*BlockSize+100, 3)
	}
	x.forget()
}

// goesOn writes, snapshots and reads another volume, and takes a checkpoint: nothing of that notices a damage.
func (x *sick) goesOn(other *Volume, round byte) {
	x.t.Helper()
	write(x.t, other, fill(round, 40*BlockSize), int64(round)*BlockSize)
	mustSnapshot(x.t, other, "round"+string('a'+round%26))
	write(x.t, other, fill(round, BlockSize), 0)
	gen := x.Usage().Generation
	ok(x.t, x.Checkpoint())
	x.keep()
	expect(x.t, other, 0, fill(round, BlockSize))
	if u := x.Usage(); u.Generation == gen {
		x.t.Fatalf("no checkpoint was taken: %+v", u.Troubles)
	}
}

// named: the damage is shown, with those words in it.
func (x *sick) named(words ...string) {
	x.t.Helper()
	u := x.Usage()
	var all strings.Builder
	for _, d := range u.Damages {
		all.WriteString(d + "\n")
	}
	for _, t := range u.Troubles {
		all.WriteString(t.What + ": " + t.Error + "\n")
	}
	for _, w := range words {
		if !strings.Contains(all.String(), w) {
			x.t.Fatalf("%q is not in what is shown:\n%s", w, all.String())
		}
	}
}

// scattered is a volume with a map leaf in each of its two regions, and writes over both that are in no page yet.
func (x *sick) scattered() (v *Volume, second int64) {
	second = 8192 * BlockSize
	v = mustVolume(x.t, x.Pool, "v", 2*second)
	for i := range int64(40) {
		write(x.t, v, fill('a', BlockSize), i*4*BlockSize)
		write(x.t, v, fill('a', BlockSize), second+i*4*BlockSize)
	}
	ok(x.t, x.Checkpoint())
	for i := range int64(40) {
		write(x.t, v, fill('b', BlockSize), (i*4+1)*BlockSize)
		write(x.t, v, fill('b', BlockSize), second+(i*4+1)*BlockSize)
	}
	return v, second
}

// pagesOf are the pages of a map: those with slots, and leaves.
func (x *sick) pagesOf(m meta.Map) (inner, leaves []meta.Ptr) {
	bitsOf := map[meta.Ptr]uint8{}
	ok(x.t, x.blocks.maps.Pages(m, func(p meta.Ptr, _ int64, bits uint8) (bool, error) {
		bitsOf[p] = bits
		if p.Twin != 0 {
			inner = append(inner, p)
		} else {
			leaves = append(leaves, p)
		}
		return true, nil
	}))
	return inner, leaves
}

// A damaged page of a map takes its region with it, for good; the rest of the volume and all others go on.
func TestDamagedMap(t *testing.T) {
	for name, inner := range map[string]bool{"leaf": false, "inner": true} {
		t.Run(name, func(t *testing.T) {
			x := newSick(t)
			other := mustVolume(t, x.Pool, "other", 4<<20)
			v, second := x.scattered()
			m, _ := v.head().top.Bottom()
			in, leaves := x.pagesOf(m)
			if len(leaves) < 2 || len(in) < 1 {
				t.Fatalf("%d leaves, %d inner pages", len(leaves), len(in))
			}
			if inner {
				x.spoil(in[0])
			} else {
				x.spoil(leaves[0])
			}
			x.goesOn(other, 'k')
			x.named("volume 3", "layer")
			b := make([]byte, BlockSize)
			broken := func(v *Volume, off int64) {
				t.Helper()
				if _, err := v.ReadAt(b, off); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("a read of what is lost: %v", err)
				}
				if _, err := v.WriteAt(b, off+2*BlockSize); fault.Of(err) != fault.Object {
					t.Fatalf("a write over what is lost: %v", err)
				}
			}
			broken(v, 0)
			broken(v, BlockSize)
			if inner {
				broken(v, second)
			} else {
				expect(t, v, second, fill('a', BlockSize))
				expect(t, v, second+BlockSize, fill('b', BlockSize))
			}
			x.goesOn(other, 'l')
			ok(t, x.Unlink(Req{}, RootIno, "v"))
			ok(t, x.Flush())
			x.keep()
			if u := x.Usage(); u.Stranded == 0 || u.Stranded != u.Freeing {
				t.Fatalf("freeing %d, stranded %d", u.Freeing, u.Stranded)
			}
			if js := x.EraseJobs(); len(js) == 0 || js[0].State != "failed" && js[0].State != "failing" {
				t.Fatalf("%+v", js)
			}
			x.goesOn(other, 'm')
			q, _ := reopen(t, x.d.Clone(), 3)
			o, err := q.Volume(other.ino)
			ok(t, err)
			expect(t, o, 0, fill('m', BlockSize))
			q.closed = true // it cannot be whole
			x.closed = true
		})
	}
}

// What a damaged page of a map hides stays hidden when the page reads well again: what was written over it since is in no
// page, and an older map could show blocks that have another owner now.
func TestLostIsNeverSeenAgain(t *testing.T) {
	x := newSick(t)
	other := mustVolume(t, x.Pool, "other", 4<<20)
	v, _ := x.scattered()
	m, _ := v.head().top.Bottom()
	_, leaves := x.pagesOf(m)
	x.spoil(leaves[0])
	x.goesOn(other, 'k')
	x.spoil(leaves[0]) // as it was
	b := make([]byte, BlockSize)
	for _, off := range []int64{0, BlockSize} {
		if _, err := v.ReadAt(b, off); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("what was lost is seen again: %v", err)
		}
	}
	x.closed = true
}

// A damaged page of a list keeps what the list is for from being done, and nothing else.
func TestDamagedLists(t *testing.T) {
	build := func(x *sick) (v, other *Volume) {
		other = mustVolume(x.t, x.Pool, "other", 4<<20)
		v = mustVolume(x.t, x.Pool, "v", 8<<20)
		for i := range int64(300) {
			write(x.t, v, fill('a', BlockSize), i*2*BlockSize)
		}
		mustSnapshot(x.t, v, "s")
		for i := range int64(280) {
			write(x.t, v, fill('b', BlockSize), i*2*BlockSize)
		}
		ok(x.t, x.Checkpoint())
		return v, other
	}
	t.Run("dead list", func(t *testing.T) {
		x := newSick(t)
		v, other := build(x)
		x.spoil(v.head().lost.Trees[0].Root)
		for i := range int64(20) { // the checkpoint needs the page
			write(t, v, fill('c', BlockSize), (280+i)*2*BlockSize)
		}
		x.goesOn(other, 'k')
		ok(t, x.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}))
		x.goesOn(other, 'l')
		x.named("layer", "page")
		expect(t, v, 0, fill('b', BlockSize))
		expect(t, v, 290*2*BlockSize, fill('c', BlockSize))
		x.closed = true
	})
	t.Run("erase job", func(t *testing.T) {
		x := newSick(t)
		v, other := build(x)
		for i := range int64(250) {
			write(t, v, fill('c', BlockSize), i*2*BlockSize)
		}
		ok(t, v.Punch(0, 100*BlockSize))
		ok(t, x.Checkpoint())
		for _, j := range x.jobs.all {
			if len(j.fresh.Trees) > 0 {
				x.spoil(j.fresh.Trees[0].Root)
			}
		}
		ok(t, v.Punch(100*BlockSize, 100*BlockSize))
		x.goesOn(other, 'k')
		_, err := eraseSome(x.Pool, 1<<30)
		ok(t, err)
		x.goesOn(other, 'l')
		x.named("page")
		x.closed = true
	})
	t.Run("dropped", func(t *testing.T) {
		x := newSick(t)
		v, other := build(x)
		x.spoil(v.head().lost.Trees[0].Root)
		ok(t, x.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
		x.goesOn(other, 'k')
		x.goesOn(other, 'l')
		x.closed = true
	})
}

// A damaged page of the catalog is needed by each checkpoint: it is held, as the journal and the old superblock are good.
// What is written goes on until the journal is full; nothing fails, and reads go on.
func TestDamagedCatalogHolds(t *testing.T) {
	x := newSick(t)
	other := mustVolume(t, x.Pool, "other", 4<<20)
	write(t, other, fill('a', 4*BlockSize), 0)
	ok(t, x.Checkpoint())
	write(t, other, fill('a', 4*BlockSize), 100*BlockSize) // the volume's row is to be written
	x.spoil(x.names.cat.Tree.Root)
	if err := x.Checkpoint(); fault.Of(err) != fault.Object {
		t.Fatalf("checkpoint: %v", err)
	}
	x.keep()
	x.named("the checkpoint", "catalog")
	expect(t, other, 0, fill('a', 4*BlockSize))
	write(t, other, fill('b', 4*BlockSize), 0)
	ok(t, x.Flush())
	expect(t, other, 0, fill('b', 4*BlockSize))
	ok(t, x.Failed())
	x.closed = true
}

// A damaged page of a group takes the clean blocks of that group out of use; its other blocks are what they were.
func TestDamagedGroup(t *testing.T) {
	x := newSick(t)
	other := mustVolume(t, x.Pool, "other", 4<<20)
	v := mustVolume(t, x.Pool, "v", 4<<20)
	write(t, v, fill('v', 800*BlockSize), 0)
	for i := range int64(50) {
		ok(t, v.Punch((100+i*4)*BlockSize, 2*BlockSize))
	}
	eraseAll(t, x.Pool)
	ok(t, x.Checkpoint())
	var bad int
	for g, ptr := range x.blocks.groupPtrs {
		if c := x.blocks.alloc.GroupCounts(g); !ptr.IsNil() && c.Clean > 0 && c.InUse > 0 && c.Claimed == 0 {
			bad = g
		}
	}
	x.blocks.alloc.Unload(bad)
	if bad == 0 || x.blocks.alloc.Loaded(bad) {
		t.Fatalf("group %d is not to be had", bad)
	}
	before, avail := x.blocks.alloc.GroupCounts(bad), x.Usage().Avail
	x.spoil(x.blocks.groupPtrs[bad])
	x.mu.Lock()
	err := x.blocks.loadGroup(bad)
	x.mu.Unlock()
	ok(t, err)
	after := x.blocks.alloc.GroupCounts(bad)
	if after.Clean != 0 || after.InUse != before.InUse+before.Clean || after.Meta != before.Meta {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	if u := x.Usage(); u.Avail > avail-before.Clean*BlockSize {
		t.Fatalf("%d available, before %d with %d clean", u.Avail, avail, before.Clean*BlockSize)
	}
	x.named("group", "clean blocks are not used any more")
	x.goesOn(other, 'k')
	ok(t, x.Unlink(Req{}, RootIno, "v"))
	x.keep()
	eraseAll(t, x.Pool)
	x.goesOn(other, 'l')
	x.closed = true
}
