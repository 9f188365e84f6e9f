//go:build guest

package inside

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// result is what became of a command.
type result struct {
	cmd            string
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return r.cmd + ": exit " + string(rune('0'+max(0, min(r.code, 9)))) + "\n" + r.stdout + r.stderr
}

// try runs a command.
func try(t *testing.T, name string, args ...string) result {
	t.Helper()
	var out, text bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &text
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	r := result{cmd: name + " " + strings.Join(args, " ")}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%s: %v", r.cmd, err)
	}
	r.stdout, r.stderr = out.String(), text.String()
	return r
}

// run runs a command that must succeed, and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := try(t, name, args...)
	if r.code != 0 {
		t.Fatal(r)
	}
	return r.stdout
}

// slatefs runs a slatefs command line that must succeed.
func slatefs(t *testing.T, line string) string {
	t.Helper()
	return run(t, "slatefs", strings.Fields(line)...)
}

// troubles is what `pool status -x` says of a pool that has some.
func troubles(t *testing.T, pool string) string {
	t.Helper()
	r := try(t, "slatefs", "pool", "status", "-x", pool)
	if (r.code != 0) != strings.Contains(r.stdout, "trouble: ") {
		t.Errorf("pool status -x: %v", r)
	}
	return r.stdout
}

// refused runs a slatefs command line that must fail and say something.
func refused(t *testing.T, says, line string) {
	t.Helper()
	r := try(t, "slatefs", strings.Fields(line)...)
	if r.code == 0 || !strings.Contains(r.stderr, says) {
		t.Errorf("want a refusal that says %q: %v", says, r)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what a busy machine may take long for.
const patience = 10 * time.Minute

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// TestHarness shows that the guest has what the tests need: device-mapper with its targets, lvm2, FUSE.
func TestHarness(t *testing.T) {
	t.Log(run(t, "uname", "-a"))
	for _, target := range []string{"linear", "flakey", "log-writes", "mirror", "error", "thin-pool"} {
		if !strings.Contains(run(t, "dmsetup", "targets"), target) {
			t.Errorf("device-mapper has no target %s", target)
		}
	}
	for _, path := range []string{"/dev/vda", "/dev/vdb", "/dev/fuse"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
