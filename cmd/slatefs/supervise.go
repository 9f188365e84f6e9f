package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/cmd/slatefs/internal/show"
)

// noParent is the value of --ready-fd for a daemon in the background whose parent waits for nothing.
const noParent = -1

// supervise is the parent of a daemon, and of its successors. It runs this command line without --supervise, by the program that
// is installed; where that does not come to serve, by the one that runs here.
func (a *app) supervise(ctx context.Context, ready int) error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit: no core: %w", err)
	}
	if ready != 0 {
		if err := os.Chdir("/"); err != nil { // no file system stays busy for us
			return err
		}
	}
	log := logger(os.Stderr, false)
	_ = daemon.FlushesIO() //nolint:errcheck // the daemon tells
	s := &home.Supervisor{
		Start: func(retry int) *exec.Cmd { return a.nextLife(retry, &ready) },
		Ready: func(told map[string]string) { leaveTerminal(told["X_SLATEFS_LOG"], log) },
		Log:   func(text string, args ...any) { log.Warn(text, args...) },
	}
	code, err := s.Run(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if code != 0 {
		return show.ErrQuiet // the daemon has said why
	}
	return nil
}

// nextLife is the command of a daemon. The first one is given the file by which it tells how it went.
func (a *app) nextLife(retry int, ready *int) *exec.Cmd {
	path, err := os.Executable()
	if err != nil || retry%2 == 1 || unix.Access(path, unix.X_OK) != nil {
		path = "/proc/self/exe"
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool {
		return arg == "--supervise" || arg == "--supervise=true" || strings.HasPrefix(arg, "--ready-fd=")
	})
	cmd := exec.Command(path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	switch {
	case *ready > 0:
		tell := os.NewFile(uintptr(*ready), "ready")
		cmd.ExtraFiles = []*os.File{tell} // it is the only one then
		args = slices.Insert(args, 1, "--ready-fd=3")
		*ready = noParent
		unix.CloseOnExec(int(tell.Fd()))
	case *ready == noParent:
		args = slices.Insert(args, 1, fmt.Sprintf("--ready-fd=%d", noParent))
	}
	cmd.Args = append([]string{"slatefs"}, args...)
	return cmd
}

// leaveTerminal makes the log of the daemon this process's stdout and stderr: who waits for the end of its pipes must not wait
// for us. A daemon in the foreground has none.
func leaveTerminal(path string, log *slog.Logger) {
	if path == "" {
		return
	}
	f, err := openLog(path)
	if err != nil {
		f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err == nil {
		err = asOutput(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		log.Warn("the supervisor has no log", "log", path, "error", err)
	}
}
