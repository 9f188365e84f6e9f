package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Visitors ask the page, and the page asks the daemons, which guests wait for. So what was answered a moment ago is the answer for all who
// ask the same, and a daemon has no more than so many questions at a time.
const (
	questionsAtOnce = 4
	freshFor        = refreshTime
)

// errCrowded is for who would have to wait too long to be allowed to ask.
var errCrowded = errors.New("too much is asked of this pool just now: try again in a moment")

// answers are what the daemons said a moment ago, and what they are being asked.
type answers struct {
	now func() time.Time

	mu    sync.Mutex
	known map[question]*answer
	turns map[uuid.UUID]chan struct{} // a place for each question at once
}

// question is one to a pool: of a page, and of what on it.
type question struct {
	pool     uuid.UUID
	view, of string
}

// answer is one that is there when done is closed.
type answer struct {
	done  chan struct{}
	at    time.Time // zero until then
	value any
	err   error
}

// shared asks, unless the same was answered a moment ago, or is being asked: then all have one answer. It ends with ctx.
func shared[T any](ctx context.Context, s *answers, q question, ask func(context.Context) (T, error)) (v T, err error) {
	a, mine := s.take(q)
	if mine {
		go func() { // for all who wait: who asked first may leave
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logTime)
			defer cancel()
			value, err := inTurn(ctx, s, q, ask)
			s.give(a, value, err)
		}()
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return v, ctx.Err()
	}
	if a.err != nil {
		return v, a.err
	}
	return a.value.(T), nil
}

// inTurn asks when it is this question's turn.
func inTurn[T any](ctx context.Context, s *answers, q question, ask func(context.Context) (T, error)) (v T, err error) {
	turn := s.turn(q.pool)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return v, errCrowded
	}
	return ask(ctx)
}

// take is the answer to a question; mine: whoever took it has to find it.
func (s *answers) take(q question) (a *answer, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known, s.turns = map[question]*answer{}, map[uuid.UUID]chan struct{}{}
	}
	now := s.now()
	for old, a := range s.known { // as many as were asked in the last seconds
		if !a.at.IsZero() && now.Sub(a.at) >= freshFor {
			delete(s.known, old)
		}
	}
	if a = s.known[q]; a != nil {
		return a, false
	}
	a = &answer{done: make(chan struct{})}
	s.known[q] = a
	return a, true
}

func (s *answers) give(a *answer, value any, err error) {
	s.mu.Lock()
	a.value, a.err, a.at = value, err, s.now()
	s.mu.Unlock()
	close(a.done)
}

func (s *answers) turn(pool uuid.UUID) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[pool] == nil {
		s.turns[pool] = make(chan struct{}, questionsAtOnce)
	}
	return s.turns[pool]
}

// forget has everything asked anew of a pool in which something was done.
func (s *answers) forget(pool uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q := range s.known {
		if q.pool == pool {
			delete(s.known, q)
		}
	}
}
