package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSecondOpenIsRefused opens a pool that is open, by all the names it can have.
func TestSecondOpenIsRefused(t *testing.T) {
	p := mountedPool(t, "128M", "")
	other := p.path("other")
	must(t, os.Mkdir(other, 0o755))
	must(t, os.Symlink(p.device, p.path("symlink")))
	must(t, os.Link(p.device, p.path("hardlink")))
	pid := fmt.Sprint("process ", p.pid())
	names := []string{p.name, p.device, p.path("symlink"), p.path("hardlink")}
	if isRoot() {
		names = append(names, loop(t, p.lab, p.device))
	}
	for _, name := range names {
		p.refuses(1, []string{"mounted on " + p.mnt, pid, "in use"}, "mount", name, other)
		p.refuses(1, []string{"mounted on " + p.mnt}, "pool", "destroy", name)
		p.refuses(1, []string{"mounted on " + p.mnt}, "pool", "destroy", "--force", name)
		if name != p.name {
			p.refuses(1, []string{"in use"}, "pool", "create", "-f", "new", name)
		}
	}
	p.refuses(1, []string{"--online"}, "pool", "check", p.device)
	p.refuses(1, []string{"a pool lab exists"}, "pool", "create", "--size", "64M", "--sparse", "lab", p.path("new.pool"))
	q := p.newPool("second", "64M", "")
	p.refuses(1, []string{p.mnt}, "mount", "second", p.mnt)
	q.check()
	p.slatefs("pool", "check", "--online", p.mnt)
}

// TestWrongDevices gives commands what is no pool: the error names it, the exit code says which kind of mistake it is.
func TestWrongDevices(t *testing.T) {
	l := newLab(t)
	must(t, os.WriteFile(l.path("text"), []byte(strings.Repeat("no pool ", 16<<20)), 0o644))
	must(t, os.WriteFile(l.path("small"), make([]byte, 1<<20), 0o644))
	must(t, os.WriteFile(l.path("empty"), nil, 0o644))
	must(t, os.Mkdir(l.path("dir"), 0o755))
	for _, c := range []struct {
		code int
		says string
		args string
	}{
		{1, "no pool of that name", "mount nothing DIR"},
		{1, "no such file", "mount ./nothing DIR"},
		{1, "text", "mount ./text DIR"},
		{1, "small", "mount ./small DIR"},
		{1, "empty", "mount ./empty DIR"},
		{1, "dir", "mount ./dir DIR"},
		{1, "/dev/null", "mount /dev/null DIR"},
		{1, "text", "pool check ./text"},
		{1, "text", "pool destroy --force ./text"},
		{1, "text: exists", "pool create new ./text"},
		{1, "-f", "pool create new ./text"},
		{1, "small", "pool create -f new ./small"},
		{1, "too small", "pool create --size 1M new ./new"},
		{1, "no such device", "pool create new /dev/nothing"},
		{1, "dir", "pool create new ./dir"},
		{1, "/dev/null", "pool create -f new /dev/null"},
		{2, "--size", "pool create new ./new"},
		{2, "use 20G", "pool create --size 20GB new ./new"},
		{2, "neither a path nor VG/LV", "pool create --size 64M new new"},
		{2, "usage", "mount"},
		{2, "unknown", "mount -o what=1 nothing DIR"},
		{2, "unknown command", "frobnicate"},
		{1, "not", "umount DIR"},
		{1, "not", "erase wait DIR"},
		{1, "", "snapshot ./text@s"},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "DIR", l.path("dir")))
		l.refuses(c.code, []string{c.says}, args...)
	}
	for _, name := range []string{"new"} {
		if _, err := os.Stat(l.path(name)); !os.IsNotExist(err) {
			t.Errorf("%s was made: %v", name, err)
		}
	}
	if b := read(t, l.path("text")); string(b[:8]) != "no pool " || len(b) != 128<<20 {
		t.Error("text was changed")
	}
	if !isRoot() {
		return
	}
	l.tool("mkfs.ext4", "-q", "-F", l.path("text"))
	dev := loop(t, l, l.path("text"))
	l.refuses(1, []string{"ext4", "-f"}, "pool", "create", "new", dev)
	l.tool("mount", dev, l.path("dir"))
	l.refuses(1, []string{"in use"}, "pool", "create", "-f", "new", dev)
	l.tool("umount", l.path("dir"))
}

