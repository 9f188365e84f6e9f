package exporter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// Limit is how long a daemon may take to answer, from where it was asked.
const Limit = 2 * time.Second

// ErrSilent is for a daemon that has not answered within Limit.
var ErrSilent = errors.New("the daemon did not answer in time")

// Ask asks a daemon for its numbers, and waits until it answers, or ends.
type Ask func(ctx context.Context, l host.Live, volumes bool) (control.PoolMetrics, error)

// asker asks daemons, each one thing at a time: who asks while a daemon is being asked has that answer, too. A question is open until
// the daemon answers it, or ends: of one that hangs nobody waits longer than Limit, all together.
type asker struct {
	ask     Ask
	volumes bool
	limit   time.Duration

	mu   sync.Mutex
	open map[asked]*question // guarded by mu
}

// asked is whom: a pool that has another daemon is asked anew.
type asked struct {
	pool uuid.UUID
	pid  int
}

// question is one that was asked.
type question struct {
	begun time.Time
	done  chan struct{} // closed when there is an answer
	m     control.PoolMetrics
	err   error
}

// metrics is what a daemon tells; ErrSilent if it does not within the limit.
func (a *asker) metrics(ctx context.Context, l host.Live) (control.PoolMetrics, error) {
	q := a.question(l)
	t := time.NewTimer(a.limit - time.Since(q.begun))
	defer t.Stop()
	select {
	case <-q.done:
		return q.m, q.err
	case <-ctx.Done():
		return control.PoolMetrics{}, ctx.Err()
	case <-t.C:
	}
	select {
	case <-q.done: // both have come
		return q.m, q.err
	default:
		return control.PoolMetrics{}, ErrSilent
	}
}

// question is the one that a daemon is asked now. It does not end with who asks: others may wait for it.
func (a *asker) question(l host.Live) *question {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := asked{l.UUID, l.PID}
	if q := a.open[key]; q != nil {
		return q
	}
	q := &question{begun: time.Now(), done: make(chan struct{})}
	a.open[key] = q
	go func() {
		q.m, q.err = a.ask(context.Background(), l, a.volumes)
		a.mu.Lock()
		delete(a.open, key)
		a.mu.Unlock()
		close(q.done)
	}()
	return q
}
