package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledCreate kills a pool create all along its way. What it leaves is a whole pool that is known here, or nothing that is
// in the way of the next try, which need not be forced.
func TestKilledCreate(t *testing.T) {
	for _, c := range []struct {
		name string
		more []string // flags
		dev  bool
	}{
		{"file", []string{"--size", "64M"}, false},
		{"sparse", []string{"--size", "64M", "--sparse"}, false},
		{"device", []string{"--zero-now"}, true},
		{"dirty device", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.dev && !isRoot() {
				t.Skip("!!! NOT TESTED: pool create on a loop device: not root")
			}
			l := newLab(t)
			must(t, os.Mkdir(l.path("d"), 0o755))
			must(t, os.Mkdir(l.path("mnt"), 0o755))
			device := l.path("d/lab.pool")
			if c.dev {
				must(t, os.WriteFile(device, nil, 0o644))
				must(t, os.Truncate(device, 64<<20))
				device = loop(t, l, device)
			}
			args := append(append([]string{"pool", "create", "-o", "erase_throughput=7M"}, c.more...), "lab", device)
			r := l.try(args...)
			l.ok(r)
			const kills = 6
			whole := 0
			for i := range kills {
				l.endCreated(device, c.dev)
				l.killedAfter(r.took*time.Duration(i)/kills, args...)
				if next := l.try(args...); next.code != 0 {
					if !strings.Contains(next.stderr, "holds the pool lab") && !strings.Contains(next.stderr, "exists, --size and --sparse are for a new file") {
						t.Fatalf("after a kill at %d/%d: %v", i, kills, next)
					}
					whole++
				}
				l.slatefs("pool", "check", device)
				l.slatefs("mount", device, l.path("mnt"))
				if out := l.slatefs("get", "-H", "-o", "value", "erase_throughput", "lab"); out != "7M\n" {
					t.Errorf("erase_throughput is %q", out)
				}
				l.slatefs("umount", "lab")
				if left, err := filepath.Glob(l.path("d/.*")); err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v", left, err)
				}
			}
			t.Logf("%d of %d were whole", whole, kills)
		})
	}
}

// endCreated destroys the pool, and removes its file.
func (l *lab) endCreated(device string, dev bool) {
	l.t.Helper()
	l.slatefs("pool", "destroy", "--force", "lab")
	if !dev {
		must(l.t, os.Remove(device))
	}
}

// killedAfter kills a slatefs command after a time, if it is there still.
func (l *lab) killedAfter(d time.Duration, args ...string) {
	l.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = l.dir, l.environ()
	must(l.t, cmd.Start())
	kill := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
}
