package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain"
)

const (
	mountLine = "36 35 0:45 / /mnt/my\\040pool rw,nosuid,nodev shared:7 master:2 - fuse.slatefs tank\\054x rw,user_id=0\n"
	otherLine = "22 35 0:20 / /sys rw - sysfs sysfs rw\n"
)

// tree makes files.
func tree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

func TestFindMount(t *testing.T) {
	root := t.TempDir()
	tree(t, root, map[string]string{"self/mountinfo": otherLine + mountLine})
	if m, err := findMount(root, "/mnt/my pool"); err != nil || m.ID != 36 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := findMount(root, "/sys"); !errors.Is(err, chain.ErrNotFound) {
		t.Errorf("not ours: %v", err)
	}
}

func TestHolderScan(t *testing.T) {
	root := t.TempDir()
	fd := func(flags, mount, ino int) string {
		return fmt.Sprintf("pos:\t0\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", flags, mount, ino)
	}
	tree(t, root, map[string]string{
		"proc/self/mountinfo":               mountLine,
		"proc/100/comm":                     "kvm\n",
		"proc/100/mountinfo":                mountLine,
		"proc/100/fdinfo/3":                 fd(unix.O_RDWR|unix.O_DIRECT, 36, 7),
		"proc/100/fdinfo/4":                 fd(unix.O_RDWR|unix.O_DIRECT, 36, 7), // the same again
		"proc/100/fdinfo/5":                 fd(unix.O_RDONLY, 36, 8),             // for reading
		"proc/100/fdinfo/6":                 fd(unix.O_RDWR, 99, 9),               // another mount
		"proc/100/fdinfo/7":                 fd(unix.O_PATH, 36, 1),
		"proc/100/fdinfo/8":                 fd(unix.O_DIRECTORY, 36, 1), // O_DIRECTORY
		"proc/100/fdinfo/9":                 "pos:\t0\nflags:\tzz\n",
		"proc/200/comm":                     "inside\n",
		"proc/200/mountinfo":                "77 35 0:45 / /data rw - fuse.slatefs tank rw\n", // in a container
		"proc/200/fdinfo/1":                 fd(unix.O_WRONLY, 77, 7),
		"proc/acpi/nothing":                 "",
		"sys/block/loop0/ro":                "0\n",
		"sys/block/loop0/loop/backing_file": "/mnt/my pool/images/a.raw\n",
		"sys/block/loop1/ro":                "1\n",
		"sys/block/loop1/loop/backing_file": "/mnt/my pool/.snap/b@s\n",
		"sys/block/loop2/loop/backing_file": "/mnt/other/a.raw\n",
	})
	for pid, space := range map[string]string{"100": "mnt:[1]", "200": "mnt:[2]"} {
		must(t, os.MkdirAll(filepath.Join(root, "proc", pid, "ns"), 0o755))
		must(t, os.Symlink(space, filepath.Join(root, "proc", pid, "ns/mnt")))
	}
	m, err := findMount(filepath.Join(root, "proc"), "/mnt/my pool")
	must(t, err)
	s := holderScan{proc: filepath.Join(root, "proc"), sys: filepath.Join(root, "sys"), mount: m, ids: map[int]bool{m.ID: true}}
	must(t, s.run())
	want := []foundHolder{
		{Holder{PID: 100, Comm: "kvm", Write: true}, 7},
		{Holder{PID: 100, Comm: "kvm"}, 8},
		{Holder{PID: 200, Comm: "inside", Write: true}, 7},
		{Holder{Loop: "loop0", Path: "images/a.raw", Write: true}, 0},
		{Holder{Loop: "loop1", Path: ".snap/b@s"}, 0},
	}
	if len(s.found) != len(want) {
		t.Fatalf("%+v", s.found)
	}
	for i := range want {
		if s.found[i] != want[i] {
			t.Errorf("%+v, want %+v", s.found[i], want[i])
		}
	}
}
