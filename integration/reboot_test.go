package integration

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rebootInit goes on with the Debian on the first disk.
const rebootInit = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
while read -r m; do insmod "/modules/$m.ko"; done </modules/order
for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/vda ] && break; sleep 0.2; done
mount -t ext4 /dev/vda /mnt
mount --move /dev /mnt/dev
exec switch_root /mnt /sbin/init
`

// unitOfTurns runs one of the scripts in each boot.
const unitOfTurns = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=bash /test/turn
[Install]
WantedBy=default.target
`

// TestGuestReboots installs the package on a Debian of its own kernel, with systemd as its init, and boots that machine again: the
// pool is there before its users, and the session of README.md is as it is there. SLATEFS_SCALE=full: the life with systemd instead,
// which TestGuestInstalled has on this kernel.
func TestGuestReboots(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	l := newLab(t)
	guestImage.once.Do(makeGuestImage)
	if guestImage.missing != nil {
		t.Skipf("SKIPPED: guest kernel: no virtual machine can be run here: %v", guestImage.missing)
	}
	must(t, guestImage.broken)
	b := l.newBootable()
	session := l.putInstalled()
	turns := []string{"first", "again"}
	if os.Getenv("SLATEFS_SCALE") == "full" {
		turns[1] = "second"
	}
	must(t, os.WriteFile(l.path("test/turns"), []byte(strings.Join(turns, "\n")+"\n"), 0o644))
	start := time.Now()
	g := l.bootDebian(b.disk())
	boots := map[string]bool{}
	for _, turn := range turns {
		boots[g.until("boot ")[:36]] = true
		if code := g.until("script " + turn + ": exit "); code != "0" {
			t.Fatalf("%s: exit %s\n%s", turn, code, g.log())
		}
		t.Logf("%s: after %v", turn, time.Since(start).Round(time.Second))
	}
	if len(boots) != len(turns) {
		t.Errorf("booted %d times, want %d", len(boots), len(turns))
	}
	must(t, g.cmd.Wait()) // it powers off
	_, out, _ := strings.Cut(g.text.String(), "\nREADME.md:\n")
	out, _, _ = strings.Cut(out, "\nscript ")
	session.compare(out)
}

// disk makes a disk of the host's files, with the lab's directory test and the programs of this host that its scripts call.
func (b *bootable) disk() disk {
	l := b.l
	l.t.Helper()
	units := filepath.Join(b.root, "etc/systemd/system")
	must(l.t, os.WriteFile(filepath.Join(units, "turn.service"), []byte(unitOfTurns), 0o644))
	l.tool("mkdir", "-p", filepath.Join(units, "default.target.wants"))
	must(l.t, os.Symlink("../turn.service", filepath.Join(units, "default.target.wants/turn.service")))
	l.tool("cp", "-r", l.path("test"), filepath.Join(b.root, "test"))
	program, err := findProgram("qemu-img")
	must(l.t, err)
	out, err := exec.Command("ldd", program).Output()
	must(l.t, err)
	l.tool("mkdir", "-p", filepath.Join(b.root, "host/usr/bin"))
	l.tool("cp", "-L", program, filepath.Join(b.root, "host/usr/bin/qemu-img"))
	for _, m := range library.FindAllSubmatch(out, -1) {
		lib := string(m[1])
		to := filepath.Join(b.root, "host/usr", strings.TrimPrefix(lib, "/usr"))
		if filepath.Base(filepath.Dir(lib)) == "lib64" { // the loader: where it is called
			to = filepath.Join(b.root, "host/usr/lib/x86_64-linux-gnu", filepath.Base(lib))
		}
		l.tool("mkdir", "-p", filepath.Dir(to))
		l.tool("cp", "-L", lib, to)
	}
	path := l.path("debian.img")
	l.tool("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", "-d", b.root, path, "6G")
	return disk{path: path}
}

// bootDebian boots a machine from a disk with a Debian, which may boot itself again, as often as it likes.
func (l *lab) bootDebian(d disk) *guest {
	l.t.Helper()
	c := cpio{done: map[string]bool{}}
	for _, dir := range []string{"dev", "mnt", "modules", "bin"} {
		c.dir(dir)
	}
	c.file("init", []byte(rebootInit), 0o755)
	busybox, err := findProgram("busybox")
	kernel := filepath.Dir(filepath.Dir(guestImage.kernel)) // of boot/vmlinuz-*
	must(l.t, errors.Join(err, c.copy("bin/busybox", busybox), c.modules(kernel)))
	initrd := l.path("debian.cpio")
	must(l.t, os.WriteFile(initrd, c.end(), 0o644))
	ctx, cancel := context.WithTimeout(context.Background(), insideLimit)
	g := &guest{t: l.t, cancel: cancel, console: l.path("console")}
	args := slices.DeleteFunc(g.arguments(guestMemory, []disk{d}), func(a string) bool { return a == "-no-reboot" })
	args[slices.Index(args, "-initrd")+1] = initrd
	g.cmd = exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	g.cmd.WaitDelay = 5 * time.Second
	g.in, err = g.cmd.StdinPipe() // at its end the port would be closed, and who writes to it wait
	must(l.t, err)
	out, err := g.cmd.StdoutPipe()
	must(l.t, err)
	g.out, g.cmd.Stderr = bufio.NewReader(out), os.Stderr
	must(l.t, g.cmd.Start())
	l.t.Cleanup(g.end)
	return g
}
