package mounts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]Mount{
		`36 35 0:45 /sub /my\040pool rw shared:1 - fuse.slatefs la\134b rw`: {36, "0:45", "/sub", "/my pool", Type, `la\b`},
		`36 35 0:45 / /p rw shared:7 master:2 - fuse.slatefs tank\054x rw`:  {36, "0:45", "/", "/p", Type, "tank,x"},
		`22 35 0:20 / /sys rw - sysfs  rw`:                                  {22, "0:20", "/", "/sys", "sysfs", ""},
		`22 35 0:20 / /a\134b\7 rw - ext4 none rw`:                          {22, "0:20", "/", `/a\b\7`, "ext4", "none"},
		// Only blanks divide, not what Unicode calls a space, and names are bytes.
		"36 35 0:45 / /a\u00a0b\u2003\\040\xe9\\134 rw - fuse.slatefs x rw": {36, "0:45", "/", "/a\u00a0b\u2003 \xe9\\", Type, "x"},
	} {
		if got, err := parse([]byte(line + "\n")); err != nil || !slices.Equal(got, Table{want}) {
			t.Errorf("%s\nis %+v, %v, want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{"\n", "36 35 0:45 / /mnt\n", "36 35 0:45 / - ext4 x\n", "36 35 - fuse.slatefs x rw\n"} {
		if got, err := parse([]byte(line)); err == nil {
			t.Errorf("%q is %+v", line, got)
		}
	}
}

// What another mount has in its line hides none of ours.
func TestParseLongLine(t *testing.T) {
	ours := "36 35 0:45 / /mnt/p rw - fuse.slatefs tank rw\n"
	long := "37 35 0:46 / /merged rw - overlay overlay rw,lowerdir=" + strings.Repeat("/layer:", 20_000) + "\n"
	got, err := parse([]byte(ours + long + ours))
	if err != nil || len(got) != 2 || got[1].Dir != "/mnt/p" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTable(t *testing.T) {
	table := Table{
		{Dir: "/", Root: "/", Dev: "1"},
		{Dir: "/mnt", Root: "/", Dev: "2", Type: Type},
		{Dir: "/mnt/lab", Root: "/", Dev: "3", Type: Type},
		{Dir: "/bind", Root: "/images/100", Dev: "3"},
		{Dir: "/mnt", Root: "/", Dev: "4"},
		{Dir: "/mnt/lab", Root: "/", Dev: "5", Type: Type},
	}
	for path, want := range map[string][2]string{
		"/": {"1", ""}, "/mnt": {"4", ""}, "/mnt/x": {"4", "x"}, "/mntx": {"1", "mntx"}, "/mnt/lab": {"5", ""},
		"/mnt/lab/a/b": {"5", "a/b"}, "/mnt/lab@a": {"4", "lab@a"}, "/bind": {"3", "images/100"}, "/bind/x": {"3", "images/100/x"},
	} {
		m, rel, ok := table.Of(path)
		if !ok || m.Dev != want[0] || rel != want[1] {
			t.Errorf("%s lies on %s as %q, want %v", path, m.Dev, rel, want)
		}
	}
	if _, _, ok := (Table{}).Of("/x"); ok {
		t.Error("found a mount in an empty table")
	}
	for dir, dev := range map[string]string{"/mnt/lab": "5", "/mnt": "2", "/bind": "", "/nowhere": ""} {
		if m, ok := table.On(dir); m.Dev != dev || ok != (dev != "") {
			t.Errorf("on %s is %+v, %v", dir, m, ok)
		}
	}
	if own, err := Own(); err != nil || len(own) == 0 {
		t.Errorf("mounts of this process: %v, %v", own, err)
	}
	if _, err := Read(t.TempDir(), "1"); err == nil {
		t.Error("there is no process")
	}
}

// A path leads where the kernel would go, step by step, and is not followed below a mount of slatefs.
func TestLeads(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(p string) string { return filepath.Join(dir, p) }
	for _, d := range []string{"a/b", "mnt"} {
		if err := os.MkdirAll(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"into": "mnt/x", "deep": "a/b", "over": "deep/../../mnt/x", "out": "mnt/../a", "back": "mnt/../deep/../../mnt",
		"far": at("deep") + "/../b", "loop": "loop", "mnt/link": "../a",
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	table := Table{{Dir: "/", Root: "/", Dev: "1"}, {Dir: at("mnt"), Root: "/", Dev: "2", Type: Type}}
	for path, want := range map[string]struct {
		leads   string // the path in the mount; -: it does not lead there
		through bool
	}{
		at("mnt"): {"", true}, at("mnt/x"): {"x", true}, at("mnt/link/y"): {"link/y", true}, at("into"): {"x", true},
		at("into") + "/../y": {"y", true}, at("over"): {"x", true}, at("deep") + "/../../mnt/z": {"z", true}, at("back/z"): {"z", true},
		at("out"): {"-", true}, at("out/b"): {"-", true}, at("mnt") + "/..": {"-", true},
		at("a"): {"-", false}, at("far"): {"-", false}, at("loop"): {"-", false}, at("none/../mnt"): {"", true}, "/": {"-", false},
	} {
		m, rel, ok := table.Leads(path)
		if !ok {
			rel = "-"
		}
		if rel != want.leads || ok != (m.Dev == "2") {
			t.Errorf("%s leads to %q of %+v, want %q", path, rel, m, want.leads)
		}
		if m, ok := table.Through(path, "2"); ok != want.through || ok != (m.Dev == "2") {
			t.Errorf("%s comes through %+v: %v, want %v", path, m, ok, want.through)
		}
		if _, ok := table.Through(path, "3"); ok {
			t.Errorf("%s comes through a mount that is none", path)
		}
	}
}
