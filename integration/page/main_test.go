// Package page looks at the page of slatefs web with a real browser: Chromium, on real pools with real mounts.
//
//   - Each view is looked at in three widths, light and dark: it fits, axe finds nothing that keeps people out, nothing is asked of another
//     host, and the browser has nothing to complain of.
//   - UPDATE_SCREENSHOTS=1 keeps what it saw in docs/page.
//
// Absolute times are printed, not asserted.
package page

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var (
	program string // slatefs, built for this run
	workDir string // everything that tests make lies below it
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if workDir, err = os.MkdirTemp("", "p"); err != nil { // short: names of sockets are
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(workDir)) }()
	program = filepath.Join(workDir, "slatefs")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, "slatefs/cmd/slatefs")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building slatefs: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// site is a host with pools and a page.
type site struct {
	t   *testing.T
	dir string
	web *exec.Cmd
	url string
}

// newSite makes a site. Its pools are unmounted in the end.
func newSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("!!! NOT TESTED: the page in a browser: only root may mount here")
	}
	dir, err := os.MkdirTemp(workDir, "s")
	must(t, err)
	return &site{t: t, dir: dir}
}

// run runs a command of slatefs, which must succeed.
func (s *site) run(args ...string) string {
	s.t.Helper()
	var out, text bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("slatefs %s: %v\n%s", strings.Join(args, " "), err, text.String())
	}
	return out.String()
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(),
		"SLATEFS_STATE_DIR="+filepath.Join(s.dir, "state"), "SLATEFS_RUN_DIR="+filepath.Join(s.dir, "run"),
		"SLATEFS_CONF_DIR="+filepath.Join(s.dir, "conf"))
	return cmd
}

// pool makes and mounts a pool.
func (s *site) pool(name, size string) (dir string) {
	s.t.Helper()
	dir = filepath.Join(s.dir, name)
	must(s.t, os.Mkdir(dir, 0o755))
	s.run("pool", "create", "--size", size, name, filepath.Join(s.dir, name+".pool"))
	s.mount(name)
	s.t.Cleanup(func() {
		if out, err := s.command("umount", dir).CombinedOutput(); err != nil && mounted(dir) {
			s.t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir
}

func (s *site) mount(name string) { s.run("mount", name, filepath.Join(s.dir, name)) }

func mounted(dir string) bool {
	table, err := os.ReadFile("/proc/self/mounts")
	return err == nil && strings.Contains(string(table), " "+dir+" ")
}

// fill writes random bytes over the start of a volume.
func (s *site) fill(file string, mib int) {
	s.t.Helper()
	dd := exec.Command("dd", "if=/dev/urandom", "of="+file, "bs=1M", fmt.Sprint("count=", mib), "conv=notrunc", "status=none")
	if out, err := dd.CombinedOutput(); err != nil {
		s.t.Fatalf("dd: %v\n%s", err, out)
	}
}

const token = "the token of this test"

// serve starts the page on addr; it ends with the test.
func (s *site) serve(addr string) {
	s.t.Helper()
	file := filepath.Join(s.dir, "token")
	must(s.t, os.WriteFile(file, []byte(token), 0o600))
	s.web = s.command("web", "--listen", addr, "--token", file)
	text, err := s.web.StderrPipe()
	must(s.t, err)
	must(s.t, s.web.Start())
	cmd := s.web
	s.t.Cleanup(func() { s.stop(cmd) })
	lines := bufio.NewScanner(text)
	const says = "slatefs web listens on "
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), says); ok {
			s.url = "http://" + at
			go func() {
				for lines.Scan() {
					s.t.Log(lines.Text())
				}
			}()
			return
		}
	}
	s.t.Fatal("slatefs web does not listen")
}

// stop ends a page, as a signal does.
func (s *site) stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}

// browse starts a browser.
func browse(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("!!! NOT TESTED: the page in a browser: there is no chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
