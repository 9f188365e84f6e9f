//go:build guest

package inside

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mountpoint makes a directory for a pool.
func mountpoint(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("/mnt", name)
	must(t, os.MkdirAll(dir, 0o755))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err == nil {
			t.Errorf("%s was left mounted", dir)
		}
	})
	return dir
}

// pattern is n bytes that name themselves.
func pattern(n int, b byte) []byte {
	return bytes.Repeat([]byte{b, 's', 'l', 'a', 't', 'e', '!', b}, n/8)
}

// put writes to a file, durably.
func put(t *testing.T, path string, b []byte, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.WriteAt(b, off)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// holds tells whether a file has some bytes at an offset.
func holds(t *testing.T, path string, b []byte, off int64) bool {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	got := make([]byte, len(b))
	_, err = f.ReadAt(got, off)
	must(t, err)
	return bytes.Equal(got, b)
}

// lvs asks for one field of a volume.
func lvs(t *testing.T, lv, field string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "lvm", "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", field, lv))
}

// TestCreateOnLV shows pool create on new and old volumes: tags, activation, what is refused, what is found again.
func TestCreateOnLV(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	dir := mountpoint(t, "vms")
	if out := slatefs(t, "pool create -n --size 100M vms vg0/vms"); !strings.Contains(out, "new logical volume vg0/vms of 100M") {
		t.Error(out)
	}
	slatefs(t, "pool create --size 101M -o erase_throughput=0 vms vg0/vms")
	tags := strings.Split(lvs(t, "vg0/vms", "lv_tags"), ",")
	if len(tags) != 4 || tags[0] != "slatefs" && !strings.Contains(strings.Join(tags, " "), "slatefs-name=vms") {
		t.Errorf("tags: %v", tags)
	}
	if size, active, auto := lvs(t, "vg0/vms", "lv_size"), lvs(t, "vg0/vms", "lv_active"), lvs(t, "vg0/vms", "lv_autoactivation"); size != "109051904" || active != "" || auto != "" {
		t.Errorf("size %s, active %q, autoactivation %q", size, active, auto)
	}
	for _, c := range []struct{ says, line string }{
		{"exists, --size is for a new one", "pool create --size 64M two vg0/vms"},
		{"holds the pool vms", "pool create two vg0/vms"},
		{"does not exist; --size makes it", "pool create two vg0/two"},
		{"a logical volume of 10G does not fit", "pool create --size 10G two vg0/two"},
		{"too small", "pool create --size 8M two vg0/two"},
		{"no such volume group", "pool create --size 64M two nosuch/two"},
		{"a pool vms exists", "pool create --size 64M vms vg0/two"},
		{"if any flags in the group", "pool create --zero-now --assume-zero --size 64M two vg0/two"},
	} {
		refused(t, c.says, c.line)
	}

	// Every way to name it, while it is not active.
	for _, name := range []string{"vms", "vg0/vms", "/dev/vg0/vms"} {
		if out := slatefs(t, "pool check "+name); !strings.Contains(out, "0 errors, 0 leaks") {
			t.Error(out)
		}
	}
	if active := lvs(t, "vg0/vms", "lv_active"); active != "" {
		t.Error("pool check left the volume active")
	}
	slatefs(t, "mount vg0/vms "+dir)
	if out := slatefs(t, "pool list -Hp"); !strings.Contains(out, "vms\t109051904\t0\t") || !strings.Contains(out, "\tonline\t"+dir+"\t/dev/vg0/vms") {
		t.Error(out)
	}
	if lvs(t, "vg0/vms", "lv_active") != "active" {
		t.Error("a mounted pool's volume is not active")
	}
	if out := slatefs(t, "get -Hp -o value autoextend_threshold "+dir); out != "80\n" {
		t.Errorf("a pool whose volume was made for it has autoextend_threshold %q", out)
	}
	refused(t, "mounted on "+dir, "mount vms /mnt")
	put(t, dir+"/a.raw", pattern(1<<20, 'a'), 0)
	slatefs(t, "umount vg0/vms")
	eventually(t, "the volume is not active", func() bool { return lvs(t, "vg0/vms", "lv_active") == "" })

	// Another host knows it by its tags alone.
	must(t, os.RemoveAll("/var/lib/slatefs/pools"))
	free := strings.TrimSpace(run(t, "lvm", "vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free", "vg0"))
	if out := slatefs(t, "pool list -Hp"); out != "vms\t-\t-\t-\t-\t"+free+"\tunmounted\t-\t/dev/vg0/vms\t-\n" {
		t.Errorf("%q", out)
	}
	slatefs(t, "mount vms "+dir)
	if !holds(t, dir+"/a.raw", pattern(1<<20, 'a'), 0) {
		t.Error("what was written is not there")
	}
	slatefs(t, "umount vms")
	refused(t, "would leave on /dev/vg0/vms, not erased: 1 volumes, 1M in use", "pool destroy vms")
	if r := try(t, "slatefs", "pool", "destroy", "--force", "vms"); r.code != 0 || !strings.Contains(r.stderr, "left on /dev/vg0/vms, not erased: 1 volumes, 1M in use") {
		t.Error(r)
	}
	if out := run(t, "lvm", "lvs", "vg0"); out != "" {
		t.Errorf("volumes after the end of the pool: %s", out)
	}
	if out := slatefs(t, "pool list"); strings.Contains(out, "vms") {
		t.Error(out)
	}
}

