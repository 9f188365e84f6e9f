//go:build guest

package inside

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestKilledCreateOnLV kills a pool create on its way, on a volume that it makes and on one that is there. The next one finishes
// or undoes what is left, and needs no force, unless the pool was whole already.
func TestKilledCreateOnLV(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	run(t, "lvm", "lvcreate", "-q", "-y", "-n", "old", "-L", "64M", "-W", "n", "vg0")
	run(t, "dd", "if=/dev/zero", "of=/dev/vg0/old", "bs=1M", "count=64", "conv=fsync") // other tests had the disk before
	for _, args := range []string{"--size 64M vms vg0/vms", "--assume-zero vms vg0/old"} {
		line := "pool create -o erase_throughput=7M " + args
		var took time.Duration
		for i := range 3 {
			start := time.Now()
			if i == 0 {
				slatefs(t, line)
				took = time.Since(start)
			} else {
				killed(t, took*time.Duration(i)/3, line)
				r := try(t, "slatefs", strings.Fields(line)...)
				whole := strings.Contains(r.stderr, "exists, --size is for a new one") || strings.Contains(r.stderr, "holds the pool vms")
				if r.code != 0 && !whole {
					t.Fatalf("after a kill at %d/3: %v", i, r)
				}
			}
			if out := slatefs(t, "pool list -H"); strings.Count("\n"+out, "\nvms\t") != 1 || strings.Contains(out, "unfinished") {
				t.Errorf("after a kill at %d/3:\n%s", i, out)
			}
			slatefs(t, "pool check "+strings.Fields(args)[len(strings.Fields(args))-1])
			slatefs(t, "pool destroy --force vms")
		}
	}
	if out := strings.Fields(run(t, "lvm", "lvs", "--noheadings", "-o", "lv_name", "vg0")); strings.Join(out, " ") != "old" {
		t.Errorf("volumes: %v", out)
	}
}

// killed runs a slatefs command line and kills it after a time.
func killed(t *testing.T, d time.Duration, line string) {
	t.Helper()
	cmd := exec.Command("slatefs", strings.Fields(line)...)
	must(t, cmd.Start())
	kill := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait() // it was killed, or not
}
