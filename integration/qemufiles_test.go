package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestQemuQcow2 has a chain of qcow2 files in the mount, and the same content flat outside: measured, mapped, resized, committed and
// rebased they hold the same. A snapshot of the top one keeps what it held.
func TestQemuQcow2(t *testing.T) {
	needs(t, "qemu-img", "qemu-io")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		flat := p.path("flat")
		p.tool("qemu-img", "create", "-q", "-f", "raw", flat, "32M")
		p.tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", p.at("base"), "32M")
		for _, c := range [][2]string{{"mid", "base"}, {"top", "mid"}} {
			p.tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", "-b", c[1], "-F", "qcow2", p.at(c[0]))
		}
		write := func(file string, args ...string) {
			t.Helper()
			for _, a := range args {
				p.tool("qemu-io", "-f", "qcow2", "-t", "none", "-d", "unmap", "-c", a, p.at(file))
				p.tool("qemu-io", "-f", "raw", "-c", a, flat)
			}
		}
		same := func(file string) {
			t.Helper()
			p.tool("qemu-img", "check", "-q", p.at(file))
			p.tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", flat, p.at(file))
		}
		write("base", "write -P 1 0 16M")
		write("mid", "write -P 2 1M 2M", "write -z 4M 1M", "write -P 3 512 512")
		write("top", "write -P 4 2M 4M", "write -P 5 20M 64k")
		same("top")
		var need struct{ Required int64 }
		must(t, json.Unmarshal([]byte(p.tool("qemu-img", "measure", "--output=json", "-O", "raw", p.at("top"))), &need))
		if need.Required != 32<<20 {
			t.Errorf("measured as raw: %d bytes", need.Required)
		}
		p.tool("qemu-img", "measure", "--output=json", "-f", "raw", "-O", "qcow2", flat)
		if out := p.tool("qemu-img", "map", "--output=json", p.at("top")); !strings.Contains(out, `"depth": 2`) ||
			!strings.Contains(out, `"depth": 0`) {
			t.Errorf("layers are not mapped: %s", out)
		}
		p.tool("qemu-img", "convert", "-O", "raw", p.at("top"), p.at("whole.raw"))
		p.tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", flat, p.at("whole.raw"))
		p.slatefs("snapshot", p.at("top")+"@s")
		p.tool("cp", "--sparse=always", flat, p.path("then"))

		write("top", "write -P 6 3M 1M", "write -z -u 20M 64k")
		p.tool("qemu-img", "commit", "-q", "-f", "qcow2", "-t", "none", "-b", p.at("mid"), p.at("top"))
		same("mid")
		p.tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", "mid", "-F", "qcow2", p.at("top"))
		write("top", "write -P 7 5M 1M")
		p.tool("qemu-img", "rebase", "-f", "qcow2", "-b", "base", "-F", "qcow2", p.at("top"))
		must(t, os.Remove(p.at("mid")))
		same("top")
		p.tool("qemu-img", "rebase", "-f", "qcow2", "-b", "", p.at("top"))
		must(t, os.Remove(p.at("base")))
		same("top")
		for _, size := range []string{"48M", "40M"} {
			p.tool("qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", p.at("top"), size)
			p.tool("qemu-img", "resize", "-q", "--shrink", "-f", "raw", flat, size)
			same("top")
		}
	})
}

