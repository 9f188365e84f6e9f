package chain

import (
	"errors"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/evidence"
	"slatefs/chain/fault"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
	"slatefs/chain/size"
	"slatefs/chain/super"
)

// What a pool refuses, by kind. Every error of this package that is not a device's own wraps one of them; the text
// names the object and the number.
var (
	ErrNotFound    = errors.New("not found")
	ErrExist       = errors.New("already exists")
	ErrNotDir      = errors.New("not a directory")
	ErrIsDir       = errors.New("is a directory")
	ErrNotEmpty    = errors.New("directory not empty")
	ErrBusy        = errors.New("busy")
	ErrNoSpace     = errors.New("no space left in the pool")
	ErrQuota       = errors.New("quota exceeded")
	ErrReadOnly    = errors.New("read-only")
	ErrPerm        = errors.New("not permitted")
	ErrInvalid     = errors.New("invalid argument")
	ErrNameTooLong = errors.New("name too long")
	ErrTooBig      = errors.New("too big")
	ErrNoAttr      = errors.New("no such attribute")
	ErrRange       = errors.New("past the end")
	ErrUnsupported = errors.New("not supported")
	ErrClosed      = errors.New("pool is closed")
	ErrNotNow      = errors.New("must be read from the device first") // of AtOnce

	// ErrGone is ErrNotFound of what was asked for by its number, not by a name: an inode, a volume or a snapshot that
	// was there when the number was learnt.
	ErrGone = fmt.Errorf("is no more: %w", ErrNotFound)

	// ErrHasSnapshots and ErrHasClones refuse a destroy that would take more with it than was named.
	ErrHasSnapshots = errors.New("has snapshots")
	ErrHasClones    = errors.New("has clones")

	// ErrTagged refuses to destroy a snapshot that is held by tags, which it names, or what such a snapshot would go with.
	ErrTagged = errors.New("is held")

	// ErrHeld refuses a pool that another host holds.
	ErrHeld = super.ErrHeld

	// ErrNotPool, ErrVersion, ErrFeature and ErrCorrupt are found when a device is opened or read.
	ErrNotPool = super.ErrNotPool
	ErrVersion = super.ErrVersion
	ErrFeature = super.ErrFeature
	ErrCorrupt = errors.New("corrupt")
)

// BusyError says who keeps an object from being changed. It is ErrBusy.
type BusyError struct {
	What             string // path, or path@snapshot
	Readers, Writers int    // open files by access mode
}

// Error names the object and its holders by number.
func (e *BusyError) Error() string {
	return fmt.Sprintf("%s: busy: open %d times for reading, %d times for writing", e.What, e.Readers, e.Writers)
}

// Is makes it an ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// PartError says that what was to be done to several is done to some of them, the first ones of these that were to be changed.
type PartError struct {
	Done, Of int   // at least 1; all of them where it failed behind the last one
	Err      error // why not to the others
}

// Error names the cause, and how far it came.
func (e *PartError) Error() string {
	return fmt.Sprintf("%v (done before that: %d of %d)", e.Err, e.Done, e.Of)
}

// Unwrap is the cause.
func (e *PartError) Unwrap() error { return e.Err }

// inPart ends what is done to several, some in a batch: what is done is made durable, whatever has stopped it, and the error says how
// many these are. While none is done, err is returned as it is.
func inPart(done, of int, err error, flush func() error) error {
	if err != nil && done == 0 {
		return err
	}
	if also := flush(); err == nil {
		err = also
	} else if fault.Of(err) != fault.Pool { // else it is the same
		err = errors.Join(err, also)
	}
	if err == nil || done == 0 {
		return err
	}
	return &PartError{done, of, err}
}

// sizeTooBig refuses a size of a volume.
func sizeTooBig(bytes int64) error {
	if bytes < 0 {
		return fmt.Errorf("a size of %d bytes, the largest is %s: %w", uint64(bytes), size.Format(MaxSize), ErrTooBig)
	}
	return fmt.Errorf("a size of %s, the largest is %s: %w", size.Format(bytes), size.Format(MaxSize), ErrTooBig)
}

// wrapCorrupt makes the sentinels of the packages below this one's. What is corrupt is one object's fault, unless it made
// the pool fail.
func wrapCorrupt(err error) error {
	if fault.Of(err) == fault.Pool {
		return err
	}
	for _, e := range []error{
		codec.ErrCorrupt, super.ErrCorrupt, runs.ErrCorrupt, meta.ErrCorrupt, journal.ErrCorrupt, evidence.ErrBroken,
		alloc.ErrCorrupt, alloc.ErrState, alloc.ErrRange, alloc.ErrNamed,
	} {
		if errors.Is(err, e) {
			return fault.Mark(fault.Object, asCorrupt{err})
		}
	}
	return err
}

// damaged: the page is, and waiting for it helps nobody.
func damaged(err error) bool { return fault.Of(wrapCorrupt(err)) == fault.Object }
