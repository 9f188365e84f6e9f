package web

import (
	"context"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// Pool is a pool of this host as pool status has it.
type Pool struct {
	UUID     uuid.UUID
	Name     string
	State    string // a word of pool list
	Device   string
	Live     *host.Live        // its daemon; nil: it has none
	Info     *control.PoolInfo // nil: the daemon did not say, or there is none
	Troubles []Trouble         // the worst first

	Metrics *control.PoolMetrics // nil as Info
}

// Trouble is something that needs somebody.
type Trouble struct{ Kind, Text string }

// Source finds the pools of this host, by name. It may be called by several goroutines, and returns when ctx ends at the latest.
type Source func(ctx context.Context) ([]Pool, error)

// answerTime is how long a daemon may take for what a page shows.
const answerTime = 2 * time.Second

// actTime is how long an action may take before the page says that it is not known to be done.
const actTime = 60 * time.Second
