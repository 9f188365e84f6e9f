package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// object is what an argument below the root means.
func object(path string) control.Object { return control.Object{Arg: path, Path: path} }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) mkdir(dir, name string) {
	b.t.Helper()
	a, err := b.pool.Resolve(dir)
	if err == nil {
		_, err = b.pool.Mkdir(chain.Req{}, a.Ino, name, 0o755)
	}
	b.must(err)
}

func (b *bench) snapshot(at string) {
	b.t.Helper()
	_, err := b.s.snapshot(b.t.Context(), control.Peer{}, control.SnapshotArgs{Objects: []control.Object{object(at)}, Recursive: true})
	b.must(err)
}

// snaps are the snapshots of all volumes below a directory, as FILE@NAME.
func (b *bench) snaps(dir string) string {
	b.t.Helper()
	args := control.ListArgs{Objects: []control.Object{object(dir)}, Recursive: true, Types: []string{control.TypeSnapshot}}
	rows, err := b.s.list(b.t.Context(), control.Peer{}, args)
	b.must(err)
	var names []string
	for _, r := range rows {
		names = append(names, strings.TrimPrefix(r.Name, "/lab/"))
	}
	return strings.Join(names, " ")
}

// groupBench has d/v, d/w and d/e/x with the snapshots a, b and c of one instant each; w has lost b, and x has besides an own one.
func groupBench(t *testing.T) *bench {
	b := newBench(t)
	b.mkdir("", "d")
	b.mkdir("d", "e")
	for _, name := range []string{"d/v", "d/w", "d/e/x"} {
		b.volume(name, 1<<20, 1)
	}
	for _, name := range []string{"a", "b"} {
		b.snapshot("d@" + name)
	}
	b.snapshot("d/e/x@own")
	b.snapshot("d@c")
	_, err := b.s.destroy(t.Context(), control.Peer{}, control.DestroyArgs{Object: object("d/w@b")})
	b.must(err)
	if got, want := b.snaps("d"), "d/e/x@a d/e/x@b d/e/x@own d/e/x@c d/v@a d/v@b d/v@c d/w@a d/w@c"; got != want {
		t.Fatalf("the snapshots are %s, want %s", got, want)
	}
	return b
}

// TestDestroyGroup: what SNAPS names of a volume and of a directory is what goes, and a forecast names the same.
func TestDestroyGroup(t *testing.T) {
	for _, c := range []struct {
		object    string
		recursive bool
		goes      string // empty: it is refused
		err       error
	}{
		{"d@a", false, "d/v@a d/w@a", nil},
		{"d@a", true, "d/e/x@a d/v@a d/w@a", nil},
		{"d@b,own", true, "d/e/x@b d/e/x@own d/v@b", nil},
		{"d@a%b", true, "d/e/x@a d/e/x@b d/v@a d/v@b", nil}, // w has no b
		{"d@%b,c", true, "d/e/x@a d/e/x@b d/e/x@c d/v@a d/v@b d/v@c d/w@c", nil},
		{"d@%", false, "d/v@a d/v@b d/v@c d/w@a d/w@c", nil},
		{"d/e/x@b%", false, "d/e/x@b d/e/x@own d/e/x@c", nil},
		{"d/e/x@own%own", false, "d/e/x@own", nil},
		{"d/e/x@c,a,c", false, "d/e/x@a d/e/x@c", nil},
		{"d/e/x@c%a", false, "", chain.ErrInvalid},
		{"d@c%a", true, "", chain.ErrInvalid},
		{"d/w@a%b", false, "", chain.ErrNotFound},
		{"d/w@a,b", false, "", chain.ErrNotFound},
		{"d/w@a,", false, "", chain.ErrNotFound},
		{"d@own", false, "", chain.ErrNotFound}, // it is below
		{"d@no", true, "", chain.ErrNotFound},
	} {
		t.Run(fmt.Sprint(c.object, c.recursive), func(t *testing.T) {
			b := groupBench(t)
			before := strings.Fields(b.snaps("d"))
			args := control.DestroyArgs{Object: object(c.object), Snapshots: c.recursive, DryRun: true}
			dry, err := b.s.destroy(t.Context(), control.Peer{}, args)
			if !errors.Is(err, c.err) {
				t.Errorf("forecast: %v, want %v", err, c.err)
			}
			args.DryRun = false
			res, err := b.s.destroy(t.Context(), control.Peer{}, args)
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			left := strings.Fields(b.snaps("d"))
			gone := slices.DeleteFunc(slices.Clone(before), func(n string) bool { return slices.Contains(left, n) })
			if got := strings.Join(gone, " "); got != c.goes {
				t.Errorf("gone is %q, want %q", got, c.goes)
			}
			slices.Sort(res.Destroyed)
			slices.Sort(dry.Destroyed)
			slices.Sort(gone)
			if want := strings.Join(gone, " "); c.err == nil && strings.ReplaceAll(strings.Join(res.Destroyed, " "), "/lab/", "") != want ||
				c.err == nil && !slices.Equal(res.Destroyed, dry.Destroyed) {
				t.Errorf("told are %v, before %v, want %q", res.Destroyed, dry.Destroyed, want)
			}
		})
	}
}

