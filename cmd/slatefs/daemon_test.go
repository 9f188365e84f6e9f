package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

func TestPools(t *testing.T) {
	l := newLab(t)
	if out := l.ok("pool list -H"); !strings.HasPrefix(out, "lab\t64M\t0B\t0B\t") || !strings.HasSuffix(out, "\tonline\t/lab\t/nowhere/lab.pool\tok\n") {
		t.Error(out)
	}
	out := l.ok("pool status lab")
	for _, want := range []string{"pool: lab", "state: online", "mountpoint: /lab", "size: 64M", "process 4711"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	if out := l.ok("pool status -x"); out != "all pools are healthy\n" {
		t.Error(out)
	}
	l.ok("create --size 1M /lab/v")
	l.ok("snapshot /lab/v@s")
	out = l.ok("pool dump /lab/v")
	for _, want := range []string{"pool lab", "volumes 1, snapshots 1", "volume /v inode", "snapshot s", "head", "erase jobs 0"} {
		if !strings.Contains(out, want) {
			t.Errorf("dump lacks %q:\n%s", want, out)
		}
	}
	l.refused(show.ExitFailed, "hint: pool check --online", "pool check lab")
	l.refused(show.ExitFailed, "hint: slatefs umount /lab", "pool destroy --force lab")
	l.refused(show.ExitFailed, "is mounted on /lab by process 4711", "mount lab /mnt")
	l.refused(show.ExitUsage, "unknown", "mount -o foo lab /mnt")
	l.refused(show.ExitFailed, "no pool of that name", "pool check nolab")
	l.refused(show.ExitFailed, "/dev/vg/lab: no such file or directory", "pool check vg/lab")
	l.refused(show.ExitUsage, "neither a name, nor a path, nor VG/LV", "pool check vg/lab/x")
	l.refused(show.ExitFailed, "no such file", "pool check ./nolab")
	l.refused(show.ExitUsage, `"x" is not the ID`, "erase wait x lab")
	l.ok("erase wait 99 lab")
	names, _, _ := l.run("__complete pool check ")
	if !strings.Contains(names, "lab\ton /lab\n") {
		t.Errorf("completion: %s", names)
	}
}

// A daemon from its start to its end, in this process: no file of the mount is touched here.
func TestDaemon(t *testing.T) {
	if why := noMounts(); why != "" {
		t.Skip("!!! NOT TESTED: a daemon on a real mount: " + why)
	}
	l := &lab{t: t}
	l.app = &app{stdout: &l.out, stderr: &l.text, host: testHost(t), now: time.Now, mounts: mounts.Own}
	l.app.host.OnWarning, l.app.host.OnNote = l.app.warnOnce, l.app.note
	dir := t.TempDir()
	file, mnt := filepath.Join(dir, "lab.pool"), filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	l.ok("pool create --size 64M lab " + file)
	for _, wait := range []string{"", "--wait ", "signal"} {
		c, err := l.app.mountConfig(t.Context(), "lab", mnt, []string{"verify=sample"}, false)
		if err != nil {
			t.Fatal(err)
		}
		d, err := daemon.Start(c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- d.Serve(ctx) }()
		l.ok("create --size 1M " + mnt + "/v")
		l.ok("destroy --wait " + mnt + "/v")
		if out := l.ok("pool status lab"); !strings.Contains(out, "mountpoint: "+mnt) {
			t.Errorf("status:\n%s", out)
		}
		if _, err := daemon.Start(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is mounted on "+mnt) {
			t.Errorf("second daemon: %v", err)
		}
		if wait == "signal" {
			cancel()
		} else {
			l.ok("umount " + wait + mnt)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		l.ok("pool check --reclaim lab")
	}
}

// noMounts is why this process can't mount, or empty.
func noMounts() string {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	if err := f.Close(); err != nil {
		return err.Error()
	}
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		return err.Error()
	}
	return ""
}
