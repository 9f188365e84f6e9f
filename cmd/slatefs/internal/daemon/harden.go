package daemon

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Of the daemon's memory, beside the cache of metadata: request buffers, state, slack for the collector. With the cache that
// it has by default, and what is not the collector's, that is 256 MiB.
const (
	memoryBeside = 96 << 20
	leastMemory  = 168 << 20
	tailMemory   = 24 << 20 // of a daemon whose records a successor inherits: they are not the collector's
)

// Harden makes this process a daemon's: no core and no ptrace, since guest bytes pass through it; threads enough to
// serve while others wait for the device; a bound on memory, which is lower where the records that wait outlive the process.
//
// fs.Mount sets PR_SET_IO_FLUSHER, for all threads.
func Harden(cache int64, inherited bool) error {
	if err := raiseLimits(); err != nil {
		return err
	}
	outliveSignals()
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: not dumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit: no core: %w", err)
	}
	runtime.GOMAXPROCS(max(8, runtime.GOMAXPROCS(0)))
	if os.Getenv("GOMEMLIMIT") == "" {
		limit := max(leastMemory, memoryBeside+cache)
		if inherited {
			limit -= tailMemory
		}
		debug.SetMemoryLimit(limit)
	}
	unix.Umask(0o077)
	return os.Chdir("/") // no file system stays busy for us
}

// raiseLimits raises what the shell of who mounts may have lowered: a soft limit is meant for a command, and would end the
// daemon, or fail its writes, in the middle of its life. (That of open files the Go runtime has raised; package early refuses a
// hard limit that is too low.)
func raiseLimits() error {
	for _, what := range []int{unix.RLIMIT_FSIZE, unix.RLIMIT_CPU, unix.RLIMIT_AS, unix.RLIMIT_DATA} {
		var l unix.Rlimit
		if err := unix.Getrlimit(what, &l); err != nil {
			return fmt.Errorf("getrlimit: %w", err)
		}
		if l.Cur < l.Max {
			l.Cur = l.Max
			if err := unix.Setrlimit(what, &l); err != nil {
				return fmt.Errorf("setrlimit: %w", err)
			}
		}
	}
	return nil
}

// outliveSignals keeps this process from ending when a terminal hangs up, the reader of its log has gone, or a limit of the
// process is reached: what was asked for then fails as any other call does. Programs that it starts have these signals as
// usual, which they would not if they were ignored.
func outliveSignals() {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGPIPE, unix.SIGXFSZ, unix.SIGXCPU)
}
