package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/fs/mounts"
)

// TestMain makes this binary the command `slatefs` of scripts, its daemons, and what mount(8) calls, as well.
func TestMain(m *testing.M) {
	programs := map[string]func(){"slatefs": main}
	for name := range helpers {
		programs[name] = main
	}
	testscript.Main(m, programs)
}

// TestScripts runs testdata/*.txtar; UPDATE_SCRIPTS=1 corrects what they expect. Like the scripts on mounts it is left to
// the long suite: each line starts a process, and what it does is done by the other tests in this one.
func TestScripts(t *testing.T) {
	if testing.Short() {
		return
	}
	testscript.Run(t, params("testdata"))
}

// TestMountScripts runs testdata/mount/*.txtar, on real mounts.
func TestMountScripts(t *testing.T) {
	if testing.Short() {
		return
	}
	if why := noMounts(); why != "" {
		t.Skip("!!! NOT TESTED: slatefs on a real mount: " + why)
	}
	testscript.Run(t, params("testdata/mount"))
}

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"killdaemon": killDaemon,
			"eventually": eventually,
			"hog":        hog,
		},
	}
}

// condition answers what scripts ask in brackets.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "shm":
		var dev, shm unix.Stat_t
		return unix.Stat("/dev", &dev) == nil && unix.Stat("/dev/shm", &shm) == nil && dev.Dev != shm.Dev, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// setup keeps a script's pools apart from the host's, and takes away what it leaves mounted.
func setup(env *testscript.Env) error {
	run, err := os.MkdirTemp("", "s") // short: names of sockets are
	if err != nil {
		return err
	}
	env.Setenv("SLATEFS_STATE_DIR", filepath.Join(env.WorkDir, "state"))
	env.Setenv("SLATEFS_RUN_DIR", filepath.Join(run, "r"))
	env.Setenv("TZ", "UTC")
	packaging, err := filepath.Abs("../../packaging")
	if err != nil {
		return err
	}
	env.Setenv("PACKAGING", packaging)
	env.Setenv("PATH", env.Getenv("PATH")+":/usr/sbin:/sbin")
	env.Defer(func() {
		h := host.Host{Run: filepath.Join(run, "r")}
		for _, l := range h.Daemons() {
			if l.Supervisor > 0 {
				_ = unix.Kill(l.Supervisor, unix.SIGKILL)
			}
			_ = unix.Kill(l.PID, unix.SIGKILL)
		}
		own, err := mounts.Own()
		for _, m := range own {
			if err == nil && m.Ours() && mounts.Below(m.Dir, env.WorkDir) {
				err = abandon(m)
			}
		}
		if err := errors.Join(err, os.RemoveAll(run)); err != nil {
			panic(err) // a mount is left: the workplace must not be removed through it
		}
	})
	return nil
}

// abandon ends a mount whatever its daemon does.
func abandon(m mounts.Mount) error {
	_, minor, _ := strings.Cut(m.Dev, ":")
	abort := filepath.Join("/sys/fs/fuse/connections", minor, "abort")
	if err := os.WriteFile(abort, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return detachDead(m.Dir)
}

// killDaemon kills the daemon of a pool, and waits for its end.
func killDaemon(ts *testscript.TestScript, _ bool, args []string) {
	h := host.Host{Run: ts.Getenv("SLATEFS_RUN_DIR")}
	for _, l := range h.Daemons() {
		if l.Name != args[0] {
			continue
		}
		if l.Supervisor > 0 { // or it would be started again
			ts.Check(unix.Kill(l.Supervisor, unix.SIGKILL))
		}
		ts.Check(unix.Kill(l.PID, unix.SIGKILL))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ts.Check(waitGone(ctx, l))
		return
	}
	ts.Fatalf("no daemon of %s", args[0])
}

// hog takes all connections that a daemon can have, until its log says that it has none left.
func hog(ts *testscript.TestScript, _ bool, args []string) {
	h := host.Host{Run: ts.Getenv("SLATEFS_RUN_DIR")}
	for _, l := range h.Daemons() {
		if l.Name != args[0] {
			continue
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			if c, err := net.DialTimeout("unix", l.Socket, 100*time.Millisecond); err == nil {
				defer func() { _ = c.Close() }()
			}
			if b, err := os.ReadFile(l.Log); err == nil && strings.Contains(string(b), "too many open files") {
				return
			}
		}
	}
	ts.Fatalf("no daemon of %s runs out of files", args[0])
}

// patience is how long a test waits for what a busy machine may take long for.
const patience = 5 * time.Minute

// eventually runs a command until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec(args[0], args[1:]...); (err != nil) == neg {
			return
		}
	}
	ts.Fatalf("%s: not within %v: %v", strings.Join(args, " "), patience, fmt.Sprint(err))
}
