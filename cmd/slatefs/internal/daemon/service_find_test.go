package daemon

import (
	"testing"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// Paths that are half of a name mean nothing, and a snapshot's is no other's.
func TestFind(t *testing.T) {
	b := newBench(t)
	if _, err := b.pool.Mkdir(chain.Req{}, chain.RootIno, "d", 0o755); err != nil {
		t.Fatal(err)
	}
	b.volume("d/v", 1<<20, 1)
	if _, err := b.s.snapshot(t.Context(), control.Peer{}, control.SnapshotArgs{Objects: []control.Object{{Path: "d/v@x"}}}); err != nil {
		t.Fatal(err)
	}
	s := b.s
	for _, o := range []control.Object{{Path: "d/v@"}, {Path: "@"}, {Path: "@x"}, {Path: ".snap/@"}, {Path: ".snap"}, {Path: "no/v@x"}} {
		if a, snap, err := s.find(o, either); err == nil && snap != "" && a.Ino == 0 {
			t.Errorf("%q means %q of nothing", o.Path, snap)
		}
	}
	if _, _, err := s.find(control.Object{Path: ".snap/v@s"}, either); err == nil {
		t.Error("a snapshot of nothing was found")
	}
	if _, snap, err := s.find(control.Object{Path: "d/.snap/v@x"}, either); err != nil || snap != "x" {
		t.Errorf("%q, %v", snap, err)
	}
}
