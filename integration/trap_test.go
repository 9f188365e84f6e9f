package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// Each test here is named for a trap that FUSE, go-fuse or qemu have on the way, and proves that it is closed. Those of
// the loop's speed are the benchmarks'.

// A direct-I/O open loses O_DSYNC and RWF_DSYNC unless the daemon looks at the flags of each WRITE: what such a write
// has acknowledged is there after a kill, without any fsync. (fs.TestDsyncWritesSurviveAPowerLoss has a power loss.)
func TestTrap01DsyncOnDirectIO(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "256M", tr)
		p.mount()
		p.slatefs("create", "--size", "8M", p.at("v"))
		for i, c := range []struct{ flags, rwf int }{{unix.O_DSYNC, 0}, {unix.O_SYNC, 0}, {0, unix.RWF_DSYNC}, {0, unix.RWF_SYNC}} {
			fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT|c.flags)
			off := int64(i) * 1 << 20
			for n := range int64(4) { // the last one in place
				b := stamped(block, 0, off+n%3*block, uint64(n+1))
				_, err := unix.Pwritev2(fd, [][]byte{b}, off+n%3*block, c.rwf)
				must(t, err)
			}
			p.kill()
			closeFD(t, fd)
			p.mount()
			got := read(t, p.at("v"))[off : off+3*block]
			for n, want := range []uint64{4, 2, 3} {
				if st, err := readStamp(got[n*block : n*block+sector]); err != nil || st.write != want {
					t.Errorf("%+v: block %d holds write %d, want %d (%v)", c, n, st.write, want, err)
				}
			}
		}
	})
}

// A spliced reply may be short inside a file, which the kernel takes for its end: unaligned reads are never short.
func TestTrap02NoShortReads(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		const size = 8<<20 + 1234
		want := make([]byte, size)
		rand.NewChaCha8([32]byte{2}).Read(want)
		must(t, os.WriteFile(p.at("v"), want, 0o644))
		var running sync.WaitGroup
		for g := range uint64(8) {
			running.Go(func() {
				fd, err := unix.Open(p.at("v"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(fd)
				rng := rand.New(rand.NewPCG(g, 2))
				buf := make([]byte, 200<<10)
				for range 1500 {
					off, n := rng.IntN(size), 1+rng.IntN(len(buf))
					n = min(n, size-off)
					if k, err := unix.Pread(fd, buf[:n], int64(off)); k != n || err != nil || !bytes.Equal(buf[:n], want[off:off+n]) {
						t.Errorf("read %d at %d: %d, %v", n, off, k, err)
						return
					}
				}
			})
		}
		running.Wait()
	})
}

// A request buffer that is used again before its request has ended mixes the data of two: many writes and reads are in
// flight at a time, each of a place and content of its own.
func TestTrap03BuffersAreNotShared(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("create", "--size", "128M", p.at("v"))
		fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT)
		defer closeFD(t, fd)
		var running sync.WaitGroup
		for g := range int64(32) {
			running.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 3))
				buf := blockdev.Aligned(256 << 10)
				for i := range 60 {
					n := (1 + rng.IntN(64)) * block
					off := g<<22 + int64(i%12)*(256<<10)
					if _, err := unix.Pwrite(fd, stamped(n, int(g), off, uint64(i+1)), off); err != nil {
						t.Error(err)
						return
					}
					if _, err := unix.Pread(fd, buf[:n], off); err != nil || !bytes.Equal(buf[:n], stamped(n, int(g), off, uint64(i+1))) {
						t.Errorf("writer %d: %d bytes at %d differ (%v)", g, n, off, err)
						return
					}
				}
			})
		}
		running.Wait()
	})
}

// Without Fsync mkfs on a loop device over a volume ends in EIO; without Statfs a loop device has no discard granularity.
func TestTrap05FsyncAndStatfs(t *testing.T) {
	p := mountedPool(t, "256M", "")
	p.slatefs("create", "--size", "32M", p.at("v"))
	var st unix.Statfs_t
	must(t, unix.Statfs(p.mnt, &st))
	if st.Bsize != block || st.Frsize != block || st.Blocks == 0 || st.Bavail == 0 || st.Bfree > st.Blocks || st.Namelen < 255 {
		t.Errorf("%+v", st)
	}
	for _, flags := range []int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_DIRECTORY} {
		path := p.at("v")
		if flags&unix.O_DIRECTORY != 0 {
			path = p.mnt
		}
		fd := open(t, path, flags)
		must(t, unix.Fsync(fd))
		must(t, unix.Fdatasync(fd))
		must(t, unix.Syncfs(fd))
		closeFD(t, fd)
	}
	if !isRoot() {
		return
	}
	needs(t, "losetup", "mkfs.ext4")
	dev := loop(t, p.lab, p.at("v"))
	p.tool("mkfs.ext4", "-q", dev)
	b, err := os.ReadFile("/sys/block/" + filepath.Base(dev) + "/queue/discard_granularity")
	if err != nil || strings.TrimSpace(string(b)) != "4096" {
		t.Errorf("discard granularity %s, %v", b, err)
	}
	p.tool("losetup", "-d", dev)
}

// A direct-I/O open refuses shared mmap unless that was negotiated. (TestFSX works through a mapping.)
func TestTrap06SharedMmap(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "1M", p.at("v"))
		m := startChild(t, "map", p.at("v"), "1048576")
		m.do("put 5000 3 65")
		fd := open(t, p.at("v"), unix.O_RDWR)
		defer closeFD(t, fd)
		got := make([]byte, 5)
		if _, err := unix.Pread(fd, got, 4999); err != nil || string(got) != "\x00AAA\x00" {
			t.Errorf("%q, %v", got, err)
		}
		_, err := unix.Pwrite(fd, []byte("new"), 5000)
		must(t, err)
		if got := m.do("get 5000 3"); got != sum([]byte("new")) {
			t.Error("the mapping shows something else than read")
		}
		m.end()
	})
}

