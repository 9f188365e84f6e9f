package control

import (
	"fmt"
	"time"
)

// What one user who is not the owner may take of a daemon that guests wait for: he is trusted to look, or to change what is in the
// pool, and not with the daemon's files, memory and time.
const (
	othersAtOnce  = 16              // connections at once
	othersRequest = 64 << 10        // bytes of a request
	othersTime    = 5 * time.Second // to ask
	othersNamed   = 256             // objects that one request names
)

// enter counts a connection of a user who is not the owner; false: he has as many as he may. leave is to be called after it.
func (c *Server) enter(uid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.others[uid] >= othersAtOnce {
		return false
	}
	if c.others == nil {
		c.others = map[uint32]int{}
	}
	c.others[uid]++
	return true
}

func (c *Server) leave(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.others[uid]--; c.others[uid] == 0 {
		delete(c.others, uid)
	}
}

// MayName refuses a request that names n objects, where that are more than who asks may name at once.
func (who Peer) MayName(n int) error {
	if who.Circle == Owner || n <= othersNamed {
		return nil
	}
	return fmt.Errorf("%s of %d objects: user %d may name %d at once: %w", who.Op, n, who.UID, othersNamed, ErrPerm)
}
