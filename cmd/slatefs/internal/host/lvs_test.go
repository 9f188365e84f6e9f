package host

import (
	"os"
	"path/filepath"
	"testing"
)

// A directory is that of a volume group only if LVM made it.
func TestMayBeGroup(t *testing.T) {
	dir := t.TempDir()
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if !mayBeGroup(filepath.Join(dir, "inactive")) {
		t.Error("a group without active volumes is none")
	}
	if mayBeGroup(dir) {
		t.Error("an empty directory is a group")
	}
	link("../dm-7", "lv")
	link("/dev/mapper/vg-other", "other")
	if !mayBeGroup(dir) {
		t.Error("links to the device-mapper are no group")
	}
	link("../sda", "disk")
	if mayBeGroup(dir) {
		t.Error("a link to a disk is in a group")
	}
}

// What lies below /dev and is no device is a path.
func TestPathsBelowDev(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no /dev/shm: ", err)
	}
	for arg, want := range map[string]bool{
		"/dev/shm/lab.pool": false, "/dev/pts/lab": false, "/dev/mapper/vg-lv": false, "/dev/no-such-group/lv": true, "vg/lv": true,
		"/dev/shm/a/b": false, "./vg/lv": false, "/srv/lv": false,
	} {
		if n, ok := LVArgument(arg); ok != want {
			t.Errorf("%s is %v, %v", arg, n, ok)
		}
	}
}
