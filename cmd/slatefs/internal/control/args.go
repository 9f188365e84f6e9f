package control

import "strings"

// Object names a volume, snapshot or directory to the daemon.
type Object struct {
	Arg  string `json:"arg"`            // as typed, for messages
	Path string `json:"path"`           // from the root of the pool; may be FILE@NAME still
	Snap string `json:"snap,omitempty"` // of MOUNTPOINT@NAME, which can only be split here
}

// SplitSnapshot divides FILE@NAME at its last @; ok: there is one.
func SplitSnapshot(s string) (file, snap string, ok bool) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// None is what an operation without arguments or result has.
type None struct{}

type (
	// Setting is a property and the value that it is to have, or that it is to be inherited.
	Setting struct {
		Name, Value string
		Inherit     bool
	}
	// CreateArgs make volumes of so many bytes, with the permissions of Mode.
	CreateArgs struct {
		Objects  []Object
		Size     int64
		Mode     uint32
		Settings []Setting
		Dry      bool // only say what it needs
	}
	// SnapshotArgs freeze FILE@NAME or the volumes of DIR@NAME, at one instant.
	SnapshotArgs struct {
		Objects        []Object
		Recursive, Dry bool
	}
	// RollbackArgs make a volume what FILE@NAME shows, or the volumes of DIR@NAME; Force: under their users.
	RollbackArgs struct {
		Object                Object
		Recursive, Force, Dry bool // Recursive: those below DIR as well
	}
	// CloneArgs make the volume New of a snapshot, or of a volume as it is; or in the directory New one of each volume of DIR@NAME.
	CloneArgs struct {
		Object, New Object
		Settings    []Setting
		Recursive   bool // the volumes below DIR as well
	}
	// TagArgs hold snapshots by a tag, or (Off) release them from it.
	TagArgs struct {
		Tag            string
		Objects        []Object
		Recursive, Off bool
	}
	// HoldsArgs are of which snapshots to tell the tags: FILE@SNAPS or DIR@SNAPS, or all of FILE or DIR.
	HoldsArgs struct {
		Objects   []Object
		Recursive bool
	}
	// DestroyArgs destroy a volume, or snapshots of it or of those in a directory. Without one of the first three what would go with
	// it is refused; of a directory the first one means those below it as well.
	DestroyArgs struct {
		Object                      Object
		Snapshots, Clones, Deferred bool
		DryRun, Now                 bool // only say what would be done; keep nothing
		Jobs                        bool // return when all that it frees is in a job
		Half                        bool // ErrExist for a volume that is not HalfMade
	}
	// UndestroyArgs say what to bring back, and under which name if not its own: a name, or for a volume a path.
	UndestroyArgs struct {
		ID   uint64
		Name string
		New  *Object
	}
	// RenameArgs have both meanings of the second argument: which one it is the daemon finds out.
	RenameArgs struct {
		Object    Object
		New       Object // of a volume
		Name      string // of a snapshot
		Recursive bool   // of DIR@OLD: the volumes below it as well
	}
	// ResizeArgs give a volume a size in bytes.
	ResizeArgs struct {
		Object         Object
		Size           int64
		Grow, AllowCut bool // by Size; smaller is meant
		Force, Dry     bool
	}
	// ListArgs are what to list, and which types of it; no objects: the pool and all that is in it.
	ListArgs struct {
		Objects   []Object
		Recursive bool
		Types     []string
		Levels    *int64 // so many below what is named, snapshots being one below their volume; nil: as Recursive says
	}
	// SetArgs set properties of one object, all or none. Recursive takes them away, of what is below as well.
	SetArgs struct {
		Object    Object
		Settings  []Setting
		Dry       bool
		Recursive bool // all settings are to be inherited
	}
	// GetArgs are which properties of what to tell.
	GetArgs struct {
		Object    Object
		Names     []string // none: all that it can have
		Recursive bool
	}
	// FirstArgs name an erase job.
	FirstArgs struct{ ID uint64 }
	// ExtendArgs make a pool larger, in bytes.
	ExtendArgs struct {
		Size int64 // 0: as large as the device is
		More bool  // by Size, not to Size
	}
	// ReduceArgs make a pool smaller, not below so many bytes.
	ReduceArgs struct{ Least int64 }
	// UmountArgs end a daemon; Wait: after the last close, if something is open.
	UmountArgs struct{ Wait bool }
)

// CheckArgs is how a pool in use is checked.
type CheckArgs struct {
	Rate int64 // of metadata, bytes per second; 0: as fast as it can be read
}

// DumpArgs is what of a pool is dumped.
type DumpArgs struct {
	Maps bool // runs of layers, too
}

// DumpResult is what a dump came to.
type DumpResult struct {
	Lost int // things that cannot be read
}
