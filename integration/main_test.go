// Package integration drives the built binary: real FUSE mounts, real qemu, real loop devices.
//
// What holds for every test here:
//
//   - It works in a lab (lab_test.go): a directory of its own with its own registry, sockets and logs, so that nothing
//     of the host's is touched, and tests may run beside a mounted pool.
//   - It leaves nothing: a mount, loop device or daemon that is there after a test is an error, and is taken away. A mount
//     that does not answer is aborted through /sys/fs/fuse/connections, by a watchdog if need be, so that no process stays
//     in state D.
//   - It proves things by reading back, through the mount and below it, never by what the daemon says alone.
//   - Absolute times are printed, not asserted.
package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Of this run.
var (
	program    string   // slatefs, as built by TestMain
	workDir    string   // everything that tests make lies below it
	transports []string // values of the mount option transport= that work here
)

// childEnv makes the test binary one of the processes in children.
const childEnv = "SLATEFS_TEST_CHILD"

// children are what the test binary can be instead of a test: processes that may die or hang with a mount.
var children = map[string]func(args []string) error{
	"map":       mapChild,
	"hold":      holdChild,
	"interrupt": interruptChild,
	"demo":      demoChild,
	"unringed":  unringedChild,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

// runTests builds the binary, runs the tests, and looks for what they left.
func runTests(m *testing.M) (code int, err error) {
	if workDir, err = os.MkdirTemp("", "i"); err != nil {
		return 1, err
	}
	if err := os.Chmod(workDir, 0o755); err != nil { // other users' tests run the binary
		return 1, err
	}
	if workDir, err = filepath.EvalSymlinks(workDir); err != nil {
		return 1, err
	}
	defer func() {
		if mounts, _ := mountsBelow(workDir); len(mounts) == 0 {
			err = errors.Join(err, os.RemoveAll(workDir))
		}
	}()
	if err := build(); err != nil {
		return 1, err
	}
	if transports, err = findTransports(); err != nil {
		return 1, err
	}
	fmt.Println("transports:", strings.Join(transports, " "))
	code = m.Run()
	left, err := leftBelow(workDir)
	for _, l := range left {
		fmt.Println("left behind:", l)
		code = 1
	}
	return code, err
}

// build makes the binary as `make build` does; SLATEFS_TEST_RACE=1: with the race detector.
func build() error {
	program = filepath.Join(workDir, "slatefs")
	if os.Getenv("SLATEFS_TEST_RACE") == "1" {
		return buildAs(program, "-race")
	}
	return buildAs(program)
}

// buildAs makes the binary with flags more.
func buildAs(path string, flags ...string) error {
	args, env := append([]string{"build", "-buildvcs=false", "-trimpath", "-o", path}, flags...), "CGO_ENABLED=0"
	if slices.Contains(flags, "-race") {
		env = "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, "slatefs/cmd/slatefs")...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	return nil
}

// findTransports tries which transports work here. The event loop may only be missing where the daemon says that it is
// not supported.
func findTransports() ([]string, error) {
	dir, err := os.MkdirTemp(workDir, "probe")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir}
	pool, mnt := filepath.Join(dir, "pool"), filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		return nil, err
	}
	if r := l.try("pool", "create", "--size", "64M", "--sparse", "probe", pool); r.code != 0 {
		return nil, errors.New(r.String())
	}
	list := []string{"classic"}
	r := l.try("mount", "-o", "transport=loop", "probe", mnt)
	switch {
	case r.code == 0:
		list = append(list, "loop")
		if r := l.try("umount", mnt); r.code != 0 {
			return nil, errors.New(r.String())
		}
	case !strings.Contains(r.stderr, "not supported"):
		return nil, errors.New(r.String())
	}
	return list, os.RemoveAll(dir)
}

// eachTransport runs a test once for each transport.
func eachTransport(t *testing.T, fn func(t *testing.T, transport string)) {
	for _, tr := range transports {
		t.Run("transport="+tr, func(t *testing.T) { fn(t, "transport="+tr) })
	}
}