// TestGroupHasTwoMeanings: what is the name of a volume, and snapshots, is refused, ranges and directories, too.
func TestGroupHasTwoMeanings(t *testing.T) {
	b := groupBench(t)
	for _, name := range []string{"d@a", "d/v@a%b", "d/v@%"} {
		b.volume(name, 4096, 0)
		_, err := b.s.destroy(t.Context(), control.Peer{}, control.DestroyArgs{Object: object(name)})
		if err == nil || !strings.Contains(err.Error(), "is the name of a volume, and the snapshot") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.volume("d@x", 4096, 0)
	_, err := b.s.destroy(t.Context(), control.Peer{}, control.DestroyArgs{Object: object("d@x")})
	b.must(err)
}

// TestGroupVerbs: rename, rollback, clone and list take DIR@NAME.
func TestGroupVerbs(t *testing.T) {
	b := groupBench(t)
	ctx, who := t.Context(), control.Peer{}
	read := func(path string) byte {
		t.Helper()
		a, err := b.pool.Resolve(path)
		b.must(err)
		v, err := b.pool.Volume(a.Ino)
		b.must(err)
		p := make([]byte, 1)
		_, err = v.ReadAt(p, 0)
		b.must(err)
		return p[0]
	}
	for _, name := range []string{"d/v", "d/w", "d/e/x"} {
		a, err := b.pool.Resolve(name)
		b.must(err)
		v, err := b.pool.Volume(a.Ino)
		b.must(err)
		_, err = v.WriteAt([]byte{7}, 0)
		b.must(err)
	}
	_, err := b.s.rollback(ctx, who, control.RollbackArgs{Object: object("d@b"), Recursive: true})
	b.must(err)
	if v, w, x := read("d/v"), read("d/w"), read("d/e/x"); v != 1 || w != 7 || x != 1 {
		t.Errorf("after the rollback to b there is %d, %d and %d", v, w, x)
	}
	_, err = b.s.rename(ctx, who, control.RenameArgs{Object: object("d@b"), Name: "B"})
	b.must(err)
	rows, err := b.s.list(ctx, who, control.ListArgs{Objects: []control.Object{object("d@b"), object("d@B")}, Recursive: true})
	b.must(err)
	if len(rows) != 2 || rows[0].Name != "/lab/d/e/x@b" || rows[1].Name != "/lab/d/v@B" {
		t.Errorf("the list is %+v", rows)
	}
	b.mkdir("", "new")
	b.volume("new/w", 4096, 0)
	clone := control.CloneArgs{Object: object("d@a"), New: object("new"), Recursive: true}
	if _, err := b.s.clone(ctx, who, clone); !errors.Is(err, chain.ErrExist) {
		t.Errorf("a clone over what is there: %v", err)
	}
	clone.New = object("d2")
	if _, err := b.s.clone(ctx, who, clone); !errors.Is(err, chain.ErrNotFound) {
		t.Errorf("clones into a directory that is not there: %v", err)
	}
	b.mkdir("", "d2")
	clone.Settings = []control.Setting{{Name: "refreservation", Value: "1T"}}
	if _, err := b.s.clone(ctx, who, clone); !errors.Is(err, chain.ErrNoSpace) {
		t.Errorf("clones that are promised too much: %v", err)
	}
	made := control.ListArgs{Objects: []control.Object{object("d2")}, Types: []string{control.TypeVolume}, Recursive: true}
	if list, err := b.s.list(ctx, who, made); err != nil || len(list) != 0 {
		t.Errorf("clones that were refused left %v, %v", list, err)
	}
	clone.Settings = nil
	_, err = b.s.clone(ctx, who, clone)
	b.must(err)
	if v, w, x := read("d2/v"), read("d2/w"), read("d2/e/x"); v != 1 || w != 1 || x != 1 {
		t.Errorf("the clones have %d, %d and %d", v, w, x)
	}
}
