package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// hook runs the program that this host's on_event names for each event, one after the other: the event is a line of JSON on its input.
// It is run by its arguments, without a shell, as who mounted the pool, with an environment that is always the same; nothing
// that is in the pool is in them. Nobody waits for it: what comes while too many wait is counted, and never told it.
type hook struct {
	pool  string
	own   *host.Settings          // which name it
	avoid func(path string) error // refuses what may not be opened; nil: nothing
	log   *slog.Logger
	limit time.Duration // for one run
	end   time.Duration // that finish waits

	events  chan control.Event
	outside outside

	mu     sync.Mutex
	lost   int64  // since it was last said
	said   string // the last complaint
	closed bool   // nothing comes any more
}

// Bounds of a hook: how long one run may take, how many events wait for it, how much of its output the log has, in bytes, and
// how long the end of the daemon waits for it.
const (
	hookLimit  = 10 * time.Second
	hookQueue  = 64
	hookOutput = 1 << 10
	hookEnd    = 2 * time.Second
)

func newHook(pool string, own *host.Settings, avoid func(string) error, log *slog.Logger) *hook {
	return &hook{pool: pool, own: own, avoid: avoid, log: log, limit: hookLimit, end: hookEnd, events: make(chan control.Event, hookQueue)}
}

// put has the hook run for an event, if there is one. It waits for nobody but who sets properties of the host just now.
func (h *hook) put(e control.Event) {
	if hostWord(h.own, control.PropOnEvent) == "none" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	select {
	case h.events <- e:
	default:
		h.lost++
	}
}

// run runs the hook for what was put, until finish.
func (h *hook) run() {
	for e := range h.events {
		h.sayLost()
		h.say(h.one(e))
	}
	h.sayLost()
}

// start begins to run it. finish ends that: it waits for what is left, but not for long.
func (h *hook) start() (finish func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run()
	}()
	return func() {
		h.mu.Lock()
		if !h.closed {
			h.closed = true
			close(h.events)
		}
		h.mu.Unlock()
		t := time.NewTimer(h.end)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			h.log.Warn("on_event runs still at the end of the daemon, which does not wait for it", "pool", h.pool)
		}
	}
}

// sayLost says how many events were not told it.
func (h *hook) sayLost() {
	h.mu.Lock()
	n := h.lost
	h.lost = 0
	h.mu.Unlock()
	if n > 0 {
		h.log.Warn("on_event was not told of events: too many waited", "pool", h.pool, "events", n)
	}
}

// say says why it failed, when that is something else than the last time.
func (h *hook) say(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	h.mu.Lock()
	same := h.said == text
	h.said = text
	h.mu.Unlock()
	if err != nil && !same {
		h.log.Error("on_event failed", "pool", h.pool, "error", err)
	}
}

// one runs it for one event.
func (h *hook) one(e control.Event) error {
	words := strings.Fields(hostWord(h.own, control.PropOnEvent))
	if len(words) == 0 || words[0] == "none" {
		return nil
	}
	if h.avoid != nil {
		if err := h.avoid(words[0]); err != nil {
			return err
		}
	}
	line, err := show.PublicJSON(e.Public())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Stdin = "/", bytes.NewReader(append(line, '\n')) // never the mount
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it leaves behind is ended with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = hookGrace
	out := &head{}
	cmd.Stdout, cmd.Stderr = out, out
	over := make(chan error, 1)
	if !h.outside.call(ctx, 2*hookGrace, func() { over <- cmd.Run() }) {
		return fmt.Errorf("%s: hangs, though it was killed: not run again before it ends", words[0])
	}
	err = <-over
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has ended, and left somebody who holds its output
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: did not end within %v, and was killed", words[0], h.limit)
	}
	return fmt.Errorf("%s: %w: %s", words[0], err, bytes.TrimSpace(out.b))
}

// head is a writer that keeps the beginning.
type head struct{ b []byte }

func (w *head) Write(b []byte) (int, error) {
	w.b = append(w.b, b[:min(len(b), hookOutput-len(w.b))]...)
	return len(b), nil
}
