package main

import (
	"strconv"
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

// What others showed when a job's volume was destroyed is left, as long as not all of it is known to be zero.
func TestJobThatKept(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/k.raw")
	l.write("k.raw", 0, 16, 1)
	l.ok("snapshot /lab/k.raw@s")
	l.ok("clone /lab/k.raw@s /lab/kc.raw")
	l.ok("destroy -rd --wait /lab/k.raw")
	id := ""
	for _, r := range l.records("") {
		if r.Kept > 0 {
			id = strconv.FormatUint(r.ID, 10)
		}
	}
	out, text, code := l.run("erase certificate " + id + " lab")
	if want := "\nNOT COMPLETE: at most 64K shown by others when it was destroyed: kc.raw, job " + id + "\n"; code != show.ExitFailed || !strings.Contains(out, want) {
		t.Errorf("exit code %d, %s\n%s", code, text, out)
	}

	// What the clone has of its origin is written to none of its own layers.
	l.ok("snapshot /lab/kc.raw@t")
	l.ok("clone /lab/kc.raw@t /lab/kd.raw")
	l.ok("destroy -rd --wait /lab/kc.raw")
	for _, r := range l.records("") {
		if id := strconv.FormatUint(r.ID, 10); r.Kept > 0 {
			if out, _, code := l.run("erase certificate " + id + " lab"); code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: at most 64K shown by others") {
				t.Errorf("job %s: exit code %d\n%s", id, code, out)
			}
		}
	}
	l.ok("destroy --wait /lab/kd.raw")
	l.ok("erase wait lab")
	if out := l.ok("erase certificate " + id + " lab"); !strings.Contains(out, "\nCOMPLETE") {
		t.Error(out)
	}
}

// A path is never an ID, and a word that is both is refused.
func TestPathIsNoID(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	r := l.records("")[0]
	for _, name := range []string{strconv.FormatUint(r.ID, 10), r.VolumeUUID, r.VolumeUUID + "x", "uid:1000"} {
		l.ok("create --size 1M /lab/" + name)
		l.write(name, 0, 16, 2)
		for _, path := range []string{"/lab/" + name, "./" + name} {
			out, _, code := l.run("erase certificate " + path + " lab")
			if code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: 64K still shown by "+name+"\n") || strings.Contains(out, "volume a ") {
				t.Errorf("%s: exit code %d\n%s", path, code, out)
			}
			if out, _, code := l.run("erase certificate -n " + path + " lab"); code != show.ExitFailed || !strings.Contains(out, "still shown by "+name+"\n") {
				t.Errorf("-n %s: exit code %d\n%s", path, code, out)
			}
		}
		if strings.HasSuffix(name, "x") {
			continue
		}
		l.refused(show.ExitFailed, "is ambiguous", "erase certificate "+name+" lab")
		l.refused(show.ExitFailed, "is ambiguous", "erase certificate -n "+name+" lab")
	}
}
