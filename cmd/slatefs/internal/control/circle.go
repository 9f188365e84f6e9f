package control

import (
	"fmt"
	"io/fs"
	"os"
)

// Circle is who may ask for an operation: each is asked by its own and all before it. The first is the zero value, so that an
// operation that says nothing is closed.
type Circle int

// Circles, from the inside.
const (
	Owner     Circle = iota // root, and the daemon's user: all that reaches beyond the pool, or takes the daemon's time without a bound
	Operators               // who may change what is in the pool
	Readers                 // who may only look
)

// Group is a group of the host whose members may ask a daemon: as one of the circles beside the owner. The kernel keeps all others
// from the socket.
type Group struct {
	GID int
	As  Circle
}

// Open lets a group of the host come to the socket, after Listen. Until then, and on an error, nobody but the owner may.
func (c *Server) Open(g Group) error {
	socket := c.listener.Addr().String()
	for _, f := range []struct {
		path string
		mode fs.FileMode
	}{{socket, 0o660}, {c.dir, 0o750}} { // the directory last: it is the door
		if err := os.Chown(f.path, -1, g.GID); err != nil {
			return fmt.Errorf("control: %w", err)
		}
		if err := os.Chmod(f.path, f.mode); err != nil {
			return fmt.Errorf("control: %w", err)
		}
	}
	c.members.Store(int64(g.As))
	return nil
}

// circleOf is the circle of who has come to the socket; false: of none, and he is refused.
func (c *Server) circleOf(uid uint32) (Circle, bool) {
	if uid == 0 || int(uid) == os.Geteuid() {
		return Owner, true
	}
	as := Circle(c.members.Load())
	return as, as != Owner
}

// refusal is the error for who may not ask for an operation.
func (who Peer) refusal() error {
	what := "change what is in the pool, and not what reaches beyond it"
	if who.Circle == Readers {
		what = "look, and not change anything"
	}
	return fmt.Errorf("user %d may %s: %s is for root and user %d: %w", who.UID, what, who.Op, os.Geteuid(), ErrPerm)
}
