package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs"
)

// The life of volumes, told in commands.
func TestStory(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/vm.raw /lab/b.raw")
	l.write("vm.raw", 0, 64, 1)
	l.ok("snapshot /lab/vm.raw@clean")
	l.write("vm.raw", 0, 32, 2)
	if out, want := l.ok("list -Hp -t all -o name,used,refer,written,volsize,snapshot_count"),
		"/lab/vm.raw\t393216\t262144\t131072\t1048576\t1\n"+
			"/lab/vm.raw@clean\t131072\t262144\t262144\t1048576\t-\n"; !strings.HasSuffix(out, want) {
		t.Errorf("list:\n%s\nwant at its end\n%s", out, want)
	}
	l.ok("rollback /lab/vm.raw@clean")
	if b := l.first("vm.raw"); b != 1 {
		t.Errorf("after the rollback the volume begins with %d", b)
	}
	l.ok("clone /lab/vm.raw@clean /lab/c.raw")
	l.ok("clone /lab/vm.raw /lab/now.raw")
	if l.first("c.raw") != 1 || l.first("now.raw") != 1 {
		t.Error("a clone does not begin as its origin")
	}
	if out := l.ok("list -H -o origin,clones -t all /lab/c.raw /lab/vm.raw@clean"); out != "/lab/vm.raw@clean\t-\n-\t/lab/c.raw,/lab/now.raw\n" {
		t.Errorf("origin and clones:\n%s", out)
	}
	l.refused(show.ExitFailed, "has clones", "destroy -r /lab/vm.raw")
	l.refused(show.ExitFailed, "hint: destroy -R takes the clones along", "destroy /lab/vm.raw@clean")
	l.ok("destroy --wait /lab/now.raw")
	if out, want := l.ok("destroy -Rvp /lab/vm.raw"), "destroy\t/lab/vm.raw@clean\ndestroy\t/lab/c.raw\ndestroy\t/lab/vm.raw\nreclaim\t262144\n"; out != want {
		t.Errorf("destroy says\n%s\nwant\n%s", out, want)
	}
	l.ok("erase wait lab")
	if u := l.pool.Usage(); u.Dirty+u.Freeing+u.Failed+u.Live != 0 {
		t.Errorf("after erase wait: %+v", u)
	}
	if out := l.ok("erase status lab"); out != "pool lab: everything freed is erased\nmethod overwrite: as set; verify off\n" {
		t.Errorf("erase status: %s", out)
	}
	if out := l.ok("pool check --online lab"); out != "pool lab: 0 errors, 0 leaks\n" {
		t.Errorf("check: %s", out)
	}
	if want := []string{"vm.raw", "b.raw", "c.raw", "now.raw", "now.raw", "c.raw", "vm.raw"}; !slices.Equal(l.view.names, want) {
		t.Errorf("the mount was told of the names %v, want %v", l.view.names, want)
	}
	l.ok("umount /lab")
}

func TestSnapshots(t *testing.T) {
	l := newLab(t)
	l.mkdir("images")
	l.mkdir("images/7")
	l.ok("create --size 1M /lab/a /lab/a@b /lab/images/x /lab/images/7/y")
	l.ok("snapshot /lab@one")
	l.ok("snapshot -r /lab@two")
	l.ok("snapshot /lab/a@three /lab/images/7/y@three")
	l.ok("snapshot /lab/a@b@x") // the last @ splits
	want := "/lab/a@one /lab/a@two /lab/a@three /lab/a@b@one /lab/a@b@two /lab/a@b@x /lab/images/7/y@two /lab/images/7/y@three /lab/images/x@two "
	if out := strings.ReplaceAll(l.ok("list -H -r -o name -t snapshot /lab"), "\n", " "); out != want {
		t.Errorf("snapshots: %s\nwant       %s", out, want)
	}
	l.refused(show.ExitFailed, "/lab/a@b: want FILE@NAME", "snapshot /lab/a@b") // it exists as a whole
	l.refused(show.ExitFailed, "already exists", "snapshot /lab/a@one")
	l.refused(show.ExitFailed, "under one name, s or t", "snapshot /lab/a@s /lab/a@b@t")
	l.refused(show.ExitFailed, "not found", "snapshot /lab/nope@s")
	l.refused(show.ExitFailed, "not on a slatefs mount", "snapshot /labs@s")
	l.mkdir("empty")
	l.refused(show.ExitFailed, "hint: snapshot -r looks below", "snapshot /lab/empty@s")

	l.ok("rename /lab/a@one uno")
	l.ok("rename /lab/a@two @dos")
	l.ok("rename /lab/a@three /lab/a@tres")
	l.ok("destroy /lab/a@uno,dos")
	if out := l.ok("list -H -o name -t snap /lab/a"); out != "/lab/a@tres\n" {
		t.Errorf("after rename and destroy: %s", out)
	}
	l.ok("list /lab/.snap/a@tres")
	l.refused(show.ExitFailed, "stays with its volume", "rename /lab/a@tres /lab/z@q")
	l.refused(show.ExitFailed, "not found", "destroy /lab/a@tres,nope")
	l.refused(show.ExitFailed, "not found", "rollback /lab/a@nope")
	l.refused(show.ExitFailed, "is no snapshot", "rollback /lab/a")
	l.refused(show.ExitFailed, "hint: destroy -r", "destroy /lab/a")
	l.refused(show.ExitFailed, "directory", "destroy /lab/images")
	l.refused(show.ExitFailed, "not found", "list /lab/a@nope")
	l.ok("destroy -r /lab/a")
}

