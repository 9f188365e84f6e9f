package chain

import (
	"context"
	"fmt"
	"path/filepath"
)

// erase=none: what a volume frees is not zeroed in the background. A block is zeroed all the same before anybody gets
// it, the volume that had it included (invariant 2): a writer that finds nothing clean has it done. The policy of a
// volume goes into each of its jobs when that is made, and stays what it was then.

// Properties of what becomes of freed blocks.
const (
	PropErase     = "erase"
	PropLogExport = "erase_log_export"
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
		Name: PropLogExport, On: OnPool, Default: "none", Parse: parseExport,
		Help: `file that gets the records that leave the erase log, as lines of JSON: an absolute path or none`,
	},
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
		if err != nil {
			return false
		}
		if at = n.parent; at == 0 { // an orphan: no directory's any more
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
