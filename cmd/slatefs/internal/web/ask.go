package web

import (
	"context"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// state is what the pools of the host were like the last time that they were asked. Pages show it as it is: none waits for a daemon
// that hangs.
type state struct {
	source Source
	now    func() time.Time

	mu    sync.Mutex
	pools []Pool
	at    time.Time     // zero: they were not asked yet
	err   error         // the last one of source
	asked chan struct{} // closed when at is set the first time
}

// refresh asks all pools.
func (s *state) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	pools, err := s.source(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.pools = pools
	}
	if s.at.IsZero() {
		close(s.asked)
	}
	s.at, s.err = s.now(), err
}

// last is what is known of all pools, and since when. It waits for the first answer.
func (s *state) last(ctx context.Context) ([]Pool, time.Time, error) {
	select {
	case <-s.asked:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools, s.at, s.err
}

// pool is one of them.
func (s *state) pool(ctx context.Context, id string) (p Pool, ok bool) {
	want, err := uuid.Parse(id)
	if err != nil {
		return p, false
	}
	pools, _, _ := s.last(ctx) //nolint:errcheck // without an answer there is none
	for _, p := range pools {
		if p.UUID == want {
			return p, true
		}
	}
	return p, false
}

// asking is the context of a question that a page has: it ends after answerTime.
func asking(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), answerTime)
}

// volumesOf lists the volumes of a pool, without their snapshots.
func volumesOf(ctx context.Context, l host.Live) ([]control.Row, error) {
	return control.List.Call(ctx, l, control.ListArgs{
		Objects: []control.Object{{Arg: l.Name}}, Recursive: true, Types: []string{control.TypeVolume},
	})
}

// below is a path of a row as it is from the root of the pool, without a slash before it.
func below(l host.Live, name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, strings.TrimSuffix(l.Dir, "/")), "/")
}

// objectOf names something in a pool, by its path from the root, to the daemon and in messages.
func objectOf(l host.Live, at string) control.Object {
	return control.Object{Arg: path.Join(l.Dir, at), Path: at}
}
