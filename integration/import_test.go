package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// qcow2Chain makes a chain of three images as Proxmox VE keeps it in a volume group, with files for its volumes: the base has
// data, the second one other data, zeros over some of it, and is larger, the third one a little. It returns the newest one.
func qcow2Chain(l *lab, dir string) string {
	l.t.Helper()
	must(l.t, os.MkdirAll(dir, 0o755))
	script := `cd "$1"
	o=extended_l2=on,cluster_size=128k
	qemu-img create -q -f qcow2 -o $o snap_vm-102-disk-0_one.qcow2 64M
	qemu-io -c 'write -P 1 0 8M' -c 'write -P 2 40M 100k' snap_vm-102-disk-0_one.qcow2 >/dev/null
	qemu-img create -q -f qcow2 -F qcow2 -b snap_vm-102-disk-0_one.qcow2 -o $o snap_vm-102-disk-0_two_b.qcow2 80M
	qemu-io -c 'write -P 3 4M 4k' -c 'write -z 1M 2M' -c 'write -P 4 70M 1M' snap_vm-102-disk-0_two_b.qcow2 >/dev/null
	qemu-img create -q -f qcow2 -F qcow2 -b "$1/snap_vm-102-disk-0_two_b.qcow2" -o $o vm-102-disk-0.qcow2 80M
	qemu-io -c 'write -P 5 5M 64k' -c 'write -P 0 6M 64k' vm-102-disk-0.qcow2 >/dev/null`
	l.tool("bash", "-euc", script, "bash", dir)
	return filepath.Join(dir, "vm-102-disk-0.qcow2")
}

// TestImport makes a volume with its snapshots of a chain of qcow2 images. Each snapshot has the bytes of its own and no others,
// the source stays as it is, and slatefs itself has compared them.
func TestImport(t *testing.T) {
	needs(t, "qemu-img", "qemu-io")
	p := mountedPool(t, "1G", "")
	top := qcow2Chain(p.lab, p.path("vg"))
	before := p.tool("bash", "-c", "cd "+p.path("vg")+" && sha256sum * && stat -c '%n %s %Y' *")
	vol := p.at("vm-102-disk-0.raw")
	const stem = "snap_vm-102-disk-0_"
	want := fmt.Sprintf("%[1]s@one of %[2]s/%[3]sone.qcow2\n%[1]s@two_b of %[2]s/%[3]stwo_b.qcow2\n%[1]s of %[4]s\n",
		vol, p.path("vg"), stem, top)
	if got := p.slatefs("import", "-n", top, vol); !strings.HasPrefix(got, want+"would create vm-102-disk-0.raw of 80.0M: ") {
		t.Errorf("a dry run says %q, want %q", got, want)
	}
	if _, err := os.Stat(vol); err == nil {
		t.Error("a dry run made it")
	}
	if got := p.slatefs("import", "-o", "refreservation=auto", top, vol); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	for path, source := range map[string]string{
		vol: top, p.snap("vm-102-disk-0.raw", "one"): p.path("vg/snap_vm-102-disk-0_one.qcow2"),
		p.snap("vm-102-disk-0.raw", "two_b"): p.path("vg/snap_vm-102-disk-0_two_b.qcow2"),
	} {
		p.tool("qemu-img", "compare", "-f", "qcow2", "-F", "raw", source, path)
	}
	// The base has 8 MiB and 100 KiB; the second one 4 KiB and 1 MiB; the newest one 64 KiB, for zeros take no space.
	got := p.slatefs("list", "-Hp", "-t", "all", "-o", "name,volsize,written", vol)
	wantRows := fmt.Sprintf("%[1]s\t83886080\t65536\n%[1]s@one\t67108864\t%[2]d\n%[1]s@two_b\t83886080\t%[3]d\n",
		vol, 8<<20+100<<10, 1<<20+4<<10)
	if got != wantRows {
		t.Errorf("the layers are\n%swant\n%s", got, wantRows)
	}
	if after := p.tool("bash", "-c", "cd "+p.path("vg")+" && sha256sum * && stat -c '%n %s %Y' *"); after != before {
		t.Errorf("the source has changed: %s\nit was %s", after, before)
	}
	p.refuses(1, []string{"exists"}, "import", top, vol)

	raw := p.path("old.raw")
	image(t, raw)
	p.slatefs("import", raw, p.at("old.raw"))
	p.tool("cmp", raw, p.at("old.raw"))
	if isRoot() {
		p.slatefs("import", loop(t, p.lab, raw), p.at("device.raw"))
		p.tool("cmp", raw, p.at("device.raw"))
	}
}

