package chain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/omap"
)

// snapList is all that a directory's .snap holds.
func snapList(p *Pool, dir Ino) (es []DirEntry, err error) {
	err = p.ReadSnaps(dir, 0, func(e DirEntry) bool { es = append(es, e); return true })
	return es, err
}

// listedSnaps are its names, and must be found and have places, each by itself.
func listedSnaps(t *testing.T, p *Pool, dir Ino) string {
	t.Helper()
	es, err := snapList(p, dir)
	ok(t, err)
	var out []string
	for _, e := range es {
		_, id, err := p.SnapLookup(dir, e.Name)
		at, name, _, placeErr := p.SnapPlace(id)
		if err != nil || Ino(id) != e.Ino || placeErr != nil || at != dir || name != e.Name {
			t.Errorf("%s: %v, %v; listed as %+v, its place is %s in %d, %v", e.Name, id, err, e, name, at, placeErr)
		}
		out = append(out, e.Name)
	}
	slices.Sort(out)
	_, err = p.SnapDirAttr(dir)
	if there := !errors.Is(err, ErrNotFound); there != (len(out) > 0) {
		t.Errorf(".snap of %d with %d names: %v", dir, len(out), err)
	}
	return strings.Join(out, " ")
}

// What becomes of volumes and snapshots is seen in .snap, and told to who listens.
func TestSnapDirFollows(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "d/", "e/", "d/v", "d/w", "d/none")
	dir := func(name string) Ino { a, err := p.Resolve(name); ok(t, err); return a.Ino }
	d, e, v, w := dir("d"), dir("e"), dir("d/v"), dir("d/w")
	var told []SnapChange
	p.OnSnapChange(func(c SnapChange) bool {
		if (c.Layer != 0) != (c.Snap != "") {
			t.Errorf("%+v", c)
		}
		c.Layer = 0
		told = append(told, c)
		return false
	})
	steps := []struct {
		do   func() error
		d, e string
		told []SnapChange
	}{
		{func() error { return nil }, "", "", nil},
		{func() error { return p.Snapshot(Req{}, []Ino{v, w}, "s") }, "v@s w@s", "", nil},
		{func() error { return p.Snapshot(Req{}, []Ino{v}, "t") }, "v@s v@t w@s", "", nil},
		{func() error { return p.RenameSnapshot(Req{}, v, "t", "u") }, "v@s v@u w@s", "", []SnapChange{{Dir: d, File: "v", Snap: "t"}}},
		{func() error { return p.Rename(Req{}, d, "v", e, "x", 0) }, "w@s", "x@s x@u", []SnapChange{{Dir: d, File: "v", Vol: v}}},
		{func() error { return p.Rename(Req{}, d, "w", e, "x", RenameExchange) }, "x@s x@u", "x@s", nil},
		{func() error { return p.Rename(Req{}, d, "none", e, "none", 0) }, "x@s x@u", "x@s", nil},
	}
	steps[5].d, steps[5].e = "w@s w@u", "x@s"
	steps[6].d, steps[6].e = "w@s w@u", "x@s"
	steps[5].told = []SnapChange{{Dir: e, File: "x", Vol: v}, {Dir: d, File: "w", Vol: w}}
	mode := uint32(0o600)
	steps = append(steps, []struct {
		do   func() error
		d, e string
		told []SnapChange
	}{
		{func() error { _, err := p.SetAttr(Req{}, v, SetAttr{Mode: &mode}); return err }, "w@s w@u", "x@s", []SnapChange{{Dir: d, File: "w", Vol: v}}},
		{func() error { _, err := p.SetAttr(Req{}, v, SetAttr{Mode: &mode}); return err }, "w@s w@u", "x@s", nil},
		{func() error { return p.DestroySnapshots(Req{}, v, []string{"u"}, DestroyOptions{}) }, "w@s", "x@s", []SnapChange{{Dir: d, File: "w", Snap: "u"}}},
		{func() error { return p.Unlink(Req{}, e, "x") }, "w@s", "", []SnapChange{{Dir: e, File: "x", Snap: "s"}}},
		{func() error { ok(t, p.OpenFile(v, false)); return p.Unlink(Req{}, d, "w") }, "", "", []SnapChange{{Dir: d, File: "w", Vol: v}}},
		{func() error { p.ReleaseFile(v, false); p.Forget(v); return nil }, "", "", []SnapChange{{Snap: "s"}}},
	}...)
	for i, s := range steps {
		told = nil
		ok(t, s.do())
		if inD, inE := listedSnaps(t, p, d), listedSnaps(t, p, e); inD != s.d || inE != s.e {
			t.Fatalf("step %d: %q and %q, want %q and %q", i, inD, inE, s.d, s.e)
		}
		if !slices.Equal(told, s.told) {
			t.Fatalf("step %d: told %+v, want %+v", i, told, s.told)
		}
		mustCheck(t, p)
	}
}

