package chain

import (
	"errors"
	"log/slog"
	"time"
)

// Refusals is that writers were told that there is no space left in the pool: none that is theirs by a promise, and none that
// is anybody's. That a quota or the host of a pool file refused something is no matter of this. The zero Refusals is none.
type Refusals struct {
	Since, Last time.Time // the first and the last of them
	Count       int64
	Error       string // what the last one was told

	lack int64 // blocks that the last one wanted
}

// refusedFor is how long a refusal counts at least, whatever is available.
const refusedFor = 2 * time.Second

// refused notes what a writer was told. No lock is held.
func (sp *admission) refused(err error, blocks int64) {
	if !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrHostSpace) {
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	r := sp.settleRefusals()
	now := sp.opt.Now()
	if r.Count == 0 {
		r.Since = now
		sp.mu.say(sp.log, slog.LevelError, "writers are refused: the pool is full", "pool", sp.name, "error", err)
	}
	r.Count++
	r.Last, r.Error, r.lack = now, err.Error(), blocks
}

// settleRefusals are the refusals, or none when there is space again for what was refused last. The plan lock is held.
func (sp *admission) settleRefusals() *Refusals {
	sp.mu.assertHeld()
	r := &sp.refusals
	if r.Count > 0 && sp.free() >= r.lack && sp.opt.Now().Sub(r.Last) > refusedFor {
		sp.mu.say(sp.log, slog.LevelInfo, "there is space for writers again", "pool", sp.name, "refused", r.Count, "since", r.Since)
		*r = Refusals{}
	}
	return r
}
