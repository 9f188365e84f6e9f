package control

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// runHost is a host with directories of the test's own.
func runHost(t *testing.T) host.Host {
	t.Helper()
	run, err := os.MkdirTemp("", "s") // short: names of sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	return host.Host{Run: filepath.Join(run, "r")}
}

// startControl serves operations until the test's end.
func startControl(t *testing.T, c *Server) host.Live {
	t.Helper()
	h := runHost(t)
	socket, err := h.SocketDir(uuid.UUID{1})
	if err := errors.Join(err, c.Listen(socket)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket's directory stays: %v", err)
		}
	})
	return host.Live{Name: "lab", Socket: socket}
}

// Operations of the tests.
var (
	opAdd    = Op[[2]int, int]{Name: "add"}
	opRefuse = Op[None, None]{Name: "refuse"}
	opWait   = Op[None, None]{Name: "wait"}
	opNope   = Op[None, None]{Name: "nope"}
)

func TestControl(t *testing.T) {
	c := NewServer(slog.New(slog.DiscardHandler))
	Handle(c, opAdd, func(_ context.Context, who Peer, args [2]int) (int, error) {
		if int(who.UID) != os.Geteuid() || int(who.PID) != os.Getpid() || who.Op != "add" {
			t.Errorf("peer is %+v", who)
		}
		return args[0] + args[1], nil
	})
	Handle(c, opRefuse, func(context.Context, Peer, None) (None, error) {
		return None{}, show.Hinted(errors.New("no"), "say yes")
	})
	l := startControl(t, c)
	if n, err := opAdd.Call(t.Context(), l, [2]int{2, 3}); err != nil || n != 5 {
		t.Errorf("2 + 3 = %d, %v", n, err)
	}
	if _, err := opRefuse.Call(t.Context(), l, None{}); err == nil || err.Error() != "no" || show.HintOf(err) != "say yes" {
		t.Errorf("refused with %v, hint %q", err, show.HintOf(err))
	}
	if _, err := opNope.Call(t.Context(), l, None{}); err == nil || !strings.Contains(err.Error(), `does not know "nope"`) {
		t.Errorf("unknown operation: %v", err)
	}
	if _, err := (Op[string, int]{Name: "add"}).Call(t.Context(), l, "text"); err == nil || !strings.Contains(err.Error(), "arguments") {
		t.Errorf("wrong arguments: %v", err)
	}
	st, err := os.Stat(filepath.Dir(l.Socket))
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory: %v, %v", st.Mode(), err)
	}
}

// A client that goes away cancels what it asked for.
func TestControlHangup(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	c := NewServer(slog.New(slog.DiscardHandler))
	Handle(c, opWait, func(ctx context.Context, _ Peer, _ None) (None, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return None{}, ctx.Err()
	})
	l := startControl(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := opWait.Call(ctx, l, None{}); !errors.Is(err, context.Canceled) {
		t.Errorf("call returns %v", err)
	}
	<-ended
}

// Garbage, and a client that says nothing, harm nobody; the server ends without waiting for them.
func TestControlBadClients(t *testing.T) {
	l := startControl(t, NewServer(slog.New(slog.DiscardHandler)))
	for _, line := range []string{"garbage\n", "{}", ""} {
		c, err := net.Dial("unix", l.Socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	if _, err := opNope.Call(t.Context(), l, None{}); err == nil {
		t.Error("an unknown operation is answered")
	}
}

func TestCallWithoutDaemon(t *testing.T) {
	l := host.Live{Name: "lab", Socket: filepath.Join(t.TempDir(), "no")}
	if _, err := opNope.Call(t.Context(), l, None{}); err == nil || !strings.Contains(err.Error(), "pool lab: control socket") {
		t.Errorf("call returns %v", err)
	}
}

func TestSocketNameTooLong(t *testing.T) {
	c := NewServer(slog.New(slog.DiscardHandler))
	if err := c.Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 100))); err == nil || !strings.Contains(err.Error(), "at most 107 bytes") {
		t.Errorf("listen: %v", err)
	}
}

// poorListener has no files for a while.
type poorListener struct {
	net.Listener
	fails int
}

func (l *poorListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)}
	}
	return l.Listener.Accept()
}

// A server that has no files left goes on when it has some again, and tells it once.
func TestControlOutlivesEMFILE(t *testing.T) {
	h := runHost(t)
	var log bytes.Buffer
	c := NewServer(slog.New(slog.NewTextHandler(&log, nil)))
	Handle(c, opAdd, func(context.Context, Peer, [2]int) (int, error) { return 1, nil })
	socket, err := h.SocketDir(uuid.UUID{1})
	if err := errors.Join(err, c.Listen(socket)); err != nil {
		t.Fatal(err)
	}
	c.listener = &poorListener{c.listener, 5}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Serve(ctx) }()
	if n, err := opAdd.Call(t.Context(), host.Live{Name: "lab", Socket: h.SocketPath(uuid.UUID{1})}, [2]int{}); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "too many open files"); n != 1 {
		t.Errorf("the log:\n%s", log.String())
	}
}

// What went wrong with the control socket is said in words of daemons.
func TestControlErrors(t *testing.T) {
	c := NewServer(slog.New(slog.DiscardHandler))
	Handle(c, opAdd, func(context.Context, Peer, [2]int) (int, error) { return 1, nil })
	l := startControl(t, c)
	for _, c := range []struct {
		op, args   string
		says, hint string
	}{
		{"add", "x", "does not understand the arguments", "two versions"},
		{"two", "", `does not know "two"`, "two versions"},
		{"add", strings.Repeat("x", maxRequest), "a request has at most 4M", ""},
	} {
		_, err := (Op[string, int]{Name: c.op}).Call(t.Context(), l, c.args)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(show.HintOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", c.op, err, show.HintOf(err))
		}
	}
	h := runHost(t)
	lock, err := h.LockPool(uuid.UUID{7})
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Publish(host.Live{Name: "lab", Socket: filepath.Join(t.TempDir(), "no"), PID: 7, Dir: "/lab"}); err != nil {
		t.Fatal(err)
	}
	gone, ok := h.Live(uuid.UUID{7})
	if !ok {
		t.Fatal("nobody says anything")
	}
	if _, err := opNope.Call(t.Context(), gone, None{}); err == nil || !strings.Contains(err.Error(), "nobody listens there, though the daemon, process 7, is there") ||
		show.HintOf(err) != "umount /lab ends the daemon" {
		t.Errorf("no socket: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	if _, err := opNope.Call(t.Context(), gone, None{}); err == nil || !strings.Contains(err.Error(), "the daemon, process 7, has ended") {
		t.Errorf("ended: %v", err)
	}
}
