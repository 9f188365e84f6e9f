//go:build guest

package inside

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sectors of 512 bytes, device-mapper's unit.
const sector = 512

// dm makes a device-mapper device from a table, which goes after the test.
func dm(t *testing.T, name, table string) string {
	t.Helper()
	run(t, "dmsetup", "create", name, "--table", table)
	t.Cleanup(func() { run(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

// dmLoad gives a device another table, at one instant.
func dmLoad(t *testing.T, name, table string) {
	t.Helper()
	run(t, "dmsetup", "suspend", "--nolockfs", name)
	run(t, "dmsetup", "load", name, "--table", table)
	run(t, "dmsetup", "resume", name)
}

// linear is a table over the first bytes of a disk.
func linear(disk string, bytes int64) string {
	return fmt.Sprintf("0 %d linear %s 0", bytes/sector, disk)
}

// daemonOf is the process that serves a pool.
func daemonOf(t *testing.T, pool string) int {
	t.Helper()
	for line := range strings.Lines(slatefs(t, "pool status "+pool)) {
		if _, rest, ok := strings.Cut(line, "daemon: process "); ok {
			pid, err := strconv.Atoi(strings.Fields(rest)[0])
			must(t, err)
			return pid
		}
	}
	t.Fatalf("no daemon serves %s", pool)
	return 0
}

// clean checks a pool that is not mounted.
func clean(t *testing.T, stage, pool string) {
	t.Helper()
	if r := try(t, "slatefs", "pool", "check", pool); r.code != 0 || !strings.Contains(r.stdout, "0 errors, 0 leaks") {
		t.Fatalf("%s: %v", stage, r)
	}
}

// TestDeadPart: EIO on a part of the device hits what lies there and nothing else. Its erase fails closed, and is made good
// when the device is.
func TestDeadPart(t *testing.T) {
	const size, from, n = 128 << 20, 24 << 20, 1 << 20
	dev := dm(t, "part", linear("/dev/vda", size))
	dir := mountpoint(t, "part")
	slatefs(t, "pool create -f --zero-now -o erase_throughput=0 part "+dev)
	slatefs(t, "mount part "+dir)
	for off := int64(0); off < 40<<20; off += 4 << 20 {
		put(t, dir+"/a.raw", pattern(4<<20, 'a'), off)
	}
	put(t, dir+"/b.raw", pattern(8<<20, 'b'), 0)
	dmLoad(t, "part", fmt.Sprintf("0 %d linear /dev/vda 0\n%d %d error\n%d %d linear /dev/vda %d",
		from/sector, from/sector, n/sector, (from+n)/sector, (size-from-n)/sector, (from+n)/sector))
	f, err := os.Open(dir + "/a.raw")
	must(t, err)
	buf, bad := make([]byte, 64<<10), 0
	for off := int64(0); off < 40<<20; off += int64(len(buf)) {
		if _, err := f.ReadAt(buf, off); err != nil {
			bad++
		}
	}
	must(t, f.Close())
	if bad < 10 || bad > 20 {
		t.Errorf("%d of 640 reads failed, want 16 or so", bad)
	}
	if !holds(t, dir+"/b.raw", pattern(8<<20, 'b'), 0) {
		t.Error("what lies elsewhere cannot be read")
	}
	put(t, dir+"/c.raw", pattern(8<<20, 'c'), 0)
	slatefs(t, "destroy "+dir+"/a.raw")
	refused(t, "could not be erased", "erase wait part")
	if out := slatefs(t, "pool status -x part"); !strings.Contains(out, "could not be erased and are not used again") {
		t.Error(out)
	}
	dmLoad(t, "part", linear("/dev/vda", size))
	eventually(t, "the rest is not erased", func() bool { return strings.Contains(slatefs(t, "erase status part"), "everything freed is erased") })
	slatefs(t, "umount part")
	clean(t, "after the device is good again", "part")
	if n := marks(t, dev, 'a'); n > 0 {
		t.Errorf("%d sectors of what was destroyed are left", n)
	}
	slatefs(t, "pool destroy --force part")
}

// TestStalled: a device that answers nothing, as while a path fails over, stalls I/O and nothing else.
func TestStalled(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	dir := mountpoint(t, "vms")
	slatefs(t, "pool create --size 64M -o erase_throughput=0 vms vg0/vms")
	slatefs(t, "mount vms "+dir)
	put(t, dir+"/a.raw", pattern(4<<20, 'a'), 0)
	run(t, "dmsetup", "suspend", "--nolockfs", "--noflush", "vg0-vms")
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			run(t, "dmsetup", "resume", "vg0-vms")
		}
	}
	defer resume()
	written := make(chan error, 1)
	go func() {
		cmd := exec.Command("dd", "if=/dev/zero", "of="+dir+"/b.raw", "bs=1M", "count=4", "conv=fsync")
		written <- cmd.Run()
	}()
	time.Sleep(time.Second) // it is in the middle of it
	for range 3 {
		for _, c := range [][]string{
			{"stat", dir + "/a.raw"},
			{"ls", "-l", dir},
			{"stat", "-f", dir},
			{"slatefs", "pool", "status", "vms"},
			{"slatefs", "list", dir},
			{"slatefs", "erase", "status", "vms"},
			{"slatefs", "pool", "list"},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
			if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v on a stalled device: %v\n%s", c, err, out)
			}
			cancel()
		}
	}
	select {
	case err := <-written:
		t.Errorf("a writer ended on a stalled device: %v", err)
	default:
	}
	resume()
	must(t, <-written)
	if !holds(t, dir+"/a.raw", pattern(4<<20, 'a'), 0) {
		t.Error("what was written before is not there")
	}
	slatefs(t, "umount vms")
	clean(t, "after the stall", "vms")
	slatefs(t, "pool destroy --force vms")
}

// TestPowerCut: at some instant the device loses all further writes, and says nothing (dm-flakey, drop_writes). What is on it
// is what a power cut leaves: the pool checks clean, and all that was flushed before is there.
func TestPowerCut(t *testing.T) {
	const size = 64 << 20
	good := linear("/dev/vda", size)
	dev := dm(t, "cut", good)
	dir := mountpoint(t, "cut")
	slatefs(t, "pool create -f --zero-now -o erase_throughput=0 cut "+dev)
	for round := range 4 {
		slatefs(t, "mount cut "+dir)
		acked := make(chan int, 1<<16)
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f, err := os.OpenFile(dir+"/n.raw", os.O_RDWR|os.O_CREATE, 0o600)
			for n := 1; err == nil; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err = f.WriteAt(numbered(round, n), int64(n%256)*4096); err == nil {
					err = f.Sync()
				}
				if err == nil {
					acked <- n
				}
			}
		}()
		for len(acked) < 30+round*17 {
			time.Sleep(time.Millisecond)
		}
		slatefs(t, fmt.Sprintf("snapshot %s/n.raw@s%d", dir, round))
		last := 0
		for len(acked) > 0 {
			last = <-acked
		}
		dmLoad(t, "cut", fmt.Sprintf("0 %d flakey /dev/vda 0 0 1000 1 drop_writes", size/sector))
		for len(acked) < 20 { // they believe that they are flushed
			time.Sleep(time.Millisecond)
		}
		must(t, unix.Kill(daemonOf(t, "cut"), unix.SIGKILL))
		close(stop)
		<-ended
		must(t, unix.Unmount(dir, unix.MNT_DETACH))
		dmLoad(t, "cut", good)
		clean(t, fmt.Sprint("round ", round), "cut")
		slatefs(t, "mount cut "+dir)
		for n := max(1, last-200); n <= last; n++ {
			if got := readNumber(t, dir+"/n.raw", round, n); got < n {
				t.Errorf("round %d: write %d of %d that were flushed is %d", round, n, last, got)
			}
		}
		slatefs(t, fmt.Sprintf("rollback %s/n.raw@s%d", dir, round))
		slatefs(t, "erase wait cut")
		slatefs(t, "umount cut")
		clean(t, fmt.Sprint("after round ", round), "cut")
	}
	slatefs(t, "pool destroy --force cut")
}

