package chain

import (
	"context"
	"fmt"
	"time"
)

// EventLog is the log of events of a pool: events.go has what it is. Its methods may be called from any goroutine.
type EventLog struct{ p *Pool }

// EventsOf is the pool's log of events.
func EventsOf(p *Pool) EventLog { return EventLog{p} }

// EventState is which numbers the log has. First above 1: older ones have left it.
type EventState struct {
	First, Last uint64 // the oldest and the newest; First is Last+1 where there is none
	Durable     uint64 // the newest that a power cut leaves: events above it are not to be shown under their numbers
	Bound       uint64 // so many stay
}

// State tells which events there are, or why the log cannot be read.
func (l EventLog) State() (EventState, error) {
	ev := l.p.events
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.settle()
	return EventState{First: ev.first, Last: ev.last, Durable: ev.durable, Bound: ev.bound()}, ev.broken
}

// Add notes some events, the first ones of a list, and tells how many: 0 only with an error. They are durable after the next Flush,
// which is not made for them. It waits for what any change waits for, and until ctx is done for room in the journal. Nothing is freed
// for them, and no space is taken: they are refused (ErrNoSpace) where there are few pages for the next checkpoint.
func (l EventLog) Add(ctx context.Context, list []Event) (n int, err error) {
	p := l.p
	list = list[:min(len(list), eventsAtOnce)]
	r, err := p.commits.getRoom(ctx, credit{bytes: int64(len(list)) * (maxEventRow + 64)})
	if err != nil {
		return 0, err
	}
	_, err = p.works.changeWith(r, false, false, around{}, func(time.Time) error {
		n = 0
		switch {
		case p.events.broken != nil:
			return p.events.broken
		case p.space.pagesShort() && !p.space.pagesFor(leastPages):
			return fmt.Errorf("log of events: %w", ErrNoSpace)
		case p.events.last+uint64(len(list)) > maxEventID:
			return fmt.Errorf("log of events: number %d: %w", p.events.last, ErrTooBig)
		}
		for _, e := range list {
			if err := p.commits.do(p.events.next(e)); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// Each gives events to fn some at a time, the oldest first, from a number on. Those that leave the log meanwhile are left out.
func (l EventLog) Each(from uint64, fn func([]Event) error) error {
	type some struct {
		list []Event
		next uint64
	}
	for at := (some{next: max(from, 1)}); at.next != 0; {
		var err error
		at, err = lookUp(l.p.commits, func() (out some, err error) {
			out.list, out.next, err = l.p.events.some(at.next)
			return out, err
		})
		if err != nil {
			return err
		}
		if err := fn(at.list); err != nil {
			return err
		}
	}
	return nil
}
