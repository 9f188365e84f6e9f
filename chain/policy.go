package chain

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// erase=none: what a volume frees is not zeroed in the background. A block is zeroed all the same before anybody gets
// it, the volume that had it included (invariant 2): a writer that finds nothing clean has it done. The policy of a
// volume goes into each of its jobs when that is made, and stays what it was then. The job that collects what a volume
// overwrites would never end while the volume writes, or under none at all: it is followed by another when the policy
// has changed.

// Properties of what becomes of freed blocks.
const (
	PropErase        = "erase"
	PropLogExport    = "erase_log_export"
	PropDestroyDelay = "destroy_delay"
)

// The values of PropErase; the first is the default.
const (
	EraseZero = "zero"
	EraseNone = "none"
)

var eraseProperties = []Property{
	{
		Name: PropErase, On: OnPool | OnDir | OnVolume, Inherits: OnDir | OnVolume, Default: EraseZero, Parse: oneOf(EraseZero, EraseNone),
		Help: `what becomes of blocks that are freed from now on. zero: they are erased in the background. none: only
when somebody needs them; nobody gets them before they are zero, and they are never called erased`,
	},
	{
		Name: PropLogExport, On: OnPool, Host: true, Default: "none", Parse: parseExport,
		Help: `file that gets the records that leave the erase log, as lines of JSON: an absolute path or none.
Kept on this host, not in the pool`,
	},
	{
		Name: PropDestroyDelay, On: OnPool, Default: "0",
		Parse: func(v string, _ Scope) (string, error) {
			d, err := parseDelay(v)
			if err == nil && d == 0 {
				v = "0"
			}
			return v, err
		},
		Help: `how long what is destroyed is kept, for undestroy: 90s, 30m, 12h, 7d, or 0. If its space is needed, the
oldest goes before its time`,
	},
}

// parseDelay reads a time as 90s, 30m, 12h, 7d or 0.
func parseDelay(v string) (time.Duration, error) {
	if v == "0" || v == "none" {
		return 0, nil
	}
	var unit time.Duration
	if v != "" {
		unit = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[v[len(v)-1]]
	}
	const most = 100 * 365 * 24 * time.Hour
	n, err := strconv.ParseInt(v[:max(0, len(v)-1)], 10, 64)
	if err != nil || unit == 0 || n < 0 || n > int64(most/unit) {
		return 0, fmt.Errorf("%q: want a time as 90s, 30m, 12h, 7d or 0, at most 100 years: %w", v, ErrInvalid)
	}
	return time.Duration(n) * unit, nil
}

// parseExport takes an absolute path.
func parseExport(v string, _ Scope) (string, error) {
	if v == "none" {
		return v, nil
	}
	if !filepath.IsAbs(v) {
		return "", fmt.Errorf("%q: want an absolute path, or none: %w", v, ErrInvalid)
	}
	return filepath.Clean(v), nil
}

// policyState is the pool's, under the plan lock: it counts what may have changed the policy of a volume.
type policyState struct{ policies uint64 }

// unscheduled tells whether what a volume frees now is passed by: its own property, or the nearest directory's above.
func (p *Pool) unscheduled(vol Ino) bool {
	for at := vol; at != 0; {
		if v, ok, err := p.propRow(at, PropErase); ok && err == nil {
			return v == EraseNone
		}
		if at == RootIno {
			return false
		}
		n, err := p.inode(at)
		if err == nil {
			at = n.parent
		}
		if err == nil && at == 0 { // it has no name any more: the directory's where it was
			o, _ := p.lostPlace(vol)
			at = o.dir
		}
		if err != nil || at == 0 {
			at = RootIno
		}
	}
	return false
}

// demanded is zeroNow, while which the queue hands out the jobs of erase=none as well; nil if there is none. The plan
// lock is held.
func (p *Pool) demanded() func(ctx context.Context, bytes int64) (int64, error) {
	if p.zeroNow == nil {
		return nil
	}
	zero := p.zeroNow
	count := func(n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.demand += n
	}
	return func(ctx context.Context, bytes int64) (int64, error) {
		count(1)
		defer count(-1)
		return zero(ctx, bytes)
	}
}
