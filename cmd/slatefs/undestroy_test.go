package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// What is destroyed is kept, listed, and comes back.
func TestUndestroyCommand(t *testing.T) {
	l := newLab(t)
	l.ok("set destroy_delay=7d lab")
	l.refused(show.ExitUsage, "want a time", "set destroy_delay=soon lab")
	l.refused(show.ExitUsage, "is a property of a pool", "create --size 1M -o destroy_delay=1h /lab/x")
	l.mkdir("d")
	l.ok("create --size 1M /lab/d/vm.raw")
	l.write("d/vm.raw", 0, 64, 1)
	l.ok("snapshot /lab/d/vm.raw@clean")
	l.write("d/vm.raw", 0, 32, 2)
	out := l.ok("destroy -rnv /lab/d/vm.raw")
	if !strings.Contains(out, "would free 384K; ") || !strings.Contains(out, "; all that after it was kept for 7d") {
		t.Errorf("destroy -nv says %s", out)
	}
	out = l.ok("--actor ann destroy -rv /lab/d/vm.raw")
	if !strings.Contains(out, "kept /lab/d/vm.raw until ") || strings.Contains(out, "reclaims") {
		t.Errorf("destroy -v says %s", out)
	}
	if out := l.ok("list -H -o name -r lab"); strings.Contains(out, "vm.raw") {
		t.Errorf("list shows what was destroyed:\n%s", out)
	}
	var rows struct{ Rows []control.Row }
	if err := json.Unmarshal([]byte(l.ok("list -j -t destroyed lab")), &rows); err != nil || len(rows.Rows) != 1 {
		t.Fatalf("%v: %+v", err, rows)
	}
	r := rows.Rows[0]
	if r.Name != "/lab/d/vm.raw" || r.Type != "destroyed" || *r.Used != 96*4096 || *r.Size != 1<<20 ||
		!strings.HasSuffix(r.Who, "slatefs destroy, ann") || r.Goes.Sub(*r.Destroyed).Hours() != 7*24 {
		t.Errorf("%+v", r)
	}
	out = l.ok("list -t destroyed /lab/d")
	if !strings.HasPrefix(out, "ID") || !strings.Contains(out, "/lab/d/vm.raw") || !strings.Contains(out, "GOES") {
		t.Errorf("list -t destroyed:\n%s", out)
	}
	if out := l.ok("pool status lab"); !strings.Contains(out, "destroyed: ") {
		t.Errorf("pool status:\n%s", out)
	}
	l.refused(show.ExitUsage, "is not an ID", "undestroy x lab")
	l.refused(show.ExitFailed, "nothing that was destroyed is kept under ID 4711", "undestroy 4711 lab")
	l.ok("create --size 1M /lab/d/vm.raw")
	l.refused(show.ExitFailed, "hint: slatefs undestroy", fmt.Sprintf("undestroy %d lab", *r.ID))
	l.refused(show.ExitFailed, "already exists", fmt.Sprintf("undestroy %d lab /lab/d/vm.raw", *r.ID))
	l.ok(fmt.Sprintf("undestroy %d lab old.raw", *r.ID))
	if b := l.first("d/old.raw"); b != 2 {
		t.Errorf("it begins with %d", b)
	}
	if out := l.ok("list -H -o name -t snapshot /lab/d/old.raw"); out != "/lab/d/old.raw@clean\n" {
		t.Errorf("snapshots: %s", out)
	}
	// A snapshot alone; and one that is not kept.
	l.ok("destroy /lab/d/old.raw@clean")
	out = l.ok("list -Hp -o id,name -t destroyed lab")
	id, name, _ := strings.Cut(strings.TrimSpace(out), "\t")
	if name != "/lab/d/old.raw@clean" {
		t.Errorf("list -t destroyed: %s", out)
	}
	l.ok("undestroy " + id + " lab @again")
	l.ok("list /lab/d/old.raw@again")
	if _, text, code := l.run("destroy --wait /lab/d/old.raw@again"); code != show.ExitDone || !strings.Contains(text, "kept until") {
		t.Errorf("destroy --wait: %s", text)
	}
	l.ok("destroy -r --now --wait /lab/d/old.raw")
	if out := l.ok("list -Hp -t destroyed lab"); out != "" {
		t.Errorf("kept: %s", out)
	}
	last := l.view.names[len(l.view.names)-1]
	if last != "old.raw" {
		t.Errorf("the mount was told of %v", l.view.names)
	}
	l.ok("create --size 1M /lab/p")
	if out := l.ok("destroy -vp /lab/p"); !regexp.MustCompile(`^destroy\t/lab/p\nkept\t/lab/p\t\d+\t\d+\nreclaim\t0\n$`).MatchString(out) {
		t.Errorf("destroy -vp says %q", out)
	}
}

// A clone that is kept does not hang on its origin: it is neither shown nor destroyed with it, and comes back after it.
func TestUndestroyCloneCommand(t *testing.T) {
	l := newLab(t)
	l.ok("set destroy_delay=7d lab")
	l.ok("create --size 1M /lab/vm.raw")
	l.write("vm.raw", 0, 4, 7)
	l.ok("snapshot /lab/vm.raw@a")
	l.ok("clone /lab/vm.raw@a /lab/c")
	l.ok("destroy /lab/c")
	if out := l.ok("list -H -o clones -t snapshot /lab/vm.raw"); out != "-\n" {
		t.Errorf("clones: %s", out)
	}
	l.ok("destroy -R --now /lab/vm.raw")
	id, _, _ := strings.Cut(l.ok("list -Hp -o id,name -t destroyed lab"), "\t")
	l.ok("undestroy " + id + " lab")
	if b := l.first("c"); b != 7 {
		t.Errorf("it begins with %d", b)
	}
}
