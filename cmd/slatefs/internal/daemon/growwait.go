package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/chain"
)

// attempt is one step of a grower, which any number of writers wait for. It runs on its own: no writer's end ends it, and
// LVM, whose volume may be on a device that answers nothing, holds no writer for longer than growWait.
type attempt struct {
	done chan struct{} // closed at its end
	err  error         // valid after that
	slow bool          // somebody has waited growWait for it; guarded by grower.state
}

// growWait is how long a writer waits for a step of the grower: shorter than what guests wait for their disks.
const growWait = 20 * time.Second

// ask is what the pool calls for a writer that lacks so many bytes. Errors: chain.ErrNoSpace, for this writer, when so many
// can't be had, or not in time; else what the pool is not to ask again for.
func (g *Grower) ask(ctx context.Context, lack int64) error {
	t := time.NewTimer(g.patience)
	defer t.Stop()
	for {
		at, own, slow := g.join(lack)
		if slow {
			return fmt.Errorf("pool %s: growing takes long: %w", g.pool.Name(), chain.ErrNoSpace)
		}
		select {
		case <-at.done:
			if own || !errors.Is(at.err, chain.ErrNoSpace) {
				return at.err
			}
			// It was too much that another one lacked.
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			g.state.Lock()
			at.slow = true
			g.state.Unlock()
		}
	}
}

// join finds the step that runs, or begins one.
func (g *Grower) join(lack int64) (at *attempt, own, slow bool) {
	g.state.Lock()
	defer g.state.Unlock()
	if g.now != nil {
		return g.now, false, g.now.slow
	}
	at = &attempt{done: make(chan struct{})}
	g.now = at
	go func() {
		at.err = g.step(g.life, lack)
		g.state.Lock()
		g.now = nil
		g.state.Unlock()
		close(at.done)
	}()
	return at, true, false
}

// ahead makes a step ahead of need, or waits for one that somebody asked for. What it comes to is told in the log.
func (g *Grower) ahead(ctx context.Context) {
	at, _, _ := g.join(0)
	select {
	case <-at.done:
	case <-ctx.Done():
	}
}

// stop ends a step that runs, and waits for it: nothing changes the pool's size after that.
func (g *Grower) stop() {
	g.end()
	g.state.Lock()
	at := g.now
	g.state.Unlock()
	if at != nil {
		<-at.done
	}
}

// take waits for the turn to change something.
func (g *Grower) take(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pool %s: another change of its size is not done: %w", g.pool.Name(), ctx.Err())
	}
}

func (g *Grower) leave() { <-g.turn }
