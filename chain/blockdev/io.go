package blockdev

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"slatefs/chain/fault"
)

// bounceBytes is the length of a bounce buffer and of the zeros of Overwrite.
const bounceBytes = 1 << 20

var (
	bounces = sync.Pool{New: func() any { b := Aligned(bounceBytes); return &b }}
	zeros   = sync.OnceValue(func() []byte { return Aligned(bounceBytes) }) // never written
)

// begin admits one operation; the caller calls f.inUse.RUnlock when it returns
// nil. change: the operation writes, so a failed sync or a read-only open
// refuses it.
func (f *File) begin(change bool) error {
	f.inUse.RLock()
	err := f.usable(change)
	if err != nil {
		f.inUse.RUnlock()
	}
	return err
}

// usable is the check of begin. The caller holds inUse, shared.
func (f *File) usable(change bool) error {
	switch {
	case f.closed:
		return ErrClosed
	case change && f.readOnly:
		return ErrReadOnly
	case change && f.failed.Load() != nil:
		return *f.failed.Load()
	}
	return nil
}

// wrap names operation, path and range in err and says what it is; nil stays nil.
func (f *File) wrap(op string, n, off int64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("blockdev: %s: %s: %d bytes at %#x: %w", op, f.path, n, off, judge(err))
}

// judge marks what the kernel answered: this time, for this range, it could not. A failed sync is marked where it is
// made (fatal); what this package refuses by itself stays unmarked.
func judge(err error) error {
	var errno unix.Errno
	if fault.Of(err) == fault.Refused && errors.As(err, &errno) {
		return fault.Mark(fault.Transient, err)
	}
	return err
}

// ReadAt reads all of p from byte off; see Device.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return f.do("read", p, off, false, f.readChunk)
}

// WriteAt writes all of p at byte off; see Device.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.do("write", p, off, true, f.writeChunk)
}

// WriteAtDsync writes all of p at byte off, durably; see Device. Its error is
// final like that of Sync, unless the range was refused, or the host had no
// space for it (HostFull).
func (f *File) WriteAtDsync(p []byte, off int64) (int, error) {
	if f.direct {
		return f.do("write dsync", p, off, true, f.writeDsyncChunk)
	}
	// Cached: the error of a lost page is told to one sync only, so all syncs
	// must be ordered; see syncOnce.
	return f.do("write dsync", p, off, true, func(p []byte, off int64) error {
		if err := f.writeChunk(p, off); err != nil {
			if HostFull(err) { // nothing was synced yet
				return err
			}
			return f.fatal(err)
		}
		return f.syncOnce()
	})
}

// do checks one transfer and runs it by chunk, bounced if p is misaligned.
func (f *File) do(op string, p []byte, off int64, write bool, chunk func([]byte, int64) error) (int, error) {
	n := int64(len(p))
	if err := f.begin(write); err != nil {
		return 0, f.wrap(op, n, off, err)
	}
	defer f.inUse.RUnlock()
	err := CheckRange(off, n, f.Size(), f.sector)
	switch {
	case err != nil || n == 0:
	case f.direct && addr(p)%uintptr(f.memAlign) != 0:
		err = bounced(p, off, write, chunk)
	default:
		err = chunk(p, off)
	}
	if err != nil {
		f.NoteFailure(write, err)
		return 0, f.wrap(op, n, off, err)
	}
	return len(p), nil
}

// bounced runs chunk on aligned memory in place of p.
func bounced(p []byte, off int64, write bool, chunk func([]byte, int64) error) error {
	b := bounces.Get().(*[]byte)
	defer bounces.Put(b)
	for len(p) > 0 {
		part := (*b)[:min(len(p), bounceBytes)]
		if write {
			copy(part, p)
		}
		if err := chunk(part, off); err != nil {
			return err
		}
		if !write {
			copy(p, part)
		}
		p, off = p[len(part):], off+int64(len(part))
	}
	return nil
}

func (f *File) readChunk(p []byte, off int64) error {
	return whole(p, off, ErrPastEnd, func(p []byte, off int64) (int, error) { return unix.Pread(f.fd, p, off) })
}

func (f *File) writeChunk(p []byte, off int64) error {
	return whole(p, off, io.ErrShortWrite, func(p []byte, off int64) (int, error) { return unix.Pwrite(f.fd, p, off) })
}

func (f *File) writeDsyncChunk(p []byte, off int64) error {
	err := whole(p, off, io.ErrShortWrite, func(p []byte, off int64) (int, error) {
		return unix.Pwritev2(f.fd, [][]byte{p}, off, unix.RWF_DSYNC)
	})
	if err != nil && f.DsyncIsFinal(err) {
		return f.fatal(err)
	}
	return err
}

// DsyncIsFinal tells whether the error of a write with RWF_DSYNC leaves unknown what is durable, as a failed Sync does. It
// does not where the host had no space for it and no page cache lies between: then nothing of it was written, and nothing
// else waited for its sync.
func (f *File) DsyncIsFinal(err error) bool { return f.block || !f.direct || !HostFull(err) }

// whole repeats call until all of p is done. A call that does nothing without
// an error is the error stuck.
func whole(p []byte, off int64, stuck error, call func([]byte, int64) (int, error)) error {
	for len(p) > 0 {
		n := 0
		err := ignoringEINTR(func() (err error) {
			n, err = call(p, off)
			return err
		})
		if err != nil {
			return err
		}
		if n <= 0 {
			return stuck
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Sync makes all writes that returned before it durable. Its failure is final;
// see Device. On a File opened read-only it has nothing to do.
func (f *File) Sync() error {
	err := f.begin(!f.readOnly)
	if err == nil {
		defer f.inUse.RUnlock()
		err = f.syncOnce()
	}
	if err != nil {
		return fmt.Errorf("blockdev: sync: %s: %w", f.path, err)
	}
	return nil
}

// syncOnce is one fdatasync, after those before it. The kernel tells an error to
// one of two concurrent syncs of an open file only: the other could answer nil
// for bytes that are lost, if it did not wait for what the first one learnt.
func (f *File) syncOnce() error {
	f.syncMu.Lock()
	defer f.syncMu.Unlock()
	if err := f.failed.Load(); err != nil {
		return *err
	}
	if err := ignoringEINTR(func() error { return unix.Fdatasync(f.fd) }); err != nil {
		return f.fatal(err)
	}
	return nil
}

// fatal makes err the answer to all writes and syncs from now on, if it is the
// first, and returns the first.
func (f *File) fatal(err error) error {
	f.failures.syncs.Add(1)
	err = fault.Mark(fault.Pool, fmt.Errorf("%w: %w", ErrSyncFailed, err))
	f.failed.CompareAndSwap(nil, &err)
	return *f.failed.Load()
}
