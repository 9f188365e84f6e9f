package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
)

var opCount = Stream[int, int, string]{Name: "count"}

// Events come in their order, all of them, and before the result.
func TestStream(t *testing.T) {
	c := NewServer(slog.New(slog.DiscardHandler))
	HandleStream(c, opCount, func(_ context.Context, _ Peer, n int, tell func(int) error) (string, error) {
		for i := range n {
			if err := tell(i); err != nil {
				return "", err
			}
		}
		if n == 3 {
			return "", ErrBusy
		}
		return "done", nil
	})
	l := startControl(t, c)
	for _, n := range []int{0, 3, 1000} {
		var got []int
		res, err := opCount.Call(t.Context(), l, n, func(i int) { got = append(got, i) })
		if n == 3 && !errors.Is(err, ErrBusy) || n != 3 && (res != "done" || err != nil) {
			t.Errorf("%d: %q, %v", n, res, err)
		}
		if len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%d events: %v", n, got)
		}
	}
}

// Who does not read events is not waited for when the daemon ends; nor who does not read a long answer.
func TestDeafClients(t *testing.T) {
	began := make(chan struct{}, 2)
	c := NewServer(slog.New(slog.DiscardHandler))
	long := strings.Repeat("x", 8<<20)
	HandleStream(c, Stream[None, string, None]{Name: "events"}, func(ctx context.Context, _ Peer, _ None, tell func(string) error) (None, error) {
		began <- struct{}{}
		return None{}, tell(long)
	})
	Handle(c, Op[None, string]{Name: "long"}, func(context.Context, Peer, None) (string, error) {
		began <- struct{}{}
		return long, nil
	})
	var conns []net.Conn
	t.Cleanup(func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	l := startControl(t, c) // whose cleanup comes first, and waits for the server's end
	for _, name := range []string{"events", "long"} {
		conn, err := net.Dial("unix", l.Socket)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if _, err := conn.Write([]byte(`{"op":"` + name + `","args":{}}` + "\n")); err != nil {
			t.Fatal(err)
		}
		<-began
	}
}

// Who hangs up between two events ends the stream.
func TestStreamHangup(t *testing.T) {
	ended := make(chan error, 1)
	c := NewServer(slog.New(slog.DiscardHandler))
	HandleStream(c, opCount, func(_ context.Context, _ Peer, _ int, tell func(int) error) (string, error) {
		for i := 0; ; i++ {
			if err := tell(i); err != nil {
				ended <- err
				return "", err
			}
		}
	})
	l := startControl(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := opCount.Call(ctx, l, 0, func(i int) {
		if i == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("call returns %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("the stream ended without an error")
	}
}
