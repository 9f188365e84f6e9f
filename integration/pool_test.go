package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/.ci/progress"
)

// pool is one pool of a lab.
type pool struct {
	*lab
	name, device, mnt string
	opts              string // of mount, for -o
	watch             *watchdog
	writes            atomic.Int64 // that a test counts: each is a millisecond of work to the watchdog
}

// newPool makes a pool in a new sparse file.
func (l *lab) newPool(name, size, opts string) *pool {
	l.t.Helper()
	return l.createPool(name, l.path(name+".pool"), opts, "--size", size, "--sparse")
}

// createPool makes a pool on a device; more are flags of pool create.
func (l *lab) createPool(name, device, opts string, more ...string) *pool {
	l.t.Helper()
	p := &pool{lab: l, name: name, device: device, mnt: l.path("mnt." + name), opts: opts}
	l.tool("mkdir", "-p", p.mnt)
	l.slatefs(append(append([]string{"pool", "create"}, more...), name, device)...)
	return p
}

// mountedPool makes a pool and mounts it until the end of the test.
func mountedPool(t *testing.T, size, opts string) *pool {
	t.Helper()
	p := newLab(t).newPool("lab", size, opts)
	p.mount()
	return p
}

// watchdogTime is how long the tests may make no progress while a pool is mounted, before its mount is taken for one that
// hangs. It is less than what the suite takes for a hang: whoever is stuck in a request of the mount can't be ended.
const watchdogTime = 4 * time.Minute

// watchdog aborts a mount when nothing happens any more. Stop ends it.
type watchdog struct {
	once sync.Once
	stop chan struct{}
}

func (p *pool) newWatchdog() *watchdog {
	d := &watchdog{stop: make(chan struct{})}
	go func() {
		now := time.Now()
		w := progress.New(watchdogTime, now)
		look := time.NewTicker(w.Every())
		defer look.Stop()
		for {
			select {
			case <-d.stop:
				return
			case now = <-look.C:
			}
			// These tests say little: their work is what counts.
			if w.Stuck(now, progress.CPU(unix.Getpgrp())+time.Duration(p.writes.Load())*time.Millisecond) {
				p.t.Errorf("%s: nothing happens any more: aborted", p.mnt)
				p.abort()
				return
			}
		}
	}()
	return d
}

// Stop ends the watchdog, once or more often.
func (d *watchdog) Stop() { d.once.Do(func() { close(d.stop) }) }

// mount mounts the pool in the background until the end of the test, and tells how long that took.
func (p *pool) mount() time.Duration {
	p.t.Helper()
	r := p.try("mount", "-o", p.opts, p.name, p.mnt)
	p.ok(r)
	p.keepUntilEnd()
	return r.took
}

// keepUntilEnd takes care of a mount until the end of the test.
func (p *pool) keepUntilEnd() {
	watch := p.newWatchdog()
	p.watch = watch
	p.t.Cleanup(func() {
		watch.Stop() // this mount's, whatever was mounted after it
		if p.mounted() {
			p.end()
		}
	})
}

// umount unmounts the pool, which must have no users.
func (p *pool) umount() {
	p.t.Helper()
	p.watch.Stop()
	p.slatefs("umount", p.mnt)
	if p.mounted() {
		p.t.Fatalf("%s: still mounted", p.mnt)
	}
}

// end unmounts the pool at the end of a test, and checks it. One that can't be unmounted is aborted.
func (p *pool) end() {
	p.t.Helper()
	if r := p.try("umount", p.mnt); r.code != 0 {
		p.t.Error(r)
		p.abort()
		return
	}
	p.check()
}

// abort ends a mount whatever it does: every request fails from now on.
func (p *pool) abort() {
	mounts, err := mountsBelow(p.mnt)
	if err != nil {
		p.t.Error(err)
	}
	for _, m := range mounts {
		m.remove()
	}
}

func (p *pool) mounted() bool {
	p.t.Helper()
	mounts, err := mountsBelow(p.mnt)
	must(p.t, err)
	return len(mounts) > 0
}