func TestVolumes(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create --size 8M /lab/v")
	size := func(want int64) {
		t.Helper()
		if out := l.ok("list -Hp -o volsize /lab/v"); out != fmt.Sprintf("%d\n", want) {
			t.Errorf("size is %s want %d", out, want)
		}
	}
	l.ok("resize /lab/v 10M")
	size(10 << 20)
	l.ok("resize /lab/v +512k")
	size(10<<20 + 512<<10)
	l.refused(show.ExitFailed, "hint: resize --shrink", "resize /lab/v 1M")
	l.ok("resize --shrink /lab/v 1M")
	size(1 << 20)
	l.refused(show.ExitFailed, "too big", "resize /lab/v 7E")
	l.refused(show.ExitUsage, "use 1G", "resize /lab/v 1GB")

	l.refused(show.ExitFailed, "already exists", "create --size 1M /lab/v")
	l.refused(show.ExitFailed, "hint: mkdir /lab/no", "create --size 1M /lab/no/v")
	l.refused(show.ExitFailed, "already exists", "create --size 1M /lab")
	l.refused(show.ExitUsage, "--size is missing", "create /lab/w")
	l.refused(show.ExitUsage, "erase_throughput is a property of a pool", "create -o erase_throughput=1G --size 1M /lab/w")
	l.refused(show.ExitUsage, "use 1G", "create -o quota=1GB --size 1M /lab/w")

	l.ok("rename /lab/v /lab/d/w")
	l.ok("create --size 1M /lab/v")
	l.refused(show.ExitFailed, "already exists", "rename /lab/v /lab/d/w")
	l.refused(show.ExitFailed, "not in its pool", "rename /lab/v elsewhere")
	l.refused(show.ExitFailed, "is a directory", "rename /lab/d /lab/e")
	if out := l.ok("list -H -o name -r lab"); out != "/lab\n/lab/d\n/lab/d/w\n/lab/v\n" {
		t.Errorf("list: %s", out)
	}
	if out := l.ok("list -H -o name /lab/d"); out != "/lab/d\n/lab/d/w\n" {
		t.Errorf("list: %s", out)
	}
}

func TestListOrders(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 3M /lab/a")
	l.ok("create --size 1M /lab/b /lab/c")
	l.write("c", 0, 8, 1)
	for line, want := range map[string]string{
		"-t volume -s volsize":           "b c a",
		"-t volume -S volsize -S name":   "a c b",
		"-t volume -S used":              "c a b",
		"-t volume -S creation":          "c b a",
		"-t vol,snap -s avail -s origin": "a b c",
		"-t pool -s type":                "",
		"-t volume -S volsize -s name":   "a b c",
		"-t volume -s volsize -S name":   "c b a",
		"-t volume -S name -s volsize":   "c b a", // the first one decides, whichever of the two it is
	} {
		out := l.ok("list -H -o name " + line)
		if got := strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(out, "/lab", "")), "\n/", " "); strings.TrimPrefix(got, "/") != want {
			t.Errorf("list %s: %q, want %q", line, got, want)
		}
	}
	head := strings.Fields(strings.SplitN(l.ok("list -o all"), "\n", 2)[0])
	if len(head) != len(listColumns) {
		t.Errorf("all columns are %v", head)
	}
	l.refused(show.ExitUsage, "hint: columns are name, type", "list -o nam")
	l.refused(show.ExitUsage, `column ""`, "list --sort=")
	l.refused(show.ExitUsage, "want volume, snapshot", "list -t disk")
	l.refused(show.ExitFailed, "not on a slatefs mount", "list nolab")
}

