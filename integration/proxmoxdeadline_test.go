package integration

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// proxmoxOps are what Proxmox VE does to a directory storage, in the order of a disk's life, and how long it waits for that: 2 s
// for a look at the directory and at its free space, 10 s for a resize. It waits for ever for what has no limit.
var proxmoxOps = []struct {
	name   string
	limit  time.Duration
	script string // for a shell, with the directory $D and the disk $V; empty: a call, in look
}{
	{"-d", 2 * time.Second, ""},
	{"df", 2 * time.Second, ""},
	{"alloc", 0, `umask 0037; mkdir -p $D/images/100; qemu-img create -q -o preallocation=off -f raw $V 65536K`},
	{"list", 0, `qemu-img info --output=json -f raw $V | grep -q '"virtual-size": 67108864'`},
	{"activate", 0, `test -e $V`},
	{"resize", 10 * time.Second, `qemu-img resize -q --preallocation=off -f raw $V 134217728`},
	{"rename", 0, `mkdir -p $D/images/101; mv $V $D/images/101/vm-101-disk-0.raw; mv $D/images/101/vm-101-disk-0.raw $V`},
	{"template", 0, `mv $V $D/images/100/base-100-disk-0.raw; chmod 0444 $D/images/100/base-100-disk-0.raw
		mv $D/images/100/base-100-disk-0.raw $V; chmod 0640 $V`},
	{"free", 0, `rm -f $V; rmdir $D/images/101 $D/images/100`},
}

// look does what has no script.
func look(name, dir string) error {
	var st unix.Statfs_t
	if name == "df" {
		err := unix.Statfs(dir, &st)
		if err == nil && st.Blocks == 0 {
			return fmt.Errorf("no blocks in %s", dir)
		}
		return err
	}
	i, err := os.Stat(dir)
	if err == nil && !i.IsDir() {
		return fs.ErrInvalid
	}
	return err
}

// worst is the longest time of each operation.
type worst map[string]time.Duration

// storageLife goes through all operations once; more is done before each.
func (p *pool) storageLife(w worst, before func()) {
	p.t.Helper()
	for _, op := range proxmoxOps {
		before()
		start := time.Now()
		if op.script == "" {
			must(p.t, look(op.name, p.mnt))
		} else if r := p.exec("bash", "-euc", "D="+p.mnt+" V="+p.at("images/100/vm-100-disk-0.raw")+"\n"+op.script); r.code != 0 {
			p.t.Fatalf("%s: %v", op.name, r)
		}
		took := time.Since(start)
		w[op.name] = max(w[op.name], took)
		if op.limit > 0 && took > op.limit {
			p.t.Errorf("%s took %v: Proxmox gives up after %v", op.name, took, op.limit)
		}
	}
}

// load writes to a volume and discards parts of it, so that there is always something to erase, until stop is called.
func (p *pool) load() (stop func()) {
	p.t.Helper()
	p.slatefs("set", "erase_throughput=64M", p.mnt)
	p.slatefs("create", "--size", "256M", p.at("busy.raw"))
	fd := open(p.t, p.at("busy.raw"), unix.O_RDWR)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		data, r := stamped(1<<20, 9, 0, 9), rand.New(rand.NewPCG(1, 2))
		for n := 0; ctx.Err() == nil; n++ {
			if err := pwrite(fd, data, r.Int64N(255)<<20); err != nil {
				done <- err
				return
			}
			if n%8 == 7 {
				if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.Int64N(31)<<23, 8<<20); err != nil {
					done <- err
					return
				}
			}
			p.writes.Add(1)
		}
		done <- nil
	}()
	return func() {
		cancel()
		must(p.t, <-done)
		closeFD(p.t, fd)
	}
}

