package chain

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

func snapNames(t testing.TB, v *Volume) (out []string) {
	t.Helper()
	infos, err := poolOf(v).Snapshots(v.ino)
	ok(t, err)
	for _, i := range infos {
		out = append(out, i.Name)
	}
	return out
}

func TestSnapshotRefused(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v, w := mustVolume(t, p, "v", 8192), mustVolume(t, p, "w", 8192)
	plant(t, p, "d/")
	mustSnapshot(t, v, "a")
	layers := p.Usage().Layers
	for _, c := range []struct {
		what string
		vols []Ino
		name string
		err  error
	}{
		{"twice", []Ino{v.ino}, "a", ErrExist},
		{"one of two has it", []Ino{w.ino, v.ino}, "a", ErrExist},
		{"one volume twice", []Ino{v.ino, w.ino, v.ino}, "b", ErrInvalid},
		{"one is no volume", []Ino{v.ino, 4}, "b", ErrInvalid},
		{"one does not exist", []Ino{v.ino, 99}, "b", ErrNotFound},
		{"no name", []Ino{v.ino}, "", ErrInvalid},
		{"a slash", []Ino{v.ino}, "a/b", ErrInvalid},
		{"an @", []Ino{v.ino}, "a@b", ErrInvalid},
		{"not ASCII", []Ino{v.ino}, "ä", ErrInvalid},
		{"129 bytes", []Ino{v.ino}, strings.Repeat("n", 129), ErrInvalid},
	} {
		wantErr(t, c.what, p.Snapshot(Req{}, c.vols, c.name), c.err)
	}
	if n := p.Usage().Layers; n != layers || len(snapNames(t, w)) != 0 {
		t.Errorf("refused snapshots left %d layers, there were %d", n, layers)
	}
	for _, name := range []string{"0", "-_.:", "A z", strings.Repeat("n", 128)} {
		mustSnapshot(t, v, name)
	}
	p = again(t, p, true)
	v, _ = p.Volume(v.ino)
	if got := len(snapNames(t, v)); got != 5 {
		t.Errorf("%d snapshots after a crash", got)
	}
}

// Several volumes are frozen at one instant, and it is durable when the call returns.
func TestSnapshotOfSeveral(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	var vols []*Volume
	var inos []Ino
	for i := range 4 {
		v := mustVolume(t, p, fmt.Sprint(i), 64<<10)
		write(t, v, fill('a'+byte(i), 8192), 0)
		vols, inos = append(vols, v), append(inos, v.ino)
	}
	ok(t, p.Snapshot(Req{}, inos, "s"))
	for _, v := range vols {
		write(t, v, fill('x', 8192), 0)
	}
	p, _ = reopen(t, p.dev.(*devtest.Disk), 4)
	created := map[int64]bool{}
	for i, ino := range inos {
		v, err := p.Volume(ino)
		ok(t, err)
		expect(t, snapOf(t, v, "s"), 0, fill('a'+byte(i), 8192))
		infos, _ := p.Snapshots(ino)
		created[infos[0].Created.UnixNano()] = true
	}
	if len(created) != 1 {
		t.Errorf("made at %d instants", len(created))
	}
}

func TestRenameSnapshot(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 8192)
	for _, n := range []string{"a", "b"} {
		write(t, v, fill(n[0], 4096), 0)
		mustSnapshot(t, v, n)
	}
	for _, c := range []struct {
		from, to string
		err      error
	}{
		{"a", "b", ErrExist}, {"x", "y", ErrNotFound}, {"a", "", ErrInvalid}, {"a", "c/d", ErrInvalid}, {"a", "c", nil}, {"a", "d", ErrNotFound},
	} {
		wantErr(t, c.from+" to "+c.to, p.RenameSnapshot(Req{}, v.ino, c.from, c.to), c.err)
	}
	for round := range 3 {
		if got := snapNames(t, v); !slices.Equal(got, []string{"c", "b"}) {
			t.Errorf("round %d: %q", round, got)
		}
		expect(t, snapOf(t, v, "c"), 0, fill('a', 4096))
		p = again(t, p, round == 0)
		v, _ = p.Volume(v.ino)
	}
}

