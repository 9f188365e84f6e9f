package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseMountEntry(t *testing.T) {
	m, ok := parseMountEntry(`36 35 0:45 /sub /mnt/my\040pool rw,nosuid shared:1 - fuse.slatefs la\134b rw,user_id=0`)
	want := mountEntry{dev: "0:45", root: "/sub", dir: "/mnt/my pool", fstype: "fuse.slatefs", source: `la\b`}
	if !ok || m != want {
		t.Errorf("parsed %+v, %v, want %+v", m, ok, want)
	}
	for _, line := range []string{"", "36 35 0:45 / /mnt", "36 35 0:45 / - ext4 x"} {
		if _, ok := parseMountEntry(line); ok {
			t.Errorf("%q is a mount", line)
		}
	}
}

func TestMountTable(t *testing.T) {
	table := mountTable{
		{dir: "/", root: "/", dev: "1"},
		{dir: "/mnt", root: "/", dev: "2"},
		{dir: "/mnt/lab", root: "/", dev: "3"},
		{dir: "/bind", root: "/images/100", dev: "3"},
		{dir: "/mnt", root: "/", dev: "4"},
		{dir: "/mnt/lab", root: "/", dev: "5"},
	}
	for path, want := range map[string][2]string{
		"/": {"1", ""}, "/mnt": {"4", ""}, "/mnt/x": {"4", "x"}, "/mntx": {"1", "mntx"}, "/mnt/lab": {"5", ""},
		"/mnt/lab/a/b": {"5", "a/b"}, "/mnt/lab@a": {"4", "lab@a"}, "/bind": {"3", "images/100"}, "/bind/x": {"3", "images/100/x"},
	} {
		m, rel, ok := table.of(path)
		if !ok || m.dev != want[0] || rel != want[1] {
			t.Errorf("%s lies on %s as %q, want %v", path, m.dev, rel, want)
		}
	}
	if _, _, ok := (mountTable{}).of("/x"); ok {
		t.Error("found a mount in an empty table")
	}
	if own, err := readMounts(); err != nil || len(own) == 0 {
		t.Errorf("mounts of this process: %v, %v", own, err)
	}
}

// A symlink to a mount, or to something below it, is followed as far as the mount, and no further.
func TestLocateFollowsSymlinks(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"abs": "/lab/images", "rel": "sub/up", "sub/up": "../abs", "loop": "loop"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(from)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	f := &finder{cwd: dir, mounts: mountTable{{dir: "/", root: "/"}, {dir: "/lab", root: "/", fstype: fsType}}}
	for arg, want := range map[string]string{"abs/vm@a": "images/vm@a", "rel": "images", "./rel/x": "images/x", "/lab/./y": "y"} {
		if _, rel, ok := f.locate(arg); !ok || rel != want {
			t.Errorf("%s is %q, %v, want %q", arg, rel, ok, want)
		}
	}
	for _, arg := range []string{"loop", "nothing", "/labs"} {
		if _, rel, ok := f.locate(arg); ok {
			t.Errorf("%s is %q on a mount", arg, rel)
		}
	}
}
