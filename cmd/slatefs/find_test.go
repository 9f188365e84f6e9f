package main

import (
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// FILE@NAME is a snapshot, and the name of a volume: what a command wants decides, or it is refused.
func TestSnapshotOrVolume(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/vm")
	l.write("vm", 0, 1, 1)
	l.ok("snapshot /lab/vm@1")
	l.write("vm", 0, 1, 2)
	l.ok("create --size 2M /lab/vm@1 /lab/vm@2 /lab/x@y")

	// A volume stands in no snapshot's way.
	l.ok("rollback /lab/vm@1")
	if b := l.first("vm"); b != 1 {
		t.Errorf("rolled back to %d", b)
	}
	l.refused(show.ExitFailed, "/lab/vm@2: want FILE@NAME, and this is a name that exists, and would be the snapshot 2 of /lab/vm\nhint: /lab/.snap/vm@2 means",
		"snapshot /lab/vm@2")
	l.ok("snapshot /lab/.snap/vm@2")
	l.ok("snapshot /lab/vm@1@s")
	if out := l.ok("list -H -t snapshot -o name -r /lab"); out != "/lab/vm@1\n/lab/vm@2\n/lab/vm@1@s\n" {
		t.Errorf("snapshots: %q", out)
	}
	l.refused(show.ExitFailed, "/lab/x@y: is no snapshot, want FILE@NAME", "rollback /lab/x@y")
	l.refused(show.ExitFailed, "/lab/x@y: want FILE@NAME or DIR@NAME", "snapshot /lab/x@y")

	// A snapshot stands in no volume's.
	l.ok("resize /lab/vm@1 3M")
	l.ok("set quota=10M /lab/vm@1")
	if out := l.ok("get -Hp -o value quota /lab/vm@1"); out != "10485760\n" {
		t.Errorf("quota is %q", out)
	}

	// Where both can be meant, neither is.
	both := "/lab/vm@1: is the name of a volume, and the snapshot 1 of /lab/vm\nhint: /lab/.snap/vm@1 means the snapshot; "
	for _, line := range []string{"destroy /lab/vm@1", "destroy -n /lab/vm@1", "clone /lab/vm@1 /lab/c", "rename /lab/vm@1 z", "list /lab/vm@1", "tree /lab/vm@1"} {
		l.refused(show.ExitFailed, both, line)
	}
	l.ok("list /lab/vm /lab/vm@1@s")
}

// The whole of FILE@NAME may be longer than a name.
func TestLongSnapshotNames(t *testing.T) {
	l := newLab(t)
	file, snap := strings.Repeat("f", 255), strings.Repeat("s", 128)
	l.ok("create --size 1M /lab/" + file)
	l.write(file, 0, 1, 1)
	at := "/lab/" + file + "@" + snap
	l.ok("snapshot " + at)
	l.write(file, 0, 1, 2)
	l.ok("rollback " + at)
	if b := l.first(file); b != 1 {
		t.Errorf("rolled back to %d", b)
	}
	if out := l.ok("list -H -o name " + at); out != at+"\n" {
		t.Errorf("list prints %q", out)
	}
	l.ok("clone /lab/.snap/" + file + "@" + snap + " /lab/c")
	l.ok("rename " + at + " short")
	l.ok("rename /lab/" + file + "@short " + snap)
	pair := control.Object{Arg: at, Path: file, Snap: snap}
	rows, err := control.List.Call(t.Context(), l.live, control.ListArgs{Objects: []control.Object{pair}, Types: []string{control.TypeSnapshot}})
	if err != nil || len(rows) != 1 || rows[0].Name != at {
		t.Errorf("the pair is %+v, %v", rows, err)
	}
	l.ok("destroy " + at + " -d")
	l.refused(show.ExitFailed, "name of 256 bytes, at most 255", "create --size 1M /lab/"+file+"f")
	l.refused(show.ExitFailed, "name of 256 bytes, at most 255", "resize /lab/"+file+"f 1M")
}

// A name that is half of one.
func TestFindReadings(t *testing.T) {
	l := newLab(t)
	l.mkdir("d@x")
	l.mkdir("d")
	l.ok("create --size 1M /lab/d@x/v /lab/d/v")
	l.ok("snapshot /lab/d@x/v@s")
	l.ok("snapshot /lab/.snap/d@x")
	if out := l.ok("list -Hr -t snapshot -o name"); out != "/lab/d/v@x\n/lab/d@x/v@s\n" {
		t.Errorf("snapshots: %q", out)
	}
	l.refused(show.ExitFailed, "/lab/d@x/w: not found", "destroy /lab/d@x/w")
}