// What .snap shows.
func TestSnapDirectory(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "d/", "d/x@y", "d/v", "d/l>v")
	a, _ := p.Resolve("d/v")
	b, _ := p.Resolve("d/x@y")
	v, err := p.Volume(a.Ino)
	ok(t, err)
	ok(t, v.Truncate(8192))
	write(t, v, fill('a', 4096), 0)
	_, err = p.SetAttr(Req{}, a.Ino, SetAttr{Mode: new(uint32)})
	ok(t, err)
	ok(t, p.Snapshot(Req{}, []Ino{a.Ino, b.Ino}, "s"))
	mustSnapshot(t, v, "t")
	es, err := snapList(p, 2)
	ok(t, err)
	var names []string
	for _, e := range es {
		names = append(names, e.Name)
		got, id, err := p.SnapLookup(2, e.Name)
		if err != nil || Ino(id) != e.Ino || e.Type != TypeFile {
			t.Errorf("%s: %v, %v, listed %+v", e.Name, id, err, e)
		}
		if same, err := p.SnapAttr(id); err != nil || same != got {
			t.Errorf("%s: %+v, %v, want %+v", e.Name, same, err, got)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"v@s", "v@t", "x@y@s"}) {
		t.Errorf("%q", names)
	}
	s, id, err := p.SnapLookup(2, "v@s")
	ok(t, err)
	if s.Size != 8192 || s.Blocks != 8 || s.Mode != 0 || s.Ino != a.Ino || s.Nlink != 1 || s.Parent != 2 {
		t.Errorf("%+v", s)
	}
	for _, name := range []string{"v", "v@", "v@x", "nothing@s", "l@s", "@"} {
		_, _, err := p.SnapLookup(2, name)
		wantErr(t, name, err, ErrNotFound)
	}
	if es, err := snapList(p, RootIno); err != nil || len(es) != 0 {
		t.Errorf("of the root: %+v, %v", es, err)
	}
	_, err = snapList(p, a.Ino)
	wantErr(t, ".snap of a file", err, ErrNotDir)
	vi, err := p.VolumeInfo(a.Ino)
	ok(t, err)
	for _, no := range []LayerID{vi.Head, 99, 0} { // a head is no snapshot
		_, err = p.SnapAttr(no)
		wantErr(t, "attributes", err, ErrNotFound)
		_, err = p.Snap(no)
		wantErr(t, "snapshot", err, ErrNotFound)
		wantErr(t, "open", p.OpenSnap(no), ErrNotFound)
	}
	ok(t, p.DestroySnapshots(Req{}, a.Ino, []string{"s"}, DestroyOptions{}))
	_, err = p.Snap(id)
	wantErr(t, "a destroyed one", err, ErrNotFound)
}

// A snapshot is listed before what was under way at its instant has arrived in it. Who opens it waits for that: what he reads, and keeps,
// never changes.
func TestOpenSnapshotNeverChanges(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', BlockSize), 0)
	ok(t, p.Flush())
	under := planWrite(t, v, 0, BlockSize)
	taken, opened := make(chan error, 1), make(chan error, 1)
	go func() { taken <- p.Snapshot(Req{}, []Ino{v.ino}, "s") }()
	var id LayerID
	for {
		var err error
		if _, id, err = p.SnapLookup(RootIno, "v@s"); err == nil {
			break
		}
		runtime.Gosched()
	}
	later := planWrite(t, v, 8*BlockSize, BlockSize) // of the new head: nobody waits for it
	defer later.Abort()
	go func() { opened <- p.OpenSnap(id) }()
	select {
	case err := <-opened:
		t.Errorf("it was opened while a write to it was under way: %v", err)
		opened <- err
	case <-time.After(50 * time.Millisecond):
	}
	carryOut(t, under, fill('n', BlockSize), 0)
	ok(t, <-opened)
	ok(t, <-taken)
	s, err := p.Snap(id)
	ok(t, err)
	b := make([]byte, BlockSize)
	_, err = s.ReadAt(b, 0)
	ok(t, err)
	if b[0] != 'n' {
		t.Errorf("%q", b[0])
	}
	p.ReleaseSnap(id)
}
