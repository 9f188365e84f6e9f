package daemon

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
)

// The memory of a daemon is one number, Options.Memory, and all of it is within: what the kernel counts for the process and would
// end it for. Of it, first
//
//	programMemory   the program's pages, stacks of threads in the kernel, tables of pages, kernel's part of what is open
//
// and of the rest, in sixteenths,
//
//	4   buffers of requests, which are not the collector's: a request that finds none waits in the kernel
//	1   records that wait in a file that a successor inherits (chain/tail): they count for the cache, which bounds them
//	11  what Go's runtime takes, stacks and garbage included: the limit that it is given. Of it the cache of metadata may be 5;
//	    so that the collector need not begin for every few pages that come
//
// Where GOMEMLIMIT in the environment is lower, that holds. GOGC stays what it is, 100 if the environment says nothing: a small pool
// collects at twice what it uses, far below the limit, and what it uses is small.
const (
	LeastMemory   = 64 << 20
	MostByDefault = 256 << 20
	programMemory = 24 << 20
)

// Shares of memory, in bytes.
type shares struct{ buffers, cache, runtime int64 }

func sharesOf(memory int64) shares {
	part := (memory - programMemory) / 16
	return shares{buffers: 4 * part, cache: 5 * part, runtime: 11 * part}
}

// DefaultMemory is what a daemon may take if nobody says: a quarter of the host's memory, divided by the pools that it knows,
// within LeastMemory and MostByDefault.
func DefaultMemory(pools int) int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return LeastMemory
	}
	return defaultOf(int64(s.Totalram)*int64(s.Unit), pools)
}

func defaultOf(host int64, pools int) int64 {
	n := host / 4 / int64(max(pools, 1)) >> 20 << 20
	return min(max(n, LeastMemory), MostByDefault)
}

// boundRuntime tells Go's runtime what it may take.
func boundRuntime(memory int64) {
	if limit := sharesOf(memory).runtime; debug.SetMemoryLimit(-1) > limit {
		debug.SetMemoryLimit(limit)
	}
}

// memory is what the daemon may take, takes, and took at most, in bytes; what cannot be found out is zero.
func (d *Daemon) memory() control.Memory {
	m := control.Memory{Limit: d.limit}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(b)) {
		key, val, _ := strings.Cut(line, ":")
		val, _, _ = strings.Cut(strings.TrimSpace(val), " ")
		n, err := strconv.ParseInt(val, 10, 64)
		switch {
		case err != nil:
		case key == "VmRSS":
			m.Used = n << 10
		case key == "VmHWM":
			m.Most = n << 10
		}
	}
	return m
}

// CheckMemory refuses what is too little to serve a pool with.
func CheckMemory(bytes int64) error {
	if bytes < LeastMemory {
		return fmt.Errorf("a daemon takes at least %dM", LeastMemory>>20)
	}
	return nil
}
