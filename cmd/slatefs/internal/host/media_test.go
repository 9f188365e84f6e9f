package host

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/fs/mounts"
)

// sysTree makes a tree of files, and of links where the content begins with ->.
func sysTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			if to, link := cutPrefix(text, "->"); link {
				err = os.Symlink(filepath.Join(root, to), path)
			} else {
				err = os.WriteFile(path, []byte(text), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func cutPrefix(s, p string) (string, bool) {
	if len(s) >= len(p) && s[:len(p)] == p {
		return s[len(p):], true
	}
	return s, false
}

// A pool file on a loop device, over a file in ext4 on a logical volume of two disks: all of it is found, whatever bytes are in names.
func TestMediaBelow(t *testing.T) {
	sys := sysTree(t, map[string]string{
		"dev/block/7:3":                   "->devices/virtual/block/loop3",
		"dev/block/252:1":                 "->devices/virtual/block/dm-1",
		"dev/block/8:2":                   "->devices/ata1/block/sda/sda2",
		"dev/block/259:0":                 "->devices/pci/nvme/nvme0/nvme0n1",
		"devices/virtual/block/loop3/dev": "7:3\n", "devices/virtual/block/loop3/loop/backing_file": "/srv/p\xe9 ol (deleted)\n",
		"devices/virtual/block/dm-1/dev": "252:1\n", "devices/virtual/block/dm-1/dm/name": "vg0-srv\n", "devices/virtual/block/dm-1/dm/uuid": "LVM-abc\n",
		"devices/virtual/block/dm-1/slaves/sda2":    "->devices/ata1/block/sda/sda2",
		"devices/virtual/block/dm-1/slaves/nvme0n1": "->devices/pci/nvme/nvme0/nvme0n1",
		"devices/ata1/block/sda/dev":                "8:0\n", "devices/ata1/block/sda/size": "1875385008\n", "devices/ata1/block/sda/queue/rotational": "1\n",
		"devices/ata1/block/sda/device/vendor": "ATA     \n", "devices/ata1/block/sda/device/model": "ST1000NM0008\x1b[2J\n",
		"devices/ata1/block/sda/device/vpd_pg80": "\x00\x80\x00\x08 ZFA1234 ", "devices/ata1/block/sda/device/wwid": "naa.5000\n",
		"devices/ata1/block/sda/sda2/dev": "8:2\n", "devices/ata1/block/sda/sda2/partition": "2\n",
		"devices/pci/nvme/nvme0/nvme0n1/dev": "259:0\n", "devices/pci/nvme/nvme0/nvme0n1/size": "2000\n",
		"devices/pci/nvme/nvme0/nvme0n1/device/model": "KXG60\n", "devices/pci/nvme/nvme0/nvme0n1/wwid": "eui.00\n",
		"udev/b259:0": "S:disk\nE:ID_SERIAL_SHORT=X9Z\nE:ID_VENDOR=Kioxia\n",
	})
	stat := func(path string, st *unix.Stat_t) error {
		switch path {
		case "/dev/loop3":
			st.Mode, st.Rdev = unix.S_IFBLK, unix.Mkdev(7, 3)
		case "/srv/p\xe9 ol":
			st.Mode, st.Dev = unix.S_IFREG, unix.Mkdev(252, 1)
		default:
			return unix.ENOENT
		}
		return nil
	}
	v := mediaView{sys: sys, udev: filepath.Join(sys, "udev"), stat: stat, table: mounts.Table{{Dev: "252:1", Dir: "/srv", Type: "ext4"}, {Dev: "1:1", Dir: "/"}}}
	v.below("/dev/loop3", nil)
	between := "loop device loop3, file /srv/p\xe9 ol in ext4 on /srv, device-mapper LVM vg0-srv (dm-1)"
	want := []Media{
		{Model: "KXG60", Vendor: "Kioxia", Serial: "X9Z", WWID: "eui.00", Type: "NVMe SSD", Size: 1024000, Device: "/dev/nvme0n1", Path: between},
		{
			Vendor: "ATA", Model: "ST1000NM0008\x1b[2J", Serial: "ZFA1234", WWID: "naa.5000", Type: "HDD", Size: 960197124096, Device: "/dev/sda",
			Path: between + ", partition sda2",
		},
	}
	if !slices.Equal(v.found, want) {
		t.Errorf("%#v", v.found)
	}
	v.found = nil
	v.below("/dev/gone", nil)
	if len(v.found) != 1 || v.found[0].Type != "not known: no such file or directory" {
		t.Errorf("%+v", v.found)
	}
}

// A device that is made of itself, as a hostile or broken sysfs could say, ends.
func TestMediaEnds(t *testing.T) {
	sys := sysTree(t, map[string]string{
		"dev/block/252:1": "->dm-1", "dm-1/dev": "252:1", "dm-1/slaves/a": "->dm-1", "dm-1/slaves/b": "->dm-1", "dm-1/dm/name": "x",
	})
	v := mediaView{sys: sys, stat: func(_ string, st *unix.Stat_t) error {
		st.Mode, st.Rdev = unix.S_IFBLK, unix.Mkdev(252, 1)
		return nil
	}}
	v.below("/dev/dm-1", nil)
	if len(v.found) == 0 || len(v.found) > maxMedia || v.found[0].Type != "not known to the kernel" {
		t.Errorf("%d devices", len(v.found))
	}
}

// The file that this test runs from lies on something, on every host.
func TestMediaOfThisHost(t *testing.T) {
	found, err := MediaBelow(t.TempDir())
	if err != nil || len(found) == 0 || found[0].Type == "" || found[0].Device == "" {
		t.Errorf("%+v, %v", found, err)
	}
	t.Logf("%+v", found)
}