// A crash and a mount find the same, and where what is destroyed is kept it is not listed, and comes back.
func TestSnapDirAfterMount(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	plant(t, p, "d/", "d/v", "d/w")
	in := func(p *Pool, name string) Ino { a, err := p.Resolve(name); ok(t, err); return a.Ino }
	dir, v, w := in(p, "d"), in(p, "d/v"), in(p, "d/w")
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1h"}))
	ok(t, p.Snapshot(Req{}, []Ino{v, w}, "s"))
	ok(t, p.Checkpoint())
	ok(t, p.Snapshot(Req{}, []Ino{v}, "t"))
	ok(t, p.DestroySnapshots(Req{}, v, []string{"s"}, DestroyOptions{}))
	ok(t, p.Rename(Req{}, dir, "w", dir, "x", 0))
	ok(t, p.Flush())
	const want = "v@t x@s"
	if got := listedSnaps(t, p, dir); got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	again := openPool(t, d.Clone())
	if got := listedSnaps(t, again, dir); got != want {
		t.Fatalf("after a crash: %q, want %q", got, want)
	}
	ok(t, again.Unlink(Req{}, dir, "x"))
	ok(t, again.DestroySnapshots(Req{}, v, []string{"t"}, DestroyOptions{}))
	if got := listedSnaps(t, again, dir); got != "" {
		t.Fatalf("destroyed: %q", got)
	}
	for _, k := range again.Destroyed() {
		_, err := again.Undestroy(Req{}, k.ID, 0, "")
		ok(t, err)
	}
	if got := listedSnaps(t, again, dir); got != "v@s v@t x@s" {
		t.Fatalf("brought back: %q", got)
	}
	mustCheck(t, again)
}

// Two directories of snapshots, one a hundred times as long: to ask for one name, or whether there is any, takes as long in
// both, and each list is given in pieces, whole, from any cookie on, while snapshots come and go beside it.
func TestSnapDirInPieces(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	const many, each = 100, 7
	var vols []Ino
	plant(t, p, "few/", "many/", "few/v")
	few, err := p.Resolve("few")
	ok(t, err)
	dir, err := p.Resolve("many")
	ok(t, err)
	for i := range many {
		a, err := p.Create(Req{}, dir.Ino, fmt.Sprint("v", i), 0o644)
		ok(t, err)
		vols = append(vols, a.Ino)
	}
	one, err := p.Resolve("few/v")
	ok(t, err)
	for i := range each {
		ok(t, p.Snapshot(Req{}, append(slices.Clone(vols), one.Ino), fmt.Sprint("s", i)))
	}
	var all []DirEntry
	n := 0
	ok(t, p.ReadSnaps(dir.Ino, 0, func(e DirEntry) bool {
		if all = append(all, e); len(all) == 100 { // the lock is free, and what changes elsewhere in the list disturbs nobody
			ok(t, p.DestroySnapshots(Req{}, vols[0], []string{"s0"}, DestroyOptions{}))
			ok(t, p.DestroySnapshots(Req{}, vols[many-1], []string{"s6"}, DestroyOptions{}))
		}
		n++
		return true
	}))
	if n != many*each-1 {
		t.Errorf("%d snapshots listed, want %d", n, many*each-1)
	}
	for i, e := range all[:len(all)-1] {
		var next []DirEntry
		ok(t, p.ReadSnaps(dir.Ino, e.Cookie, func(e DirEntry) bool { next = append(next, e); return false }))
		if len(next) != 1 || next[0] != all[i+1] || e.Cookie == 0 || e.Cookie >= 1<<62 {
			t.Fatalf("after %+v comes %+v, want %+v", e, next, all[i+1])
		}
	}
	p.mu.Lock()
	piece, more, err := p.tree.snapsAfter(dir.Ino, 0)
	p.mu.Unlock()
	if err != nil || !more || len(piece) != pieceLen {
		t.Errorf("a piece of %d, more %v, %v", len(piece), more, err)
	}
	if got := listedSnaps(t, p, few.Ino); strings.Count(got, " ") != each-1 {
		t.Errorf("%q", got)
	}
}

