package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// helper is a part of the daemon that works for the mount and never ends it: when it fails, that is told once, shown by pool
// status, and it is started again after a while. Only the mount's own end ends the daemon.
type helper struct {
	name string
	run  func(ctx context.Context) error
	log  *slog.Logger
	wait time.Duration // before it is started again the first time; then twice as long, up to helperRest

	mu    sync.Mutex
	why   string // it failed, and has not been well since; empty: it is well
	times int    // it failed in a row
	told  string // the last reason in the log
}

// A helper is started again after helperWait, at last after helperRest. Who has run for so long is well again.
const (
	helperWait = time.Second
	helperRest = time.Minute
)

// errByItself is the reason when a helper ends without one.
var errByItself = errors.New("ended by itself")

// keep runs the helper until ctx ends, whatever becomes of it. The error is that of its end.
func (h *helper) keep(ctx context.Context) error {
	for wait := h.wait; ; wait = min(2*wait, helperRest) {
		well := time.AfterFunc(wait, h.well)
		err := h.run(ctx)
		if !well.Stop() {
			wait = h.wait
		}
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			err = errByItself
		}
		h.failed(err)
		if rest(ctx, wait); ctx.Err() != nil {
			return nil
		}
	}
}

func (h *helper) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why, h.times = err.Error(), h.times+1
	if h.told != h.why {
		h.told = h.why
		h.log.Error("a part of the daemon failed, and is started again", "part", h.name, "error", err)
	}
}

func (h *helper) well() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why, h.told, h.times = "", "", 0
}

// trouble is what a helper fails of, and how often in a row; empty: it is well.
func (h *helper) trouble() (why string, times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why, h.times
}

// rest waits for so long, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
