package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
)

// A directory that has another name now has what ended in it, or below it, when it had the old one, and what is kept for undestroy.
func TestDirectoryRenamed(t *testing.T) {
	for _, c := range []struct {
		dir, prepare, destroy, by string
		rmdir                     bool // the one below, before the other is renamed
	}{
		{"old", "clone /lab/old/v /lab/c", "destroy -d --wait /lab/old/v", "still shown by c", false},
		{"old/sub", "clone /lab/old/sub/v /lab/c", "destroy -d --wait /lab/old/sub/v", "still shown by c", false},
		{"old/sub", "clone /lab/old/sub/v /lab/c", "destroy -d --wait /lab/old/sub/v", "still shown by c", true},
		{"old", "set destroy_delay=1h lab", "destroy /lab/old/v", "destroyed, and can be brought back: old/v", false},
		{"old/sub", "set destroy_delay=1h lab", "destroy /lab/old/sub/v", "destroyed, and can be brought back: old/sub/v", false},
		{"old/sub", "set destroy_delay=1h lab", "destroy /lab/old/sub/v", "destroyed, and can be brought back: old/sub/v", true},
	} {
		l := newLab(t)
		for i, r := range c.dir + "/" {
			if r == '/' {
				l.mkdir(c.dir[:i])
			}
		}
		l.ok("create --size 1M /lab/" + c.dir + "/v")
		l.write(c.dir+"/v", 0, 16, 1)
		l.ok(c.prepare)
		l.ok(c.destroy)
		l.ok("create --size 1M /lab/old/empty")
		if sub, removed := strings.CutPrefix(c.dir, "old/"); removed && c.rmdir {
			old := must(l.pool.Resolve("old"))
			if err := l.pool.Rmdir(chain.Req{}, old.Ino, sub); err != nil {
				t.Fatal(err)
			}
		}
		l.rename("old", "new")
		if out, _, code := l.run("erase certificate /lab/new lab"); code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: 64K "+c.by) {
			t.Errorf("%+v: exit code %d\n%s", c, code, out)
		}
	}
}

// What was kept for undestroy ended in the directory where it was, too, when its time is over.
func TestDirectoryOfKept(t *testing.T) {
	l := newLab(t)
	l.mkdir("old")
	l.ok("create --size 1M /lab/old/v")
	l.write("old/v", 0, 16, 1)
	l.ok("clone /lab/old/v /lab/c")
	l.ok("set destroy_delay=1h lab")
	l.ok("destroy -d /lab/old/v")
	l.ok("set destroy_delay=0 lab")
	l.clock.skip(2 * time.Hour)
	l.ok("erase wait lab")
	l.rename("old", "new")
	out, _, code := l.run("erase certificate /lab/new lab")
	if code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: 64K still shown by c") {
		t.Errorf("exit code %d\n%s\n%s", code, out, l.ok("list -t destroyed lab"))
	}
}

// A directory that is gone is found by its last path, with what ended in it when it had another name; by an older path, too, and then
// with what
// is in it still.
func TestDirectoryByOldPath(t *testing.T) {
	l := newLab(t)
	l.mkdir("a")
	for _, v := range []string{"a/v", "b/w"} {
		l.ok("create --size 1M /lab/" + v)
		l.write(v, 0, 16, 1)
		l.ok("clone /lab/" + v + " /lab/of" + filepath.Base(v))
		l.ok("destroy -d --wait /lab/" + v)
		if v == "a/v" {
			l.rename("a", "b")
		}
	}
	want := func(dir string, by ...string) {
		t.Helper()
		out, _, code := l.run("erase certificate /lab/" + dir + " lab")
		for _, b := range by {
			if code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: 64K still shown by "+b) || !strings.Contains(out, "directory "+dir) {
				t.Errorf("%s: exit code %d\n%s", dir, code, out)
			}
		}
	}
	want("a", "ofv", "ofw")
	want("b", "ofv", "ofw")
	if err := l.pool.Rmdir(chain.Req{}, chain.RootIno, "b"); err != nil {
		t.Fatal(err)
	}
	want("a", "ofv", "ofw")
	want("b", "ofv", "ofw")
	l.ok("destroy --wait /lab/ofw")
	want("b", "ofv")
	l.ok("destroy --wait /lab/ofv")
	l.ok("erase certificate /lab/b lab")
}

// rename renames what lies in the root.
func (l *lab) rename(from, to string) {
	l.t.Helper()
	if err := l.pool.Rename(chain.Req{}, chain.RootIno, from, chain.RootIno, to, 0); err != nil {
		l.t.Fatal(err)
	}
}
