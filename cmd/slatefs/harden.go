package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Of the daemon's memory, beside the cache of metadata pages: request buffers, state, slack for the collector.
const memoryBeside = 160 << 20

// harden makes this process a daemon's: no core and no ptrace, since guest bytes pass through it; threads enough to
// serve while others wait for the device; a bound on memory.
//
// fs.Mount sets PR_SET_IO_FLUSHER, for all threads.
func harden(cache int64) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: not dumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit: no core: %w", err)
	}
	runtime.GOMAXPROCS(max(8, runtime.GOMAXPROCS(0)))
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryBeside + cache)
	}
	unix.Umask(0o077)
	return os.Chdir("/") // no file system stays busy for us
}
