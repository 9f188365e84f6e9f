package exporter

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Group is the volume group that the logical volume of a pool is of.
type Group struct {
	Pool   uuid.UUID
	VG, LV string
	Size   int64 // of the logical volume, bytes
	Free   int64 // of the group, bytes
}

// How often volume groups are read, how long that may take, and how old what was read may get.
const (
	groupsEvery = time.Minute
	groupsTime  = 45 * time.Second
	groupsOld   = 10 * time.Minute
)

// groups are what was read of volume groups last.
type groups struct {
	mu   sync.Mutex
	list []Group   // guarded by mu
	at   time.Time // guarded by mu
}

// keep reads volume groups again and again, until ctx ends. What can't be read stays as it was, until it is too old.
func (g *groups) keep(ctx context.Context, read func(context.Context) ([]Group, error)) {
	t := time.NewTicker(groupsEvery)
	defer t.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, groupsTime)
		list, err := read(limited)
		cancel()
		if err == nil {
			g.mu.Lock()
			g.list, g.at = list, time.Now()
			g.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// last is what was read last, if it is not too old, and when; zero: there is none.
func (g *groups) last() (list []Group, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) > groupsOld {
		return nil, time.Time{}
	}
	return g.list, g.at
}
