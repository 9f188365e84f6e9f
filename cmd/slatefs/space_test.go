package main

import (
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

// What a promise does to the columns, how refusals read, and that a forecast says the same as what follows it.
func TestSpaceCommands(t *testing.T) {
	l := newLab(t) // 64 MiB
	l.mkdir("d")
	l.ok("create -o refreservation=auto --size 20M /lab/d/v")
	l.ok("create --size 20M /lab/thin")
	space := func(path, want string) {
		t.Helper()
		if got := strings.TrimSpace(l.ok("list -H -o name,used,usedsnap,usedds,usedrefreserv,usedchild " + path)); got != strings.ReplaceAll(want, " ", "\t") {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	space("-t volume /lab/d/v", "/lab/d/v 20M 0B 0B 20M 0B")
	l.write("d/v", 0, 2048, 1)
	space("-t volume /lab/d/v", "/lab/d/v 20M 0B 8M 12M 0B")
	space("-t directory /lab/d", "/lab/d 20M 0B 0B 0B 20M")
	l.ok("snapshot /lab/d/v@a")
	space("-t volume /lab/d/v", "/lab/d/v 28M 0B 8M 20M 0B")
	l.write("d/v", 0, 4096, 2)
	space("-t all /lab/d/v", "/lab/d/v 28M 8M 16M 4M 0B\n/lab/d/v@a 8M - - - -")
	space("-t pool /lab", "/lab 28M 0B 0B 0B 28M")

	out := l.ok("snapshot -n /lab/d/v@b")
	if !strings.HasPrefix(out, "would snapshot d/v@b: needs 16.0M (min of 16.0M written, 20.0M refreservation, its size), ") {
		t.Error(out)
	}
	l.ok("set quota=40M /lab/d")
	for _, cmd := range []string{"snapshot -n /lab/d/v@b", "snapshot /lab/d/v@b"} {
		l.refused(show.ExitFailed, "cannot snapshot d/v@b: needs 16.0M (min of 16.0M written, 20.0M refreservation, its size), "+
			"the quota of d leaves 12.0M of 40.0M: quota exceeded", cmd)
	}
	l.ok("inherit quota /lab/d")
	l.refused(show.ExitFailed, "cannot set refreservation=60M on thin: needs 60.", "set -n refreservation=60M /lab/thin")
	l.refused(show.ExitFailed, "available: no space left in the pool", "set refreservation=60M /lab/thin")
	l.refused(show.ExitFailed, "cannot set quota=1M on d: a quota of 1.0M is less than used, 28.0M", "set quota=1M /lab/d")
	l.refused(show.ExitFailed, "cannot create big of 60.0M: needs", "create -n -o refreservation=auto --size 60M /lab/big")
	l.refused(show.ExitFailed, "cannot resize d/v to 80.0M: needs", "resize /lab/d/v 80M")
	if out := l.ok("resize -n /lab/d/v +1M"); !strings.HasPrefix(out, "would resize d/v to 21.0M: needs 1") {
		t.Error(out)
	}
	if out := l.ok("rollback -n /lab/d/v@a"); !strings.HasPrefix(out, "would roll back d/v@a: ") {
		t.Error(out)
	}
	l.ok("rollback /lab/d/v@a")
	space("-t volume /lab/d/v", "/lab/d/v 28M 0B 8M 20M 0B")
	l.ok("destroy /lab/d/v@a")
	space("-t volume /lab/d/v", "/lab/d/v 20M 0B 8M 12M 0B")
	if out := l.ok("create -n -o refreservation=1M --size 2M /lab/new"); !strings.HasPrefix(out, "would create new of 2.0M: needs 1.0M (1.0M refreservation") {
		t.Error(out)
	}
	if out := l.ok("list -H -o name,refreserv,reserv,quota,refquota -t volume -r /lab"); out != "/lab/d/v\t20M\tnone\tnone\tnone\n/lab/thin\tnone\tnone\tnone\tnone\n" {
		t.Error(out)
	}
	l.refused(show.ExitFailed, "cannot set refreservation=60M on c", "clone -o refreservation=60M /lab/thin /lab/c")
	l.refused(show.ExitFailed, "not found", "list /lab/c")
	l.ok("clone -o refreservation=auto /lab/thin /lab/c")
	space("-t volume /lab/c", "/lab/c 20M 0B 0B 20M 0B")
	l.ok("destroy /lab/c")
	l.ok("set preallocated=on /lab/thin")
	if out := l.ok("get -H -o value,source preallocated /lab/thin"); out != "on\tlocal\n" {
		t.Error(out)
	}
	space("-t volume /lab/thin", "/lab/thin 20M 0B 0B 20M 0B")
	l.ok("set preallocated=off /lab/thin")
	space("-t volume /lab/thin", "/lab/thin 0B 0B 0B 0B 0B")
}
