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
//     when it does not. One that hangs in the kernel (state D: its device answers nothing) can't be killed, and is
//     abandoned: run returns, and until that process is gone the Runner starts no other, which would only hang as well.
package lvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
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
	// ErrHangs: a command that was killed is still there. What it was to change may be changed yet.
	ErrHangs = errors.New("a command of lvm2 hangs in the kernel")
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
	if text := strings.TrimSpace(e.Stderr); text != "" {
		said = strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	}
	for line := range e.lines() {
		said = line
		break
	}
	return fmt.Sprintf("lvm %s: exit %d: %s", shortArgs(e.Args), e.Code, said)
}

// lines are what it said, but for warnings.
func (e *Error) lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(e.Stderr) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "WARNING") && !yield(line) {
				return
			}
		}
	}
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
	path  string        // absolute
	grace time.Duration // how long a command that was given up has to end by itself, and then as long to die

	exec func(ctx context.Context, args []string) ([]byte, error) // execute, which may hang

	mu   sync.Mutex
	hung []*child // that were abandoned and are there still
}

// child is one command that runs. Its fields are guarded by the Runner's mu.
type child struct {
	command string
	over    bool
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
func New(path string) *Runner {
	r := &Runner{path: path, grace: endWait}
	r.exec = r.execute
	return r
}

// endWait is how long a command that was given up has to end by itself.
const endWait = 10 * time.Second

// run runs one command and returns what it printed, also when it failed. The error is an *Error when it ran and failed,
// ErrMissing when the program is not there, ErrHangs when it, or one before it, was killed and is there still; ctx's is in it
// when ctx ended first. It returns at most twice the grace after the end of ctx.
func (r *Runner) run(ctx context.Context, args ...string) ([]byte, error) {
	if err := r.free(); err != nil {
		return nil, err
	}
	type result struct {
		out []byte
		err error
	}
	c, done := &child{command: shortArgs(args)}, make(chan result, 1)
	go func() {
		out, err := r.exec(ctx, args)
		r.end(c)
		done <- result{out, err}
	}()
	select {
	case res := <-done:
		return res.out, res.err
	case <-ctx.Done():
	}
	t := time.NewTimer(2 * r.grace)
	defer t.Stop()
	select {
	case res := <-done:
		return res.out, res.err
	case <-t.C:
	}
	if r.abandon(c) {
		return nil, errors.Join(fmt.Errorf("%w: lvm %s", ErrHangs, c.command), ctx.Err())
	}
	res := <-done
	return res.out, res.err
}

// free is ErrHangs while a command that was abandoned is there.
func (r *Runner) free() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.hung) == 0 {
		return nil
	}
	return fmt.Errorf("%w: lvm %s", ErrHangs, r.hung[0].command)
}

// abandon gives a command up; false: it has just ended.
func (r *Runner) abandon(c *child) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.over {
		r.hung = append(r.hung, c)
	}
	return !c.over
}

// end notes that a command has ended, also one that was abandoned.
func (r *Runner) end(c *child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.over = true
	r.hung = slices.DeleteFunc(r.hung, func(o *child) bool { return o == c })
}

// execute is run without its bound on time: it returns when the process is gone.
func (r *Runner) execute(ctx context.Context, args []string) ([]byte, error) {
	var out, text bytes.Buffer
	cmd := exec.CommandContext(ctx, r.path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LVM_SUPPRESS_FD_WARNINGS=1"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &text
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = r.grace
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
		err = fmt.Errorf("lvm %s: %w", shortArgs(args), err)
	}
	return out.Bytes(), errors.Join(err, ctx.Err())
}
