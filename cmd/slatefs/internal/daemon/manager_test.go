package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// told is what a service manager has been told since it listens.
type told struct {
	t    *testing.T
	conn *net.UnixConn
}

// listen makes this process one that a service manager has started.
func listen(t *testing.T) told {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return told{t, conn}
}

func (l told) next() string {
	l.t.Helper()
	b := make([]byte, 4096)
	n, err := l.conn.Read(b)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b[:n])
}

// What is told are states, a line each, whatever the names in a status are.
func TestManagerIsTold(t *testing.T) {
	l := listen(t)
	m := newManager(Config{}, slog.New(slog.DiscardHandler))
	m.tell("serves pool lab", ready)
	m.tell("open by evil\nFDSTORE=1", stopping)
	for _, want := range []string{"READY=1\nSTATUS=serves pool lab", "STOPPING=1\nSTATUS=open by evil\\012FDSTORE=1"} {
		if got := l.next(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	background := newManager(Config{Options: Options{Log: "/some/log"}}, slog.New(slog.DiscardHandler))
	background.tell("nobody hears that")
	m.tell("the next")
	if got := l.next(); got != "STATUS=the next" {
		t.Errorf("a daemon in the background tells who has started it: %q", got)
	}
}

// The watchdog hears of a daemon that is alive, and of no other.
func TestWatchdog(t *testing.T) {
	l := listen(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	m := newManager(Config{}, slog.New(slog.DiscardHandler))
	if m.beat != 5*time.Millisecond {
		t.Fatalf("beats every %v, a fourth of 20 ms is wanted", m.beat)
	}
	var asked atomic.Int64
	dead := make(chan struct{})
	stop := m.watch(func(context.Context) error {
		switch n := asked.Add(1); {
		case n <= 3:
			return nil
		case n == 10:
			close(dead)
		}
		return errors.New("stuck")
	})
	for range 3 {
		if got := l.next(); got != "WATCHDOG=1" {
			t.Errorf("told %q", got)
		}
	}
	<-dead
	stop()
	m.tell("the end")
	if got := l.next(); got != "STATUS=the end" {
		t.Errorf("a daemon that is stuck says %q", got)
	}
}

// Who has no service manager, or one without a watchdog, tells nobody.
func TestNoManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	m := newManager(Config{}, slog.New(slog.DiscardHandler))
	m.tell("nobody hears that", ready)
	stop := m.watch(func(context.Context) error {
		t.Error("it was asked whether it is alive")
		return nil
	})
	stop()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	fails := 0
	m = newManager(Config{}, slog.New(countHandler{slog.DiscardHandler, &fails}))
	m.tell("it is gone")
	if fails != 1 {
		t.Errorf("that the manager is gone is logged %d times", fails)
	}
}

// countHandler counts lines.
type countHandler struct {
	slog.Handler
	n *int
}

func (c countHandler) Enabled(context.Context, slog.Level) bool { return true }

func (c countHandler) Handle(context.Context, slog.Record) error {
	*c.n++
	return nil
}
