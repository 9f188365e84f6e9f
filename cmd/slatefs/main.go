// Command slatefs makes pools, mounts them, and works on their volumes.
//
// One binary is both the command line and the daemon: `slatefs mount` starts itself in the background, and every other
// command that needs a mounted pool asks that daemon over its control socket. What holds here:
//
//   - One daemon per pool. It has the exclusive lock on the open file that does the I/O, and a lock file named by the
//     pool's UUID, so that the same pool by another name, or through a loop device, is refused as well (internal/host).
//   - A daemon starts as a whole or not at all, and ends with its mount, in reverse order of its start (internal/daemon). Nothing
//     else ends it: what works for the mount is started again when it fails, and neither hangups, nor soft limits, nor a log that
//     can't be written to, nor what it calls outside end or hold it.
//   - The control socket lies in a directory that nobody else may enter, made before the socket is bound, and takes
//     root and the daemon's own user only, and a group of the host that the mount names: as far as each operation says
//     (internal/control, circle.go).
//   - Commands never touch a file below a mount: a path is matched against the mount table and resolved by the daemon
//     (internal/host). Nor does the daemon, which would wait for itself.
//   - A pool's name means its UUID: what lies on a device is compared before anything is done to it (internal/host).
//   - Names and paths are bytes: taken as typed, kept exactly and escaped once, where they are shown (internal/show).
//   - Nothing that a pool says is run, or opened as a path, on the host (internal/daemon).
//   - A command is one file. It asks a daemon, and prints; only those that work on a device without one know the engine, and are
//     named in .golangci.yml.
//   - Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 refused or failed, 2 usage.
package main

import (
	"context"
	_ "early" // first: it refuses what other packages panic of
	"os"
	"os/signal"
	"syscall"

	"slatefs/cmd/slatefs/internal/show"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(exitCode(os.Args[0], show.Report(os.Stderr, err)))
}
