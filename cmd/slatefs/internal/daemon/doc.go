// Package daemon is one mounted pool: it opens the device, mounts it (fs), answers commands (internal/control), and runs what goes
// on beside: the pool's background, the eraser, the watcher of space, the grower, the recorder of what was erased. Commands that
// work on a pool without a daemon borrow parts of it. What holds here:
//
//   - Start undoes all that it did when it fails; Close does the same at the end, the pool's lock last: when it is free, so is
//     everything else (daemon.go, open.go).
//   - Only the mount's end ends a daemon. What else fails is told, and started again; with the pool read-only it rests
//     (supervise.go, helper.go). Parts end in the reverse order of their start.
//   - A change that a command makes is durable when it is answered, and has one line in the log, with who asked (did.go). What
//     was done is done, even where the mount could not be told.
//   - The daemon touches no file below its own mount, waits for nothing outside of it without a bound (outside.go), and its log
//     holds nobody (latelog.go).
//   - What the host does for a pool, as to run a command, is said by the host's file, not by the pool (internal/host).
//
// It knows no command, and no command line. Operations run at the same time as they come; each method says what it locks. Results
// are made of internal/control's types here, and printed nowhere.
package daemon
