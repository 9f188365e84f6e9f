//go:build guest

package inside

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// agree compares what LVM says of a mounted pool's volume and group with what slatefs says, and checks the pool.
func agree(t *testing.T, stage, pool string) (size, free int64) {
	t.Helper()
	var total, vgfree int64 = -1, -1
	for try := 0; try < 5 && (try == 0 || size != total || free != vgfree); try++ { // it may be growing just now
		for line := range strings.Lines(slatefs(t, "pool list -Hp")) {
			if f := strings.Split(line, "\t"); f[0] == pool {
				total, vgfree = number(t, f[1]), number(t, f[5])
			}
		}
		f := strings.Fields(lvs(t, "vg0/"+pool, "lv_size,vg_free"))
		size, free = number(t, f[0]), number(t, f[1])
	}
	if size != total || free != vgfree {
		t.Errorf("%s: the volume has %d, the pool %d; the group has %d free, the pool says %d", stage, size, total, free, vgfree)
	}
	if out := slatefs(t, "pool check --online "+pool); !strings.Contains(out, "0 errors, 0 leaks") {
		t.Errorf("%s: %s", stage, out)
	}
	return size, free
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	must(t, err)
	return n
}

// TestLife is the whole life of a pool on a volume group with two disks. LVM and slatefs agree after each step.
func TestLife(t *testing.T) {
	newVG(t, "vg0", "/dev/vda", "/dev/vdb")
	dir := mountpoint(t, "vms")
	slatefs(t, "pool create --size 64M -o erase_throughput=0 vms vg0/vms")
	slatefs(t, "mount vms "+dir)
	start, _ := agree(t, "created", "vms")

	a, b := dir+"/a.raw", dir+"/b.raw"
	put(t, a, pattern(8<<20, 'a'), 0)
	slatefs(t, "snapshot "+a+"@one")
	put(t, a, pattern(4<<20, 'b'), 2<<20)
	slatefs(t, "clone "+a+"@one "+b)
	slatefs(t, "rollback "+a+"@one")
	if !holds(t, a, pattern(8<<20, 'a'), 0) || !holds(t, b, pattern(8<<20, 'a'), 0) {
		t.Error("a rollback or a clone does not hold what the snapshot did")
	}
	agree(t, "volumes, a snapshot, a clone, a rollback", "vms")

	// It grows by itself, ahead of need, under a writer.
	slatefs(t, "set autoextend_threshold=70 autoextend_percent=25 autoextend_max=160M vms")
	for off := int64(0); off < 72<<20; off += 4 << 20 {
		put(t, b, pattern(4<<20, 'c'), off)
	}
	grown, _ := agree(t, "autoextend", "vms")
	if grown < start+(16<<20) || grown > 160<<20 {
		t.Errorf("it has grown from %d to %d", start, grown)
	}
	if n := marks(t, b, 'c'); n != 72<<11 {
		t.Errorf("%d sectors of what was written are there", n)
	}
	// A promise makes it grow first, or is refused with its numbers.
	run(t, "truncate", "-s", "100M", dir+"/p.raw")
	slatefs(t, "set refreservation=40M "+dir+"/p.raw")
	if size, _ := agree(t, "a promise", "vms"); size < 112<<20 {
		t.Errorf("the pool has %d", size)
	}
	refused(t, "available", "set refreservation=99M "+dir+"/p.raw")
	eventually(t, "pool status does not tell of the bound", func() bool {
		return strings.Contains(slatefs(t, "pool status vms"), "autoextend_max of 160M")
	})
	slatefs(t, "set autoextend_threshold=100 vms")

	// By hand, and until the group is full.
	size, free := agree(t, "before extend", "vms")
	if out := slatefs(t, "pool extend vms +100M"); !strings.HasPrefix(out, "pool vms: ") {
		t.Error(out)
	}
	if now, _ := agree(t, "extend", "vms"); now != size+(100<<20) {
		t.Errorf("100M more than %d are %d", size, now)
	}
	refused(t, "volume group vg0: has ", "pool extend vms +10G")
	refused(t, "already", "pool extend vms 64M")
	agree(t, "refused extends", "vms")

	// LVM mirrors it on another disk, takes the first one away, and moves it back, all under a writer.
	for _, step := range []struct{ name, on, command string }{
		{"lvconvert -m1", "mimage_1", "lvconvert --type mirror --mirrorlog core -m1 -i 1 vg0/vms /dev/vdb"},
		{"lvconvert -m0", "vdb", "lvconvert -m0 -i 1 vg0/vms /dev/vda"},
		{"pvmove", "vda", "pvmove -i 1 /dev/vdb /dev/vda"},
	} {
		underWriter(t, step.name, dir+"/w.raw", func() { run(t, "lvm", append(strings.Fields(step.command), "-q", "-y")...) })
		if devices := lvs(t, "vg0/vms", "devices"); !strings.Contains(devices, step.on) || strings.Contains(devices, "vda") && strings.Contains(devices, "vdb") {
			t.Errorf("%s: the volume is on %s", step.name, devices)
		}
		if n := marks(t, b, 'c'); n != 72<<11 {
			t.Errorf("%s: %d sectors of what was written are there", step.name, n)
		}
		agree(t, step.name, "vms")
	}

	// What is free and erased goes back.
	slatefs(t, "destroy -d -r "+a)
	slatefs(t, "destroy --wait "+b)
	slatefs(t, "destroy --wait "+dir+"/p.raw")
	slatefs(t, "erase wait vms")
	slatefs(t, "pool reduce --size 150M vms")
	if now, _ := agree(t, "reduce --size", "vms"); now != 152<<20 {
		t.Errorf("reduced to %d", now)
	}
	slatefs(t, "pool reduce --min vms")
	small, given := agree(t, "reduce --min", "vms")
	if small >= 152<<20 || given <= free { // blocks and metadata that lie high stay where they are
		t.Errorf("reduced to %d, %d free", small, given)
	}
	slatefs(t, "pool extend vms "+strconv.FormatInt(small>>20+8, 10)+"M")
	agree(t, "extend after reduce", "vms")

	// The end.
	slatefs(t, "umount vms")
	if out := slatefs(t, "pool extend vms +4M"); out == "" {
		t.Error("no extension of a pool that is not mounted")
	}
	refused(t, "would leave on /dev/vg0/vms, not erased: 1 volumes, 1M in use", "pool destroy vms")
	if size := lvs(t, "vg0/vms", "lv_size"); size != strconv.FormatInt(small+(12<<20), 10) {
		t.Errorf("after a refused end the volume has %s", size)
	}
	extents := lvExtents(t, "vms")
	if n := countWritten(t, extents); n < 1<<11 {
		t.Errorf("only %d sectors of the volume are not zero before the end", n)
	}
	slatefs(t, "pool destroy --erase vms")
	if out := run(t, "lvm", "lvs", "vg0"); out != "" {
		t.Errorf("volumes after the end: %s", out)
	}
	if f := strings.Fields(run(t, "lvm", "vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "lv_count,vg_size,vg_free", "vg0")); f[0] != "0" || f[1] != f[2] {
		t.Errorf("the group after the end: %v", f)
	}
	if n := countWritten(t, extents); n > 0 {
		t.Errorf("%d sectors of the extents are not zero after the end", n)
	}
}

// underWriter does something while a file is written over and over.
func underWriter(t *testing.T, what, file string, fn func()) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
				if err := os.WriteFile(file, pattern(1<<20, byte('A'+n%26)), 0o600); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	}()
	fn()
	close(stop)
	n := <-done
	t.Logf("%d files written during %s", n, what)
	if n == 0 {
		t.Errorf("%s: nothing was written meanwhile", what)
	}
}

