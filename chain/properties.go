package chain

import (
	"errors"

	"slatefs/chain/property"
)

// The names of properties that this package works by.
const (
	propRefreservation = "refreservation"
	propReservation    = "reservation"
	propQuota          = "quota"
	propRefquota       = "refquota"
	propPreallocated   = "preallocated"

	PropErase        = "erase"
	PropDeadline     = "erase_deadline"
	PropLogExport    = "erase_log_export"
	PropDestroyDelay = "destroy_delay"
)

// The values of PropErase; the first is the default.
const (
	EraseZero = "zero"
	EraseNone = "none"
)

const anywhere = property.OnPool | property.OnDir | property.OnVolume

// Properties are those that this package works by. A pool keeps others as well, for those who erase it or serve it:
// Options.Properties. A value is checked when it is set, and never by this package again.
var Properties = property.Join(SpaceProperties, EraseProperties)

// SpaceProperties are those of the space that something may use, and has.
var SpaceProperties = property.Table{
	{
		Name: propRefreservation, On: anywhere, Inherits: property.OnDir, Default: "none", Bytes: true,
		Parse: func(v string, on property.Scope) (string, error) {
			if on != property.OnVolume {
				return property.OneOf("auto", "none")(v, on)
			}
			return property.SizeOr("auto", "none")(v, on)
		},
		Help: `space that is promised to a volume itself, its snapshots apart: a size, none, or auto, which is the
volume's size and moves with it. On a directory or pool, auto or none: what new volumes in it get`,
	},
	{
		Name: propReservation, On: property.OnDir | property.OnVolume, Default: "none", Bytes: true, Parse: property.SizeOr("none"),
		Help: `space that is promised to a volume with its snapshots, or to all that is in a directory: a size or none`,
	},
	{
		Name: propQuota, On: property.OnDir | property.OnVolume, Default: "none", Bytes: true, Parse: property.SizeOr("none"),
		Help: `the most that a volume with its snapshots, or all that is in a directory, may use: a size or none`,
	},
	{
		Name: propRefquota, On: property.OnVolume, Default: "none", Bytes: true, Parse: property.SizeOr("none"),
		Help: `the most that a volume may refer to, its snapshots apart: a size or none`,
	},
	{
		Name: propPreallocated, On: property.OnVolume, Default: "off", Parse: property.OneOf("on", "off"),
		Help: `on: the volume is promised its size because fallocate could not map all of it at once`,
	},
}

// erase=none: what a volume frees is not zeroed in the background. A block is zeroed all the same before anybody gets
// it, the volume that had it included (invariant 2): a writer that finds nothing clean has it done. The policy of a
// volume goes into each of its jobs when that is made, and stays what it was then. The job that collects what a volume
// overwrites would never end while the volume writes, or under none at all: it is followed by another when the policy
// has changed.

// EraseProperties are those of what becomes of freed blocks.
var EraseProperties = property.Table{
	{
		Name: PropErase, On: anywhere, Inherits: property.OnDir | property.OnVolume, Default: EraseZero,
		Parse: property.OneOf(EraseZero, EraseNone),
		Help: `what becomes of blocks that are freed from now on. zero: they are erased in the background. none: only
when somebody needs them; nobody gets them before they are zero, and they are never called erased`,
	},
	{
		Name: PropDeadline, On: anywhere, Inherits: property.OnDir | property.OnVolume, Default: "none", Parse: property.Term,
		Help: `the longest that what is freed from now on may take until it is zero: 90s, 30m, 4h, 7d, or none, the
default. To keep it the background goes beyond erase_throughput, up to erase_idle_throughput`,
	},
	{
		Name: PropLogExport, On: property.OnPool, Host: true, Default: "none", Parse: property.AbsPath,
		Help: `file that gets the records that leave the erase log, as lines of JSON: an absolute path or none.
Kept on this host, not in the pool`,
	},
	{
		Name: PropDestroyDelay, On: property.OnPool, Default: "0", Parse: property.Delay,
		Help: `how long what is destroyed is kept, for undestroy: 90s, 30m, 12h, 7d, or 0. If its space is needed, the
oldest goes before its time`,
	},
}

// known are all properties of a pool that is opened with these options.
func (o Options) known() property.Table { return property.Join(Properties, o.Properties) }

// asInvalid makes what package property refuses this package's refusal; it reads as it did.
func asInvalid(err error) error {
	if errors.Is(err, property.ErrInvalid) {
		return invalidProperty{err}
	}
	return err
}

type invalidProperty struct{ error }

func (e invalidProperty) Unwrap() []error { return []error{ErrInvalid, e.error} }
