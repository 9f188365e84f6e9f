package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// notAnswered says why a daemon did not answer, as far as can be told, and what to do.
func notAnswered(ctx context.Context, l live, op string, err error) error {
	at := fmt.Sprintf("pool %s: control socket %s", l.Name, l.Socket)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("pool %s: interrupted; %s may be done all the same: %w", l.Name, op, ctx.Err())
	case ctx.Err() != nil:
		return fmt.Errorf("pool %s: the daemon, process %d, did not answer in time: %w", l.Name, l.PID, ctx.Err())
	case errors.Is(err, os.ErrPermission):
		return show.Hinted(fmt.Errorf("%s: the daemon is another user's", at), "only that user and root may ask it")
	case !held(l.lock):
		return show.Hinted(fmt.Errorf("%s: the daemon, process %d, has ended", at, l.PID), "slatefs mount %s DIR mounts the pool again", l.Name)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: the daemon, process %d, ended the connection without an answer; its log says why", at, l.PID)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return show.Hinted(fmt.Errorf("%s: nobody listens there, though the daemon, process %d, is there: it is just ending, or the socket was removed", at, l.PID),
			"umount %s ends the daemon", l.Dir)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%s: too many ask the daemon, process %d, at once", at, l.PID)
	}
	return fmt.Errorf("%s: %w", at, err)
}

// exchange sends a request and reads the reply.
func exchange(ctx context.Context, socket string, q request) (r reply, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return r, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) //nolint:errcheck // it only ends the read below
	defer stop()
	defer func() { _ = conn.Close() }() //nolint:errcheck // the reply is there, or an error
	line, err := show.Encode(q)
	if err != nil {
		return r, err
	}
	_, sent := conn.Write(append(line, '\n')) // a request that is refused half-way has an answer, too
	line, err = bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		if sent != nil && !errors.Is(err, io.EOF) {
			err = sent
		}
		return r, err
	}
	return r, show.Decode(line, &r)
}
