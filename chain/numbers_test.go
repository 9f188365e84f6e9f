package chain

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// wouldFree is what a change would free, in blocks: it is tried on a copy of the pool.
func wouldFree(t *testing.T, p *Pool, do func(*Pool) error) int64 {
	t.Helper()
	ok(t, p.Flush())
	q := openPool(t, p.dev.(*devtest.Disk).Clone())
	ok(t, q.EraseDrain(t.Context()))
	was := q.Usage().Live
	ok(t, do(q))
	ok(t, q.EraseDrain(t.Context()))
	return (was - q.Usage().Live) / BlockSize
}

// expectNumbers compares what is shown with what was computed by hand (in blocks), and the forecasts with the truth:
// `used` of a snapshot is what its destruction alone frees, usedsnap what the destruction of all frees.
func expectNumbers(t *testing.T, v *Volume, written, refer, used, usedSnap int64, snaps map[string][3]int64) {
	t.Helper()
	p := poolOf(v)
	i, err := p.VolumeInfo(v.ino)
	ok(t, err)
	if got, want := [4]int64{i.Written, i.Refer, i.Used, i.UsedSnap}, [4]int64{written, refer, used, usedSnap}; got != scaled4(want) {
		t.Errorf("%s: written, refer, used, usedsnap %v, want %v blocks", i.Name, got, want)
	}
	if i.Snapshots != len(snaps) || i.Size != v.Size() || i.Blocks != refer*8 {
		t.Errorf("%+v", i)
	}
	infos, err := p.Snapshots(v.ino)
	ok(t, err)
	var names []string
	for _, s := range infos {
		names = append(names, s.Name)
		got, want := [3]int64{s.Written, s.Refer, s.Used}, snaps[s.Name]
		if got != [3]int64{want[0] * BlockSize, want[1] * BlockSize, want[2] * BlockSize} {
			t.Errorf("%s@%s: written, refer, used %v, want %v blocks", i.Name, s.Name, got, want)
		}
		o := DestroyOptions{Defer: true}
		free := wouldFree(t, p, func(q *Pool) error { return q.DestroySnapshots(Req{}, v.ino, []string{s.Name}, o) })
		if free != want[2] && !slices.Contains(deferred(t, v), s.Layer) {
			t.Errorf("%s@%s: its destruction frees %d blocks, want %d", i.Name, s.Name, free, want[2])
		}
	}
	o := DestroyOptions{Defer: true}
	if free := wouldFree(t, p, func(q *Pool) error { return q.DestroySnapshots(Req{}, v.ino, names, o) }); free != usedSnap && len(deferred(t, v)) == 0 {
		t.Errorf("%s: the destruction of all snapshots frees %d blocks, want %d", i.Name, free, usedSnap)
	}
}

// deferred are the snapshots under which several layers hang: by definition they use nothing, and what a sweep frees
// beyond that is not forecast.
func deferred(t *testing.T, v *Volume) (out []LayerID) {
	t.Helper()
	tree, err := poolOf(v).Tree(v.ino)
	ok(t, err)
	for _, l := range tree {
		if l.Volume == v.ino && len(l.Children) > 1 {
			out = append(out, l.ID)
		}
	}
	return out
}

func scaled4(b [4]int64) [4]int64 {
	for i := range b {
		b[i] *= BlockSize
	}
	return b
}

func blocksAt(t *testing.T, v *Volume, c byte, from, n int64) {
	t.Helper()
	write(t, v, fill(c, int(n)*BlockSize), from*BlockSize)
}

func TestNumbers(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 32*BlockSize)
	expectNumbers(t, v, 0, 0, 0, 0, nil)
	blocksAt(t, v, '0', 0, 10)
	expectNumbers(t, v, 10, 10, 10, 0, nil)
	mustSnapshot(t, v, "a")
	expectNumbers(t, v, 0, 10, 10, 0, map[string][3]int64{"a": {10, 10, 0}})
	blocksAt(t, v, '1', 0, 4)
	mustSnapshot(t, v, "b")
	blocksAt(t, v, '2', 2, 4) // 2, 3 of b and 4, 5 of a
	both := map[string][3]int64{"a": {10, 10, 4}, "b": {4, 10, 2}}
	expectNumbers(t, v, 4, 10, 18, 8, both)
	p = again(t, p, true)
	v, _ = p.Volume(v.ino)
	expectNumbers(t, v, 4, 10, 18, 8, both)
	ok(t, v.Punch(0, 3*BlockSize)) // 0, 1 of b and one of the head's
	expectNumbers(t, v, 3, 7, 17, 10, map[string][3]int64{"a": {10, 10, 4}, "b": {4, 10, 4}})
	blocksAt(t, v, '3', 20, 5)
	expectNumbers(t, v, 8, 12, 22, 10, map[string][3]int64{"a": {10, 10, 4}, "b": {4, 10, 4}})
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{}))
	expectNumbers(t, v, 8, 12, 18, 6, map[string][3]int64{"b": {10, 10, 6}})
	ok(t, p.Rollback(Req{}, v.ino, "b", false))
	expectNumbers(t, v, 0, 10, 10, 0, map[string][3]int64{"b": {10, 10, 0}})
	mustCheck(t, p)
}

