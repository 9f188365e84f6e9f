package fs

import (
	"context"
	"sync"
)

// barrier lets requests in to be served, until it is shut. The zero barrier is open.
type barrier struct {
	mu   sync.Mutex
	in   int           // guarded by mu: requests in work
	shut chan struct{} // guarded by mu: nil: it is open; closed when it opens again
	idle chan struct{} // guarded by mu: closed when it is shut and none is in work
}

// enter waits while the barrier is shut: a request that was read then is served when it opens, or sent again to a successor.
func (g *barrier) enter() {
	g.mu.Lock()
	for g.shut != nil {
		shut := g.shut
		g.mu.Unlock()
		<-shut
		g.mu.Lock()
	}
	g.in++
	g.mu.Unlock()
}

func (g *barrier) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in--; g.in == 0 && g.shut != nil {
		close(g.idle)
	}
}

// close shuts the barrier, and returns a channel that is closed when nothing is in work.
func (g *barrier) close() (idle <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.idle = make(chan struct{}), make(chan struct{})
	if g.in == 0 {
		close(g.idle)
	}
	return g.idle
}

func (g *barrier) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// Pause stops serving, for a successor that goes on with the mount: on return nothing is in work, and nothing will be; what comes
// waits in the kernel, and what was read and not begun is sent again. If ctx ends before, it goes on serving, with ctx's error.
func (s *Server) Pause(ctx context.Context) error {
	err := s.t.pause(ctx)
	if err == nil {
		s.fs.endLeases()
	}
	return err
}

// untilIdle waits for one thing after the other.
func untilIdle(ctx context.Context, idle ...func() <-chan struct{}) error {
	for _, i := range idle {
		select {
		case <-i():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
