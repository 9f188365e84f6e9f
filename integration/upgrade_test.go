package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// versions are programs of two versions, built once.
var versions = sync.OnceValues(func() (paths [2]string, err error) {
	for i, v := range []string{"9.1", "9.2"} {
		paths[i] = filepath.Join(workDir, "slatefs-"+v)
		cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath",
			"-ldflags", "-X slatefs/cmd/slatefs/internal/control.stamp="+v, "-o", paths[i], "slatefs/cmd/slatefs")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return paths, &exec.ExitError{Stderr: out}
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

// TestUpgradeUnderFio has the daemon go on as another version again and again under fio, which verifies: nothing fails, and the
// process stays. A program that can't go on leaves the old one serving, whether it says so or dies of it.
func TestUpgradeUnderFio(t *testing.T) {
	needs(t, "fio")
	both, err := versions()
	must(t, err)
	eachTransport(t, func(t *testing.T, tr string) {
		l := newLab(t)
		here := l.path("slatefs")
		install(t, here, read(t, both[0]))
		p := l.newPool("lab", "1G", tr)
		p.ok(l.exec(here, "mount", "--supervise", "-o", tr, p.name, p.mnt))
		watch := p.newWatchdog()
		t.Cleanup(func() {
			watch.Stop()
			p.end()
		})
		p.slatefs("create", "--size", "64M", p.at("a"))
		p.slatefs("create", "--size", "1M", p.at("probe"))
		out := p.path("fio.out")
		cmd := exec.Command("fio", "--output="+out, "--name=up", "--filename="+p.at("a"), "--rw=randrw", "--bs=4k", "--iodepth=32",
			"--ioengine=libaio", "--direct=1", "--size=64M", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64",
			"--fsync=512", "--rate_iops=4000", "--time_based", "--runtime=600")
		cmd.Dir = p.dir
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var stop atomic.Bool
		stall := make(chan time.Duration, 1)
		go func() { stall <- stallProbe(t, p.at("probe"), &stop) }()

		pid := p.pid()
		for i := range 4 {
			time.Sleep(300 * time.Millisecond)
			next := both[(i+1)%2]
			install(t, here, read(t, next))
			want := strings.TrimPrefix(filepath.Base(next), "slatefs-")
			if r := l.exec(here, "reload", p.name); r.code != 0 || !strings.Contains(r.stdout, "slatefs "+want+" goes on, as process") {
				t.Error(r)
			}
			if now := p.pid(); now != pid {
				t.Errorf("process %d serves, before it was %d", now, pid)
			}
		}
		stop.Store(true)
		t.Logf("longest stall of a reader: %v", (<-stall).Round(time.Millisecond))
		for why, script := range map[string]string{
			"can't go on, and the daemon stays as it is": "exit 3",
			"does not come to serve it":                  `[ "$1" = __probe ] && { echo 9.3; exit; }; exit 3`,
		} {
			install(t, here, []byte("#!/bin/sh\n"+script+"\n"))
			if r := p.try("reload", p.name); r.code != 1 || !strings.Contains(r.stderr, why) {
				t.Errorf("%s: %v", why, r)
			}
		}
		install(t, here, read(t, both[0]))
		must(t, cmd.Process.Signal(os.Interrupt))
		if err := <-ended; err != nil && cmd.ProcessState.ExitCode() != 128 {
			t.Errorf("fio: %v\n%s", err, read(t, out))
		}
	})
}

// TestReloadWithoutSupervisor: where nobody keeps the mount any more there is no reload, and the daemon goes on.
func TestReloadWithoutSupervisor(t *testing.T) {
	p := takeoverPool(t, "transport=classic")
	daemon := p.info().Info.Daemon
	fd, err := unix.PidfdOpen(daemon.Supervisor, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Kill(daemon.Supervisor, unix.SIGKILL))
	p.waitEnd(fd)
	p.refuses(1, []string{"nobody keeps files"}, "reload", p.name)
	if now := p.pid(); now != daemon.PID {
		t.Errorf("process %d serves, before it was %d", now, daemon.PID)
	}
	if out := p.slatefs("pool", "status", p.name); !strings.Contains(out, "nobody keeps files") {
		t.Error(out)
	}
	p.slatefs("create", "--size", "1M", p.at("a"))
}
