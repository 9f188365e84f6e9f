package mutants

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slatefs/.ci/progress"
)

// top is the top of the tree.
const top = "../.."

// stall is how long a test of a mutant may make no progress: then it hangs, which is one way to notice.
const stall = time.Minute

func readList(t *testing.T) []mutant {
	t.Helper()
	f, err := os.Open("list")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestMutants: each change is noticed. That the tests pass without it other suites show. -run 'Mutants/NAME' tries one.
func TestMutants(t *testing.T) {
	for _, m := range readList(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Logf("%s: %s", m.file, m.invariant)
			start := time.Now()
			found, err := m.try(t, m.overlay(t))
			if err == nil {
				t.Fatalf("SURVIVED: go test %s -run '%s' %s did not notice:\n\t- %s\n\t+ %s", m.pkg, m.run,
					strings.Join(m.args, " "), strings.Join(m.old, "\n\t- "), strings.Join(m.new, "\n\t+ "))
			}
			t.Logf("killed after %s by %s", time.Since(start).Round(100*time.Millisecond), found)
		})
	}
}

// overlay writes the changed file, and what tells the go command to take it for the one in the tree.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(top, m.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := m.apply(string(text))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: to}})
	if err == nil {
		err = errors.Join(os.WriteFile(to, []byte(changed), 0o644), os.WriteFile(overlay, b, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return overlay
}

// failure finds the first test that failed.
var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*|fatal error: .*)`)

// try builds the tests with an overlay, and runs them to the first failure; nil: there is none. What does not build, and
// a pattern that matches no test, ends the test of the mutant.
func (m mutant) try(t *testing.T, overlay string) (found string, err error) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "mutant.test")
	build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", bin, "-vet=off", "-gcflags=-N -l", "-ldflags=-s -w", m.pkg)
	build.Dir = top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not build: %v\n%s", err, out)
	}
	run := exec.Command(bin, append([]string{"-test.v", "-test.failfast", "-test.timeout=0", "-test.run=" + m.run}, m.args...)...)
	run.Dir = filepath.Join(top, m.pkg)
	text, err := watched(run)
	if !bytes.Contains(text, []byte("=== RUN")) {
		t.Fatalf("go test %s -run '%s' runs no test: %v\n%s", m.pkg, m.run, err, text)
	}
	if err == nil {
		return "", nil
	}
	if errors.Is(err, errHangs) {
		return "no progress", err
	}
	f := failure.FindSubmatch(text)
	if f == nil {
		t.Fatalf("no test failed, and yet: %v\n%s", err, text)
	}
	return string(f[1]) + string(f[2]), err
}

var errHangs = errors.New("it hangs")

// output is what a command wrote, and when last.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	last time.Time
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = time.Now()
	return o.text.Write(p)
}

func (o *output) lastOutput() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// watched runs a command to its end, or until it makes no progress.
func watched(cmd *exec.Cmd) ([]byte, error) {
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w := progress.New(stall, time.Now())
	look := time.NewTicker(w.Every())
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			return out.text.Bytes(), err
		case now := <-look.C:
			if w.Hangs(now, out.lastOutput(), progress.CPU(cmd.Process.Pid)) {
				err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				<-ended
				return out.text.Bytes(), errors.Join(errHangs, err)
			}
		}
	}
}

// TestList: the lines of the list are in the tree, so that it fails at once, in the unit suite, where it would later.
func TestList(t *testing.T) {
	list := readList(t)
	for _, m := range list {
		text, err := os.ReadFile(filepath.Join(top, m.file))
		if err == nil {
			_, err = m.apply(string(text))
		}
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if len(list) < 20 {
		t.Errorf("%d mutants, want 20", len(list))
	}
}

func TestParse(t *testing.T) {
	const good = "# about\nmutant a: b c\nfile f.go\n- \tx := 1\n-   y()\n+ x := 2\ntest ./p ^TestX$ -q.n=3\n"
	list, err := parse(strings.NewReader(good))
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	m := list[0]
	if m.name != "a" || m.invariant != "b c" || m.pkg != "./p" || m.run != "^TestX$" || len(m.args) != 1 {
		t.Errorf("%+v", m)
	}
	for text, want := range map[string]string{
		"\tx := 1\n\t\ty()\nz":         "x := 2\nz",
		"x := 1\nz":                    "has no lines",
		"y()\nx := 1\n":                "has no lines",
		"x := 1\ny()\n x := 1\n y()\n": "which one",
	} {
		got, err := m.apply(text)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, bad := range []string{
		"file f.go\n", "mutant a: b\nfile f\n- x\n", "mutant a: b\nwhat\n", "mutant a: b\ntest ./p\n", good + good, "mutant a\n",
	} {
		if list, err := parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is a list: %+v", bad, list)
		}
	}
}
