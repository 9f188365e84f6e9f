//go:build guest

package inside

import (
	"os/exec"
	"strings"
	"testing"
)

// run runs a command that must succeed, and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestHarness shows that the guest has what the tests need: device-mapper with its targets, lvm2, FUSE.
func TestHarness(t *testing.T) {
	t.Log(run(t, "uname", "-a"))
	for _, target := range []string{"linear", "flakey", "log-writes", "mirror", "error"} {
		if !strings.Contains(run(t, "dmsetup", "targets"), target) {
			t.Errorf("device-mapper has no target %s", target)
		}
	}
	run(t, "lvm", "pvcreate", "/dev/vda")
	run(t, "lvm", "vgcreate", "vg0", "/dev/vda")
	run(t, "lvm", "lvcreate", "-n", "a", "-L", "64M", "vg0")
	run(t, "lvm", "lvextend", "-L", "128M", "vg0/a")
	run(t, "test", "-b", "/dev/vg0/a")
	run(t, "test", "-c", "/dev/fuse")
	run(t, "lvm", "vgremove", "-f", "vg0")
}
