package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// diskGuest is a guest that has two disks on each of some pools, and does to them what it is asked.
type diskGuest struct {
	*lab
	g     *guest
	qemu  *monitor
	pools []*pool
}

// Of each pool, and of its disks: one that is larger than the pool, and one that takes FUA. Both have sectors of 512 bytes.
const (
	scantPool  = 64 << 20
	scantDisk  = 80 << 20
	throughMin = 16 << 20 // and a MiB more on the next pool, so that the guest can tell them apart
)

func (d *diskGuest) scant(i int) string   { return d.pools[i].at("vm-100-disk-0.raw") }
func (d *diskGuest) through(i int) string { return d.pools[i].at("vm-100-disk-1.raw") }

// TestGuestDisks has a guest on disks with sectors of 512 bytes, cache=none, on pools of each transport: neighbours in one block of
// 4 KiB are written by many at once, under snapshots; a pool that is full stops the guest, which goes on when there is space; what it
// wrote with FUA is there after a kill.
func TestGuestDisks(t *testing.T) {
	d := &diskGuest{lab: newLab(t)}
	var disks []disk
	for i, tr := range transports {
		p := d.newPool(fmt.Sprint("p", i), fmt.Sprint(scantPool), "transport="+tr)
		p.mount()
		d.pools = append(d.pools, p)
		p.slatefs("create", "--size", fmt.Sprint(scantDisk), d.scant(i))
		disks = append(disks, disk{
			path: d.scant(i), aio: "io_uring", device: "virtio-blk-pci,logical_block_size=512,werror=stop,rerror=stop",
		})
	}
	for i, p := range d.pools {
		p.slatefs("create", "--size", fmt.Sprint(throughMin+i<<20), d.through(i))
		disks = append(disks, disk{path: d.through(i), aio: "native", device: "scsi-hd,dpofua=on,logical_block_size=512"})
	}
	d.g = d.newGuest(insideLimit, "/inside.test -test.v -test.timeout 50m -test.run '"+insideDisks+"'", disks...)
	d.qemu = d.newMonitor(d.g.qmp)
	d.g.until("ready")
	for i := range d.pools {
		d.neighbours(i)
		d.full(i)
	}
	d.durable()
}

// ask has the guest do something, and returns the sum that it tells of it, if any.
func (d *diskGuest) ask(what string, args ...any) (sum string) {
	d.t.Helper()
	d.g.send(strings.TrimSpace(what + " " + fmt.Sprintln(args...)))
	return d.answer(what)
}

func (d *diskGuest) answer(what string) (sum string) {
	d.t.Helper()
	for {
		line, ok := d.g.line()
		switch word, rest, _ := strings.Cut(line, " "); {
		case !ok || word == "---" || strings.HasPrefix(line, exitLine):
			d.t.Fatalf("guest: ended\n%s", d.g.log())
		case word == "sum":
			sum = rest
		case word == "done" && rest == what:
			return sum
		}
	}
}

// vd is the guest's name of the scant disk of a pool.
func vd(i int) string { return "vd" + string(rune('a'+i)) }

// neighbours: a snapshot has each sector whole, as one of its writers wrote it, and none is older than in the snapshot before.
func (d *diskGuest) neighbours(i int) {
	d.t.Helper()
	d.ask("neighbours", vd(i))
	const snaps = 6
	for n := range snaps {
		time.Sleep(200 * time.Millisecond)
		d.slatefs("snapshot", fmt.Sprintf("%s@s%d", d.scant(i), n))
	}
	want := d.ask("rest")
	const region = 256 << 10
	last := make([]uint64, region/512)
	look := func(path string) []byte {
		d.t.Helper()
		f, err := os.Open(path)
		must(d.t, err)
		defer f.Close()
		b := make([]byte, region)
		_, err = f.ReadAt(b, 0)
		must(d.t, err)
		for s := range last {
			count := binary.LittleEndian.Uint64(b[s*512:])
			for at := s * 512; at < (s+1)*512; at += 8 {
				if binary.LittleEndian.Uint64(b[at:]) != count {
					d.t.Fatalf("%s: sector %d is torn", path, s)
				}
			}
			if count != 0 && int(count&255) != s%8+1 || count < last[s] {
				d.t.Fatalf("%s: sector %d holds %#x, and held %#x before", path, s, count, last[s])
			}
			last[s] = count
		}
		return b
	}
	for n := range snaps {
		look(d.pools[i].snap("vm-100-disk-0.raw", fmt.Sprint("s", n)))
	}
	if sum(look(d.scant(i))) != want {
		d.t.Error("the disk holds something else than the guest reads")
	}
	writes := uint64(0)
	for _, count := range last {
		writes = max(writes, count>>8)
	}
	d.t.Logf("%s: neighbours: a writer wrote %d sectors", d.pools[i].opts, writes)
	if writes < 100 {
		d.t.Error("hardly anything was written")
	}
	for n := range snaps {
		d.slatefs("destroy", fmt.Sprintf("%s@s%d", d.scant(i), n))
	}
}