func TestJSON(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.ok("snapshot /lab/v@s")
	for line, key := range map[string]string{
		"list -t all -j": "rows", "pool list -j": "pools", "pool status -j lab": "pools", "erase status -j lab": "erase",
		"get -j all lab": "properties",
	} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(l.ok(line)), &m); err != nil || m[key] == nil {
			t.Errorf("%s: %v, no %s", line, err, key)
		}
		var v show.OutputVersion
		if err := json.Unmarshal(m["output_version"], &v); err != nil || v.Major != 1 || !strings.HasPrefix("slatefs "+line, v.Command) {
			t.Errorf("%s: output_version %+v, %v", line, v, err)
		}
	}
	var out struct{ Rows []map[string]any }
	if err := json.Unmarshal([]byte(l.ok("list -t all -j")), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Rows) != 3 || out.Rows[1]["volsize"] != float64(1<<20) {
		t.Errorf("rows: %v", out.Rows)
	}
	if _, has := out.Rows[2]["available"]; has {
		t.Errorf("a snapshot has available: %v", out.Rows[2])
	}
}

func TestProperties(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create -o quota=1G --size 1M /lab/d/v")
	if out := l.ok("get -H erase_throughput /lab"); out != "/lab\terase_throughput\t10M\tdefault\n" {
		t.Error(out)
	}
	l.ok("set erase_throughput=-50M lab")
	if out := l.ok("get erase_throughput,refreservation /lab"); out !=
		"NAME  PROPERTY          VALUE  SOURCE\n/lab  refreservation    none   default\n/lab  erase_throughput  50M    local\n" {
		t.Error(out)
	}
	l.ok("set erase_throughput=none /lab")
	if out := l.ok("get -Hp -o value,source erase_throughput lab"); out != "0\tlocal\n" {
		t.Error(out)
	}
	l.ok("set refreservation=auto lab")
	if out := l.ok("get -Hr -o name,value,source refreservation,quota lab"); out != "/lab\tauto\tlocal\n"+
		"/lab/d\tauto\tinherited from /lab\n/lab/d\tnone\tdefault\n"+
		"/lab/d/v\tnone\tdefault\n/lab/d/v\t1G\tlocal\n" {
		t.Error(out)
	}
	l.ok("inherit quota /lab/d/v")
	l.ok("inherit refreservation lab")
	if out := l.ok("get -H quota /lab/d/v"); out != "/lab/d/v\tquota\tnone\tdefault\n" {
		t.Error(out)
	}
	if out := l.ok("get all /lab/d/v"); !strings.Contains(out, "refquota") || strings.Contains(out, "erase_throughput") {
		t.Error(out)
	}
	l.refused(show.ExitUsage, "property \"compression\" is unknown", "set compression=on /lab")
	l.refused(show.ExitUsage, "is unknown", "get colour /lab")
	l.refused(show.ExitUsage, "is unknown", "inherit colour /lab")
	l.refused(show.ExitUsage, "want name, property, value or source", "get -o color quota /lab")
	l.refused(show.ExitFailed, "quota is a property of a directory or volume", "get quota /lab")
	l.refused(show.ExitFailed, "erase_throughput is a property of a pool", "set erase_throughput=1M /lab/d")
	l.refused(show.ExitUsage, "as 50M", "set erase_throughput=fast /lab")
	l.refused(show.ExitUsage, "usage: slatefs set", "set /lab /lab")
	l.refused(show.ExitUsage, "usage: slatefs set", "set erase_throughput=1 erase_throughput=2")
	l.refused(show.ExitFailed, "is not on a slatefs mount", "get all nolab")
	l.ok("create --size 1M /lab/w")
	l.ok("snapshot /lab/w@a")
	l.refused(show.ExitFailed, "a snapshot has no properties", "get quota /lab/w@a")
	l.refused(show.ExitFailed, "a snapshot has no properties", "set quota=1G /lab/w@a")
}

