package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Low space is told once, by log, counter and command, and again only after it was better.
func TestWatcher(t *testing.T) {
	b := newBench(t)
	var logged bytes.Buffer
	w := newWatcher(b.pool, b.s.Own, "/lab", slog.New(slog.NewTextHandler(&logged, nil)))
	told := filepath.Join(t.TempDir(), "told")
	look := func(want int64) {
		t.Helper()
		w.look(t.Context())
		if got := w.events.Load(); got != want {
			t.Errorf("%d events, want %d: %s", got, want, logged.String())
		}
	}
	look(0)
	b.set("on_low_space=printenv|grep SLATEFS|sort>>" + told)
	b.set("low_space=100%")
	look(1)
	look(1)
	b.set("low_space=1%")
	look(1)
	b.set("on_low_space=false", "low_space=4G")
	look(2)
	b.set("low_space=0")
	look(2)
	if !strings.Contains(logged.String(), "space is low") || !strings.Contains(logged.String(), "low_space=4G") ||
		!strings.Contains(logged.String(), "on_low_space failed") {
		t.Errorf("log: %s", logged.String())
	}
	avail, short := b.pool.Headroom()
	if short != 0 {
		t.Errorf("promises are short by %d", short)
	}
	out, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("SLATEFS_AVAILABLE=%d\nSLATEFS_EVENT=low\nSLATEFS_MOUNTPOINT=/lab\nSLATEFS_POOL=lab\n", avail)
	if string(out) != want {
		t.Errorf("the command saw %q, want %q", out, want)
	}
}

// A command that leaves something behind which holds its output does not hold the watcher, nor one that hangs.
func TestWatcherOutlivesItsCommand(t *testing.T) {
	b := newBench(t)
	w := newWatcher(b.pool, b.s.Own, "/lab", slog.New(slog.DiscardHandler))
	left := filepath.Join(t.TempDir(), "left")
	b.set("on_low_space=sleep 1000&echo $!>"+left, "low_space=100%")
	w.look(t.Context())
	text, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("what the command left has ended: %v", err)
	}
	if w.hook.hangs.Load() {
		t.Error("the command hangs")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	gone := make(chan struct{})
	defer close(gone)
	if w.hook.call(over, time.Millisecond, func() { <-gone }) || w.hook.call(over, time.Millisecond, func() { t.Error("called again") }) {
		t.Error("what hangs has ended")
	}
}
