package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOthersAreBounded: a user who is not the owner gets no more connections, bytes and objects than he may, whatever he tries, and is
// not heard of in the log; the owner is served meanwhile.
func TestOthersAreBounded(t *testing.T) {
	var log bytes.Buffer
	c := NewServer(slog.New(slog.NewTextHandler(&log, nil)))
	for range othersAtOnce {
		if !c.enter(7) {
			t.Fatal("refused before he had as many as he may")
		}
	}
	if c.enter(7) {
		t.Error("he has more connections than he may")
	}
	if !c.enter(8) {
		t.Error("another user is refused as well")
	}
	for range othersAtOnce {
		c.leave(7)
	}
	c.leave(8)
	if len(c.others) != 0 || !c.enter(7) {
		t.Errorf("%v are counted when all have gone", c.others)
	}
	for _, x := range []struct {
		as  Circle
		n   int
		may bool
	}{{Owner, 1 << 20, true}, {Readers, othersNamed, true}, {Readers, othersNamed + 1, false}, {Operators, othersNamed + 1, false}} {
		if err := (Peer{UID: 7, Circle: x.as}).MayName(x.n); (err == nil) != x.may || err != nil && !errors.Is(err, ErrPerm) {
			t.Errorf("%d objects of circle %d: %v", x.n, x.as, err)
		}
	}
}

// TestOthersOnTheSocket: the same, by real connections of another user.
func TestOthersOnTheSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root, who can be another user (this is not for want of a guest kernel)")
	}
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := NewServer(slog.New(slog.NewTextHandler(&log, nil)))
	sub := filepath.Join(dir, "s")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(sub, "c")
	if err := c.Listen(socket); err != nil {
		t.Fatal(err)
	}
	if err := c.Open(Group{GID: nobodyID, As: Readers}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Serve(ctx) }()
	dial := func() net.Conn {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Error(err)
			runtime.Goexit()
		}
		return conn
	}
	asNobody(t, func() {
		var held []net.Conn
		for range othersAtOnce {
			held = append(held, dial())
		}
		time.Sleep(100 * time.Millisecond) // they are all taken
		one := dial()
		if answer, err := io.ReadAll(one); err != nil || !strings.Contains(string(answer), "one after the other") {
			t.Errorf("one too many: %q, %v", answer, err)
		}
		for _, conn := range append(held, one) {
			_ = conn.Close()
		}
		time.Sleep(100 * time.Millisecond)
		large := dial()
		go func() { _, _ = large.Write(bytes.Repeat([]byte("x"), 1<<20)) }()
		if answer, err := io.ReadAll(large); !strings.Contains(string(answer), "at most 64.0K") && !strings.Contains(string(answer), "at most 64K") {
			t.Errorf("a large request: %q, %v", answer, err)
		}
		_ = large.Close()
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("the log has been told: %s", log.String())
	}
}

// nobodyID is a user, and a group, who owns nothing.
const nobodyID = 65534

// asNobody runs fn as another user, on a thread of its own, which ends with it.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread goes
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, nobodyID, nobodyID, nobodyID}, {unix.SYS_SETRESUID, nobodyID, nobodyID, nobodyID},
		} {
			if _, _, e := unix.RawSyscall(call[0], call[1], call[2], call[3]); e != 0 {
				t.Errorf("call %d: %v", call[0], e)
				return
			}
		}
		fn()
	}()
	<-done
}