// TestWrongArguments gives commands volumes and snapshots that are not there or not to be touched.
func TestWrongArguments(t *testing.T) {
	p := mountedPool(t, "128M", "")
	v := p.at("v")
	p.slatefs("create", "--size", "1M", v)
	p.slatefs("snapshot", v+"@s")
	p.slatefs("clone", v+"@s", p.at("c"))
	p.slatefs("create", "--size", "1M", p.at("held"))
	hold, held := startChild(t, "hold", "w", v), startChild(t, "hold", "r", p.at("held"))
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{1, "exist", []string{"create", "--size", "1M", v}},
		{1, "exist", []string{"snapshot", v + "@s"}},
		{1, "not found", []string{"rollback", v + "@none"}},
		{1, "pid", []string{"rollback", v + "@s"}}, // names the holder
		{1, "clone", []string{"destroy", v + "@s"}},
		{1, "clones", []string{"destroy", "-r", v}},
		{1, "pid", []string{"destroy", p.at("held")}},
		{1, "not found", []string{"destroy", p.at("none")}},
		{1, "exist", []string{"clone", v + "@s", p.at("c")}},
		{1, "--shrink", []string{"resize", v, "4K"}},
		{1, "pid", []string{"resize", "--shrink", v, "4K"}},
		{2, "size", []string{"resize", v, "1Q"}},
		{1, "exist", []string{"rename", v, p.at("c")}},
		{2, "unknown", []string{"set", "colour=red", p.mnt}},
		{1, "busy: open by", []string{"umount", p.mnt}},
	} {
		p.refuses(c.code, []string{c.says}, c.args...)
	}
	hold.end()
	held.end()
}

// TestShrinkUnderAMount refuses to cut a file system that is mounted from a volume, and names the loop device that has it.
func TestShrinkUnderAMount(t *testing.T) {
	needsRoot(t)
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "64M", p.at("v"))
		p.tool("mkfs.ext4", "-q", "-F", p.at("v"))
		dev := loop(t, p.lab, p.at("v"))
		must(t, os.MkdirAll(p.path("dir"), 0o755))
		p.tool("mount", dev, p.path("dir"))
		p.refuses(1, []string{filepath.Base(dev), "--force"}, "resize", "--shrink", p.at("v"), "32M")
		must(t, os.WriteFile(filepath.Join(p.path("dir"), "f"), make([]byte, 1<<20), 0o600))
		p.tool("umount", p.path("dir"))
		p.tool("losetup", "-d", dev)
		p.tool("e2fsck", "-fn", p.at("v"))
		p.slatefs("resize", "--shrink", p.at("v"), "32M")
	})
}

// TestTermWithOpenFiles ends a daemon whose files are open: it goes on, refuses new opens, says who holds them, and ends
// after the last close.
func TestTermWithOpenFiles(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "128M", tr)
		p.slatefs("create", "--size", "1M", p.at("v"))
		hold := startChild(t, "hold", "w", p.at("v"))
		info := p.info().Info
		pidfd, err := unix.PidfdOpen(info.Daemon.PID, 0)
		must(t, err)
		defer closeFD(t, pidfd)
		must(t, unix.Kill(info.Daemon.PID, unix.SIGTERM))
		holder := fmt.Sprintf("pid %d, v, writing", hold.cmd.Process.Pid)
		eventually(t, "the log names the holder", patience, func() bool {
			return strings.Contains(string(read(t, info.Daemon.Log)), holder)
		})
		if got := hold.do("still served"); got != "wrote: <nil>" {
			t.Error(got)
		}
		_, err = os.Open(p.at("v"))
		fails(t, "a new open", err, unix.EBUSY)
		if !p.mounted() {
			t.Error("the mount is gone")
		}
		p.slatefs("snapshot", p.at("v")+"@late") // control goes on as well
		hold.end()
		p.waitEnd(pidfd)
		if p.mounted() {
			t.Error("still mounted after the last close")
		}
		p.check()
		p.mount()
		if b := read(t, p.at("v")); !strings.HasPrefix(string(b), "still served\n") {
			t.Errorf("%q", b[:20])
		}
	})
}
