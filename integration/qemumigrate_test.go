package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// status is what qemu says of itself, or of a migration.
func (m *machine) status(command string) string {
	m.t.Helper()
	var s struct{ Status string }
	must(m.t, json.Unmarshal(m.do(command, nil), &s))
	return s.Status
}

// memory is the guest's lowest MiB.
func (m *machine) memory(l *lab) []byte {
	m.t.Helper()
	file := l.path("memory")
	m.do("pmemsave", map[string]any{"val": 0, "size": 1 << 20, "filename": file})
	return read(m.t, file)
}

// boot runs the guest until its firmware has changed the memory, and stops it.
func (m *machine) boot(l *lab) []byte {
	m.t.Helper()
	before := m.memory(l)
	m.do("cont", nil)
	eventually(m.t, "the firmware runs", patience, func() bool { return !bytes.Equal(m.memory(l), before) })
	m.do("stop", nil)
	return m.memory(l)
}

// saved sends the machine's state, and waits until it has arrived.
func (m *machine) saved(uri string) {
	m.t.Helper()
	m.do("migrate", map[string]any{"uri": uri})
	eventually(m.t, "the state was sent to "+uri, patience, func() bool {
		s := m.status("query-migrate")
		if s == "failed" {
			m.t.Fatalf("migrate %s: %s", uri, m.do("query-migrate", nil))
		}
		return s == "completed"
	})
}

// arrived waits until a machine has the state that it was started for.
func (m *machine) arrived() {
	m.t.Helper()
	eventually(m.t, "the state arrived", patience, func() bool { return m.status("query-status") != "inmigrate" })
}

// TestQemuState takes a snapshot with the guest's memory: its state goes to a volume of its own, the disk is frozen at that moment.
// What goes on from both later has the memory and the disk of then.
func TestQemuState(t *testing.T) {
	needs(t, "qemu-system-x86_64", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		disk, state := p.at("vm-100-disk-0.raw"), p.at("vm-100-state-s.raw")
		p.slatefs("create", "--size", "16M", disk)
		p.tool("qemu-img", "create", "-q", "-f", "raw", state, "628M") // twice the memory and 500 MiB, as Proxmox makes it
		m := p.newMachine(drive{disk, "none", "io_uring", "unmap"})
		m.io("d0", "write -P 1 0 8M")
		memory := m.boot(p.lab)
		m.saved("exec:dd of=" + state + " bs=64k iflag=fullblock oflag=direct conv=notrunc,fsync status=none")
		p.slatefs("snapshot", disk+"@s")
		if n := p.number(state, "referenced"); n < 256<<10 || n > 64<<20 {
			t.Errorf("the state takes %d bytes of a guest of 64 MiB", n)
		}
		p.killDaemon()
		m.do("cont", nil)
		m.io("d0", "write -P 2 0 8M", "flush")
		m.quit()
		p.slatefs("rollback", disk+"@s")
		m = p.newMachineOf([]string{"-incoming", "exec:cat " + state}, drive{disk, "none", "io_uring", "unmap"})
		m.arrived()
		if !bytes.Equal(m.memory(p.lab), memory) {
			t.Error("the memory is not what it was")
		}
		m.io("d0", "read -P 1 0 8M", "write -P 3 0 64k", "flush")
		m.do("cont", nil)
		m.quit()
		filled(t, p.snap("vm-100-disk-0.raw", "s"), 0, 8<<20, 1)
	})
}

// TestQemuMigration moves a machine to another one with its disk, as Proxmox does it with local disks: the disk is mirrored to an
// NBD server of the other one, under writes, then the state follows. Out of the mount, and back into it.
func TestQemuMigration(t *testing.T) {
	needs(t, "qemu-system-x86_64", "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("create", "--size", "32M", p.at("disk"))
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.path("outside"), "32M")
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("back"), "32M")
		m := p.newMachine(drive{p.at("disk"), "none", "io_uring", "unmap"})
		m.io("d0", "write -P 1 0 16M")
		memory := m.boot(p.lab)
		for i, to := range []string{p.path("outside"), p.at("back")} {
			m = p.migrate(m, to, i)
			if !bytes.Equal(m.memory(p.lab), memory) {
				t.Error("the memory is not what it was")
			}
			for n := range 8 {
				m.io("d0", fmt.Sprintf("read -P %d %dM 512k", 2+i, 2*n+1), fmt.Sprintf("read -P 1 %dk 512k", 2048*n+1536))
			}
			m.io("d0", fmt.Sprintf("read -P %d 20M 64k", 12+i), "read -P 0 24M 8M")
		}
		m.quit()
		if i := p.imageInfo(p.at("back")); i.ActualSize > 17<<20 {
			t.Errorf("a thin copy takes %d bytes", i.ActualSize)
		}
	})
}

// migrate moves a machine to a file, which is the disk of another one that is returned.
func (p *pool) migrate(m *machine, to string, n int) *machine {
	p.t.Helper()
	state, nbd := p.path(fmt.Sprint("state", n)), p.path(fmt.Sprint("nbd", n))
	other := p.newMachineOf([]string{"-incoming", "unix:" + state}, drive{to, "none", "io_uring", "unmap"})
	other.do("nbd-server-start", map[string]any{"addr": map[string]any{"type": "unix", "data": map[string]any{"path": nbd}}})
	other.do("block-export-add", map[string]any{"id": "e", "type": "nbd", "node-name": "n0", "name": "disk", "writable": true})
	m.add(`{"driver":"nbd","node-name":"far","export":"disk","server":{"type":"unix","path":"` + nbd + `"}}`)
	m.do("blockdev-mirror", map[string]any{"job-id": "j", "device": "n0", "target": "far", "sync": "full"})
	for i := range 8 { // these arrive at both
		m.io("d0", fmt.Sprintf("write -P %d %dM 512k", 2+n, 2*i+1))
	}
	m.until("BLOCK_JOB_READY")
	m.io("d0", fmt.Sprintf("write -P %d 20M 64k", 12+n))
	m.do("block-job-cancel", map[string]any{"device": "j"}) // which ends it with both the same
	m.until("BLOCK_JOB_COMPLETED")
	m.do("blockdev-del", map[string]any{"node-name": "far"})
	m.saved("unix:" + state)
	other.do("block-export-del", map[string]any{"id": "e", "mode": "hard"})
	other.do("nbd-server-stop", nil)
	other.arrived()
	m.quit()
	return other
}