// full: a guest that fills a pool stops with an error that says so, as often as it is let go on; when the pool has grown it goes on, and
// knows of nothing.
func (d *diskGuest) full(i int) {
	d.t.Helper()
	start := time.Now()
	d.g.send("fill " + vd(i))
	for tries := range 2 {
		if tries > 0 {
			d.qemu.do("cont", nil)
		}
		if e := d.qemu.until("BLOCK_IO_ERROR"); !e.Data.NoSpace {
			d.t.Errorf("the error is not one of space: %+v", e)
		}
		d.qemu.until("STOP")
		var s struct{ Status string }
		must(d.t, json.Unmarshal(d.qemu.do("query-status", nil), &s))
		if s.Status != "io-error" {
			d.t.Errorf("the guest is %s", s.Status)
		}
	}
	if avail := d.pools[i].number(d.pools[i].mnt, "available"); avail > 1<<20 {
		d.t.Errorf("%d bytes are available", avail)
	}
	stopped := time.Since(start)
	d.slatefs("pool", "extend", d.pools[i].name, "+64M")
	d.qemu.do("cont", nil)
	want := d.answer("fill")
	if got := sum(read(d.t, d.scant(i))); got != want {
		d.t.Error("the disk holds something else than the guest wrote")
	}
	d.t.Logf("%s: full: stopped twice after %v, all written after %v", d.pools[i].opts, stopped.Round(time.Millisecond),
		time.Since(start).Round(time.Millisecond))
	if kernel := string(read(d.t, d.g.console)); strings.Contains(kernel, "I/O error") {
		d.t.Error(kernel)
	}
}

// flushes is how often qemu has flushed a disk.
func (d *diskGuest) flushes(device string) (n int) {
	d.t.Helper()
	var all []struct {
		Device string
		Stats  struct {
			Flushes int `json:"flush_operations"`
		}
	}
	must(d.t, json.Unmarshal(d.qemu.do("query-blockstats", nil), &all))
	for _, s := range all {
		if s.Device == device {
			return s.Stats.Flushes
		}
	}
	d.t.Fatalf("no %s in %+v", device, all)
	return 0
}

// durable: what was written with FUA, by a command of the disk that goes through its cache, is there after daemon and guest were killed,
// also a sector of a block that a snapshot has. Nothing else makes it durable: qemu 7.2 makes a flush of it, and there is no other.
func (d *diskGuest) durable() {
	d.t.Helper()
	const at, block = 2 << 20, 4096
	for i := range d.pools {
		device, size := fmt.Sprint("d", len(d.pools)+i), throughMin+i<<20
		before := d.flushes(device)
		d.ask("put", size, at-block, block, 4)
		plain := d.flushes(device) - before
		d.ask("fua", size, at, block, 5)
		d.slatefs("snapshot", d.through(i)+"@s")
		d.ask("put", size, at+8*block, block, 4)
		d.ask("fua", size, at+512, 512, 6)
		if n := d.flushes(device) - before; plain != 0 || n != 2 {
			d.t.Errorf("%d flushes after a plain write, %d after two with FUA", plain, n)
		}
		d.ask("put", size, at+16*block, block, 7)
	}
	for _, p := range d.pools {
		p.kill()
	}
	d.g.kill()
	for i, p := range d.pools {
		p.mount()
		filled(d.t, d.through(i), at, 512, 5)
		filled(d.t, d.through(i), at+512, 512, 6)
		filled(d.t, d.through(i), at+1024, block-1024, 5)
		filled(d.t, p.snap("vm-100-disk-1.raw", "s"), at, block, 5)
		b := read(d.t, d.through(i))[at+16*block]
		d.t.Logf("%s: a plain write after that was lost, which it may be: %v", p.opts, b == 0)
	}
}
