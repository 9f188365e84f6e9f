package daemon

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Harden makes this process a daemon's: no core and no ptrace, since guest bytes pass through it; threads enough to
// serve while others wait for the device; a bound on its memory, in bytes.
func Harden(memory int64) error {
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
	// The classic transport waits in system calls; event loops don't care.
	runtime.GOMAXPROCS(max(8, runtime.GOMAXPROCS(0)))
	boundRuntime(memory)
	unix.Umask(0o077)
	return os.Chdir("/") // no file system stays busy for us
}

// FlushesIO marks the threads of this process as ones that memory reclaim may wait for (PR_SET_IO_FLUSHER): when memory is short
// they start no writeback themselves, for what they would wait for then may be their own mount. Threads that come later, those
// that the kernel makes for io_uring, and child processes have the mark of who makes them. So it comes before anything else that
// takes memory: whoever goes on with a mount that has dirty pages has nobody but itself to wait for.
//
// It needs CAP_SYS_RESOURCE, which ordinary users lack (EPERM): what they mount may stall a host that is short of memory.
func FlushesIO() error {
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0); e != 0 {
		return e
	}
	return nil
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
