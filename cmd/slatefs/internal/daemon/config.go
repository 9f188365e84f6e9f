package daemon

import (
	"time"

	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/home"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/fs"
)

// Options are how a pool is served.
type Options struct {
	AllowOther bool
	Debug      bool
	ReadOnly   bool
	NoExec     bool
	NonEmpty   bool
	Transport  fs.Transport     // how requests are served
	Loops      int              // event loops; 0: a quarter of the processors
	Memory     int64            // that the daemon may take, all included, in bytes; at least LeastMemory
	Verify     *blockdev.Verify // nil: as the pool has it
	Group      string           // whose members may ask the daemon, by name or number; empty: only root and this user
	As         control.Circle   // what they may
	Log        string           // file that the log goes to; empty: whoever starts the daemon sees it
}

// ParseVerify reads how much of what was erased is read back: off, sample or full.
func ParseVerify(s string) (*blockdev.Verify, error) {
	v, err := blockdev.ParseVerify(s)
	return &v, err
}

// ParseTransport reads how requests are served: auto, loop or classic.
func ParseTransport(s string) (fs.Transport, error) { return fs.ParseTransport(s) }

// ParseLoops reads how many event loops there are to be: auto, or 1 to 8.
func ParseLoops(s string) (int, error) { return fs.ParseLoops(s) }

// Config says what a daemon serves, and how.
type Config struct {
	Options
	Host     host.Host
	Now      func() time.Time
	Pool     host.PoolRef // its device is an absolute path
	Dir      string       // absolute path
	TakeOver bool         // even if another host holds the pool
	Adopt    bool         // even if it is a copy of one that is known
	Home     *home.Home   // keeps what a successor needs; nil: there will be none
}
