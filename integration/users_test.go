package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// user begins to use a mount, and returns what ends that, and verifies all that it did.
type user func(t *testing.T, p *pool) (end func())

// TestOutlived kills and upgrades the daemon again and again under those who use its mount at once: nothing fails, all that was
// acknowledged is there, what was done once is not done twice, and what is open is counted exactly.
func TestOutlived(t *testing.T) {
	needs(t, "fio", "qemu-storage-daemon", "qemu-io", "qemu-img", "losetup", "mkfs.ext4")
	users := []user{fioUser, stormUser, nbdUser}
	if isRoot() {
		users = append(users, loopUser)
	}
	eachTransport(t, func(t *testing.T, tr string) {
		p := newReplaced(t, tr)
		o := newProber(t, p.pool)
		var ends []func()
		for _, u := range users {
			ends = append(ends, u(t, p.pool))
		}
		o.stall("")
		p.replace(rounds(t), func(what string) { t.Logf("%s: a read took %v at most", what, o.stall(what)) })
		for _, end := range ends {
			end()
		}
		o.end()
		if n := p.info().Info.OpenFiles; n != 0 {
			eventually(t, "the last close", patience, func() bool { n = p.info().Info.OpenFiles; return n == 0 })
		}
	})
}

// fioUser is fio, which reads back what it wrote, at depth 32.
func fioUser(t *testing.T, p *pool) func() {
	p.slatefs("create", "--size", "128M", p.at("fio"))
	cmd := p.begin("fio.out", "fio", "--name=live", "--filename="+p.at("fio"), "--rw=randrw", "--bs=4k", "--iodepth=32",
		"--ioengine=libaio", "--direct=1", "--size=128M", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64",
		"--fsync=512", "--rate_iops=4000", "--time_based", "--runtime=36000")
	return func() {
		must(t, cmd.Process.Signal(unix.SIGINT)) // it ends well, and has verified what it has read
		if err := <-cmd.ended; err != nil && cmd.ProcessState.ExitCode() != 128 {
			t.Errorf("fio: %v\n%s", err, read(t, cmd.out))
		}
	}
}

// nbdUser is a storage daemon of qemu that exports two volumes, with who writes one at depth 32, and who writes and reads the other.
func nbdUser(t *testing.T, p *pool) func() {
	args := []string{"--nbd-server", "addr.type=unix,addr.path=" + p.path("nbd")}
	for i, aio := range []string{"native", "threads"} {
		name := fmt.Sprint("nbd", i)
		p.slatefs("create", "--size", "16M", p.at(name))
		args = append(args, "--blockdev", fmt.Sprintf("driver=file,node-name=%s,filename=%s,aio=%s,cache.direct=on", name, p.at(name), aio),
			"--export", fmt.Sprintf("type=nbd,id=%s,node-name=%s,name=%s,writable=on", name, name, name))
	}
	server := p.begin("nbd.out", "qemu-storage-daemon", args...)
	eventually(t, "the storage daemon listens", patience, func() bool { _, err := os.Stat(p.path("nbd")); return err == nil })
	url := func(name string) string { return "nbd+unix:///" + name + "?socket=" + p.path("nbd") }
	var stop atomic.Bool
	var running sync.WaitGroup
	times := 0
	running.Go(func() {
		for !stop.Load() && !t.Failed() {
			r := p.exec("qemu-img", "bench", "-w", "-f", "raw", "-d", "32", "-c", "2000", "-s", "4k", "--flush-interval=100", url("nbd0"))
			if r.code != 0 {
				t.Error(r)
			}
			times++
		}
	})
	v := patterns{seed: uint64(time.Now().UnixNano())}
	running.Go(func() {
		for !stop.Load() && !t.Failed() {
			r := p.exec("qemu-io", append([]string{"-f", "raw", url("nbd1")}, v.round()...)...)
			if text := r.stdout + r.stderr; r.code != 0 || strings.Contains(text, "failed") || strings.Contains(text, "rror") {
				t.Errorf("seed %d: %v", v.seed, r)
			}
		}
	})
	return func() {
		stop.Store(true)
		running.Wait()
		must(t, server.Process.Signal(unix.SIGTERM))
		if err := <-server.ended; err != nil {
			t.Errorf("qemu-storage-daemon: %v\n%s", err, read(t, server.out))
		}
		if got := read(t, p.at("nbd1")); !bytes.Equal(got, v.content[:]) {
			t.Error("what was written by NBD is not there")
		}
		t.Logf("by NBD: %d rounds of 2000 writes, %d of writes that were read", times, v.rounds)
	}
}

// patterns is a volume that qemu-io writes and reads.
type patterns struct {
	seed    uint64
	rounds  int
	content [16 << 20]byte
}

// round is one round of commands: some writes at once, a flush, and reads of all that they wrote.
func (v *patterns) round() (args []string) {
	rng := rand.New(rand.NewPCG(v.seed, uint64(v.rounds)))
	v.rounds++
	var reads []string
	const part = 1 << 20
	for i := range int64(16) {
		n := (1 + rng.Int64N(64)) * block
		off, b := i*part+rng.Int64N((part-n)/sector+1)*sector, byte(1+rng.IntN(255))
		copy(v.content[off:off+n], bytes.Repeat([]byte{b}, int(n)))
		args = append(args, "-c", fmt.Sprintf("aio_write -P %d %d %d", b, off, n))
		reads = append(reads, "-c", fmt.Sprintf("read -P %d %d %d", b, off, n))
	}
	return append(append(args, "-c", "aio_flush", "-c", "flush"), reads...)
}

// loopUser is a file system on a loop device: of all files that it has synced none is lost, and fsck finds nothing.
func loopUser(t *testing.T, p *pool) func() {
	vol, dir := p.at("ext4"), p.path("ext4")
	p.slatefs("create", "--size", "64M", vol)
	p.tool("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", vol)
	must(t, os.Mkdir(dir, 0o755))
	dev := loop(t, p.lab, vol, "--direct-io=on")
	p.tool("mount", "-t", "ext4", dev, dir)
	there := map[string]uint64{} // what each file was last written by
	path := func(name string) string { return filepath.Join(dir, name) }
	var stop atomic.Bool
	var running sync.WaitGroup
	n := uint64(0)
	running.Go(func() {
		for rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)); !stop.Load(); {
			n++
			name := fmt.Sprint("f", rng.IntN(100))
			if err := replaceFile(path(name), stamped((1+rng.IntN(60))*block, 0, 0, n)); err != nil {
				t.Error(err)
				return
			}
			there[name] = n
		}
	})
	return func() {
		stop.Store(true)
		running.Wait()
		p.tool("umount", dir)
		p.tool("losetup", "-d", dev)
		p.tool("e2fsck", "-fn", vol)
		dev = loop(t, p.lab, vol, "--read-only")
		p.tool("mount", "-t", "ext4", "-o", "ro", dev, dir)
		for name, w := range there {
			b := read(t, path(name))
			for off := 0; off < len(b); off += sector {
				if st, err := readStamp(b[off : off+sector]); err != nil || st.write != w {
					t.Errorf("%s: at %d it holds write %d (%v), want %d", name, off, st.write, err, w)
					break
				}
			}
		}
		p.tool("umount", dir)
		p.tool("losetup", "-d", dev)
		t.Logf("on a loop device: %d files written and synced", n)
	}
}

// replaceFile writes a file and syncs it, and its name.
func replaceFile(path string, content []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
