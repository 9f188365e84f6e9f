package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// maxRequest bounds the line that a client may send, in bytes.
const maxRequest = 4 << 20

// maxSocketPath is what a socket's address has room for, in bytes.
const maxSocketPath = 107

// Peer is who is at the other end of a connection, as the kernel vouches for it.
type Peer struct {
	UID, GID, PID uint32

	Circle Circle
	Op     string // that is asked for
	Actor  string // for whom, as the client says
}

// otherVersion hints at why a daemon does not know what it is asked.
func otherVersion(err error) error {
	return show.Hinted(otherVersionError{err},
		"the daemon and this command are of two versions; umount and mount the pool to have the new one")
}

// otherVersionError is ErrOtherVersion, without its words in the text.
type otherVersionError struct{ error }

func (e otherVersionError) Is(target error) bool { return target == ErrOtherVersion }
func (e otherVersionError) Unwrap() error        { return e.error }

// Server answers operations on a unix socket.
type Server struct {
	ops      map[string]operation
	log      *slog.Logger
	listener net.Listener
	dir      string       // holds the socket, and what tells its group of it
	members  atomic.Int64 // the Circle of who is neither root nor this user; Owner: nobody else is heard

	mu     sync.Mutex
	others map[uint32]int // connections of each user who is not the owner
}

// operation answers one request: args and the result are JSON, and so is what tell is given.
type operation struct {
	reads  bool
	who    Circle
	answer func(ctx context.Context, who Peer, args json.RawMessage, tell func(any) error) (any, error)
}

// NewServer makes a server without a socket, and without operations.
func NewServer(log *slog.Logger) *Server {
	return &Server{ops: map[string]operation{}, log: log}
}

// add takes an operation in.
func (c *Server) add(name string, o operation) {
	if _, ok := c.ops[name]; ok {
		panic(fmt.Sprintf("control: operation %q has two handlers", name))
	}
	c.ops[name] = o
}

// OnlyReading refuses with err all that does not only read, of the operations that it has.
func (c *Server) OnlyReading(err error) {
	for name, o := range c.ops {
		if !o.reads {
			o.answer = func(context.Context, Peer, json.RawMessage, func(any) error) (any, error) { return nil, err }
			c.ops[name] = o
		}
	}
}

// Listen binds the socket at path. Its directory, which is there, holds nothing else, and goes with it. The caller sees to it that
// a socket which is there already is a dead daemon's.
func (c *Server) Listen(path string) (err error) {
	if len(path) > maxSocketPath {
		return fmt.Errorf("control: %s: the name of a socket has at most %d bytes: shorten SLATEFS_RUN_DIR or XDG_RUNTIME_DIR",
			path, maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("control: %w", err)
	}
	c.dir = filepath.Dir(path)
	if c.listener, err = net.Listen("unix", path); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}

// Serve answers requests until ctx ends, then waits for those at hand, whose context has ended as well.
func (c *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.listener.Close() }) //nolint:errcheck // it only ends Accept
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	var told time.Time
	for failed := 0; ; {
		conn, err := c.listener.Accept()
		if ctx.Err() != nil {
			return os.RemoveAll(c.dir)
		}
		if err != nil { // of files or of memory there is none just now
			if failed++; failed == 1 && time.Since(told) > tellAgain {
				told = time.Now()
				c.log.Error("commands can't be taken just now; tried again", "error", err)
			}
			select {
			case <-time.After(min(acceptRest*time.Duration(failed), acceptMost)):
			case <-ctx.Done():
			}
			continue
		}
		failed = 0
		conns.Go(func() {
			if who, err := c.answer(ctx, conn.(*net.UnixConn)); err != nil {
				level := slog.LevelWarn
				if who.Circle != Owner { // he could fill the log
					level = slog.LevelDebug
				}
				c.log.Log(ctx, level, "control request", "error", err)
			}
		})
	}
}

// How long to wait before a connection is taken after one could not: longer each time, up to the second. It is told at most once
// in tellAgain.
const (
	acceptRest = 10 * time.Millisecond
	acceptMost = time.Second
	tellAgain  = time.Minute
)

// requestTime is how long a client may take to say what it wants: its connection is one of our files.
const requestTime = 30 * time.Second

// How long a client may take to read: an event, and its answer when the daemon ends.
const (
	eventTime = 30 * time.Second
	replyTime = 2 * time.Second
)