// TestQemuLocks has two qemus want one file. The second is refused as long as the first lives, whatever becomes of the daemon, and
// not a moment longer, if the first was killed.
func TestQemuLocks(t *testing.T) {
	needs(t, "qemu-system-x86_64", "qemu-io", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "8M", p.at("v"))
		p.slatefs("snapshot", p.at("v")+"@s")
		second := func(want bool, when string) {
			t.Helper()
			r := p.exec("qemu-io", "-f", "raw", "-c", "write -P 9 1M 4k", p.at("v"))
			if (r.code == 0) != want || !want && !strings.Contains(r.stderr, `Failed to get "write" lock`) {
				t.Errorf("%s: a second writer: %v", when, r)
			}
			p.tool("qemu-io", "-r", "-f", "raw", "-c", "read 0 4k", p.at("v")) // which a raw file allows
		}
		for _, aio := range []string{"io_uring", "threads"} {
			m := p.newMachine(drive{p.at("v"), "none", aio, "off"})
			second(false, "at first")
			p.killDaemon()
			second(false, "after the daemon died")
			m.io("d0", "write -P 1 0 1M")
			m.kill()
			second(true, "after the first was killed")
		}
		m := p.newMachine(drive{p.at("v"), "none", "native", "off"})
		m.quit()
		second(true, "after the first ended")
		r := p.begin("reader", "qemu-storage-daemon", "--blockdev", "driver=file,node-name=f,read-only=on,filename="+p.snap("v", "s"),
			"--pidfile", p.path("reader.pid"))
		eventually(t, "a reader of the snapshot", patience, func() bool { _, err := os.Stat(p.path("reader.pid")); return err == nil })
		p.tool("qemu-img", "info", "-f", "raw", p.snap("v", "s")) // a snapshot has many readers
		must(t, r.Process.Kill())
		<-r.ended
	})
}

// TestQemuTPM keeps small files through a shared mapping, a few bytes at a time, as swtpm does its state: what was synced is what
// others read, a snapshot has it, and so has a pool whose daemon was killed.
func TestQemuTPM(t *testing.T) {
	needs(t, "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "256M", tr)
		p.mount()
		const size = 4 << 20
		want, then := make([]byte, size), make([]byte, size)
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("tpm"), "4M")
		m := startChild(t, "map", p.at("tpm"), fmt.Sprint(size))
		put := func(off, n, b int) {
			t.Helper()
			for i := range n {
				want[off+i] = byte(b)
			}
			if got := m.do("put %d %d %d", off, n, b); got != sum(want[off:off+n]) {
				t.Errorf("put %d at %d: the mapping holds something else", n, off)
			}
		}
		for i := range 40 {
			put(i*7919*11%(size-9000), 1+i*223, i+1)
			if i == 20 {
				copy(then, want)
				p.slatefs("snapshot", p.at("tpm")+"@s")
			}
		}
		if sum(read(t, p.at("tpm"))) != sum(want) {
			t.Error("read shows something else than was synced")
		}
		p.kill()
		m.end()
		p.mount()
		if sum(read(t, p.at("tpm"))) != sum(want) {
			t.Error("after a kill: not what was synced")
		}
		if sum(read(t, p.snap("tpm", "s"))) != sum(then) {
			t.Error("the snapshot holds something else")
		}
	})
}

// TestQemuZeroes writes zeros as data: over nothing they take nothing, whatever qemu does; over data they free it if qemu finds them.
func TestQemuZeroes(t *testing.T) {
	needs(t, "qemu-io", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		for zeroes, kept := range map[string]int64{"off": 1 << 20, "on": 0, "unmap": 0} {
			vol := p.at(zeroes)
			p.slatefs("create", "--size", "8M", vol)
			zero := func(want int64, over string) {
				t.Helper()
				p.tool("qemu-io", "-t", "none", "-c", "write -P 0 0 1M", "--image-opts",
					"driver=raw,discard=unmap,detect-zeroes="+zeroes+",file.driver=file,file.filename="+vol)
				if got := p.imageInfo(vol).ActualSize; got != want {
					t.Errorf("detect-zeroes=%s: zeros over %s take %d bytes, want %d", zeroes, over, got, want)
				}
				filled(t, vol, 0, 8<<20, 0)
			}
			zero(0, "nothing")
			p.tool("qemu-io", "-t", "none", "-f", "raw", "-c", "write -P 1 0 1M", vol)
			zero(kept, "data")
		}
	})
}
