package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootable is a Debian with systemd in a container of this kernel, whose files are kept from one boot to the next.
type bootable struct {
	l    *lab
	root string
}

// unitOfTest runs a script when the host is up, and turns it off.
const unitOfTest = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'bash /test/%s >/test/%[1]s.out 2>&1 && echo DONE >>/test/%[1]s.out'
ExecStopPost=systemctl poweroff --no-block
[Install]
WantedBy=default.target
`

// newBootable makes a host that was never booted. /test in it is the lab's directory test.
func (l *lab) newBootable() *bootable {
	l.t.Helper()
	var text bytes.Buffer
	cmd := exec.Command("../.ci/guest-root")
	cmd.Stderr = &text
	out, err := cmd.Output()
	if err == nil {
		_, err = findProgram("systemd-nspawn")
	}
	if err != nil {
		l.t.Skipf("SKIPPED: guest kernel: no Debian with systemd can be run here: %v\n%s", err, text.Bytes())
	}
	b := &bootable{l, l.path("root")}
	for _, dir := range []string{"root", "upper", "work", "test"} {
		must(l.t, os.Mkdir(l.path(dir), 0o755))
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.TrimSpace(string(out)), l.path("upper"), l.path("work"))
	l.tool("mount", "-t", "overlay", "-o", layers, "overlay", b.root)
	l.t.Cleanup(func() { l.tool("umount", b.root) })
	return b
}

// boot boots the host, which runs a script of testdata/installed, and turns itself off.
func (b *bootable) boot(script string) {
	l := b.l
	l.t.Helper()
	unit := filepath.Join(b.root, "etc/systemd/system/script.service")
	must(l.t, os.WriteFile(unit, fmt.Appendf(nil, unitOfTest, script), 0o644))
	wants := filepath.Join(b.root, "etc/systemd/system/default.target.wants")
	must(l.t, os.MkdirAll(wants, 0o755))
	if err := os.Symlink("../script.service", filepath.Join(wants, "script.service")); !os.IsExist(err) {
		must(l.t, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), insideLimit)
	defer cancel()
	// Neither the manager of this host, if there is one, nor its network has a part in it.
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network",
		"--capability=all", "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--bind=/dev/fuse",
		"--bind-ro=/usr:/host/usr", // qemu-img, with its libraries
		"--machine=slatefs-test", "--bind="+l.path("test")+":/test", "--directory="+b.root)
	cmd.WaitDelay = 5 * time.Second
	start := time.Now()
	console, err := cmd.CombinedOutput()
	said, readErr := os.ReadFile(l.path("test/" + script + ".out"))
	if err != nil || readErr != nil || !bytes.HasSuffix(said, []byte("DONE\n")) {
		l.t.Fatalf("%s: %v, %v\n%s\n--- console:\n%s", script, err, readErr, said, console[max(0, len(console)-8<<10):])
	}
	l.t.Logf("boot, script %s and shutdown took %v", script, time.Since(start).Round(time.Second))
}

// TestGuestInstalled installs the package on a Debian with systemd and boots that again: the pool is there before its users, and
// until they have ended. An upgrade restarts nothing, a removal is refused, what dies or is stuck comes back.
func TestGuestInstalled(t *testing.T) {
	needsRoot(t)
	l := newLab(t)
	b := l.newBootable()
	session := l.putInstalled()
	b.boot("first")
	b.boot("second")
	session.compare(string(read(t, l.path("test/readme.out"))))
}

// putInstalled puts what a bootable host needs into the lab's directory test: packages of two versions, the scripts, and the session
// of README.md.
func (l *lab) putInstalled() *session {
	l.t.Helper()
	for name, version := range map[string]string{"old.deb": "1.0.0~test", "new.deb": "2.0.0~test"} {
		out := l.path(name + ".d")
		cmd := exec.Command("../packaging/deb")
		cmd.Env = append(os.Environ(), "VERSION="+version, "OUT="+out)
		if text, err := cmd.CombinedOutput(); err != nil {
			l.t.Fatalf("packaging/deb: %v\n%s", err, text)
		}
		made, err := filepath.Glob(filepath.Join(out, "slatefs_*.deb"))
		if err != nil || len(made) != 1 {
			l.t.Fatalf("packaging/deb made %v, %v", made, err)
		}
		must(l.t, os.Rename(made[0], l.path("test/"+name)))
	}
	for _, script := range []string{"lib", "first", "second", "again", "turn"} {
		must(l.t, os.WriteFile(l.path("test/"+script), read(l.t, "testdata/installed/"+script), 0o755))
	}
	session := readmeSession(l.t, "Five minutes")
	must(l.t, os.WriteFile(l.path("test/readme"), []byte(session.script()), 0o644))
	return session
}
