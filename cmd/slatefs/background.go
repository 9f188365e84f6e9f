package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/show"
)

// readyMessage is what the daemon tells the process that started it, as a line of JSON.
type readyMessage struct {
	Error *control.Error `json:"error,omitempty"` // nil: mounted
}

// startBackground starts this program again as the daemon, and returns when the pool is mounted, or with the daemon's
// error.
func (a *app) startBackground(ctx context.Context, c daemon.Config, opts []string, supervise bool) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() //nolint:errcheck // read to its end, or of no more use
	args := []string{"mount", "--foreground", "--ready-fd=3"}
	if supervise {
		args = append(args, "--supervise")
	}
	if c.TakeOver {
		args = append(args, "--take-over")
	}
	if c.Adopt {
		args = append(args, "--adopt")
	}
	if c.Pool.UUID != uuid.Nil {
		args = append(args, "--expect="+c.Pool.UUID.String())
	}
	if len(opts) > 0 {
		args = append(args, "-o", strings.Join(opts, ","))
	}
	cmd := exec.Command("/proc/self/exe", append(args, "--", c.Pool.Device, c.Dir)...)
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
func (a *app) serveBackground(ctx context.Context, c daemon.Config, ready *os.File) error {
	d, log, err := a.startLogged(&c)
	defer log.Flush()
	if ready == nil {
		if err != nil {
			logger(log, c.Debug).Error("the daemon can't go on where the last one ended", "error", err)
			log.Flush()
			_ = a.backToOld(c, err) //nolint:errcheck // it was told
			return show.ErrQuiet
		}
		return a.serve(ctx, d)
	}
	var m readyMessage
	if err != nil {
		m.Error = control.ErrorOf(err)
	}
	line, jsonErr := show.Encode(m)
	if jsonErr == nil {
		_, jsonErr = ready.Write(append(line, '\n'))
	}
	if err := errors.Join(jsonErr, ready.Close()); err != nil && d != nil {
		logger(log, c.Debug).Warn("the process that started the daemon is gone", "error", err)
	}
	if err != nil {
		return show.ErrQuiet // the parent prints it
	}
	return a.serve(ctx, d)
}

// startLogged opens the log and starts the daemon. The log is to be flushed, also on error.
func (a *app) startLogged(c *daemon.Config) (d *daemon.Daemon, log *daemon.LateLog, err error) {
	pools, _ := a.host.Pools() // the command that started the daemon has told
	c.Log = a.host.LogPath(c.Pool.Device, pools)
	f, err := openLog(c.Log)
	if err != nil {
		// A log keeps nobody from his pool.
		a.warnOnce("the daemon has no log: %v", err)
		c.Log = os.DevNull
		if f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return nil, daemon.NewLateLog(io.Discard), err
		}
	}
	log = daemon.NewLateLog(f)
	if d, err = daemon.Start(*c, logger(log, c.Debug)); err != nil {
		return nil, log, err
	}
	if err := asOutput(f); err != nil {
		return nil, log, errors.Join(fmt.Errorf("log: %w", err), d.Close())
	}
	go reopenLog(f, c.Log, d.NotOwn, logger(log, c.Debug))
	return d, log, nil
}

// asOutput makes a log what stdout and stderr are: panics go to it as well.
func asOutput(log *os.File) error {
	for _, std := range []int{1, 2} {
		if err := unix.Dup2(int(log.Fd()), std); err != nil {
			return err
		}
	}
	return nil
}

// reopenLog opens the log anew on SIGHUP, when the file was given another name: who writes to f goes on in the new one, without
// a line lost. Where it can't be opened, or avoid refuses it, the old one stays.
func reopenLog(f *os.File, path string, avoid func(string) error, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	for range hup {
		var fresh *os.File
		err := avoid(path)
		if err == nil {
			fresh, err = openLog(path)
		}
		if err == nil {
			err = unix.Dup3(int(fresh.Fd()), int(f.Fd()), unix.O_CLOEXEC)
			err = errors.Join(err, asOutput(f), fresh.Close())
		}
		if err != nil {
			log.Warn("the log is not opened anew", "log", path, "error", err)
		}
	}
}

// openLog opens a log file to be added to.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o600) // a FIFO must not hold us
}
