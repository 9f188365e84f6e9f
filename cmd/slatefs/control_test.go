package main

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
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// startControl serves operations until the test's end.
func startControl(t *testing.T, c *controlServer) host.Live {
	t.Helper()
	h := testHost(t)
	socket, err := h.SocketDir(uuid.UUID{1})
	if err := errors.Join(err, c.listen(socket)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.serve(ctx) }()
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
	opAdd    = op[[2]int, int]{name: "add"}
	opRefuse = op[none, none]{name: "refuse"}
	opWait   = op[none, none]{name: "wait"}
	opNope   = op[none, none]{name: "nope"}
)

func TestControl(t *testing.T) {
	c := newControlServer(slog.New(slog.DiscardHandler))
	handle(c, opAdd, func(_ context.Context, who peer, args [2]int) (int, error) {
		if int(who.uid) != os.Geteuid() || int(who.pid) != os.Getpid() || who.op != "add" {
			t.Errorf("peer is %+v", who)
		}
		return args[0] + args[1], nil
	})
	handle(c, opRefuse, func(context.Context, peer, none) (none, error) {
		return none{}, show.Hinted(errors.New("no"), "say yes")
	})
	l := startControl(t, c)
	if n, err := opAdd.call(t.Context(), l, [2]int{2, 3}); err != nil || n != 5 {
		t.Errorf("2 + 3 = %d, %v", n, err)
	}
	if _, err := opRefuse.call(t.Context(), l, none{}); err == nil || err.Error() != "no" || show.HintOf(err) != "say yes" {
		t.Errorf("refused with %v, hint %q", err, show.HintOf(err))
	}
	if _, err := opNope.call(t.Context(), l, none{}); err == nil || !strings.Contains(err.Error(), `does not know "nope"`) {
		t.Errorf("unknown operation: %v", err)
	}
	if _, err := (op[string, int]{name: "add"}).call(t.Context(), l, "text"); err == nil || !strings.Contains(err.Error(), "arguments") {
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
	c := newControlServer(slog.New(slog.DiscardHandler))
	handle(c, opWait, func(ctx context.Context, _ peer, _ none) (none, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return none{}, ctx.Err()
	})
	l := startControl(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := opWait.call(ctx, l, none{}); !errors.Is(err, context.Canceled) {
		t.Errorf("call returns %v", err)
	}
	<-ended
}

// Garbage, and a client that says nothing, harm nobody; the server ends without waiting for them.
func TestControlBadClients(t *testing.T) {
	l := startControl(t, newControlServer(slog.New(slog.DiscardHandler)))
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
	if _, err := opNope.call(t.Context(), l, none{}); err == nil {
		t.Error("an unknown operation is answered")
	}
}

func TestCallWithoutDaemon(t *testing.T) {
	l := host.Live{Name: "lab", Socket: filepath.Join(t.TempDir(), "no")}
	if _, err := opNope.call(t.Context(), l, none{}); err == nil || !strings.Contains(err.Error(), "pool lab: control socket") {
		t.Errorf("call returns %v", err)
	}
}

func TestSocketNameTooLong(t *testing.T) {
	c := newControlServer(slog.New(slog.DiscardHandler))
	if err := c.listen(filepath.Join(t.TempDir(), strings.Repeat("x", 100))); err == nil || !strings.Contains(err.Error(), "at most 107 bytes") {
		t.Errorf("listen: %v", err)
	}
}

func TestEraseWaitLooks(t *testing.T) {
	w := newEraseWait(nil)
	done, total, left := w.look(eraseInfo{Dirty: 30, Jobs: []jobInfo{
		{ID: 1, State: "erasing", Freed: 40, Erased: 10, Dirty: 30}, {ID: 2, State: "queued", Freed: 5, Erased: 5},
	}})
	if done != 0 || total != 30 || left != 1 { // what was erased before the wait does not count
		t.Errorf("%d of %d done, %d left", done, total, left)
	}
	if done, total, left = w.look(eraseInfo{Freeing: 1}); done != 30 || total != 30 || left != 1 {
		t.Errorf("freeing: %d of %d done, %d left", done, total, left)
	}
	_, _, left = w.look(eraseInfo{Failed: 7, Jobs: []jobInfo{{ID: 3, State: "failed", Freed: 7, Failed: 7}}})
	if err := w.stuck(); left != 1 || err == nil || !strings.Contains(err.Error(), "7B could not be erased") {
		t.Errorf("failed job: %d left, %v", left, err)
	}
	if s := w.left(eraseInfo{Freeing: 9}, 90*time.Second); s != "time is up: 7B in 1 jobs are not erased after 1m30s, and 9B are freed and in no job yet" {
		t.Errorf("timeout: %s", s)
	}
	_, _, left = w.look(eraseInfo{Dirty: 7, Jobs: []jobInfo{{ID: 3, State: "failed", Error: "page 25: checksum", Freed: 7, Dirty: 7}}})
	if err := w.stuck(); left != 1 || err == nil || !strings.Contains(err.Error(), "7B could not be erased, and are not used again: page 25: checksum") {
		t.Errorf("damaged job: %d left, %v", left, err)
	}
	_, _, left = w.look(eraseInfo{Dirty: 7, Jobs: []jobInfo{{ID: 3, State: "failing", Error: "EIO", Freed: 7, Dirty: 7}}})
	if err := w.stuck(); left != 1 || err != nil {
		t.Errorf("failing job: %d left, %v; it is tried again", left, err)
	}
	one := newEraseWait([]uint64{9})
	if _, _, left := one.look(eraseInfo{Dirty: 5, Jobs: []jobInfo{{ID: 8, Dirty: 5, Freed: 5}}}); left != 0 || one.stuck() != nil {
		t.Errorf("a job of no interest is waited for")
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
	h := testHost(t)
	var log bytes.Buffer
	c := newControlServer(slog.New(slog.NewTextHandler(&log, nil)))
	handle(c, opAdd, func(context.Context, peer, [2]int) (int, error) { return 1, nil })
	socket, err := h.SocketDir(uuid.UUID{1})
	if err := errors.Join(err, c.listen(socket)); err != nil {
		t.Fatal(err)
	}
	c.listener = &poorListener{c.listener, 5}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.serve(ctx) }()
	if n, err := opAdd.call(t.Context(), host.Live{Name: "lab", Socket: h.SocketPath(uuid.UUID{1})}, [2]int{}); err != nil || n != 1 {
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
	c := newControlServer(slog.New(slog.DiscardHandler))
	handle(c, opAdd, func(context.Context, peer, [2]int) (int, error) { return 1, nil })
	l := startControl(t, c)
	for _, c := range []struct {
		op, args   string
		says, hint string
	}{
		{"add", "x", "does not understand the arguments", "two versions"},
		{"two", "", `does not know "two"`, "two versions"},
		{"add", strings.Repeat("x", maxRequest), "a request has at most 4M", ""},
	} {
		_, err := (op[string, int]{name: c.op}).call(t.Context(), l, c.args)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(show.HintOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", c.op, err, show.HintOf(err))
		}
	}
	h := testHost(t)
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
	if _, err := opNope.call(t.Context(), gone, none{}); err == nil || !strings.Contains(err.Error(), "nobody listens there, though the daemon, process 7, is there") ||
		show.HintOf(err) != "umount /lab ends the daemon" {
		t.Errorf("no socket: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	if _, err := opNope.call(t.Context(), gone, none{}); err == nil || !strings.Contains(err.Error(), "the daemon, process 7, has ended") {
		t.Errorf("ended: %v", err)
	}
}

// A daemon that does not answer hides no other pool.
func TestMuteDaemon(t *testing.T) {
	l := newLab(t)
	lock, err := l.app.host.LockPool(uuid.UUID{7})
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Publish(host.Live{UUID: uuid.UUID{7}, Name: "mute", Dir: "/mute", Device: "/nowhere/mute", Socket: "/nowhere/s", PID: 7}); err != nil {
		t.Fatal(err)
	}
	if out := l.ok("pool list -H"); !strings.Contains(out, "\nmute\t-\t-\t-\t-\t-\tno-answer\t/mute\t") || !strings.Contains(out, "\tonline\t/lab\t") {
		t.Error(out)
	}
	if out := l.ok("pool status -x"); !strings.Contains(out, "state: no-answer\n") || !strings.Contains(out, "trouble: pool mute: control socket /nowhere/s: nobody listens there") {
		t.Error(out)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// A device that answers nothing hides no pool either.
func TestMuteDevice(t *testing.T) {
	gone := make(chan struct{})
	defer close(gone)
	_, err := within("/dev/mute", time.Millisecond, func(string) (chain.Identity, error) {
		<-gone
		return chain.Identity{}, nil
	})
	if !errors.Is(err, errSilent) || err.Error() != "/dev/mute: does not answer" {
		t.Errorf("%v", err)
	}
}
