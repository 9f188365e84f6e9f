package main

import (
	"regexp"
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

// destroy -nv says what the destroy then frees, and changes nothing.
func TestDestroyForecast(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/vm.raw /lab/none.raw")
	l.ok("set erase=none /lab/none.raw")
	l.write("vm.raw", 0, 96, 1)
	l.ok("snapshot /lab/vm.raw@clean")
	l.write("vm.raw", 0, 32, 2)
	l.ok("clone /lab/vm.raw@clean /lab/test.raw")
	l.write("test.raw", 0, 16, 3)
	l.write("none.raw", 0, 8, 4)
	l.ok("erase wait lab")
	if out, want := l.ok("destroy -rdnv /lab/vm.raw"), "would destroy /lab/vm.raw@clean\nwould destroy /lab/vm.raw\n"+
		"would free 192K (of 512K; 320K is still seen by clone test.raw); erase at an unlimited rate\n"; out != want {
		t.Errorf("destroy -nv says\n%s\nwant\n%s", out, want)
	}
	l.ok("set erase_throughput=1M lab")
	out := l.ok("destroy -rdnv /lab/vm.raw")
	if !regexp.MustCompile(`; erase at 1M/s done about [012][0-9]:[0-5][0-9]\n$`).MatchString(out) {
		t.Errorf("destroy -nv says %s", out)
	}
	if out := l.ok("destroy -nv /lab/none.raw"); !strings.HasSuffix(out, "would free 32K; 32K are not erased (erase=none)\n") {
		t.Errorf("destroy -nv says %s", out)
	}
	if out := l.ok("destroy -n /lab/none.raw"); out != "" || l.first("none.raw") != 4 {
		t.Errorf("destroy -n says %q, and left %d", out, l.first("none.raw"))
	}
	l.refused(show.ExitFailed, "has clones", "destroy -rnv /lab/vm.raw")
	before := l.pool.Usage().Live
	l.ok("set erase_throughput=0 lab")
	if out, want := l.ok("destroy -rdnvp /lab/vm.raw"), "destroy\t/lab/vm.raw@clean\ndestroy\t/lab/vm.raw\nreclaim\t196608\n"; out != want {
		t.Errorf("destroy -nvp says %q, want %q", out, want)
	}
	l.ok("destroy -rd /lab/vm.raw")
	l.ok("erase wait lab")
	if freed := before - l.pool.Usage().Live; freed != 196608 {
		t.Errorf("the destroy freed %d", freed)
	}
}