// TestProxmoxDeadlines: all that Proxmox VE does to a directory storage is done in the time that it gives, while a writer and the
// erase are busy, while another daemon takes over, and while the device answers nothing.
func TestProxmoxDeadlines(t *testing.T) {
	needsRoot(t)
	needs(t, "qemu-img")
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		lives, every := 5, 1
		if tr != "transport="+transports[len(transports)-1] {
			lives, every = 2, 4 // a look, where a mount gets another one: who dies again soon is started again later each time
		}
		times := map[string]worst{"idle": {}, "load": {}, "takeover": {}}
		p.storageLife(times["idle"], func() {})
		stop := p.load()
		for range lives {
			p.storageLife(times["load"], func() {})
		}
		if p.erase().Background == 0 {
			t.Error("nothing was erased meanwhile")
		}
		ended, n := 0, 0
		p.storageLife(times["takeover"], func() {
			if n++; (n-1)%every > 0 {
				return
			}
			if ended > 0 {
				p.waitServed(ended)
			}
			ended = p.pid()
			must(t, unix.Kill(ended, unix.SIGKILL)) // and what follows is asked before another one serves
		})
		p.waitServed(ended)
		stop()
		printTimes(t, times, []string{"idle", "load", "takeover"})
	})
}

// TestProxmoxDeadlinesStalled is the same with a device that takes no write for some seconds: a file in a file system that is
// frozen. What Proxmox asks each ten seconds is answered meanwhile. (TestStalled has one that gives no read either.)
func TestProxmoxDeadlinesStalled(t *testing.T) {
	needsRoot(t)
	needs(t, "qemu-img", "mkfs.ext4", "fsfreeze", "losetup")
	l := newLab(t)
	host := l.path("host")
	must(t, os.Mkdir(host, 0o755))
	l.tool("truncate", "-s", "1G", l.path("image"))
	l.tool("mkfs.ext4", "-q", l.path("image"))
	l.tool("mount", loop(t, l, l.path("image")), host)
	defer l.tool("umount", host)
	var pools []*pool
	w := map[string]worst{}
	for i, tr := range transports {
		p := l.createPool(fmt.Sprint("lab", i), fmt.Sprintf("%s/%d.pool", host, i), "transport="+tr, "--size", "400M")
		p.mount()
		defer p.umount()
		defer p.load()()
		p.tool("mkdir", "-p", p.at("images/100"))
		p.tool("qemu-img", "create", "-q", "-f", "raw", p.at("images/100/vm-100-disk-0.raw"), "64M")
		pools, w[tr] = append(pools, p), worst{}
	}
	const stall = 4 * time.Second // less than Proxmox' own limit for a resize
	for _, op := range proxmoxOps {
		if op.limit == 0 {
			continue
		}
		for i, took := range stalled(l, host, stall, pools, op.name, op.script) {
			w[transports[i]][op.name] = took
			if took > op.limit {
				t.Errorf("%s on a stalled device took %v: Proxmox gives up after %v", op.name, took, op.limit)
			}
		}
	}
	printTimes(t, w, transports)
}

// stalled does an operation on each pool while the file system below them is frozen, and returns how long that took.
func stalled(l *lab, host string, stall time.Duration, pools []*pool, name, script string) (took []time.Duration) {
	l.t.Helper()
	l.tool("fsfreeze", "-f", host)
	thawed := make(chan result)
	go func() {
		time.Sleep(stall)
		thawed <- l.exec("fsfreeze", "-u", host)
	}()
	if script == "" {
		time.Sleep(stall / 4) // until what could still be written is
	}
	did, errs := make([]result, len(pools)), make([]error, len(pools))
	took = make([]time.Duration, len(pools))
	var all sync.WaitGroup
	for i, p := range pools {
		all.Go(func() {
			start := time.Now()
			if script == "" {
				errs[i] = look(name, p.mnt)
			} else {
				did[i] = p.exec("bash", "-euc", "D="+p.mnt+" V="+p.at("images/100/vm-100-disk-0.raw")+"\n"+script)
			}
			took[i] = time.Since(start)
		})
	}
	all.Wait()
	l.ok(<-thawed)
	for i := range pools {
		must(l.t, errs[i])
		l.ok(did[i])
	}
	return took
}

// printTimes prints the longest time of each operation.
func printTimes(t *testing.T, times map[string]worst, columns []string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %8s", "operation", "limit")
	for _, c := range columns {
		fmt.Fprintf(&b, " %10s", c)
	}
	for _, op := range proxmoxOps {
		limit := "-"
		if op.limit > 0 {
			limit = op.limit.String()
		}
		fmt.Fprintf(&b, "\n%-10s %8s", op.name, limit)
		for _, c := range columns {
			took := "-"
			if d, ok := times[c][op.name]; ok {
				took = d.Round(time.Millisecond).String()
			}
			fmt.Fprintf(&b, " %10s", took)
		}
	}
	t.Log("the longest of each:\n" + b.String())
}
