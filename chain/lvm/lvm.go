// Package lvm runs the commands of lvm2: it makes, activates, extends, reduces and removes logical volumes, and reads
// what a host has of them.
//
// What holds here:
//
//   - One way. Every command goes through Runner.run: the absolute path of one program, an environment of its own, no
//     shell, both output streams read to their ends, and an *Error with the exit code and what it said.
//   - Names come from outside and become arguments: each is checked before it does.
//   - Sizes are bytes, asked for and given as such, without units and locale.
//   - Nothing is remembered: a report is one call and shows one instant of each group.
//   - A command that is given up is asked to end (SIGTERM), since lvm2 writes its metadata in steps; it is killed only
//     when it does not.
package lvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// What commands answer, beside *Error. Compare with errors.Is.
var (
	// ErrMissing: lvm2 is not installed.
	ErrMissing = errors.New("lvm2 is not installed")
	// ErrName: a name that lvm2 does not take.
	ErrName = errors.New("not a name of LVM")
	// ErrNotFound: there is no such volume group or logical volume.
	ErrNotFound = errors.New("no such volume group or logical volume")
	// ErrInUse: the device of a volume is open, and so stays.
	ErrInUse = errors.New("logical volume in use")
)

// Error is a command that failed.
type Error struct {
	Args   []string // without the program
	Code   int      // exit code; -1: it was killed
	Stderr string
}

// Error says which command failed, and the first thing that it said. What lvm2 says goes by lines, errors after warnings.
func (e *Error) Error() string {
	said := "it said nothing"
	for line := range strings.Lines(e.Stderr) {
		if line = strings.TrimSpace(line); line != "" {
			said = line
			if !strings.HasPrefix(line, "WARNING") {
				break
			}
		}
	}
	return fmt.Sprintf("lvm %s: exit %d: %s", shortArgs(e.Args), e.Code, said)
}

// shortArgs is a command line for messages: of a long one, the command and what it works on.
func shortArgs(args []string) string {
	if k := len(args) - 1; k > 12 {
		args = []string{args[0], "…", args[k]}
	}
	return strings.Join(args, " ")
}

// places are where distributions have the program lvm. PATH is not asked: it is the caller's.
var places = []string{"/usr/sbin/lvm", "/sbin/lvm", "/usr/bin/lvm", "/bin/lvm"}

// Runner runs commands.
type Runner struct {
	path string // absolute
}

// Find finds lvm2. ErrMissing: it is not there.
func Find() (*Runner, error) {
	for _, p := range places {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return New(p), nil
		}
	}
	return nil, fmt.Errorf("%w: none of %s is there", ErrMissing, strings.Join(places, ", "))
}

// New is a Runner of the program at an absolute path.
func New(path string) *Runner { return &Runner{path} }

// endWait is how long a command that was given up has to end by itself.
const endWait = 10 * time.Second

// run runs one command and returns what it printed. The error is an *Error when it ran and failed, ErrMissing when the
// program is not there; ctx's is in it when ctx ended first.
func (r *Runner) run(ctx context.Context, args ...string) ([]byte, error) {
	var out, text bytes.Buffer
	cmd := exec.CommandContext(ctx, r.path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LVM_SUPPRESS_FD_WARNINGS=1"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &text
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endWait
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.Bytes(), nil
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is not there", ErrMissing, r.path)
	case errors.As(err, &exit):
		err = &Error{args, exit.ExitCode(), strings.TrimSpace(text.String())}
	default:
		err = fmt.Errorf("lvm %s: %w", strings.Join(args, " "), err)
	}
	return nil, errors.Join(err, ctx.Err())
}