// Names of a directory are listed in pieces, too; names that are gone since the last checkpoint count as well.
func TestReadDirPieces(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	const n = 5 * pieceLen
	for i := range n {
		_, err := p.Create(Req{}, RootIno, fmt.Sprint("v", i), 0o644)
		ok(t, err)
	}
	ok(t, p.Checkpoint())
	for i := range n {
		if i%10 > 0 {
			ok(t, p.Unlink(Req{}, RootIno, fmt.Sprint("v", i)))
		}
	}
	seen := map[string]bool{}
	ok(t, p.ReadDir(RootIno, 0, func(e DirEntry) bool {
		if seen[e.Name] {
			t.Errorf("%s is listed twice", e.Name)
		}
		seen[e.Name] = true
		_, err := p.GetAttr(e.Ino) // the lock is free
		ok(t, err)
		return true
	}))
	if len(seen) != n/10 {
		t.Errorf("%d names", len(seen))
	}
	pieces := 0
	for after, more := uint64(0), true; more; pieces++ {
		var err error
		p.mu.Lock()
		_, after, more, err = p.names.entriesAfter(RootIno, after)
		p.mu.Unlock()
		ok(t, err)
	}
	if pieces < n/pieceLen {
		t.Errorf("%d rows in %d pieces", n, pieces)
	}
}

// Places stay apart where numbers meet.
func TestSnapPlaces(t *testing.T) {
	var m omap.Map[int]
	for i, n := range []uint64{0, placeMod - 1, placeMod, 2 * placeMod, 1, 1 << 47} {
		at := placeFor(&m, 7, n)
		if at == 0 || at > placeMod || i == 0 && at != 1 || i == 1 && at != placeMod {
			t.Errorf("place %d for %d", at, n)
		}
		m.Set(omap.Key{Hi: 7, Lo: at}, i)
	}
	if m.Len() != 6 {
		t.Errorf("%d places", m.Len())
	}
}

func TestCheckFindsSnapIndex(t *testing.T) {
	expectFound(t, []damage{
		{"no name", func(_ *testing.T, x *sample) { delete(x.p.tree.snaps.names, snapName{x.v.ino, "s"}) }, "or none", false},
		{"another's name", func(_ *testing.T, x *sample) {
			x.p.tree.snaps.names[snapName{x.v.ino, "s"}] = x.p.tree.snaps.names[snapName{x.v.ino, "t"}]
		}, "two snapshots", false},
		{"no place", func(_ *testing.T, x *sample) {
			x.p.tree.snaps.order.Delete(omap.Key{Hi: uint64(x.v.ino), Lo: x.s.snapAt})
		}, "another is at its place", false},
		{"one left behind", func(_ *testing.T, x *sample) { x.s.named = false }, "its place among snapshots", false},
		{"number", func(_ *testing.T, x *sample) { x.p.tree.snaps.vols[x.v.ino].n++ }, "the index says", false},
		{"elsewhere", func(_ *testing.T, x *sample) { x.p.tree.snaps.vols[x.v.ino].file = "w" }, "listed at", false},
		{"not listed", func(_ *testing.T, x *sample) {
			v := x.p.tree.snaps.vols[x.v.ino]
			x.p.tree.snaps.dirs.Delete(omap.Key{Hi: uint64(v.dir), Lo: v.at})
		}, "does not list them", false},
	})
}
