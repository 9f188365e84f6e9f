package integration

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// otherEnv names a program of another version, which daemons are upgraded and downgraded to instead of one of this source.
const otherEnv = "SLATEFS_OTHER"

// versions are programs of two versions, named by them: this source, built twice, or once and otherEnv.
var versions = sync.OnceValues(func() (paths [2]string, err error) {
	for i, v := range []string{"9.1", "9.2"} {
		if other := os.Getenv(otherEnv); i == 1 && other != "" {
			out, err := exec.Command(other, "--version").Output()
			if err != nil {
				return paths, err
			}
			paths[i] = filepath.Join(workDir, "slatefs-"+strings.TrimPrefix(strings.TrimSpace(string(out)), "slatefs "))
			return paths, os.Symlink(other, paths[i])
		}
		paths[i] = filepath.Join(workDir, "slatefs-"+v)
		if err = buildAs(paths[i], "-ldflags", "-X slatefs/cmd/slatefs/internal/control.stamp="+v); err != nil {
			return paths, err
		}
	}
	return paths, nil
})

// install puts a program in the place of another, as a package manager does.
func install(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path+".new", content, 0o755))
	must(t, os.Rename(path+".new", path))
}

// takeoverPool is a pool whose mount outlives its daemon.
func takeoverPool(t *testing.T, transport string) *pool {
	t.Helper()
	p := newLab(t).newPool("lab", "1G", transport)
	p.mount()
	return p
}

// killDaemon kills the daemon and leaves its supervisor, and returns when another one serves.
func (p *pool) killDaemon() {
	p.t.Helper()
	pid := p.pid()
	fd, err := unix.PidfdOpen(pid, 0)
	must(p.t, err)
	defer unix.Close(fd)
	must(p.t, unix.Kill(pid, unix.SIGKILL))
	p.waitEnd(fd)
	p.waitServed(pid)
}

// waitServed waits until another daemon than a process that has ended answers.
func (p *pool) waitServed(ended int) {
	p.t.Helper()
	eventually(p.t, "a daemon goes on with the mount", patience, func() bool {
		i, err := p.ask()
		return err == nil && i.Info.Daemon.PID > 1 && i.Info.Daemon.PID != ended && i.Info.OpenFiles >= 0 && i.Info.Usage.Total > 0
	})
}

// replaced is a pool whose daemon is killed and upgraded again and again. Its program is a copy, which changes its version.
type replaced struct {
	*pool
	here  string // the program that is installed
	both  [2]string
	now   int // of both
	times int // that another process went on
}

// rounds is how often a daemon is killed, and how often it is upgraded, unless the environment says otherwise.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SLATEFS_ROUNDS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// newReplaced makes such a pool and mounts it until the end of the test.
func newReplaced(t *testing.T, transport string) *replaced {
	t.Helper()
	both, err := versions()
	must(t, err)
	l := newLab(t)
	r := &replaced{here: l.path("slatefs"), both: both}
	install(t, r.here, read(t, both[0]))
	r.pool = l.newPool("lab", "1G", transport)
	r.ok(r.exec(r.here, "mount", "-o", transport, r.name, r.mnt))
	r.keepUntilEnd()
	return r
}

func (r *replaced) kill() {
	r.t.Helper()
	r.killDaemon()
	r.times++
}

// upgrade installs the other version and has the daemon go on as that, in the same process.
func (r *replaced) upgrade() {
	r.t.Helper()
	pid := r.pid()
	r.now = 1 - r.now
	install(r.t, r.here, read(r.t, r.both[r.now]))
	want := "slatefs " + strings.TrimPrefix(filepath.Base(r.both[r.now]), "slatefs-") + " goes on, as process " + strconv.Itoa(pid) + "\n"
	if res := r.exec(r.here, "reload", r.name); res.code != 0 || !strings.Contains(res.stdout, want) {
		r.t.Errorf("want %q: %v", want, res)
	}
	r.times++
}

// replace kills and upgrades the daemon in turn, n times each, and gives those who use the mount some time before each. After
// each it is told what was done.
func (r *replaced) replace(n int, done func(what string)) {
	r.t.Helper()
	for i := range 2 * n {
		time.Sleep(time.Duration(200+rand.IntN(500)) * time.Millisecond)
		what, do := "kill", r.kill
		if i%2 == 1 {
			what, do = "upgrade", r.upgrade
		}
		do()
		done(what + " " + strconv.Itoa(i/2+1))
		if r.t.Failed() {
			return
		}
	}
	if times := r.info().Info.Takeovers; times != r.times {
		r.t.Errorf("%d takeovers, want %d", times, r.times)
	}
}

// prober reads a block again and again, past all caches, and knows the longest time that it took.
type prober struct {
	t       *testing.T
	stop    chan struct{}
	done    sync.WaitGroup
	longest atomic.Int64 // nanoseconds, since it was asked
	begun   atomic.Int64
	most    map[string]time.Duration // by the first word of what was done
}

func newProber(t *testing.T, p *pool) *prober {
	t.Helper()
	p.slatefs("create", "--size", "1M", p.at("probe"))
	o := &prober{t: t, stop: make(chan struct{}), most: map[string]time.Duration{}}
	o.done.Go(func() { o.run(p.at("probe")) })
	return o
}

func (o *prober) run(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		o.t.Error(err)
		return
	}
	defer unix.Close(fd)
	buf := blockdev.Aligned(block)
	for {
		select {
		case <-o.stop:
			return
		case <-time.After(time.Millisecond):
		}
		o.begun.Add(1)
		began := time.Now()
		if _, err := unix.Pread(fd, buf, 0); err != nil {
			o.t.Errorf("read while the daemon is replaced: %v", err)
			return
		}
		o.longest.Store(max(o.longest.Load(), int64(time.Since(began))))
	}
}

// stall is the longest time that a read took since it was asked last, the one that is under way included. What was done then is
// empty or begins with a word for its kind.
func (o *prober) stall(what string) time.Duration {
	o.t.Helper()
	n := o.begun.Load()
	eventually(o.t, "reads go on", patience, func() bool { return o.begun.Load() > n+1 || o.t.Failed() })
	d := time.Duration(o.longest.Swap(0)).Round(time.Millisecond)
	if kind, _, _ := strings.Cut(what, " "); kind != "" {
		o.most[kind] = max(o.most[kind], d)
	}
	return d
}

func (o *prober) end() {
	o.t.Helper()
	close(o.stop)
	o.done.Wait()
	o.t.Logf("longest stall of a reader: %v", o.most)
}

// process is a program that runs beside a test, until it ends or is ended.
type process struct {
	*exec.Cmd
	ended chan error
	out   string // file with what it printed
}

// begin starts a program in the lab's environment.
func (l *lab) begin(out, name string, args ...string) process {
	l.t.Helper()
	p := process{exec.Command(name, args...), make(chan error, 1), l.path(out)}
	f, err := os.Create(p.out)
	must(l.t, err)
	defer f.Close()
	p.Dir, p.Env, p.Stdout, p.Stderr = l.dir, l.environ(), f, f
	must(l.t, p.Start())
	go func() { p.ended <- p.Wait() }()
	l.t.Cleanup(func() {
		if p.ended != nil {
			_ = p.Process.Kill() // it has ended, or a test has failed
		}
	})
	return p
}