// TestOldVolumes shows that a volume with something on it is refused, and taken with -f.
func TestOldVolumes(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	run(t, "lvm", "lvcreate", "-q", "-y", "-n", "old", "-L", "100M", "vg0")
	run(t, "mkswap", "/dev/vg0/old")
	refused(t, "holds swap", "pool create vms vg0/old")
	refused(t, "holds swap", "pool create vms /dev/vg0/old")
	refused(t, "holds swap", "pool create vms /dev/mapper/vg0-old")
	slatefs(t, "pool create -f --zero-now vms /dev/mapper/vg0-old")
	if out := slatefs(t, "pool dump vg0/old"); !strings.Contains(out, "\n  dirty 0\n") {
		t.Errorf("after --zero-now:\n%s", out)
	}
	slatefs(t, "pool create -f --assume-zero vms vg0/old")
	dir := mountpoint(t, "vms")
	slatefs(t, "mount vms "+dir)
	if out := slatefs(t, "get -Hp -o value autoextend_threshold "+dir); out != "100\n" {
		t.Errorf("a pool on a volume that was there has autoextend_threshold %q", out)
	}
	slatefs(t, "umount vms")
	if tags := lvs(t, "vg0/old", "lv_tags"); strings.Count(tags, "slatefs-") != 2 {
		t.Errorf("tags: %s", tags)
	}
	if r := try(t, "slatefs", "pool", "destroy", "vms"); r.code != 0 || !strings.Contains(r.stderr, "the logical volume is left: lvremove vg0/old") {
		t.Error(r)
	}
	if tags := lvs(t, "vg0/old", "lv_tags"); tags != "" {
		t.Errorf("tags after the end of the pool: %s", tags)
	}
}

// TestHalfMade shows that what a killed pool create leaves is undone by the next one, or by a mount, and by nobody on
// another host.
func TestHalfMade(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	const me = "0123456789abcdef0123456789abcdef"
	half := func(lv, intent, host string) {
		run(t, "lvm", "lvcreate", "-q", "-y", "-n", lv, "-L", "100M", "--addtag", "slatefs", "--addtag", "slatefs-name="+lv,
			"--addtag", "slatefs-00000000-0000-0000-0000-00000000000"+lv[1:], "--addtag", "slatefs-"+intent+"="+host, "vg0")
	}
	half("h1", "making", me)
	half("h2", "taking", me)
	half("h3", "making", "f"+me[1:])
	half("h4", "ending", me)
	run(t, "lvm", "lvchange", "-q", "--addtag", "slatefs-made", "vg0/h4")
	if out := slatefs(t, "pool list -H"); strings.Count(out, "unfinished") != 4 {
		t.Error(out)
	}
	refused(t, "is undone", "mount vg0/h1 /mnt")
	refused(t, "being made or destroyed just now", "mount vg0/h3 /mnt")
	slatefs(t, "pool create --size 64M vms vg0/vms")
	if out := strings.Fields(run(t, "lvm", "lvs", "--noheadings", "-o", "lv_name", "vg0")); strings.Join(out, " ") != "h2 h3 vms" {
		t.Errorf("volumes: %v", out)
	}
	if tags := lvs(t, "vg0/h2", "lv_tags"); tags != "" {
		t.Errorf("tags of a volume that was not made: %s", tags)
	}
	slatefs(t, "pool destroy --force vms")
}

// marks counts the 512-byte sectors of a device that begin with what pattern wrote.
func marks(t *testing.T, device string, bytesOf ...byte) (n int) {
	t.Helper()
	f, err := os.Open(device)
	must(t, err)
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		k, err := io.ReadFull(f, buf)
		for off := 0; off < k; off += 512 {
			if slices.Contains(bytesOf, buf[off]) && bytes.HasPrefix(buf[off:k], pattern(8, buf[off])) {
				n++
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			return n
		}
	}
}

// TestFormerTenant: a new pool lies where somebody else's volume did. Its bytes are never read through a file, and are gone
// when all is erased.
func TestFormerTenant(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	dir := mountpoint(t, "vms")
	run(t, "lvm", "lvcreate", "-q", "-y", "-n", "tenant", "-L", "96M", "vg0")
	for off := int64(0); off < 96<<20; off += 1 << 20 {
		put(t, "/dev/vg0/tenant", pattern(1<<20, 'T'), off)
	}
	run(t, "lvm", "lvremove", "-q", "-y", "vg0/tenant")
	slatefs(t, "pool create --size 96M -o erase_throughput=1 vms vg0/vms") // nothing in the background
	slatefs(t, "mount vms "+dir)
	if n := marks(t, "/dev/vg0/vms", 'T'); n < 90<<11 {
		t.Fatalf("only %d sectors of the former tenant are there", n)
	}
	file := dir + "/a.raw"
	put(t, file, pattern(1<<20, 'a'), 5<<20)
	put(t, file, pattern(512, 'b'), 20<<20+512)
	run(t, "truncate", "-s", "40M", file)
	run(t, "fallocate", "-l", "48M", file)
	if n := marks(t, file, 'T'); n > 0 {
		t.Errorf("%d sectors of the former tenant are read through a volume", n)
	}
	slatefs(t, "set erase_throughput=0 vms")
	slatefs(t, "erase wait vms")
	if n := marks(t, file, 'T') + marks(t, "/dev/vg0/vms", 'T'); n > 0 {
		t.Errorf("%d sectors of the former tenant are left after erase", n)
	}
	slatefs(t, "umount vms")
	if out := slatefs(t, "pool check vms"); !strings.Contains(out, "0 errors, 0 leaks") {
		t.Error(out)
	}
	slatefs(t, "pool destroy --force vms")
}