func TestTree(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.write("v", 0, 4, 1)
	l.ok("snapshot /lab/v@a")
	l.ok("snapshot /lab/v@b")
	l.ok("clone /lab/v@a /lab/w")
	l.ok("destroy -d /lab/v@a")
	at := "size 1M  written 16K  refer 16K"
	got := l.ok("tree /lab")
	for _, want := range []string{"(nameless layer ", at, "├─ /lab/v@b  size 1M", "│  /lab/v  size 1M", "└─ /lab/w  size 1M"} {
		if !strings.Contains(got, want) {
			t.Errorf("tree lacks %q:\n%s", want, got)
		}
	}
	if one := l.ok("tree /lab/w"); one != got {
		t.Errorf("the tree from a clone is another:\n%s", one)
	}
	l.refused(show.ExitFailed, "not found", "tree /lab/x")
}

func TestBusy(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.ok("snapshot /lab/v@a")
	a, err := l.pool.Resolve("v")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.pool.OpenFile(a.Ino, true); err != nil {
		t.Fatal(err)
	}
	l.view.holders = []fs.Holder{{PID: 12, Comm: "qemu", Path: "v", Write: true}, {Loop: "loop3", Path: "v"}}
	l.refused(show.ExitFailed, "by qemu (pid 12, v, writing), loop3 (v, reading)", "rollback /lab/v@a")
	l.refused(show.ExitFailed, "hint: close it, or roll back under its users with --force", "rollback /lab/v@a")
	l.refused(show.ExitFailed, "busy", "destroy -r /lab/v")
	l.refused(show.ExitFailed, "hint: resize --shrink", "resize /lab/v 4K")
	l.refused(show.ExitFailed, "by qemu (pid 12, v, writing), loop3 (v, reading)", "resize --shrink /lab/v 4K")
	l.refused(show.ExitFailed, "hint: close it, or cut it under its users with --force", "resize --shrink /lab/v 4K")
	l.refused(show.ExitFailed, "busy", "resize -n --shrink /lab/v 4K")
	l.ok("resize -n --shrink --force /lab/v 4K")
	if out := l.ok("list -Hp -o volsize /lab/v"); out != "1048576\n" {
		t.Errorf("a refused shrink left %s", out)
	}
	l.ok("resize /lab/v 2M") // growing harms nobody
	l.ok("resize --shrink --force /lab/v 1M")
	l.view.err = chain.ErrInvalid // a mount that can't be told does not undo what was done
	l.ok("rollback --force /lab/v@a")
	l.pool.ReleaseFile(a.Ino, true)
	l.ok("destroy -r /lab/v")
}

// Numbers stand beside properties, as zfs has them: of volumes, directories, the pool and snapshots.
func TestGetNumbers(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create -V 1M -o refquota=1G /lab/d/v")
	l.write("d/v", 0, 8, 1)
	l.ok("snapshot /lab/d/v@s")
	l.ok("clone /lab/d/v@s /lab/c")
	all := map[string]string{}
	for line := range strings.Lines(l.ok("get -Hp -o property,value,source all /lab/d/v")) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if _, twice := all[cells[0]]; twice {
			t.Errorf("%s stands there twice", cells[0])
		}
		all[cells[0]] = cells[1] + " " + cells[2]
	}
	for name, want := range map[string]string{
		"type": "volume -", "volsize": "1048576 -", "used": "32768 -", "referenced": "32768 -", "written": "0 -", "usedbysnapshots": "0 -",
		"snapshot_count": "1 -", "refquota": "1073741824 local", "quota": "none default",
	} {
		if all[name] != want {
			t.Errorf("%s is %q, want %q", name, all[name], want)
		}
	}
	if c := all["creation"]; len(c) != len("1700000000 -") || all["available"] == "" || all["name"]+all["id"]+all["goes"]+all["origin"] != "" {
		t.Errorf("%v", all)
	}
	for line, want := range map[string]string{
		"get -H -o property,value,source refer,volsize,avail /lab/d/v@s": "referenced\t32K\t-\nvolsize\t1M\t-\navailable\t-\t-\n",
		"get -H -o value origin,refquota /lab/c":                         "/lab/d/v@s\nnone\n",
		"get -H -o value clones /lab/d/v@s":                              "/lab/c\n",
		"get -H -o name,value type /lab":                                 "/lab\tpool\n",
		"get -Hr -o name type /lab/d":                                    "/lab/d\n/lab/d/v\n/lab/d/v@s\n",
		"get -Hr -o name quota /lab/d":                                   "/lab/d\n/lab/d/v\n",
		"get -Hr -o name,property,value used,refquota /lab/d": "/lab/d\tused\t32K\n/lab/d/v\tused\t32K\n/lab/d/v\trefquota\t1G\n" +
			"/lab/d/v@s\tused\t0B\n",
	} {
		if out := l.ok(line); out != want {
			t.Errorf("%s: %q, want %q", line, out, want)
		}
	}
	out := l.ok("get -H -o property all /lab/d/v@s")
	if !strings.HasPrefix(out, "type\ncreation\nvolsize\n") || strings.Contains(out, "quota") {
		t.Error(out)
	}
	if out := l.ok("get -j all /lab/d/v@s"); !strings.Contains(out, `"value": "1048576"`) {
		t.Error(out)
	}
	l.refused(show.ExitFailed, "not found", "get all /lab/d/v@no")
	l.refused(show.ExitUsage, "is unknown", "get goes /lab/d/v")
	l.refused(show.ExitUsage, "is unknown", "set used=1 /lab/d/v")
}

