package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lab is a place for pools, with a registry, sockets and logs of its own. t is nil outside tests.
type lab struct {
	t   *testing.T
	dir string
	as  []string // what runs commands as another user: setpriv …
	env []string // beside those of this process
}

// labs counts them.
var labs atomic.Int64

// newLab makes a lab for one test. After the test nothing of it may be left.
func newLab(t *testing.T) *lab {
	t.Helper()
	// Not t.TempDir: names of sockets must be short.
	dir := filepath.Join(workDir, fmt.Sprint("l", labs.Add(1)))
	must(t, os.Mkdir(dir, 0o755))
	l := &lab{t: t, dir: dir}
	t.Cleanup(func() {
		left, err := leftBelow(dir)
		if err != nil {
			t.Error(err)
		}
		for _, x := range left {
			t.Errorf("left behind: %s", x)
			x.remove()
		}
		if t.Failed() {
			l.printLogs()
		}
		if len(left) == 0 {
			must(t, os.RemoveAll(dir))
		}
	})
	return l
}

// path is a path in the lab's directory.
func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// printLogs prints the ends of the daemons' logs.
func (l *lab) printLogs() {
	logs, err := filepath.Glob(l.path("state/log/*.log"))
	if err != nil {
		return // the pattern is constant
	}
	for _, path := range logs {
		b, err := os.ReadFile(path)
		l.t.Logf("%s: %v\n%s", path, err, b[max(0, len(b)-8<<10):])
	}
}

// result is what became of a command.
type result struct {
	cmd            string
	code           int // -1: it could not be run, or was killed
	stdout, stderr string
	took           time.Duration
}

// String shows all of it, for messages.
func (r result) String() string {
	return fmt.Sprintf("%s: exit %d after %v\n%s%s", r.cmd, r.code, r.took.Round(time.Millisecond), r.stdout, r.stderr)
}

// exec runs a program in the lab's environment. One that hangs on a mount ends when the watchdog aborts that.
func (l *lab) exec(name string, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	argv := append(append(append([]string{}, l.as...), name), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = l.dir
	cmd.Env = l.environ()
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	start := time.Now()
	err := cmd.Run()
	r := result{strings.Join(append([]string{filepath.Base(name)}, args...), " "), cmd.ProcessState.ExitCode(), out.String(), text.String(), time.Since(start)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.code, r.stderr = -1, r.stderr+err.Error()
	}
	return r
}

func (l *lab) environ() []string {
	env := append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if l.as == nil {
		env = append(env, "SLATEFS_STATE_DIR="+l.path("state"), "SLATEFS_RUN_DIR="+l.path("run"))
	}
	return append(env, l.env...)
}

// try runs a slatefs command.
func (l *lab) try(args ...string) result { return l.exec(program, args...) }

// slatefs runs a slatefs command that must succeed, and returns what it printed.
func (l *lab) slatefs(args ...string) string {
	l.t.Helper()
	return l.ok(l.try(args...))
}

// tool runs another program that must succeed.
func (l *lab) tool(name string, args ...string) string {
	l.t.Helper()
	return l.ok(l.exec(name, args...))
}

func (l *lab) ok(r result) string {
	l.t.Helper()
	if r.code != 0 {
		l.t.Fatal(r)
	}
	return r.stdout
}

// refuses runs a slatefs command that must fail with an exit code, and say certain things on stderr.
func (l *lab) refuses(code int, says []string, args ...string) {
	l.t.Helper()
	r := l.try(args...)
	if r.code != code || r.stdout != "" {
		l.t.Errorf("want exit %d and nothing on stdout: %v", code, r)
	}
	for _, s := range says {
		if !strings.Contains(r.stderr, s) {
			l.t.Errorf("%q is not in: %v", s, r)
		}
	}
	if !strings.HasPrefix(r.stderr, "slatefs: error: ") {
		l.t.Errorf("no error line: %v", r)
	}
}

// needs skips a test where programs are missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if _, err := os.Stat("/usr/sbin/" + p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

func isRoot() bool { return os.Geteuid() == 0 }

// needsRoot skips a test for ordinary users.
func needsRoot(t *testing.T) {
	t.Helper()
	if !isRoot() {
		t.Skip("needs root")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what a busy machine may take long for.
const patience = 5 * time.Minute

// eventually waits until cond holds.
func eventually(t *testing.T, what string, limit time.Duration, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", limit, what)
		}
	}
}

// fails checks the errno of something.
func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