// extent is a part of a disk, in bytes.
type extent struct {
	disk   string
	off, n int64
}

// lvExtents is where a volume lies.
func lvExtents(t *testing.T, lv string) (e []extent) {
	t.Helper()
	size := number(t, strings.TrimSpace(run(t, "lvm", "vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_extent_size", "vg0")))
	for ranges := range strings.FieldsSeq(lvs(t, "vg0/"+lv, "seg_pe_ranges")) {
		disk, pes, _ := strings.Cut(ranges, ":")
		first, last, _ := strings.Cut(pes, "-")
		start := number(t, strings.TrimSpace(run(t, "lvm", "pvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "pe_start", disk)))
		e = append(e, extent{disk, start + number(t, first)*size, (number(t, last) - number(t, first) + 1) * size})
	}
	if len(e) == 0 {
		t.Fatalf("%s lies nowhere", lv)
	}
	return e
}

// countWritten counts the sectors of extents that are not zero.
func countWritten(t *testing.T, extents []extent) (n int) {
	t.Helper()
	zero := make([]byte, sector)
	for _, e := range extents {
		f, err := os.Open(e.disk)
		must(t, err)
		must(t, unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)) // what was cached of it was written past
		b := make([]byte, e.n)
		_, err = f.ReadAt(b, e.off)
		must(t, err)
		must(t, f.Close())
		for off := 0; off < len(b); off += sector {
			if !bytes.Equal(b[off:off+sector], zero) {
				n++
			}
		}
	}
	return n
}

// TestFullGroup: a pool that cannot grow goes on with what it has, and says why. With another disk in the group it grows.
func TestFullGroup(t *testing.T) {
	run(t, "lvm", "pvcreate", "-q", "-y", "--setphysicalvolumesize", "104M", "/dev/vda")
	newVG(t, "vg0", "/dev/vda")
	dir := mountpoint(t, "vms")
	slatefs(t, "pool create --size 64M vms vg0/vms")
	slatefs(t, "mount vms "+dir)
	f, err := os.Create(dir + "/a.raw")
	must(t, err)
	defer f.Close()
	written := int64(0)
	for err == nil {
		if _, err = f.WriteAt(pattern(1<<20, 'a'), written); err == nil {
			written += 1 << 20
		}
	}
	if !errors.Is(err, unix.ENOSPC) || written < 80<<20 {
		t.Fatalf("%d bytes written: %v", written, err)
	}
	if size, free := agree(t, "a full group", "vms"); size != 100<<20 || free != 0 {
		t.Errorf("the volume has %d, the group %d", size, free)
	}
	eventually(t, "pool status does not tell", func() bool {
		return strings.Contains(troubles(t, "vms"), "volume group vg0: has 0B free")
	})
	must(t, f.Sync())
	if n := marks(t, dir+"/a.raw", 'a'); int64(n) < written/512 {
		t.Errorf("%d sectors of %d bytes", n, written)
	}
	run(t, "lvm", "vgextend", "-q", "-y", "vg0", "/dev/vdb")
	t.Cleanup(func() { run(t, "lvm", "vgreduce", "-q", "-y", "vg0", "/dev/vdb") })
	slatefs(t, "set autoextend_percent=30 vms") // it looks again at once
	put(t, dir+"/a.raw", pattern(20<<20, 'b'), written)
	if size, _ := agree(t, "another disk", "vms"); size < 128<<20 {
		t.Errorf("the volume has %d", size)
	}
	must(t, f.Close())
	slatefs(t, "umount vms")
	slatefs(t, "pool destroy --force vms")
}
