package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// ask asks a daemon for an operation. each is called for its events, and res is its result.
func ask(ctx context.Context, l host.Live, op string, args any, each func(json.RawMessage) error, res any) error {
	raw, err := show.Encode(args)
	if err != nil {
		return err
	}
	r, err := exchange(ctx, l.Socket, request{op, raw, actorOf(ctx)}, each)
	if err != nil {
		return notAnswered(ctx, l, op, err)
	}
	if r.Error != nil {
		return r.Error.Err()
	}
	return show.Decode(r.Result, res)
}

// notAnswered says why a daemon did not answer, as far as can be told, and what to do.
func notAnswered(ctx context.Context, l host.Live, op string, err error) error {
	at := fmt.Sprintf("pool %s: control socket %s", l.Name, l.Socket)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("pool %s: interrupted; %s may be done all the same: %w", l.Name, op, ctx.Err())
	case ctx.Err() != nil:
		return fmt.Errorf("pool %s: the daemon, process %d, did not answer in time: %w", l.Name, l.PID, ctx.Err())
	case errors.Is(err, os.ErrPermission):
		return show.Hinted(fmt.Errorf("%s: the daemon is another user's", at),
			"only that user and root may ask it, and the group of its mount option readers= or operators=")
	case !l.Running():
		return show.Hinted(fmt.Errorf("%s: the daemon, process %d, has ended", at, l.PID),
			"slatefs mount %s DIR mounts the pool again", l.Name)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: the daemon, process %d, ended the connection without an answer; its log says why", at, l.PID)
	case l.Supervisor != 0 && nobody(err):
		return show.Hinted(fmt.Errorf("pool %s: %w on %s now; process %d starts one, and its log %s says why none comes",
			l.Name, ErrNoDaemon, l.Dir, l.Supervisor, l.Log), "slatefs umount --force %s gives the mount up: who uses it gets errors", l.Dir)
	case nobody(err):
		return show.Hinted(fmt.Errorf("%s: nobody listens there, though the daemon, process %d, is there: it is just ending, or the socket "+
			"was removed", at, l.PID), "umount %s ends the daemon", l.Dir)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%s: too many ask the daemon, process %d, at once", at, l.PID)
	}
	return fmt.Errorf("%s: %w", at, err)
}

// ErrNoDaemon is for a mount that waits for another daemon. Nothing was asked for.
var ErrNoDaemon = errors.New("no daemon serves it")

// nobody tells that nobody listens on a socket.
func nobody(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// exchange sends a request and reads the replies: each is called for the events.
func exchange(ctx context.Context, socket string, q request, each func(json.RawMessage) error) (r reply, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return r, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) //nolint:errcheck // it only ends the reads below
	defer stop()
	defer func() { _ = conn.Close() }() //nolint:errcheck // the reply is there, or an error
	line, err := show.Encode(q)
	if err != nil {
		return r, err
	}
	_, sent := conn.Write(append(line, '\n')) // a request that is refused half-way has an answer, too
	for in := bufio.NewReader(conn); ; {
		if line, err = in.ReadBytes('\n'); err != nil {
			if sent != nil && !errors.Is(err, io.EOF) {
				err = sent
			}
			return r, err
		}
		if err := show.Decode(line, &r); err != nil || r.Event == nil {
			return r, err
		}
		if err := each(r.Event); err != nil {
			return r, err
		}
		r.Event = nil
	}
}
