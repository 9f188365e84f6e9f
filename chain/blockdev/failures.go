package blockdev

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Failures are what the kernel answered with an error since a File was opened: transfers that were read, those that were written or
// zeroed, syncs. That a host has no space for its pool file (HostFull) is none.
type Failures struct{ Reads, Writes, Syncs int64 }

type failures struct{ reads, writes, syncs atomic.Int64 }

// NoteFailure counts the error of a transfer that went past the File, by a Ring. What is to be tried again at once is no failure, and
// what this package refuses by itself neither.
func (f *File) NoteFailure(write bool, err error) {
	var errno unix.Errno
	switch {
	case !errors.As(err, &errno) || HostFull(err) || errors.Is(err, ErrSyncFailed):
	case errno == unix.EINTR || errno == unix.EAGAIN:
	case errno == unix.EOPNOTSUPP: // a method that the device does not have
	case write:
		f.failures.writes.Add(1)
	default:
		f.failures.reads.Add(1)
	}
}

// Failures tells what failed since the File was opened.
func (f *File) Failures() Failures {
	return Failures{Reads: f.failures.reads.Load(), Writes: f.failures.writes.Load(), Syncs: f.failures.syncs.Load()}
}