// kill kills the daemon, and who would start it again before, and leaves the dead mount to the next one.
func (p *pool) kill() {
	p.t.Helper()
	pid := p.pid()
	if parent := p.info().Info.Daemon.Supervisor; parent > 0 { // it has the pool's lock as well
		fd, err := unix.PidfdOpen(parent, 0)
		must(p.t, err)
		defer unix.Close(fd)
		must(p.t, unix.Kill(parent, unix.SIGKILL))
		p.waitEnd(fd)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	must(p.t, err)
	defer unix.Close(fd)
	must(p.t, unix.Kill(pid, unix.SIGKILL))
	p.waitEnd(fd)
	p.watch.Stop()
}

// waitEnd waits for the end of a process, by its pidfd.
func (p *pool) waitEnd(pidfd int) {
	p.t.Helper()
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	eventually(p.t, "the daemon's end", patience, func() bool {
		n, err := unix.Poll(fds, 100)
		return err == nil && n > 0
	})
}

// check checks the pool offline: it must be without a fault.
func (p *pool) check() {
	p.t.Helper()
	if r := p.try("pool", "check", "--reclaim", p.device); r.code != 0 {
		p.t.Error(r)
	}
}

// at is the path of a volume in the mount.
func (p *pool) at(name string) string { return filepath.Join(p.mnt, name) }

// snap is the path of a snapshot of a volume in the mount's root.
func (p *pool) snap(volume, name string) string {
	return filepath.Join(p.mnt, ".snap", volume+"@"+name)
}

// poolInfo is what `pool list -j` shows of a pool.
type poolInfo struct {
	Name string `json:"name"`
	Info struct {
		Daemon struct {
			PID        int    `json:"pid"`
			Supervisor int    `json:"supervisor"`
			Log        string `json:"log"`
		} `json:"daemon"`
		Usage     usage                             `json:"usage"`
		OpenFiles int                               `json:"open_files"`
		Takeovers int                               `json:"takeovers"`
		Memory    struct{ Limit, Used, Most int64 } `json:"memory"`
	} `json:"info"`
}

// usage is what the blocks of a pool are used for, in bytes, and what it holds.
type usage struct {
	Total       int64  `json:"total"`
	Live        int64  `json:"live"`
	Metadata    int64  `json:"metadata"`
	Clean       int64  `json:"clean"`
	Claimed     int64  `json:"claimed"`
	Dirty       int64  `json:"dirty"`
	Freeing     int64  `json:"freeing"`
	Failed      int64  `json:"failed"`
	Reserve     int64  `json:"reserve"`
	Promised    int64  `json:"promised"`
	Available   int64  `json:"available"`
	Volumes     int    `json:"volumes"`
	Snapshots   int    `json:"snapshots"`
	Layers      int    `json:"layers"`
	Generation  uint64 `json:"generation"`
	JournalUsed int64  `json:"journal_used"`
}

func (p *pool) info() poolInfo {
	p.t.Helper()
	i, err := p.ask()
	must(p.t, err)
	return i
}

// ask is info while nobody may answer.
func (p *pool) ask() (poolInfo, error) {
	r := p.try("pool", "list", "-j")
	var list struct {
		Pools []poolInfo `json:"pools"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		return poolInfo{}, fmt.Errorf("%s: %w", r, err)
	}
	for _, i := range list.Pools {
		if i.Name == p.name {
			return i, nil
		}
	}
	return poolInfo{}, fmt.Errorf("pool %s is not listed", p.name)
}

// pid is the process of the daemon.
func (p *pool) pid() int {
	p.t.Helper()
	pid := p.info().Info.Daemon.PID
	if pid <= 1 {
		p.t.Fatalf("pool %s has process %d", p.name, pid)
	}
	return pid
}

// number asks list for a column of a volume or snapshot, in bytes.
func (p *pool) number(path, column string) (n int64) {
	p.t.Helper()
	text := strings.TrimSpace(p.slatefs("list", "-Hp", "-t", "all", "-o", "name,"+column, path))
	for line := range strings.Lines(text) {
		name, val, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if name == path {
			_, err := fmt.Sscan(val, &n)
			must(p.t, err)
			return n
		}
	}
	p.t.Fatalf("%s is not in:\n%s", path, text)
	return 0
}

// open opens a file until the end of the test, without Go's poller.
func open(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	return fd
}

func closeFD(t *testing.T, fd int) {
	t.Helper()
	must(t, unix.Close(fd))
}

// read reads a whole file.
func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}