// -d is levels below what is named; snapshots are one below their volume.
func TestListDepth(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.mkdir("d/e")
	l.ok("create -V 1M /lab/a /lab/d/b /lab/d/e/c")
	l.ok("snapshot -r /lab@s")
	for line, want := range map[string]string{
		"-d 0 /lab":                 "/lab",
		"-d 0 -t all /lab/a":        "/lab/a",
		"-d 1 -t all /lab/a":        "/lab/a /lab/a@s",
		"-d 0 -t all /lab/a@s":      "/lab/a@s",
		"-d 1 -t all /lab":          "/lab /lab/a /lab/d",
		"-d 1 /lab/d":               "/lab/d /lab/d/b /lab/d/e",
		"-d 2 -t all":               "/lab /lab/a /lab/a@s /lab/d /lab/d/b /lab/d/e",
		"-d 2 -t vol":               "/lab/a /lab/d/b",
		"-r -d 1 -t vol /lab":       "/lab/a",
		"-d 3 -t snapshot /lab":     "/lab/a@s /lab/d/b@s",
		"-d 2000000000 -t snapshot": "/lab/a@s /lab/d/b@s /lab/d/e/c@s",
		"-t snapshot /lab":          "/lab/a@s",
		"/lab":                      "/lab /lab/a /lab/d",
	} {
		if out := strings.Join(strings.Fields(l.ok("list -H -o name "+line)), " "); out != want {
			t.Errorf("list %s: %s, want %s", line, out, want)
		}
	}
	for _, bad := range []string{"-1", "x", "1.5", "99999999999"} {
		l.refused(show.ExitUsage, "want a number of levels", "list -d "+bad)
	}
}

// inherit -r takes a property away below as well, where it is set, and touches nothing that cannot have it.
func TestInheritAll(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create -V 1M -o quota=1G /lab/d/v")
	l.ok("create -V 1M -o refreservation=none /lab/d/w")
	l.ok("set quota=2G /lab/d")
	l.ok("set refreservation=auto lab")
	l.ok("set refreservation=none /lab/d")
	local := func() string { return l.ok("get -Hr -o name,property,source refreservation,quota /lab") }
	l.ok("inherit -r quota /lab")
	if out := local(); strings.Contains(out, "quota\tlocal") || !strings.Contains(out, "/lab/d/w\trefreservation\tlocal") {
		t.Error(out)
	}
	l.ok("inherit -r refreservation /lab/d")
	want := "/lab\trefreservation\tlocal\n/lab/d\trefreservation\tinherited from /lab\n"
	if out := local(); strings.Count(out, "local") != 1 || !strings.Contains(out, want) {
		t.Error(out)
	}
	l.ok("inherit -r erase_throughput /lab/d")
	l.refused(show.ExitUsage, "is unknown", "inherit -r colour /lab")
	if v := l.ok("-V"); v != l.ok("--version") || !strings.HasPrefix(v, "slatefs ") {
		t.Error(v)
	}
}
