package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// slowImage is a raw image that takes long to read: much of nothing, and something at its end.
func slowImage(l *lab) string {
	l.t.Helper()
	path := l.path("slow.raw")
	l.tool("truncate", "-s", "4G", path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(l.t, err)
	_, err = f.WriteAt([]byte("the end"), 4<<30-512)
	must(l.t, err)
	must(l.t, f.Close())
	return path
}

// half begins an import and stops it in the middle.
func (p *pool) half(source, name string) process {
	p.t.Helper()
	run := p.begin("said", program, "import", source, p.at(name))
	eventually(p.t, "an import has begun", patience, func() bool {
		n, err := unix.Getxattr(p.at(name+".importing"), "user.slatefs.importing", make([]byte, 64)) // the second thing it does
		return err == nil && n > 0
	})
	must(p.t, run.Process.Signal(unix.SIGSTOP))
	p.has("begun", name+".importing")
	return run
}

// has checks what lies in the pool beside what is called old.
func (p *pool) has(when string, want ...string) {
	p.t.Helper()
	list, err := os.ReadDir(p.mnt)
	must(p.t, err)
	var got []string
	for _, e := range list {
		if e.Name() != "old" {
			got = append(got, e.Name())
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		p.t.Errorf("%s: the pool has %q, want %q", when, got, want)
	}
}

// TestImportStopped: nobody can take what an import leaves that did not come to its end for a whole volume, the next one takes it
// away, and one that runs is left alone.
func TestImportStopped(t *testing.T) {
	needs(t, "qemu-img")
	p := mountedPool(t, "256M", "")
	slow, small := slowImage(p.lab), p.path("small.raw")
	must(t, os.WriteFile(small, bytes.Repeat([]byte("s"), 1<<20), 0o600))

	run := p.half(slow, "v")
	p.refuses(1, []string{"another import", "by slatefs (pid ", fmt.Sprint(run.Process.Pid), "hint: "}, "import", small, p.at("v"))
	must(t, run.Process.Kill())
	<-run.ended
	p.has("killed", "v.importing")
	p.slatefs("import", small, p.at("v"))
	p.tool("cmp", small, p.at("v"))
	p.has("and made again", "v")
	p.slatefs("rename", p.at("v"), p.at("old"))

	run = p.half(slow, "v")
	must(t, run.Process.Signal(unix.SIGINT))
	must(t, run.Process.Signal(unix.SIGCONT))
	if err := <-run.ended; err == nil {
		t.Errorf("one that was interrupted says: %s", read(t, run.out))
	}
	p.has("interrupted")

	run = p.half(slow, "v")
	p.tool("sync", p.at("v.importing")) // else it may be gone with the daemon
	p.kill()
	must(t, run.Process.Signal(unix.SIGCONT))
	if err := <-run.ended; err == nil || !strings.Contains(string(read(t, run.out)), "v.importing stays, which is not whole") {
		t.Errorf("one without a daemon: %v: %s", err, read(t, run.out))
	}
	p.mount()
	p.has("without a daemon", "v.importing")
	p.slatefs("import", small, p.at("v"))
	p.has("and made again", "v")
}

// TestImportForeign: a volume that is called as an import calls its own, and that no import left, is refused and stays, with its
// snapshots; so is one that a mark was copied to.
func TestImportForeign(t *testing.T) {
	needs(t, "qemu-img")
	p := mountedPool(t, "256M", "")
	p.slatefs("set", "destroy_delay=7d", p.name)
	small := p.path("small.raw")
	must(t, os.WriteFile(small, bytes.Repeat([]byte("s"), 1<<20), 0o600))
	mine := p.at("v.importing")
	must(t, os.WriteFile(mine, []byte("mine"), 0o600))
	p.slatefs("snapshot", mine+"@mine")
	stays := func(when string) {
		t.Helper()
		for _, dry := range [][]string{{"import", "-n"}, {"import"}} {
			p.refuses(1, []string{"v.importing: ", "exists", "hint: no import left it so"}, append(dry, small, p.at("v"))...)
		}
		p.has(when, "v.importing")
		if list := p.slatefs("list", "-H", "-o", "name", "-t", "snapshot", mine); !strings.HasSuffix(list, "v.importing@mine\n") {
			t.Errorf("%s: its snapshots are %q", when, list)
		}
		if got := string(read(t, mine)); got != "mine" {
			t.Errorf("%s: it has %q", when, got)
		}
	}
	stays("without a mark")
	must(t, unix.Setxattr(mine, "user.slatefs.importing", []byte("1"), 0)) // of the root, as if it was copied
	stays("with the mark of another")

	p.slatefs("rename", mine, p.at("old"))
	p.slatefs("import", small, p.at("v"))
	if n, err := unix.Getxattr(p.at("v"), "user.slatefs.importing", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("what is whole still has a mark of %d bytes, %v", n, err)
	}
}

// TestImportRefused: what an import would be refused for at its end it is refused for before it begins, and in a dry run.
func TestImportRefused(t *testing.T) {
	needs(t, "qemu-img", "qemu-io")
	p := mountedPool(t, "256M", "")
	dir := p.path("up")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(dir+"/raw", make([]byte, 1<<20), 0o600))
	must(t, os.WriteFile(p.at("old"), nil, 0o600))
	for _, below := range []string{"a,b.raw", "a@b.raw", "é.raw", strings.Repeat("x", 140) + ".raw", "a\nb.raw"} {
		must(t, os.WriteFile(dir+"/"+below, make([]byte, 65536), 0o600))
		p.tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", below, dir+"/vm.qcow2", "64k")
		p.refuses(1, []string{"would become a snapshot: snapshot name"}, "import", "-n", "--below", below, dir+"/vm.qcow2", p.at("v"))
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"exists", []string{p.at("old")}},
		{"exists", []string{p.mnt}},
		{"its directory", []string{p.at("none/v")}},
		{"is not on a slatefs mount", []string{p.path("v")}},
		{"the name has 256 bytes, at most 255", []string{p.at(strings.Repeat("v", 246))}},
		{"no space left", []string{"-o", "refreservation=10G", p.at("v")}},
	} {
		args := append([]string{"import", "-n", dir + "/raw"}, c.args...)
		p.refuses(1, []string{c.says}, args...)
		p.refuses(1, []string{c.says}, append(args[:1:1], args[2:]...)...)
	}
	must(t, os.Symlink(p.at("linked"), p.path("link"))) // beside which something would be made on the host
	p.refuses(1, []string{"exists"}, "import", "-n", dir+"/raw", p.path("link"))
	p.refuses(1, []string{"exists"}, "import", dir+"/raw", p.path("link"))
	if _, err := os.Lstat(p.path("link.importing")); err == nil {
		t.Error("it was made beside a link to the mount")
	}
	// A slash too many names no other volume.
	p.slatefs("import", dir+"/raw", p.at("v//"))
	p.has("at the end", "v")

	// qemu reads zeros past the end of a file: such a loss compares as equal.
	p.tool("qemu-img", "create", "-q", "-f", "qcow2", dir+"/short.qcow2", "1M")
	p.tool("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", dir+"/short.qcow2")
	must(t, os.Truncate(dir+"/short.qcow2", 1<<20))
	p.refuses(1, []string{"up/short.qcow2", "its file ends at 1048576"}, "import", dir+"/short.qcow2", p.at("w"))
	must(t, os.Truncate(dir+"/raw", 1000)) // of which qemu-img says 1024
	p.slatefs("import", dir+"/raw", p.at("w"))
	p.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", dir+"/raw", p.at("w"))
	p.has("at the end", "v", "w")
}