// answer takes one request from a connection and closes it.
func (c *Server) answer(ctx context.Context, conn *net.UnixConn) (who Peer, err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The end of the daemon, a client that says nothing, or one that does not read its answer, must not hold us here.
	stop := context.AfterFunc(ctx, func() {
		_ = conn.CloseRead()                                 //nolint:errcheck // it only ends the read below
		_ = conn.SetWriteDeadline(time.Now().Add(replyTime)) //nolint:errcheck // nor this, a write
	})
	defer stop()
	if who, err = peerOf(conn); err != nil {
		return who, err
	}
	refuse := func(err error) error { return errors.Join(err, c.reply(ctx, conn, who, reply{Error: ErrorOf(err)})) }
	var heard bool
	if who.Circle, heard = c.circleOf(who.UID); !heard {
		return who, refuse(fmt.Errorf("user %d may not ask this daemon: only root and user %d may", who.UID, os.Geteuid()))
	}
	most, soon := int64(maxRequest), requestTime
	if who.Circle != Owner {
		most, soon = othersRequest, othersTime
		if !c.enter(who.UID) {
			return who, refuse(fmt.Errorf("user %d asks this daemon for %d things already: one after the other", who.UID, othersAtOnce))
		}
		defer c.leave(who.UID)
	}
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return who, err
	}
	in := bufio.NewReader(io.LimitReader(conn, most))
	line, err := in.ReadBytes('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && int64(len(line)) == most {
			err = refuse(fmt.Errorf("a request has at most %s", show.FormatSize(most)))
		}
		return who, fmt.Errorf("control: request of process %d: %w", who.PID, err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return who, err
	}
	go func() { // the client hangs up: it does not want the result any more
		if _, err := in.ReadByte(); err != nil {
			cancel()
		}
	}()
	tell := func(event any) error { return c.tell(ctx, conn, who, event) }
	r := c.perform(ctx, who, line, tell)
	if who.Circle != Owner { // the owner may take his time
		if err := writeUntil(ctx, conn, time.Now().Add(eventTime)); err != nil {
			return who, err
		}
	}
	return who, c.reply(ctx, conn, who, r)
}

// tell sends an event. The operation ends with its error: nobody hears more of it.
func (c *Server) tell(ctx context.Context, conn *net.UnixConn, who Peer, event any) error {
	raw, err := show.Encode(event)
	if err == nil {
		err = writeUntil(ctx, conn, time.Now().Add(eventTime))
	}
	if err == nil {
		err = c.reply(ctx, conn, who, reply{Event: raw})
	}
	return errors.Join(err, ctx.Err(), writeUntil(ctx, conn, time.Time{}))
}

// writeUntil bounds what is written from now on; zero: until ctx ends it is not. After the end of ctx it is bounded in any case.
func writeUntil(ctx context.Context, conn *net.UnixConn, until time.Time) error {
	err := conn.SetWriteDeadline(until)
	if ctx.Err() != nil { // its end comes after this look, or is seen by it
		err = conn.SetWriteDeadline(time.Now().Add(replyTime))
	}
	return err
}

func (c *Server) reply(ctx context.Context, conn *net.UnixConn, who Peer, r reply) error {
	out, err := show.Encode(r)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(out, '\n')); err != nil && ctx.Err() == nil {
		return fmt.Errorf("control: reply to process %d: %w", who.PID, err)
	}
	return nil
}

// perform does what a request asks.
func (c *Server) perform(ctx context.Context, who Peer, line []byte, tell func(any) error) reply {
	res, err := c.dispatch(ctx, who, line, tell)
	if err != nil {
		return reply{Error: ErrorOf(err)}
	}
	raw, err := show.Encode(res)
	if err != nil {
		return reply{Error: ErrorOf(err)}
	}
	return reply{Result: raw}
}

func (c *Server) dispatch(ctx context.Context, who Peer, line []byte, tell func(any) error) (any, error) {
	var q request
	if err := show.Decode(line, &q); err != nil {
		return nil, otherVersion(fmt.Errorf("the daemon (slatefs %s) does not understand the request: %w", Version(), err))
	}
	op, ok := c.ops[q.Op]
	if !ok {
		return nil, otherVersion(fmt.Errorf("the daemon (slatefs %s) does not know %q", Version(), q.Op))
	}
	who.Op, who.Actor = q.Op, cleanActor(q.Actor)
	if who.Circle > op.who {
		return nil, who.refusal()
	}
	return op.answer(ctx, who, q.Args, tell)
}

// peerOf asks the kernel who connected.
func peerOf(conn *net.UnixConn) (p Peer, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return p, fmt.Errorf("control: peer credentials: %w", err)
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: uint32(cred.Pid)}, nil
}