func TestNumbersOfClones(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 32*BlockSize)
	blocksAt(t, v, '0', 0, 10)
	mustSnapshot(t, v, "a")
	blocksAt(t, v, '1', 0, 4)
	c := mustClone(t, v, "a", "c")
	expectNumbers(t, c, 0, 10, 0, 0, nil)
	expectNumbers(t, v, 4, 10, 14, 4, map[string][3]int64{"a": {10, 10, 0}}) // the clone still shows all of a
	blocksAt(t, c, '2', 0, 3)
	blocksAt(t, c, '2', 20, 1)
	expectNumbers(t, c, 4, 11, 4, 0, nil)
	mustSnapshot(t, c, "x")
	blocksAt(t, c, '3', 2, 3) // one of x, two of v@a
	expectNumbers(t, c, 3, 11, 7, 1, map[string][3]int64{"x": {4, 11, 1}})
	i, err := p.VolumeInfo(c.ino)
	ok(t, err)
	if i.Origin != "v@a" {
		t.Errorf("origin %q", i.Origin)
	}
	s, err := p.Snapshots(v.ino)
	ok(t, err)
	if !slices.Equal(s[0].Clones, []string{"c"}) {
		t.Errorf("clones %q", s[0].Clones)
	}
	d := mustClone(t, c, "", "d") // of a head: its origin has no name
	if i, _ := p.VolumeInfo(d.ino); i.Origin != "c" || i.Refer != 11*BlockSize || i.Written != 0 {
		t.Errorf("%+v", i)
	}
	if i, _ := p.VolumeInfo(v.ino); i.Origin != "" {
		t.Errorf("origin of the first volume: %q", i.Origin)
	}
	mustCheck(t, p)
}

// The snapshots of a branch that a rollback left count too.
func TestNumbersOfBranches(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 32*BlockSize)
	blocksAt(t, v, '0', 0, 10)
	mustSnapshot(t, v, "a")
	blocksAt(t, v, '1', 0, 4)
	mustSnapshot(t, v, "b")
	ok(t, p.Rollback(Req{}, v.ino, "a", false))
	expectNumbers(t, v, 0, 10, 14, 4, map[string][3]int64{"a": {10, 10, 0}, "b": {4, 10, 4}})
	blocksAt(t, v, '2', 0, 2)
	expectNumbers(t, v, 2, 10, 16, 6, map[string][3]int64{"a": {10, 10, 0}, "b": {4, 10, 4}})
	mustCheck(t, p)
}

func TestTree(t *testing.T) {
	p, vols := family(t)
	ok(t, p.DestroySnapshots(Req{}, vols["v"].ino, []string{"a"}, DestroyOptions{Defer: true}))
	var want []LayerInfo
	for round := range 2 {
		for _, v := range vols { // the same for each
			v, err := p.Volume(v.ino)
			ok(t, err)
			got, err := p.Tree(v.ino)
			ok(t, err)
			if want == nil {
				want = got
			}
			for i := range got {
				if a, b := got[i], want[i]; fmt.Sprint(a) != fmt.Sprint(b) && (round == 0 || !a.Created.Equal(b.Created)) {
					t.Errorf("layer %d: %+v, want %+v", i, a, b)
				}
			}
		}
		p = again(t, p, true)
	}
	kids := map[LayerID][]LayerID{}
	heads := map[Ino]bool{}
	for i, l := range want {
		if (i == 0) != (l.Parent == 0) || i > 0 && !slices.ContainsFunc(want[:i], func(o LayerInfo) bool { return o.ID == l.Parent }) {
			t.Errorf("%v does not follow its parent %v", l.ID, l.Parent)
		}
		kids[l.Parent] = append(kids[l.Parent], l.ID)
		heads[l.Volume] = heads[l.Volume] || l.Head
		if l.Nameless && l.Head || !l.Nameless && !l.Head && l.Name == "" || l.Deferred != l.Nameless || l.Size != 64<<10 || l.Created.IsZero() {
			t.Errorf("%+v", l)
		}
	}
	for _, l := range want {
		if !slices.Equal(l.Children, kids[l.ID]) {
			t.Errorf("%v: children %v, want %v", l.ID, l.Children, kids[l.ID])
		}
	}
	if root := want[0]; len(want) != 7 || len(heads) != 4 || !root.Nameless || root.Written != 8192 || root.Refer != 8192 || len(root.Children) != 3 {
		t.Errorf("%d layers of %d volumes, the first %+v", len(want), len(heads), root)
	}
	for _, f := range []func(Ino) error{
		func(i Ino) error { _, err := p.Tree(i); return err },
		func(i Ino) error { _, err := p.Snapshots(i); return err },
		func(i Ino) error { _, err := p.VolumeInfo(i); return err },
	} {
		if err := f(99); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := f(RootIno); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
}
