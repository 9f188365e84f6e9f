package control

import (
	"slatefs/chain"
)

// What can be set, as the pool has it: commands show it in their help, and refuse what surely is wrong before they ask a daemon.
type (
	// Property is what can be set: its name, on what, its values and its help.
	Property = chain.Property
	// Scope is what a property can be set on.
	Scope = chain.Scope
)

// Scopes, which can be joined.
const (
	OnPool   = chain.OnPool
	OnDir    = chain.OnDir
	OnVolume = chain.OnVolume
)

// Properties lists what can be set, in the order of help texts.
func Properties() []Property { return chain.Properties() }

// PropertyNamed finds a property; ErrInvalid: there is none of that name.
func PropertyNamed(name string) (Property, error) { return chain.PropertyNamed(name) }

// What commands have to know of a pool beside what its daemon says.
const (
	PropPaused = chain.PropPaused // the property that is on while the background rests
	SnapDir    = chain.SnapDir    // the name of the directory that snapshots are read in
	BlockSize  = chain.BlockSize  // the size of a pool is a multiple of it, bytes
)

// MethodRelease is the one method that gives blocks back and erases nothing.
const MethodRelease = "release"
