package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// filled checks that a part of a file is all of one byte.
func filled(t *testing.T, path string, off, n int64, want byte) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	got := make([]byte, n)
	_, err = f.ReadAt(got, off)
	must(t, err)
	for i, b := range got {
		if b != want {
			t.Errorf("%s: byte %d is %#x, want %#x", path, off+int64(i), b, want)
			return
		}
	}
}

// lasts are ends of what a machine does: what it wrote last is durable, by what each mode has for that.
var lasts = []struct {
	through  string // where each write is durable
	other    string
	flush    bool // is what makes the other one durable
	off, n   int64
	contents byte
}{
	{"write -P 2 64k 64k", "write -f -P 2 64k 64k", false, 64 << 10, 64 << 10, 2},
	{"write -P 3 512 512", "write -P 3 512 512", true, 512, 512, 3},
	{"write -P 4 2M 4k", "write -f -P 4 2M 4k", false, 2 << 20, 4 << 10, 4},
	{"write -z -u 128k 64k", "write -z -u -f 128k 64k", false, 128 << 10, 64 << 10, 0},
	{"write -P 0 256k 64k", "discard 256k 64k", true, 256 << 10, 64 << 10, 0},
}

// TestQemuDurable cuts the power of daemon and machine after a write that qemu has acknowledged as durable, in each cache mode: with
// FUA, with a flush, or in a mode in which every write is. It is there, and so is all that was before. A snapshot is taken before, so
// that nothing is durable only because it is written in place.
func TestQemuDurable(t *testing.T) {
	needs(t, "qemu-system-x86_64")
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "256M", tr)
		p.mount()
		v := p.at("v")
		for _, mode := range cacheModes {
			for a, aio := range mode.aio {
				for i, last := range lasts {
					if mode.cache == "unsafe" || a > 0 && i != a {
						continue // it promises nothing; once is enough for what is the same by all
					}
					p.slatefs("create", "--size", "4M", v)
					m := p.newMachine(drive{v, mode.cache, aio, "unmap"})
					m.io("d0", "write -P 1 0 1M", "flush")
					p.slatefs("snapshot", v+"@s")
					switch {
					case mode.through:
						m.io("d0", last.through)
					case last.flush:
						m.io("d0", last.other, "flush")
					default:
						m.io("d0", last.other)
					}
					p.kill()
					m.kill()
					p.mount()
					filled(t, v, last.off, last.n, last.contents)
					filled(t, v, 384<<10, 640<<10, 1)
					filled(t, v, 3<<20, 1<<20, 0)
					filled(t, p.snap("v", "s"), 0, 1<<20, 1)
					if t.Failed() {
						t.Fatalf("cache=%s aio=%s: after %+v", mode.cache, aio, last)
					}
					p.slatefs("destroy", "-r", v)
				}
			}
		}
	})
}

// TestQemuLive takes snapshots under a qemu that knows nothing of them, and grows its disk: what each holds is what was acknowledged
// before, the path and the open file stay, a rollback is refused and names who has the file open. A daemon that dies meanwhile is
// not seen.
func TestQemuLive(t *testing.T) {
	needs(t, "qemu-system-x86_64", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		var drives []drive
		for _, cache := range []string{"none", "writeback"} {
			p.slatefs("create", "--size", "16M", p.at(cache))
			drives = append(drives, drive{p.at(cache), cache, "io_uring", "unmap"})
		}
		m := p.newMachine(drives...)
		for i, d := range drives {
			device, name := "d"+strconv.Itoa(i), filepath.Base(d.path)
			for n := range 4 {
				m.io(device, fmt.Sprintf("write -P %d 0 8M", n+1), fmt.Sprintf("write -P %d %dM 1M", 16+n, 8+n)) // no flush
				p.slatefs("snapshot", fmt.Sprintf("%s@s%d", d.path, n))
				if n == 1 {
					p.killDaemon()
				}
			}
			m.io(device, "discard 0 4M", "write -P 99 4M 4M")
			for n := range 4 {
				snap := p.snap(name, fmt.Sprint("s", n))
				filled(t, snap, 0, 8<<20, byte(n+1))
				filled(t, snap, int64(8+n)<<20, 1<<20, byte(16+n))
				filled(t, snap, int64(9+n)<<20, int64(7-n)<<20, 0)
			}
			m.io(device, "read -P 0 0 4M", "read -P 99 4M 4M", "read -P 19 11M 1M")
			p.refuses(1, []string{fmt.Sprint(m.Process.Pid)}, "rollback", d.path+"@s2")
			// As Proxmox does it: qemu grows the file itself; or the file was grown before, and qemu is told.
			m.do("block_resize", map[string]any{"node-name": "n" + strconv.Itoa(i), "size": 24 << 20})
			m.io(device, "write -P 7 23M 1M")
			p.slatefs("resize", d.path, "32M")
			m.do("block_resize", map[string]any{"node-name": "n" + strconv.Itoa(i), "size": 32 << 20})
			m.io(device, "read -P 0 24M 8M", "write -P 8 31M 1M", "flush", "read -P 7 23M 1M")
			filled(t, d.path, 31<<20, 1<<20, 8)
		}
		nodes := m.do("query-named-block-nodes", map[string]any{"flat": true})
		for _, d := range drives {
			if !bytes.Contains(nodes, []byte(strconv.Quote(d.path))) {
				t.Errorf("no node has the file %s any more: %s", d.path, nodes)
			}
		}
		m.quit()
		for _, d := range drives {
			p.slatefs("rollback", d.path+"@s2")
			filled(t, d.path, 0, 8<<20, 3)
			if i := p.imageInfo(d.path); i.VirtualSize != 16<<20 {
				t.Errorf("%s: rolled back: %+v", d.path, i)
			}
		}
	})
}

