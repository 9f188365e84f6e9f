package control

import (
	"time"

	"slatefs/cmd/slatefs/internal/host"
)

type (
	// PoolInfo is the state of a mounted pool.
	PoolInfo struct {
		Live         host.Live `json:"daemon"`
		Usage        Usage     `json:"usage"`
		Failed       string    `json:"failed,omitempty"` // why it is read-only
		OpenFiles    int       `json:"open_files"`
		Reading      bool      `json:"mounted_ro,omitempty"`
		Troubles     string    `json:"troubles,omitempty"`          // what parts of the daemon fail of; they are started again
		LogTrouble   string    `json:"erase_log_trouble,omitempty"` // what this host has seen of the erase log, and is not in it any more
		KeyTrouble   string    `json:"erase_key_trouble,omitempty"` // another key signs than did
		HostShort    string    `json:"host_short,omitempty"`        // what the host answered when the pool file needed space of it
		Stuck        string    `json:"extend_failed,omitempty"`     // why it could not grow by itself, the last time that it wanted to
		Asked        time.Time `json:"asked"`                       // when the daemon said so
		Late         Late      `json:"deadlines"`
		EraseTrouble string    `json:"erase_trouble,omitempty"` // why the eraser hands out or reports nothing, the last time
		PagesHeld    *HeldInfo `json:"pages_held,omitempty"`
		LogCut       string    `json:"log_cut,omitempty"` // what left the erase log and was not exported
		Lost         []string  `json:"superblocks_lost,omitempty"`
		Rewritten    []string  `json:"superblocks_rewritten,omitempty"` // that were lost at the mount, or since
		Takeovers    int       `json:"takeovers"`                       // how often another daemon went on with the mount
		NoTakeover   string    `json:"no_takeover,omitempty"`           // why none could now
		Transport    string    `json:"transport"`                       // how requests are served: loop or classic
		Loops        int       `json:"loops,omitempty"`                 // event loops, each with a thread
		NoLoop       string    `json:"no_loop,omitempty"`               // why it is not the loop, where auto was asked for
		Memory       Memory    `json:"memory"`
		Notices      int64     `json:"space_notices"` // how often space got low, or promises short, since the mount
	}
	// Memory is that of a daemon, in bytes: what it may take, takes, and took at most since its start.
	Memory struct {
		Limit int64 `json:"limit"`
		Used  int64 `json:"used"`
		Most  int64 `json:"most"`
	}
	// MapArgs say into how many parts of one size a map divides the device: 1 to 4096.
	MapArgs struct{ Cells int }
	// MapCell is what one part of the device is used for, in bytes: a picture, see chain.Pool.Map.
	MapCell struct{ Clean, Live, Claimed, Meta, Dirty, Failed int64 }
	// PoolSize is the size of a pool before and after a change of it, in bytes.
	PoolSize struct{ Before, After int64 }
	// UmountResult says how many open files an umount waits for.
	UmountResult struct{ Open int }
	// Progress is how far an operation is, in bytes.
	Progress struct{ Done, Total int64 }
	// DestroyResult is what was destroyed, or would be.
	DestroyResult struct {
		Destroyed []string // as FILE or FILE@NAME, from the root
		Reclaim   int64    // bytes that were the destroyed things' own
		Jobs      []uint64
		Forecast  *DestroyForecast // of a dry run
		Kept      []Row            // because of destroy_delay
	}
	// DestroyForecast is what a destroy would do; numbers are bytes.
	DestroyForecast struct {
		Frees  int64
		Kept   int64 // of what the destroyed things own, seen by those in SeenBy
		SeenBy []string
		None   int64      // part of Frees: not scheduled, erase=none
		Rate   int64      // per second; 0: unlimited
		Paused bool       // no end can be told
		Done   *time.Time // when it is erased; nil: it can't be told
		Delay  string     // how long it is kept before; empty: it is not
	}
	// PropValue is a property of one object, with its canonical value.
	PropValue struct {
		Name, Property, Value, Source string
		Bytes                         bool // a number is one of bytes
	}
	// CheckReport is what a check found, and how much it looked at.
	CheckReport struct {
		Errors []string // corruption
		Leaks  []string // space that is lost, no data in danger
		Lost   []string // superblocks and copies of pages of which another is whole
		Blocks int64
		Pages  int
		Layers int
		// With --reclaim, bytes: what counted as available or reserved, and what was clean in the end.
		Counted, Reclaimed int64
	}
	// Layer is a layer of a chain. IDs are as they are printed.
	Layer struct {
		ID, Parent               string
		Name                     string
		Head, Nameless, Deferred bool
		Size, Written, Refer     int64 // bytes
		Created                  time.Time
		Children                 []string
	}
	// TreeInfo is one chain.
	TreeInfo struct {
		Volume string   `json:"volume"`
		Layers []Layer  `json:"layers"`
		Owners []string `json:"owners"` // of each layer: its volume; empty: gone
	}
)
