package chain

import (
	"fmt"
	"path/filepath"
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
