package erase

import (
	"context"
	"time"
)

// Clock is the time that an Eraser works by. It must be safe for concurrent
// use.
type Clock interface {
	// Now is the present time; it never goes back.
	Now() time.Time
	// Sleep returns after d, or earlier when ctx ends.
	Sleep(ctx context.Context, d time.Duration)
}

// NewClock makes the clock of a running daemon from its time source, time.Now.
func NewClock(now func() time.Time) Clock { return wallClock(now) }

type wallClock func() time.Time

func (c wallClock) Now() time.Time { return c() }

func (c wallClock) Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
