package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// call asks the daemon of a pool for one operation and waits for its end, or ctx's.
func call[Result any](ctx context.Context, l live, op string, args any) (res Result, err error) {
	raw, err := encode(args)
	if err != nil {
		return res, err
	}
	r, err := exchange(ctx, l.Socket, request{op, raw, actorOf(ctx)})
	if err != nil {
		return res, fmt.Errorf("pool %s: control socket: %w", l.Name, err)
	}
	if r.Error != nil {
		err := errors.New(r.Error.Text)
		if r.Error.Hint != "" {
			return res, hinted(err, "%s", r.Error.Hint)
		}
		return res, err
	}
	return res, decode(r.Result, &res)
}

// exchange sends a request and reads the reply.
func exchange(ctx context.Context, socket string, q request) (r reply, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return r, hinted(err, "the daemon is another user's: only that user and root may ask it")
		}
		return r, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) //nolint:errcheck // it only ends the read below
	defer stop()
	defer func() { _ = conn.Close() }() //nolint:errcheck // the reply is there, or an error
	line, err := encode(q)
	if err != nil {
		return r, err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return r, ended(ctx, err)
	}
	line, err = bufio.NewReader(conn).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return r, ended(ctx, errors.New("the daemon ended before it answered"))
	}
	if err != nil {
		return r, ended(ctx, err)
	}
	return r, decode(line, &r)
}

// ended is ctx's error if that was the reason.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