// add makes a node of a file, or on another node.
func (m *machine) add(opts string) {
	m.t.Helper()
	args := map[string]any{}
	must(m.t, json.Unmarshal([]byte(opts), &args))
	m.do("blockdev-add", args)
}

// job waits for the end of a job, which must be a success.
func (m *machine) job() {
	m.t.Helper()
	if e := m.until("BLOCK_JOB_COMPLETED"); e.Data.Error != "" {
		m.t.Errorf("job %s: %s", e.Data.Device, e.Data.Error)
	}
}

// TestQemuMirror moves a disk out of the mount and back in, under writes: the machine goes on with the new file, the old one is as
// it was at the end.
func TestQemuMirror(t *testing.T) {
	needs(t, "qemu-system-x86_64", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("create", "--size", "32M", p.at("disk"))
		p.tool("qemu-img", "create", "-q", "-f", "qcow2", p.path("outside"), "32M")
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("back"), "32M")
		m := p.newMachine(drive{p.at("disk"), "none", "io_uring", "unmap"})
		m.io("d0", "write -P 1 0 16M", "discard 4M 4M")
		m.add(`{"driver":"qcow2","node-name":"out","discard":"unmap","file":{"driver":"file","filename":"` + p.path("outside") + `"}}`)
		m.add(`{"driver":"raw","node-name":"in","discard":"unmap","cache":{"direct":true},
			"file":{"driver":"file","aio":"native","cache":{"direct":true},"filename":"` + p.at("back") + `"}}`)
		move := func(from, to string, pattern int) {
			t.Helper()
			m.do("blockdev-mirror", map[string]any{"job-id": "j", "device": from, "target": to, "sync": "full"})
			for n := range 8 { // these arrive at both
				m.io("d0", fmt.Sprintf("write -P %d %dM 512k", pattern, 2*n+1))
			}
			m.until("BLOCK_JOB_READY")
			m.io("d0", fmt.Sprintf("write -P %d %dM 64k", pattern, 18+pattern), "write -z -u 17M 1M")
			m.do("job-complete", map[string]any{"id": "j"})
			m.job()
			m.do("blockdev-del", map[string]any{"node-name": from})
		}
		move("n0", "out", 2)
		p.tool("qemu-img", "compare", "-q", "-U", "-f", "raw", "-F", "qcow2", p.at("disk"), p.path("outside"))
		p.slatefs("snapshot", p.at("disk")+"@moved") // of a file that nobody has open any more
		m.io("d0", "write -P 3 0 64k")
		move("out", "in", 4)
		m.io("d0", "read -P 3 0 64k", "read -P 4 15M 512k", "read -P 2 20M 64k", "read -P 4 22M 64k", "read -P 0 4M 1M", "flush")
		m.quit()
		p.tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", p.at("back"), p.path("outside"))
		if i := p.imageInfo(p.at("back")); i.ActualSize > 16<<20 {
			t.Errorf("a thin copy takes %d bytes", i.ActualSize)
		}
	})
}

// TestQemuFleecing backs up a disk as it was, while it is overwritten: old content goes to a fleecing image on the same pool. The
// backup is what a snapshot of the same time is, and of the fleecing image nothing is left.
func TestQemuFleecing(t *testing.T) {
	needs(t, "qemu-system-x86_64", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("set", "erase_throughput=0", p.mnt)
		p.slatefs("create", "--size", "32M", p.at("disk"))
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("fleece"), "32M")
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("backup"), "32M")
		m := p.newMachine(drive{p.at("disk"), "none", "io_uring", "unmap"})
		for n := range 16 {
			m.io("d0", fmt.Sprintf("write -P %d %dM 1M", n+1, 2*n))
		}
		file := func(name string) string {
			return `"discard":"unmap","cache":{"direct":true},"file":{"driver":"file","aio":"io_uring","cache":{"direct":true},"filename":"` +
				p.at(name) + `"}}`
		}
		through := func(node string) {
			t.Helper()
			m.do("qom-set", map[string]any{"path": "/machine/peripheral/d0/virtio-backend", "property": "drive", "value": node})
		}
		m.add(`{"driver":"raw","node-name":"fleece",` + file("fleece"))
		m.add(`{"driver":"raw","node-name":"backup",` + file("backup"))
		p.slatefs("snapshot", p.at("disk")+"@then")
		m.add(`{"driver":"copy-before-write","node-name":"cbw","discard":"unmap","file":"n0","target":"fleece"}`)
		through("cbw")
		m.add(`{"driver":"snapshot-access","node-name":"then","file":"cbw"}`)
		m.io("d0", "write -P 99 0 3M", "discard 8M 4M", "write -z -u 20M 1M")
		m.do("blockdev-backup", map[string]any{"job-id": "j", "device": "then", "target": "backup", "sync": "full"})
		for n := range 12 {
			m.io("d0", fmt.Sprintf("write -P 100 %dk 64k", 31<<10-n*2500))
		}
		m.job()
		for _, node := range []string{"then", "cbw", "fleece", "backup"} {
			if node == "cbw" {
				through("n0")
			}
			m.do("blockdev-del", map[string]any{"node-name": node})
		}
		m.io("d0", "read -P 99 0 3M", "read -P 0 8M 1M")
		p.tool("qemu-img", "compare", "-f", "raw", "-F", "raw", p.snap("disk", "then"), p.at("backup"))
		if p.number(p.at("fleece"), "referenced") == 0 {
			t.Error("nothing was kept in the fleecing image")
		}
		p.slatefs("destroy", p.at("fleece"))
		p.slatefs("erase", "wait", p.mnt)
		if e := p.erase(); e.Dirty != 0 || e.Failed != 0 {
			t.Errorf("%+v", e)
		}
		m.quit()
	})
}