// numbered is a block that says which write it is.
func numbered(round, n int) []byte {
	b := pattern(4096, 'n')
	copy(b, fmt.Sprintf("%04d %08d ", round, n))
	return b
}

// readNumber is the number of the write that the block of write n holds; of another round 0.
func readNumber(t *testing.T, path string, round, n int) int {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	b := make([]byte, 14)
	_, err = f.ReadAt(b, int64(n%256)*4096)
	must(t, err)
	var r, got int
	if _, err := fmt.Sscanf(string(b), "%d %d", &r, &got); err != nil || r != round {
		return 0
	}
	return got
}

// TestOffload: erasing that the device does itself, where it guarantees zeros after unmap and where it does not, where it can
// write zeros by itself and where it can't. It is read back, by the eraser and here.
func TestOffload(t *testing.T) {
	for _, params := range []string{"lbpu=1 lbpws=1 lbpws10=1 lbprz=1", "lbpu=1 lbpws=1 lbpws10=1 lbprz=0", "lbpu=0 lbpws=0 write_same_length=0"} {
		t.Run(params, func(t *testing.T) {
			run(t, "insmod", append([]string{"/modules/scsi_debug.ko", "dev_size_mb=96", "delay=0"}, strings.Fields(params)...)...)
			defer func() {
				eventually(t, "scsi_debug goes", func() bool { return try(t, "rmmod", "scsi_debug").code == 0 })
			}()
			eventually(t, "the disk comes", func() bool { _, err := os.Stat("/dev/sda"); return err == nil })
			dir := mountpoint(t, "off")
			put(t, "/dev/sda", pattern(32<<20, 'T'), 16<<20)
			slatefs(t, "pool create -f -o erase_throughput=0 off /dev/sda")
			slatefs(t, "mount -o verify=full off "+dir)
			put(t, dir+"/a.raw", pattern(16<<20, 'a'), 0)
			slatefs(t, "destroy --wait "+dir+"/a.raw")
			slatefs(t, "erase wait off")
			if out := slatefs(t, "erase status off"); !strings.Contains(out, "everything freed is erased") {
				t.Error(out)
			}
			if n := marks(t, "/dev/sda", 'T', 'a'); n > 0 {
				t.Errorf("%d sectors are left", n)
			}
			zeroes, err := os.ReadFile("/sys/block/sda/queue/write_zeroes_max_bytes")
			must(t, err)
			t.Logf("write_zeroes_max_bytes %s", strings.TrimSpace(string(zeroes)))
			slatefs(t, "umount off")
			clean(t, params, "off")
			slatefs(t, "pool destroy off")
		})
	}
}
