package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// readyMessage is what the daemon tells the process that started it, as a line of JSON.
type readyMessage struct {
	Error *control.Error `json:"error,omitempty"` // nil: mounted
}

// startBackground starts this program again as the daemon, and returns when the pool is mounted, or with the daemon's
// error.
func (a *app) startBackground(ctx context.Context, c mountConfig, opts []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() //nolint:errcheck // read to its end, or of no more use
	args := []string{"mount", "--foreground", "--ready-fd=3"}
	if c.take {
		args = append(args, "--take-over")
	}
	if c.adopt {
		args = append(args, "--adopt")
	}
	if c.pool.UUID != uuid.Nil {
		args = append(args, "--expect="+c.pool.UUID.String())
	}
	if len(opts) > 0 {
		args = append(args, "-o", strings.Join(opts, ","))
	}
	cmd := exec.Command("/proc/self/exe", append(args, "--", c.pool.Device, c.dir)...)
	cmd.Args[0] = "slatefs"
	cmd.Stderr = os.Stderr // until the log is open
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) }) //nolint:errcheck // it may have ended
	defer stop()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the daemon ended before the pool was mounted: %w", errors.Join(cmd.Wait(), notEOF(err)))
	}
	var m readyMessage
	if err := show.Decode(line, &m); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	if m.Error == nil {
		return cmd.Process.Release()
	}
	return m.Error.Err()
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// serveBackground is the daemon in the background. Its log is a file from the start; so are stdout and stderr before
// the parent is told anything, for who waits for the end of its pipes must not wait for us.
func (a *app) serveBackground(ctx context.Context, c mountConfig, ready *os.File) error {
	d, log, err := a.startLogged(&c)
	defer log.flush()
	var m readyMessage
	if err != nil {
		m.Error = control.ErrorOf(err)
	}
	line, jsonErr := show.Encode(m)
	if jsonErr == nil {
		_, jsonErr = ready.Write(append(line, '\n'))
	}
	if err := errors.Join(jsonErr, ready.Close()); err != nil && d != nil {
		d.log.Warn("the process that started the daemon is gone", "error", err)
	}
	if err != nil {
		return show.ErrQuiet // the parent prints it
	}
	return d.serve(ctx)
}

// startLogged opens the log and starts the daemon. The log is to be flushed, also on error.
func (a *app) startLogged(c *mountConfig) (d *daemon, log *lateLog, err error) {
	pools, _ := a.host.Pools() // the command that started the daemon has told
	c.opts.log = a.host.LogPath(c.pool.Device, pools)
	f, err := openLog(c.opts.log)
	if err != nil {
		// A log keeps nobody from his pool.
		a.warnOnce("the daemon has no log: %v", err)
		c.opts.log = os.DevNull
		if f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return nil, newLateLog(io.Discard), err
		}
	}
	log = newLateLog(f)
	if d, err = a.startDaemon(*c, c.opts.logger(log)); err != nil {
		return nil, log, err
	}
	for _, std := range []int{1, 2} { // panics go to the log as well
		if err := unix.Dup2(int(f.Fd()), std); err != nil {
			return nil, log, errors.Join(fmt.Errorf("log: %w", err), d.close())
		}
	}
	return d, log, nil
}

// openLog opens a log file to be added to.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o600) // a FIFO must not hold us
}
