// Package early refuses to run where too few files may be open. It does so before other packages are initialised, since
// some of them (go-fuse's splice) open files then, and panic when they can't.
//
// Go initialises a package as soon as all that it imports are, in the order of their paths. So this one imports syscall only,
// and is a module of its own, for the sake of its path: `early` goes before `github.com`.
package early

import (
	"strconv"
	"syscall"
)

// LeastFiles is how many files must be allowed to be open: a daemon has its device, the mount, locks, the log, a connection for
// each command, and what it looks up in /proc. The Go runtime raises the soft limit to the hard one, which therefore counts.
const LeastFiles = 64

func init() {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Max >= LeastFiles {
		return
	}
	text := "slatefs: error: at most " + strconv.FormatUint(l.Max, 10) + " files may be open here, " + strconv.Itoa(LeastFiles) +
		" are needed\nhint: ulimit -Hn shows the limit\n"
	_, _ = syscall.Write(2, []byte(text)) // there is nobody else to tell
	syscall.Exit(1)
}