// TestImportDirectory is the same with the names of a directory storage, and a raw template below.
func TestImportDirectory(t *testing.T) {
	needs(t, "qemu-img", "qemu-io")
	p := mountedPool(t, "1G", "")
	dir := p.path("images")
	must(t, os.Mkdir(dir, 0o755))
	image(t, dir+"/base-9-disk-0.raw")
	p.tool("bash", "-euc", `cd "$1"
	qemu-img create -q -f qcow2 -F raw -b base-9-disk-0.raw snap-s-1-vm-9-disk-0.qcow2
	qemu-io -c 'write -P 7 0 64k' snap-s-1-vm-9-disk-0.qcow2 >/dev/null
	qemu-img create -q -f qcow2 -F qcow2 -b snap-s-1-vm-9-disk-0.qcow2 vm-9-disk-0.qcow2`, "bash", dir)
	p.refuses(1, []string{`"base-9-disk-0.raw", which is no snapshot of the same volume`, "--below base-9-disk-0.raw"},
		"import", "-n", dir+"/vm-9-disk-0.qcow2", p.at("v"))
	p.slatefs("import", "--below", "base-9-disk-0.raw", dir+"/vm-9-disk-0.qcow2", p.at("v"))
	p.tool("cmp", dir+"/base-9-disk-0.raw", p.snap("v", "base-9-disk-0"))
	p.tool("qemu-img", "compare", "-f", "qcow2", "-F", "raw", dir+"/snap-s-1-vm-9-disk-0.qcow2", p.snap("v", "s-1"))
	if n := p.number(p.at("v"), "written"); n != 0 {
		t.Errorf("the newest image has nothing of its own, the volume %d bytes", n)
	}
}

// TestImportHostile: what an image says lies below it is no way to a file of the host, and nothing is left of what is refused.
func TestImportHostile(t *testing.T) {
	needs(t, "qemu-img", "qemu-io")
	p := mountedPool(t, "256M", "")
	dir, secret := p.path("up"), p.path("secret.raw")
	must(t, os.MkdirAll(dir+"/sub", 0o755))
	must(t, os.WriteFile(secret, []byte(strings.Repeat("secret..", 8192)), 0o600))
	must(t, os.Symlink(secret, dir+"/link.raw"))
	must(t, os.WriteFile(dir+"/sub/x.raw", make([]byte, 65536), 0o600))
	must(t, unix.Mkfifo(dir+"/fifo.raw", 0o600))
	file := dir + "/vm.qcow2"
	for _, below := range []string{
		secret, "../secret.raw", "link.raw", "sub/x.raw", "./sub/../link.raw", "nbd://127.0.0.1/x", "file:" + secret, "/dev/../" + secret,
		`json:{"driver":"file","filename":"` + secret + `"}`, "/etc/passwd", "fifo.raw", "none.raw",
	} {
		p.tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", below, file, "64k")
		p.refuses(1, nil, "import", file, p.at("v"))
	}
	for _, other := range []string{"vm-1-disk-0", "snap_vm2_a.qcow2", "snap-a-vm-2.qcow2"} { // other guests' disks lie beside it
		must(t, os.WriteFile(dir+"/"+other, []byte(strings.Repeat("secret..", 8192)), 0o600))
		p.tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", other, file, "64k")
		p.refuses(1, []string{"no snapshot of the same volume"}, "import", file, p.at("v"))
		p.tool("cp", file, dir+"/raw-disk") // a guest has written that to its own
		p.refuses(1, []string{"begins like a qcow2 image"}, "import", dir+"/raw-disk", p.at("v"))
	}
	p.slatefs("import", "-f", "raw", dir+"/raw-disk", p.at("mine"))                        // its own bytes, whatever they say
	p.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", dir+"/raw-disk", p.at("mine")) // rounded up to sectors
	p.slatefs("destroy", p.at("mine"))
	p.tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "vm.qcow2", file, "64k")
	p.refuses(1, []string{"below itself"}, "import", "--below", "vm.qcow2", file, p.at("v"))
	p.tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", file, "64k")
	p.refuses(1, []string{"has its data in another file"}, "import", file, p.at("v"))
	p.tool("qemu-img", "create", "-q", "-f", "qcow2", file, "64k")
	p.tool("qemu-img", "snapshot", "-c", "inside", file)
	p.refuses(1, []string{"has snapshots inside"}, "import", file, p.at("v"))
	p.tool("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", secret, file)
	p.refuses(1, []string{"compressed"}, "import", file, p.at("v"))
	if rows := p.slatefs("list", "-H", "-r", "-t", "all", p.mnt); strings.Count(rows, "\n") != 1 {
		t.Errorf("something is left: %s", rows)
	}
}

// TestImportFails: a source that a guest writes to is refused, and where the pool is full in the middle nothing is left.
func TestImportFails(t *testing.T) {
	needs(t, "qemu-img", "qemu-io", "qemu-nbd")
	p := mountedPool(t, "128M", "")
	top := qcow2Chain(p.lab, p.path("vg"))
	sock := p.path("nbd")
	p.tool("qemu-nbd", "--fork", "-t", "-f", "qcow2", "-k", sock, "--pid-file="+p.path("pid"), top)
	r := p.try("import", top, p.at("v"))
	if r.code != 1 || !strings.Contains(r.stderr, "lock") {
		t.Errorf("a source in use: %v", r)
	}
	p.tool("bash", "-c", "kill $(cat "+p.path("pid")+"); while kill -0 $(cat "+p.path("pid")+") 2>/dev/null; do sleep .05; done")

	p.tool("qemu-io", "-f", "qcow2", "-c", "write -P 8 0 80M", top)
	p.tool("qemu-io", "-f", "qcow2", "-c", "write -P 9 8M 56M", p.path("vg/snap_vm-102-disk-0_one.qcow2"))
	r = p.try("import", top, p.at("v"))
	if r.code != 1 || !strings.Contains(r.stderr, "no space left") {
		t.Errorf("a pool that is too small: %v", r)
	}
	if rows := p.slatefs("list", "-H", "-r", "-t", "all", p.mnt); strings.Count(rows, "\n") != 1 {
		t.Errorf("something is left: %s", rows)
	}
}
