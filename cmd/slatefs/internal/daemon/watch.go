package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"go.uber.org/atomic"

	"slatefs/chain"
	"slatefs/chain/property"
	"slatefs/chain/size"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// watcher looks at the space of a pool once a second and tells when it gets low, or promises short: in the log, by a
// counter, and by the command that this host's on_low_space says. It tells once, and again only after it was better.
type watcher struct {
	pool   *chain.Pool
	own    *host.Settings // which have the command
	dir    string         // the mountpoint
	log    *slog.Logger
	events *atomic.Int64 // how often it told
	low    bool
	short  bool
	hook   outside

	chronicle *chronicle // nil: nobody notes events
}

func newWatcher(p *chain.Pool, own *host.Settings, dir string, log *slog.Logger) *watcher {
	return &watcher{pool: p, own: own, dir: dir, log: log, events: atomic.NewInt64(0)}
}

// hookTime bounds how long the command may take, and hookGrace how long it may go on when it is killed then, or hold its
// output when it has ended.
const (
	hookTime  = time.Minute
	hookGrace = time.Second
)

func (w *watcher) run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			w.look(ctx)
		}
	}
}

// look compares what is available with the threshold. What was low is well again an eighth above it.
func (w *watcher) look(ctx context.Context) {
	avail, short := w.pool.Headroom()
	limit := property.ShareOf(w.prop(control.PropLowSpace), w.pool.Size())
	switch {
	case avail < limit && !w.low:
		w.low = true
		w.tell(ctx, "low", avail, "available", size.Format(avail), "low_space", size.Format(limit))
	case avail >= limit+limit/8:
		w.low = false
	}
	switch {
	case short > 0 && !w.short:
		w.short = true
		w.tell(ctx, "short", avail, "promises_short_by", size.Format(short))
	case short == 0:
		w.short = false
	}
}

func (w *watcher) prop(name string) string {
	v, err := w.pool.Prop(chain.RootIno, name)
	if err != nil {
		w.log.Error("property", "name", name, "error", err)
	}
	return v.Value
}

// tell logs an event, counts it and runs the command, if there is one.
func (w *watcher) tell(ctx context.Context, event string, avail int64, args ...any) {
	w.events.Inc()
	if event == "low" { // that promises are short is a trouble
		w.chronicle.note(control.EventLowSpace, subject{}, "available "+size.Format(avail)+", less than low_space")
	}
	w.log.Warn("space is "+event, append([]any{"pool", w.pool.Name()}, args...)...)
	command := hostWord(w.own, control.PropOnLowSpace)
	if command == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir = "/" // never the mount
	cmd.Env = append(os.Environ(), "SLATEFS_POOL="+w.pool.Name(), "SLATEFS_MOUNTPOINT="+w.dir, "SLATEFS_EVENT="+event,
		fmt.Sprintf("SLATEFS_AVAILABLE=%d", avail))
	cmd.WaitDelay = hookGrace
	name, log := w.pool.Name(), w.log
	if !w.hook.call(ctx, 2*hookGrace, func() {
		if out, err := cmd.CombinedOutput(); err != nil {
			log.Error("on_low_space failed", "pool", name, "command", command, "error", err, "output", string(out))
		}
	}) {
		w.log.Error("on_low_space hangs", "pool", name, "command", command)
	}
}
