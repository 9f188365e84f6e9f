package control

import (
	"fmt"

	"slatefs/chain"
	"slatefs/chain/property"
	"slatefs/cmd/slatefs/internal/schedule"
	"slatefs/erase"
)

// What can be set, as the pool has it: commands show it in their help, and refuse what surely is wrong before they ask a daemon.
type (
	// Property is what can be set: its name, on what, its values and its help.
	Property = property.Property
	// Scope is what a property can be set on.
	Scope = property.Scope
)

// Scopes, which can be joined.
const (
	OnPool   = property.OnPool
	OnDir    = property.OnDir
	OnVolume = property.OnVolume
)

// Served are the properties that a pool keeps for those who serve it, besides its own: it is opened with them.
var Served = property.Join(schedule.Properties, watchProperties, erase.Properties, evidenceProperties, growProperties)

var properties = property.Join(
	chain.SpaceProperties, schedule.Properties, watchProperties, erase.Properties, chain.EraseProperties, evidenceProperties, growProperties)

// Properties lists what can be set, in the order of help texts. The slice is nobody's to change.
func Properties() []Property { return properties }

// PropertyNamed finds a property; ErrInvalid: there is none of that name.
func PropertyNamed(name string) (Property, error) {
	p, err := properties.Named(name)
	if err != nil {
		return p, fmt.Errorf("property %q is unknown: %w", name, ErrInvalid)
	}
	return p, nil
}

// What commands have to know of a pool beside what its daemon says.
const (
	PropPaused     = erase.PropPaused     // the property that is on while the background rests
	PropThroughput = erase.PropThroughput // how fast it erases
	SnapDir        = chain.SnapDir        // the name of the directory that snapshots are read in
	MaxName        = chain.MaxName        // bytes of a name, with a snapshot's behind it
	BlockSize      = chain.BlockSize      // the size of a pool is a multiple of it, bytes
)

// CheckSnapshotName refuses what is no name of a snapshot, by ErrInvalid.
func CheckSnapshotName(name string) error { return chain.CheckSnapName(name) }

// MethodRelease is the one method that gives blocks back and erases nothing.
const MethodRelease = "release"
