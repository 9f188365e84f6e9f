//go:build guest

package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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
	if out := troubles(t, "part"); !strings.Contains(out, "could not be erased and are not used again") {
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

// stallTime is how long TestStalled lets a device answer nothing: seconds, or SLATEFS_STALL.
func stallTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SLATEFS_STALL")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}

// load repeats a step until it is stopped. n counts those that succeeded; one that fails is the test's failure.
type load struct {
	n    atomic.Int64
	end  atomic.Bool
	done chan struct{}
}

func (l *load) stop() {
	l.end.Store(true)
	<-l.done
}

func newLoad(t *testing.T, what string, step func(i int64) error) *load {
	l := &load{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for !l.end.Load() {
			if err := step(l.n.Load()); err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			l.n.Add(1)
		}
	}()
	return l
}

// loads read and write below dir: durable writes to a file that is there, new files, and reads past the kernel's cache.
func loads(t *testing.T, dir string) (work []*load, stop func()) {
	t.Helper()
	out, err := os.OpenFile(dir+"/w.raw", os.O_RDWR, 0)
	must(t, err)
	from, err := os.OpenFile(dir+"/a.raw", os.O_RDONLY|unix.O_DIRECT, 0)
	must(t, err)
	in, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	work = []*load{
		newLoad(t, "writes", func(i int64) error {
			if _, err := out.WriteAt(pattern(64<<10, byte('A'+i%26)), i%64<<16); err != nil {
				return err
			}
			return out.Sync()
		}),
		newLoad(t, "new files", func(i int64) error {
			return os.WriteFile(fmt.Sprintf("%s/new%d.raw", dir, i%8), pattern(256<<10, 'n'), 0o600)
		}),
		newLoad(t, "reads", func(i int64) error {
			_, err := from.ReadAt(in, i%64<<16)
			if err == nil && !bytes.Equal(in, pattern(64<<10, 'a')) {
				err = errors.New("other bytes than were written")
			}
			return err
		}),
	}
	return work, func() {
		for _, l := range work {
			l.stop()
		}
		must(t, errors.Join(out.Close(), from.Close(), unix.Munmap(in)))
	}
}

// TestStalled: a device that answers nothing, as while a path fails over, stalls I/O and nothing else. Reads and writes wait,
// none of them fails, and all goes on when it answers again.
func TestStalled(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	dir := mountpoint(t, "vms")
	slatefs(t, "pool create --size 64M -o erase_throughput=0 vms vg0/vms")
	slatefs(t, "mount vms "+dir)
	put(t, dir+"/a.raw", pattern(4<<20, 'a'), 0)
	put(t, dir+"/w.raw", pattern(4<<20, 'w'), 0)
	work, stop := loads(t, dir)
	running := func(since []int64) func() bool {
		return func() bool {
			for i, l := range work {
				if l.n.Load() < since[i]+3 {
					return false
				}
			}
			return true
		}
	}
	counts := func() (n []int64) {
		for _, l := range work {
			n = append(n, l.n.Load())
		}
		return n
	}
	eventually(t, "the load runs", running(counts()))
	run(t, "dmsetup", "suspend", "--nolockfs", "--noflush", "vg0-vms")
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			run(t, "dmsetup", "resume", "vg0-vms")
		}
	}
	defer resume()
	start := time.Now()
	time.Sleep(time.Second) // each of them waits for the device now
	stalled, rounds, longest := counts(), 0, time.Duration(0)
	for ; rounds < 3 || time.Since(start) < stallTime(t); rounds++ {
		longest = max(longest, answers(t, dir))
	}
	if now := counts(); !slices.Equal(now, stalled) {
		t.Errorf("reads and writes ended on a stalled device: %d, then %d", stalled, now)
	}
	t.Logf("stalled for %.0f s, with %v reads and writes before it: %d rounds of questions were answered, the longest in %.1f s",
		time.Since(start).Seconds(), stalled, rounds, longest.Seconds())
	resume()
	eventually(t, "the load goes on", running(stalled))
	stop()
	if !holds(t, dir+"/a.raw", pattern(4<<20, 'a'), 0) {
		t.Error("what was written before is not there")
	}
	if out := slatefs(t, "pool status vms"); !strings.Contains(out, "state: online") {
		t.Error(out)
	}
	slatefs(t, "umount vms")
	clean(t, "after the stall", "vms")
	slatefs(t, "pool destroy --force vms")
}

// answers asks what a stalled device must not keep from an answer, and returns how long that took.
func answers(t *testing.T, dir string) time.Duration {
	t.Helper()
	return timed(func() {
		for _, c := range [][]string{
			{"stat", dir + "/a.raw"},
			{"ls", "-l", dir},
			{"stat", "-f", dir},
			{"slatefs", "pool", "status", "vms"},
			{"slatefs", "list", dir},
			{"slatefs", "erase", "status", "vms"},
			{"slatefs", "pool", "list"},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v on a stalled device: %v\n%s", c, err, out)
			}
			cancel()
		}
	})
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
		pid := daemonOf(t, "cut")
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(t, err)
		_, rest, _ := strings.Cut(string(status), "PPid:")
		parent, err := strconv.Atoi(strings.Fields(rest)[0])
		must(t, err)
		must(t, unix.Kill(parent, unix.SIGKILL)) // the supervisor, or it would be started again
		must(t, unix.Kill(pid, unix.SIGKILL))
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
