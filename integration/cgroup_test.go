package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cgroup is a group of processes that the kernel lets have so much memory, page cache and tables included, and no swap.
type cgroup struct {
	t         *testing.T
	dir       string
	max       string // file: what they may have, in bytes
	peak, oom string // files: the most that it had, in bytes; how many processes were ended
}

// newCgroup makes one, by version 2 or 1 of cgroups, whichever has the memory controller here.
func newCgroup(t *testing.T, bytes int64) cgroup {
	t.Helper()
	name := fmt.Sprintf("slatefs-test-%d-%d", os.Getpid(), labs.Add(1))
	g := cgroup{t: t, dir: filepath.Join("/sys/fs/cgroup", name), max: "memory.max", peak: "memory.peak", oom: "memory.events"}
	swap := [2]string{"memory.swap.max", "0"}
	controllers, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers") // version 1 has none
	if slices.Contains(strings.Fields(string(controllers)), "memory") {
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0) // seen below
	} else {
		g.dir, g.max = filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes"
		g.peak, g.oom = "memory.max_usage_in_bytes", "memory.oom_control"
		swap = [2]string{"memory.swappiness", "0"}
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skipf("SKIPPED: guest kernel: no group with a bound on memory can be made here: %v", err)
	}
	t.Cleanup(func() {
		eventually(t, "the group is empty, and gone", patience, func() bool {
			err := unix.Rmdir(g.dir) // EBUSY while there is a process, EINTR now and then
			return err == nil || errors.Is(err, unix.ENOENT)
		})
	})
	if err := g.bound(bytes); err != nil {
		t.Skipf("SKIPPED: guest kernel: no group with a bound on memory can be made here: %v", err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, swap[0]), []byte(swap[1]), 0); err != nil {
		t.Logf("%s: %v", swap[0], err) // a kernel without swap
	}
	return g
}

// bound sets what the group may have.
func (g cgroup) bound(bytes int64) error {
	return os.WriteFile(filepath.Join(g.dir, g.max), fmt.Append(nil, bytes), 0)
}

// ended is how many of its processes the kernel has ended for want of memory.
func (g cgroup) ended() int64 { return g.number(g.oom, "oom_kill") }

// enter is a command line that runs another one in the group, and returns its exit code. What that starts is in the group as well.
func (g cgroup) enter(name string, args ...string) []string {
	return append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs"), name}, args...)
}

// number is that of a file, or of its line that begins with a word.
func (g cgroup) number(file, word string) int64 {
	g.t.Helper()
	text := string(read(g.t, filepath.Join(g.dir, file)))
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if word == "" || len(f) == 2 && f[0] == word {
			n, err := strconv.ParseInt(f[len(f)-1], 10, 64)
			must(g.t, err)
			return n
		}
	}
	g.t.Fatalf("%s has no %q:\n%s", file, word, text)
	return 0
}

// memoryMargin is what the kernel may need for a daemon beside its --memory, which bounds the process: its supervisor, the inodes
// and pages of files that it reads and logs to.
const memoryMargin = 32 << 20

// mountIn mounts the pool by a daemon that may take so much memory, in a group.
func (p *pool) mountIn(g cgroup, memory int64) {
	p.t.Helper()
	line := g.enter(program, "mount", "--memory", fmt.Sprint(memory), "-o", p.opts, p.name, p.mnt)
	p.ok(p.exec(line[0], line[1:]...))
	watch := p.newWatchdog()
	p.watch = watch
	p.t.Cleanup(func() {
		watch.Stop()
		if p.mounted() {
			p.end()
		}
	})
}

// inBounds shows what group and daemon have had of memory, and is an error if it was more than they may, or killed somebody.
func (p *pool) inBounds(g cgroup, memory int64, when string) {
	p.t.Helper()
	m := p.info().Info.Memory
	p.t.Logf("%s: %d MiB in the group at most, of %d; of the daemon %d MiB, of %d", when, g.number(g.peak, "")>>20,
		(memory+memoryMargin)>>20, m.Most>>20, m.Limit>>20)
	if m.Limit != memory || m.Most > memory || m.Used == 0 {
		p.t.Errorf("memory of the daemon: %+v, bound %d", m, memory)
	}
	if n := g.ended(); n != 0 {
		p.t.Errorf("the kernel ended %d processes for want of memory", n)
	}
}

// manyLarge has 128 requests of 1 MiB served at once, reads and writes.
func (p *pool) manyLarge(file, bytes string) {
	p.t.Helper()
	p.tool("fio", "--direct=1", "--ioengine=libaio", "--minimal", "--name=large", "--filename="+file, "--rw=randrw", "--bs=1M",
		"--iodepth=128", "--size=1G", "--io_size="+bytes)
}

// The kernel ends no daemon that has --memory and a margin for its supervisor, with 128 requests of 1 MiB at once. A successor
// has the same bound, and takes over within it. (TestMemory does that with a cache that is full.)
func TestMemoryInACgroup(t *testing.T) {
	needsRoot(t)
	needs(t, "fio")
	eachTransport(t, func(t *testing.T, tr string) {
		for _, memory := range []int64{64 << 20, 256 << 20} {
			p := newLab(t).newPool("lab", "4G", tr)
			g := newCgroup(t, memory+memoryMargin)
			p.mountIn(g, memory)
			p.slatefs("create", "--size", "1G", p.at("large"))
			p.manyLarge(p.at("large"), "768M")
			p.inBounds(g, memory, "128 x 1 MiB")
			p.killDaemon()
			pid := p.pid()
			p.manyLarge(p.at("large"), "256M")
			p.inBounds(g, memory, "and after a takeover")
			if now := p.pid(); now != pid {
				t.Errorf("the daemon is process %d, it was %d", now, pid)
			}
			p.umount()
		}
	})
}
