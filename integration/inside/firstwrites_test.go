//go:build guest

package inside

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timeWrites writes n bytes to a device or file, 64 KiB at a time, past the kernel's cache, until they are durable.
func timeWrites(t *testing.T, path string, n int64) time.Duration {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
	must(t, err)
	b, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	copy(b, pattern(len(b), 'f'))
	took := timed(func() {
		for off := int64(0); off < n; off += int64(len(b)) {
			_, err := f.WriteAt(b, off)
			must(t, err)
		}
		must(t, f.Sync())
	})
	must(t, errors.Join(f.Close(), unix.Munmap(b)))
	return took
}

// thinVolume makes a volume of a new thin pool as lvcreate --type thin does, with chunks that are zeroed before they are
// used.
func thinVolume(t *testing.T, name string, size int64, chunk int) string {
	t.Helper()
	meta := dm(t, name+"meta", fmt.Sprintf("0 %d linear /dev/vda 0", 4<<20/sector))
	data := dm(t, name+"data", fmt.Sprintf("0 %d linear /dev/vda %d", size/sector, 4<<20/sector))
	put(t, meta, make([]byte, 4096), 0) // it is formatted then
	pool := dm(t, name+"pool", fmt.Sprintf("0 %d thin-pool %s %s %d 0", size/sector, meta, data, chunk/sector))
	run(t, "dmsetup", "message", name+"pool", "0", "create_thin 0")
	return dm(t, name, fmt.Sprintf("0 %d thin %s 0", size/sector, pool))
}

// slatefsVolume makes a volume of a new pool on a device.
func slatefsVolume(t *testing.T, name, table, how string) (file string) {
	t.Helper()
	dev, dir := dm(t, name, table), mountpoint(t, name)
	slatefs(t, "pool create -f "+how+" -o erase_throughput=1 "+name+" "+dev) // nothing in the background
	slatefs(t, "mount "+name+" "+dir)
	t.Cleanup(func() {
		slatefs(t, "umount "+name)
		clean(t, "first writes", name)
		slatefs(t, "pool destroy --force "+name)
	})
	slatefs(t, "create --size 64M "+dir+"/a.raw")
	return dir + "/a.raw"
}

// TestFirstWrites compares the first writes to a volume, which cost zeroing, with those to a thin volume of LVM. It prints
// the table of docs/lvm.md.
func TestFirstWrites(t *testing.T) {
	const size, n = 256 << 20, 64 << 20
	// A pool of 4 GiB zeroes on demand as large ones do. Of its device the first part is there: nothing else may be touched.
	const pool = 4 << 30
	large := fmt.Sprintf("%s\n%d %d error", linear("/dev/vda", size), size/sector, (pool-size)/sector)
	for off := int64(0); off < size; off += 4 << 20 { // the disk's own first writes are not measured
		put(t, "/dev/vda", pattern(4<<20, 'T'), off)
	}
	ways := []struct {
		name   string
		volume func(t *testing.T, name string) string
		first  time.Duration // the better of two
		again  time.Duration
	}{
		{name: "thin LV, chunks of 64 KiB: written whole, not zeroed", volume: func(t *testing.T, name string) string { return thinVolume(t, name, size, 64<<10) }},
		{name: "thin LV, chunks of 512 KiB, zeroed", volume: func(t *testing.T, name string) string { return thinVolume(t, name, size, 512<<10) }},
		{name: "slatefs, a new pool, all dirty", volume: func(t *testing.T, name string) string { return slatefsVolume(t, name, large, "") }},
		{name: "slatefs, after `--zero-now`", volume: func(t *testing.T, name string) string {
			return slatefsVolume(t, name, linear("/dev/vda", size), "--zero-now")
		}},
	}
	for round := range 2 {
		for i := range ways {
			w := &ways[i]
			t.Run(fmt.Sprint(w.name, " ", round), func(t *testing.T) {
				path := w.volume(t, fmt.Sprintf("fw%d%d", i, round))
				first, again := timeWrites(t, path, n), timeWrites(t, path, n)
				if round == 0 {
					w.first, w.again = first, again
				}
				w.first, w.again = min(w.first, first), min(w.again, again)
			})
		}
	}
	if t.Failed() {
		return
	}
	t.Log("table: | | first writes | written again |")
	t.Log("table: |---|---|---|")
	for _, w := range ways {
		t.Logf("table: | %s | %.2f s | %.2f s |", w.name, w.first.Seconds(), w.again.Seconds())
	}
	if slow := ways[2].first.Seconds() / ways[1].first.Seconds(); slow > 20 {
		t.Errorf("first writes take %.0f times as long as a thin volume's", slow)
	}
}
