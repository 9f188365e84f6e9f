//go:build guest

package inside

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The experiment: a disk of 128 MiB on a volume group, 16 MiB of it written, a snapshot, 16 MiB written anew, and back to
// the snapshot, so that what was written since is gone and zero.
const (
	expDisk  = 128 << 20
	expWrite = 16 << 20
)

// expRow is what one way did.
type expRow struct {
	name              string
	snapWait, back    time.Duration // the operator's
	zero              time.Duration // from the rollback's begin until what was written is zero
	zeroed, snapSpace int64         // bytes
}

func vgFree(t *testing.T) int64 {
	t.Helper()
	return number(t, strings.TrimSpace(run(t, "lvm", "vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free", "vg0")))
}

// timed is how long something took.
func timed(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

// lvChain does what Proxmox VE 9 does with a snapshot as a chain of thick volumes, by the same commands.
func lvChain(t *testing.T) (r expRow) {
	r.name = "thick LVs, as Proxmox VE: `lvrename`, `lvcreate`, `qemu-img create -b`, `blkdiscard -z`, `lvremove`"
	size := fmt.Sprint(expDisk>>20+4, "M") // and room for qcow2's own tables
	lv := func(args ...string) { run(t, "lvm", append([]string{args[0], "-q", "-y"}, args[1:]...)...) }
	write := func(b string) {
		run(t, "qemu-io", "-f", "qcow2", "-t", "none", "-c", fmt.Sprintf("write -P %s 0 %d", b, expWrite), "-c", "flush", "/dev/vg0/vm")
	}
	head := func() {
		lv("lvcreate", "-Wn", "-Zn", "-n", "vm", "-L", size, "vg0")
		run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "/dev/vg0/snap_vm", "/dev/vg0/vm")
	}
	lv("lvcreate", "-Wn", "-Zn", "-n", "vm", "-L", size, "vg0")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "/dev/vg0/vm", fmt.Sprint(expDisk))
	write("0x61")
	before := vgFree(t)
	r.snapWait = timed(func() {
		lv("lvrename", "vg0", "vm", "snap_vm")
		head()
	})
	r.snapSpace = before - vgFree(t)
	write("0x62")
	r.zeroed = number(t, lvs(t, "vg0/vm", "lv_size")) // blkdiscard knows no better
	r.back = timed(func() {
		r.zero = timed(func() { run(t, "blkdiscard", "-z", "/dev/vg0/vm") })
		lv("lvremove", "vg0/vm")
		head()
	})
	run(t, "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("read -P 0x61 0 %d", expWrite), "/dev/vg0/vm")
	lv("lvremove", "vg0/vm", "vg0/snap_vm")
	return r
}

// slatefsWay does the same on a pool.
func slatefsWay(t *testing.T) (r expRow) {
	r.name = "slatefs: `snapshot`, `rollback`, `erase wait`"
	dir := mountpoint(t, "exp")
	slatefs(t, "pool create --size 256M --zero-now -o erase_throughput=0 exp vg0/exp")
	slatefs(t, "mount exp "+dir)
	file := dir + "/vm.raw"
	slatefs(t, fmt.Sprint("create --size ", expDisk, " ", file))
	write := func(b string) {
		run(t, "qemu-io", "-f", "raw", "-t", "none", "-c", fmt.Sprintf("write -P %s 0 %d", b, expWrite), "-c", "flush", file)
	}
	write("0x61")
	before := vgFree(t)
	r.snapWait = timed(func() { slatefs(t, "snapshot "+file+"@snap") })
	r.snapSpace = before - vgFree(t)
	write("0x62")
	before = erased(t, "exp")
	r.zero = timed(func() {
		r.back = timed(func() { slatefs(t, "rollback "+file+"@snap") })
		slatefs(t, "erase wait exp")
	})
	r.zeroed = erased(t, "exp") - before
	run(t, "qemu-io", "-f", "raw", "-c", fmt.Sprintf("read -P 0x61 0 %d", expWrite), file)
	if n := countBytes(t, "/dev/vg0/exp", 0x62); n > 0 {
		t.Errorf("%d sectors of what was rolled back are left", n)
	}
	slatefs(t, "umount exp")
	slatefs(t, "pool destroy --force exp")
	return r
}

// erased is what a pool has erased since it was mounted, in bytes.
func erased(t *testing.T, pool string) (n int64) {
	t.Helper()
	var out struct {
		Erase struct {
			Background int64 `json:"erased_in_background"`
			Demand     int64 `json:"erased_on_demand"`
		} `json:"erase"`
	}
	must(t, json.Unmarshal([]byte(slatefs(t, "erase status -j "+pool)), &out))
	return out.Erase.Background + out.Erase.Demand
}

// countBytes counts the sectors of a device that begin with eight times a byte.
func countBytes(t *testing.T, device string, b byte) (n int) {
	t.Helper()
	raw, err := os.ReadFile(device)
	must(t, err)
	want := strings.Repeat(string(rune(b)), 8)
	for off := 0; off < len(raw); off += sector {
		if string(raw[off:off+8]) == want {
			n++
		}
	}
	return n
}

// TestExperiment does the experiment in both ways and prints the table of docs/lvm.md.
func TestExperiment(t *testing.T) {
	newVG(t, "vg0", "/dev/vda", "/dev/vdb")
	rows := []expRow{lvChain(t), slatefsWay(t)}
	t.Log("table: | | snapshot: wait | VG space it took | rollback: wait | until zero | zeroed |")
	t.Log("table: |---|---|---|---|---|---|")
	for _, r := range rows {
		t.Logf("table: | %s | %.1f s | %d MiB | %.1f s | %.1f s | %d MiB |", r.name, r.snapWait.Seconds(), r.snapSpace>>20,
			r.back.Seconds(), r.zero.Seconds(), r.zeroed>>20)
	}
	if a, b := rows[0], rows[1]; b.snapSpace != 0 || a.snapSpace < expDisk || b.zeroed >= a.zeroed {
		t.Errorf("%+v", rows)
	}
}