// TestImportScale: a chain as long as qemu-img may be asked for, which the soak imports, and one image more.
func TestImportScale(t *testing.T) {
	needs(t, "qemu-img")
	const most = 200
	p := mountedPool(t, "256M", "")
	dir := p.path("long")
	must(t, os.Mkdir(dir, 0o755))
	name := func(i int) string { return fmt.Sprintf("snap_v_%03d.qcow2", i) }
	p.tool("qemu-img", "create", "-q", "-f", "qcow2", dir+"/"+name(0), "1M")
	p.tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", name(0), dir+"/"+name(1), "1M")
	one := read(t, dir+"/"+name(1))
	on := func(file string, below int) {
		must(t, os.WriteFile(dir+"/"+file, bytes.Replace(one, []byte(name(0)), []byte(name(below)), 1), 0o600))
	}
	for i := 2; i < most; i++ {
		on(name(i), i-1)
	}
	on("v.qcow2", most-1)
	p.refuses(1, []string{"below 200 images, which is the most"}, "import", "-n", dir+"/v.qcow2", p.at("v"))
	images := 20
	if os.Getenv("SLATEFS_SCALE") == "full" {
		images = most // 5 minutes, for qemu-img compare opens each layer with all that is below it
	}
	on("v.qcow2", images-2)
	p.slatefs("import", dir+"/v.qcow2", p.at("v"))
	if n := strings.Count(p.slatefs("list", "-H", "-t", "snapshot", p.at("v")), "\n"); n != images-1 {
		t.Errorf("it has %d snapshots", n)
	}
}
