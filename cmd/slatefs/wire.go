package main

import (
	"encoding/json"
	"time"

	"slatefs/cmd/slatefs/internal/host"
)

// The control protocol: a client connects, writes one request as a line of JSON, and reads replies as lines of JSON: any number
// of events, and then an error or the result. Closing the connection before that cancels what can be cancelled.

// request asks for one operation.
type request struct {
	Op    string          `json:"op"`
	Args  json.RawMessage `json:"args"`
	Actor string          `json:"actor,omitempty"` // for whom, as the caller says
}

// reply is a line of the answer: an event, or at last an error or a result.
type reply struct {
	Event  json.RawMessage `json:"event,omitempty"`
	Error  *wireError      `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// object names a volume, snapshot or directory to the daemon.
type object struct {
	Arg  string `json:"arg"`            // as typed, for messages
	Path string `json:"path"`           // from the root of the pool; may be FILE@NAME still
	Snap string `json:"snap,omitempty"` // of MOUNTPOINT@NAME, which can only be split here
}

// none is what an operation without arguments or result has.
type none struct{}

type (
	// poolInfo is the state of a mounted pool.
	poolInfo struct {
		Live      host.Live `json:"daemon"`
		Usage     usage     `json:"usage"`
		Failed    string    `json:"failed,omitempty"` // why it is read-only
		OpenFiles int       `json:"open_files"`
		Reading   bool      `json:"mounted_ro,omitempty"`
		Troubles  string    `json:"troubles,omitempty"`      // what parts of the daemon fail of; they are started again
		HostShort string    `json:"host_short,omitempty"`    // what the host answered when the pool file needed space of it
		Stuck     string    `json:"extend_failed,omitempty"` // why it could not grow by itself, the last time that it wanted to
		Notices   int64     `json:"space_notices"`           // how often space got low, or promises short, since the mount
	}
	extendArgs struct {
		Size int64 // 0: as large as the device is
		More bool  // by Size, not to Size
	}
	reduceArgs   struct{ Least int64 }
	poolSize     struct{ Before, After int64 }
	umountArgs   struct{ Wait bool }
	umountResult struct{ Open int }
	createArgs   struct {
		Objects  []object
		Size     int64
		Mode     uint32
		Settings []setting
		Dry      bool // only say what it needs
	}
	snapshotArgs struct {
		Objects        []object
		Recursive, Dry bool
	}
	rollbackArgs struct {
		Object     object
		Force, Dry bool
	}
	cloneArgs struct {
		Object, New object
		Settings    []setting
	}
	destroyArgs struct {
		Object                      object
		Snapshots, Clones, Deferred bool
		DryRun, Now                 bool
	}
	destroyResult struct {
		Destroyed []string // as FILE or FILE@NAME, from the root
		Reclaim   int64    // bytes that were the destroyed things' own
		Jobs      []uint64
		Forecast  *destroyForecast // of a dry run
		Kept      []row            // because of destroy_delay
	}
	// destroyForecast is what a destroy would do; numbers are bytes.
	destroyForecast struct {
		Frees  int64
		Kept   int64 // of what the destroyed things own, seen by those in SeenBy
		SeenBy []string
		None   int64      // part of Frees: not scheduled, erase=none
		Rate   int64      // per second; 0: unlimited
		Paused bool       // no end can be told
		Done   *time.Time // when it is erased; nil: it can't be told
		Delay  string     // how long it is kept before; empty: it is not
	}
	renameArgs struct {
		Object object
		New    object // of a volume
		Name   string // of a snapshot
	}
	resizeArgs struct {
		Object         object
		Size           int64
		Grow, AllowCut bool // by Size; smaller is meant
		Force, Dry     bool
	}
	listArgs struct {
		Objects   []object
		Recursive bool
		Types     []string
	}
	setArgs struct {
		Object   object
		Settings []setting
		Dry      bool
	}
	getArgs struct {
		Object    object
		Names     []string // none: all that it can have
		Recursive bool
	}
	// propValue is a property of one object, with its canonical value.
	propValue struct {
		Name, Property, Value, Source string
		Bytes                         bool // a number is one of bytes
	}
	// setting is a property and the value that it is to have, or that it is to be inherited.
	setting struct {
		Name, Value string
		Inherit     bool
	}
	// checkReport is what a check found, and how much it looked at.
	checkReport struct {
		Errors []string // corruption
		Leaks  []string // space that is lost, no data in danger
		Blocks int64
		Pages  int
		Layers int
		// With --reclaim, bytes: what counted as available or reserved, and what was clean in the end.
		Counted, Reclaimed int64
	}
	// layerInfo is a layer of a chain. IDs are as they are printed.
	layerInfo struct {
		ID, Parent               string
		Name                     string
		Head, Nameless, Deferred bool
		Size, Written, Refer     int64 // bytes
		Created                  time.Time
		Children                 []string
	}
	// treeInfo is one chain.
	treeInfo struct {
		Volume string      `json:"volume"`
		Layers []layerInfo `json:"layers"`
		Owners []string    `json:"owners"` // of each layer: its volume; empty: gone
	}
	firstArgs struct{ ID uint64 }
	// undoArgs say what to bring back, and under which name if not its own: a name, or for a volume a path.
	undoArgs struct {
		ID   uint64
		Name string
		New  *object
	}
)
