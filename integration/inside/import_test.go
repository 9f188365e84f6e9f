//go:build guest

package inside

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// volumeChain is a disk of a guest as Proxmox VE 9 keeps one in a volume group with snapshot-as-volume-chain, by the commands that its
// plugin runs (LVMPlugin.pm): a qcow2 image in a logical volume, which a snapshot renames, and a new one that lies on it by its name.
type volumeChain struct {
	t    *testing.T
	name string // of the volume, and of the image that is written
}

// alloc makes the volume, large enough for all clusters, and an image in it.
func (c volumeChain) alloc(options ...string) {
	c.t.Helper()
	run(c.t, "lvm", "lvcreate", "-q", "-aly", "-Wy", "--yes", "--size", "8M", "--name", c.name, "--setautoactivation", "n",
		"--addtag", "pve-vm-100", "--addtag", "@pve-"+c.name, "vg0")
	put(c.t, "/dev/vg0/"+c.name, make([]byte, 8<<20), 0) // with its metadata preallocated the image shows what lay there before
	run(c.t, "qemu-img", append([]string{"create", "-q", "-f", "qcow2", "/dev/vg0/" + c.name, "4M", "-o"}, options...)...)
}

func (c volumeChain) snapshot(snap string) {
	c.t.Helper()
	old := "snap_" + strings.TrimSuffix(c.name, ".qcow2") + "_" + snap + ".qcow2"
	run(c.t, "lvm", "lvrename", "-q", "vg0", c.name, old)
	c.alloc("extended_l2=on,cluster_size=128k,preallocation=metadata", "-F", "qcow2", "-b", old)
}

func (c volumeChain) write(what string) {
	c.t.Helper()
	run(c.t, "qemu-io", "-f", "qcow2", "-c", "write "+what, "/dev/vg0/"+c.name)
}

// TestImportLVs imports a chain of qcow2 images in logical volumes, and a raw one, and refuses what is not active, what device-mapper
// holds, and what lies on another guest's volume.
func TestImportLVs(t *testing.T) {
	newVG(t, "vg0", "/dev/vda", "/dev/vdb")
	c := volumeChain{t, "vm-100-disk-0.qcow2"}
	c.alloc("preallocation=metadata")
	c.write("-P 1 0 2M")
	c.snapshot("one")
	c.write("-P 2 1M 64k")
	c.snapshot("two_b")
	c.write("-P 3 3M 512k")
	run(t, "lvm", "lvcreate", "-q", "--yes", "--size", "4M", "--name", "vm-101-disk-0", "vg0")
	put(t, "/dev/vg0/vm-101-disk-0", pattern(1<<20, 'r'), 2<<20)

	dir := mountpoint(t, "vms")
	slatefs(t, "pool create --size 64M -o erase_throughput=0 vms vg0/vms")
	slatefs(t, "mount vms "+dir)
	top, raw, vol := "/dev/vg0/"+c.name, "/dev/vg0/vm-101-disk-0", dir+"/vm-100-disk-0.raw"

	run(t, "lvm", "lvchange", "-an", "vg0/snap_vm-100-disk-0_one.qcow2")
	refused(t, "snap_vm-100-disk-0_one.qcow2: no such file", "import -n "+top+" "+vol)
	run(t, "lvm", "lvchange", "-ay", "vg0/snap_vm-100-disk-0_one.qcow2")
	run(t, "dmsetup", "create", "held", "--table", "0 8192 linear "+raw+" 0")
	refused(t, raw+": device or resource busy", "import -n "+raw+" "+dir+"/x.raw")
	run(t, "dmsetup", "remove", "held")

	for _, lv := range []string{top, "/dev/vg0/snap_vm-100-disk-0_one.qcow2", "/dev/vg0/snap_vm-100-disk-0_two_b.qcow2", raw} {
		run(t, "blockdev", "--setro", lv) // who writes there fails
	}
	t.Log(slatefs(t, "import "+top+" "+vol))
	slatefs(t, "import "+raw+" "+dir+"/vm-101-disk-0.raw")
	want := fmt.Sprintf("%[1]s\t4194304\t524288\n%[1]s@one\t4194304\t2097152\n%[1]s@two_b\t4194304\t65536\n", vol)
	if got := slatefs(t, "list -Hp -t all -o name,volsize,written "+vol); got != want {
		t.Errorf("the layers are\n%swant\n%s", got, want)
	}
	for path, val := range map[string]byte{vol: 3, dir + "/.snap/vm-100-disk-0.raw@two_b": 0} {
		b, err := os.ReadFile(path)
		must(t, err)
		if b[0] != 1 || b[1<<20] != 2 || b[1<<20+64<<10] != 1 || b[3<<20] != val {
			t.Errorf("%s has %d %d %d %d", path, b[0], b[1<<20], b[1<<20+64<<10], b[3<<20])
		}
	}
	if !holds(t, dir+"/vm-101-disk-0.raw", pattern(1<<20, 'r'), 2<<20) {
		t.Error("a raw volume has other bytes now")
	}
	run(t, "blockdev", "--setrw", top)
	run(t, "qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "vm-101-disk-0", top)
	refused(t, "no snapshot of the same volume", "import "+top+" "+dir+"/x.raw")
	slatefs(t, "umount "+dir)
}