// The payload of a request is not promised to be aligned, and nor is a user's buffer: sectors arrive all the same.
func TestTrap07UnalignedPayload(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "16M", p.at("v"))
		fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT)
		defer closeFD(t, fd)
		rng := rand.New(rand.NewPCG(7, 7))
		want, mem := make([]byte, 16<<20), blockdev.Aligned(1<<20)
		for i := range 600 {
			n, at, off := (1+rng.IntN(300))*sector, rng.IntN(16)*sector, rng.Int64N(15<<11)*sector
			stampSectors(mem[at:at+n], 0, off, uint64(i+1))
			k, err := unix.Pwrite(fd, mem[at:at+n], off)
			if k != n || err != nil {
				t.Fatalf("write %d at %d: %d, %v", n, off, k, err)
			}
			copy(want[off:], mem[at:at+n])
		}
		if !bytes.Equal(read(t, p.at("v")), want) {
			t.Error("content differs")
		}
	})
}

// A daemon that serves write-back can wait for itself when memory is short, unless its threads say what they are.
func TestTrap08IOFlusher(t *testing.T) {
	needsRoot(t)
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		must(t, os.WriteFile(p.at("v"), make([]byte, 1<<20), 0o644))
		if unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0) != nil {
			t.Log("no CAP_SYS_RESOURCE here: the daemon does without")
			return
		}
		must(t, unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0))
		allFlushIO(t, p.pid())
		allFlushIO(t, p.info().Info.Daemon.Supervisor) // it starts the next one while the mount has dirty pages
		p.killDaemon()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for off := int64(0); ; off = (off + 4<<10) % (1 << 20) {
					select {
					case <-stop:
						return
					default:
						keepWriting(t, p.at("v"), off+int64(i))
					}
				}
			})
		}
		for range 10 {
			allFlushIO(t, p.pid()) // of those that came since, the kernel's for io_uring among them
		}
		close(stop)
		wg.Wait()
	})
}

// keepWriting writes a byte of a file, durably.
func keepWriting(t *testing.T, path string, off int64) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DSYNC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), off); err != nil {
		t.Error(err)
	}
}

// allFlushIO: each thread of a process says that it flushes.
func allFlushIO(t *testing.T, pid int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	must(t, err)
	if len(tasks) == 0 {
		t.Errorf("process %d has no threads", pid)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		must(t, err)
		stat := string(b)
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		flags, err := strconv.ParseUint(fields[6], 10, 64)
		must(t, err)
		const ioFlusher = 0x80000 | 0x100000 // PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE
		if flags&ioFlusher != ioFlusher {
			t.Errorf("%s: flags %#x", stat, flags)
		}
	}
}

// What was negotiated decides about speed and safety: parallel asynchronous I/O (09), 1 MiB requests (10), no
// pass-through past the daemon (04, 15), mmap (06).
func TestTrap09To15Negotiated(t *testing.T) {
	p := newLab(t).newPool("lab", "256M", "debug,transport=classic")
	p.mount()
	must(t, os.WriteFile(p.at("v"), nil, 0o644))
	fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT)
	_, err := unix.Pwrite(fd, blockdev.Aligned(1<<20), 0)
	must(t, err)
	closeFD(t, fd)
	p.umount()
	log := string(read(t, p.path("state/log/lab.log")))
	reply := regexp.MustCompile(`(?s)rx \d+: INIT.*?tx \d+: +OK, \{7\.[^}]*\}`).FindString(log)
	reply = reply[strings.LastIndex(reply, "tx "):]
	for _, want := range []string{"ASYNC_DIO", "DIRECT_IO_ALLOW_MMAP", "PARALLEL_DIROPS", "Wr 1048576", "MaxPages 256"} {
		if !strings.Contains(reply, want) {
			t.Errorf("%s was not negotiated: %s", want, reply)
		}
	}
	for _, not := range []string{"PASSTHROUGH", "WRITEBACK_CACHE", "POSIX_LOCKS", "FLOCK_LOCKS"} {
		if strings.Contains(reply, not) {
			t.Errorf("%s was negotiated: %s", not, reply)
		}
	}
	if !strings.Contains(log, "[0 +1048576)") {
		t.Error("a write of 1 MiB is not one request")
	}
}

// `qemu-img create` on an existing file truncates it to 0 first, which must not take as long as there is to free.
func TestTrap11TruncateOfALargeVolume(t *testing.T) {
	needs(t, "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "64G", tr)
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("v"), "1T")
		fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT)
		must(t, unix.Fallocate(fd, 0, 0, 2<<30)) // its zeros are written to the host's file
		rng := rand.New(rand.NewPCG(11, 11))
		for i := range 4000 { // pages enough that a walk is needed
			off := rng.Int64N(1<<28) * block
			if _, err := unix.Pwrite(fd, stamped(block, 0, off, uint64(i+1)), off); err != nil {
				t.Fatal(err)
			}
		}
		closeFD(t, fd)
		r := p.exec("qemu-img", "create", "-q", "-f", "raw", p.at("v"), "1T")
		p.ok(r)
		t.Logf("create over 1 TiB with 2 GiB and 4,000 blocks allocated: %v", r.took.Round(time.Millisecond))
		fresh := p.exec("qemu-img", "create", "-q", "-f", "raw", p.at("fresh"), "1T")
		p.ok(fresh)
		if r.took > 100*fresh.took {
			t.Errorf("it took %v, and %v where nothing was there", r.took, fresh.took)
		}
		eventually(t, "what was truncated is freed", patience, func() bool { return p.info().Info.Usage.Live < 1<<20 })
	})
}
