package main

import (
	"errors"
	"strings"
	"testing"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// A name that a client makes up leads nowhere but below the pool's root, and makes none that no directory can hold.
func TestNamesCannotEscape(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create --size 1M /lab/d/v.raw")
	root, err := l.pool.Resolve("")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"out": "/etc", "up": "../..", "in": "d"} {
		if _, err := l.pool.Symlink(chain.Req{}, root.Ino, name, target); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{
		"..", "../x", "d/..", "d/../../x", "d/../x", ".", "d/.", "", "/", "a\x00b", "d/\x00", ".snap", ".snap/x", "d/.snap/x", "d//",
		strings.Repeat("x", 256), "out/passwd", "up/x", "in/v2.raw", "d/v.raw/x",
	} {
		o := control.Object{Arg: "made up", Path: path}
		_, err := control.Create.Call(t.Context(), l.live, control.CreateArgs{Objects: []control.Object{o}, Size: 1 << 20, Mode: 0o644})
		if err == nil {
			t.Errorf("%q was made", path)
		}
		if _, err := control.Clone.Call(t.Context(), l.live, control.CloneArgs{Object: control.Object{Path: "d/v.raw"}, New: o}); err == nil {
			t.Errorf("%q was made by a clone", path)
		}
		if _, err := control.Rename.Call(t.Context(), l.live, control.RenameArgs{Object: control.Object{Path: "d/v.raw"}, New: o}); err == nil {
			t.Errorf("%q was made by a rename", path)
		}
	}
	for _, snap := range []string{"", "a/b", "a\x00b", ".", "..", strings.Repeat("x", 129)} {
		o := control.Object{Arg: "made up", Path: "d/v.raw@" + snap}
		_, err := control.Snapshot.Call(t.Context(), l.live, control.SnapshotArgs{Objects: []control.Object{o}})
		if err == nil && snap != "." && snap != ".." { // FILE@. and FILE@.. are names like others
			t.Errorf("snapshot %q was made", snap)
		}
	}
	// A symlink is never followed, whatever it leads to.
	for _, path := range []string{"out", "in", "up"} {
		for _, o := range []control.Object{{Path: path}, {Path: path + "@s"}} {
			if _, err := control.Snapshot.Call(t.Context(), l.live, control.SnapshotArgs{Objects: []control.Object{o}}); err == nil {
				t.Errorf("snapshot of %+v", o)
			}
			if _, err := control.Resize.Call(t.Context(), l.live, control.ResizeArgs{Object: o, Size: 2 << 20}); err == nil {
				t.Errorf("resize of %+v", o)
			}
		}
		if _, err := l.pool.Resolve(path + "/v.raw"); !errors.Is(err, chain.ErrNotFound) {
			t.Errorf("%s/v.raw: %v", path, err)
		}
	}
	if out := l.ok("list -H -o name"); strings.Count(out, "\n") != 3 {
		t.Errorf("there is more than was made:\n%s", out)
	}
}
