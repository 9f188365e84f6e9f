package chain

import (
	"errors"
	"log/slog"
	"time"

	"slatefs/alloc"
	"slatefs/chain/fault"
	"slatefs/chain/super"
)

// A pool file with holes (`pool create --sparse`) is longer than what its host has given to it, and the host may have no
// more to give: its file system is full, or a quota or a limit of file sizes bounds the file. So every clean block is
// prepared, written with real zeros, before a record lets it leave clean (takeClean, the only way out of clean). What the
// host refuses then stays clean, as if nobody had asked; who waits for it is told ErrHostSpace, and nobody else notices.
// What is written in place lies where blocks were prepared once.
//
// The pool's own needs do not wait for the host: superblocks, ring and the store's pages are prepared when the pool is
// made and when it is opened, and a write that may need more pages than the store has free waits for them (needStore).

// ErrHostSpace is told when the host below a pool file with holes has no space for it. It is an ErrNoSpace, and passes: the
// same is tried again whenever somebody asks for it.
var ErrHostSpace = errors.New("no space left on the host of the pool file")

// hostSpaceError is ErrHostSpace and ErrNoSpace in one, so that the text names only the first.
type hostSpaceError struct{ error }

func (e hostSpaceError) Is(target error) bool { return target == ErrNoSpace }
func (e hostSpaceError) Unwrap() error        { return e.error }

// sparseFile is a device whose blocks may be there in name only.
type sparseFile interface {
	// Sparse tells whether it may have holes.
	Sparse() bool
	// Prepare writes zeros into the holes of n bytes at off, and returns how many bytes from off on are prepared: n, or
	// less and why.
	Prepare(off, n int64) (int64, error)
	// Reserve has the host give space to the holes in n bytes at off, and writes nothing.
	Reserve(off, n int64) error
	// Backed is the first part of n bytes at off that is no hole, with length 0 if there is none.
	Backed(off, n int64) (at, length int64)
}

// hostState is what is known of the host of a pool file. The plan lock guards it.
type hostState struct {
	sparse bool          // mu: the file has holes
	refuse fault.Backoff // mu: failing: the host had no space the last time. When the background asks again
	since  time.Time     // mu: when that began
	run    alloc.Run     // mu: what it was asked for; of no blocks: for what is the pool's own
}

// sparseFile is the device, if it has holes now. No lock is held.
func (bs *blockSpace) sparseFile() sparseFile {
	file, ok := bs.dev.(sparseFile)
	ok = ok && file.Sparse()
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if bs.onHost.sparse = ok; ok {
		return file
	}
	bs.hostGives()
	return nil
}

// prepareOwn gives the pool's own blocks to a file with holes: one that was made by another program's copy, or before this
// was done at creation. Where the host has no space the pool is served all the same, and says so.
func (bs *blockSpace) prepareOwn() {
	file := bs.sparseFile()
	if file == nil {
		return
	}
	err := bs.eachOwn(func(off, n int64) error {
		_, err := file.Prepare(off, n)
		return err
	})
	if err != nil {
		bs.mu.Lock()
		defer bs.mu.Unlock()
		bs.hostRefuses(err, alloc.Run{})
	}
}

// eachOwn calls give for what the pool has for itself: superblocks, ring and the store's extents.
func (bs *blockSpace) eachOwn(give func(off, n int64) error) error {
	bs.mu.Lock()
	own := append([]alloc.Run{{Start: 0, Len: super.Slots + bs.format.Ring/BlockSize}}, bs.store.Extents()...)
	bs.mu.step(len(own) / pieceLen)
	bs.mu.Unlock()
	for _, r := range own {
		if err := give(int64(r.Start)*BlockSize, r.Len*BlockSize); err != nil {
			return err
		}
	}
	return nil
}

// hostRetry is the longest time between two questions to the host.
const hostRetry = 30 * time.Second

// hostRefuses notes that the host had no space for a run. The plan lock is held.
func (bs *blockSpace) hostRefuses(err error, r alloc.Run) {
	bs.mu.assertHeld()
	h := &bs.onHost
	if h.run = r; h.refuse.Failing() {
		h.refuse.Err = bs.hostError(err)
		return
	}
	h.since = bs.opt.Now()
	bs.mu.say(bs.log, slog.LevelError, "the host has no space for the pool file; writes that need some are refused",
		"pool", bs.name, "error", err)
	bs.askHostLater(err)
}

// askHostLater notes a try in vain, and sets when the background asks again. The plan lock is held.
func (bs *blockSpace) askHostLater(err error) {
	bs.mu.assertHeld()
	h, now := &bs.onHost.refuse, bs.opt.Now()
	wait := h.Fail(now, bs.hostError(err), hostRetry)
	time.AfterFunc(wait, bs.poke)
}

// hostGives notes that the host had space for what was asked. The plan lock is held.
func (bs *blockSpace) hostGives() {
	bs.mu.assertHeld()
	if bs.onHost.refuse.Succeed() {
		bs.mu.say(bs.log, slog.LevelInfo, "the host has space for the pool file again", "pool", bs.name, "had_none_since", bs.onHost.since)
		bs.poke()
	}
}

// askHost tries again what the host refused last, so that all is as before when there is space again, also if nobody
// writes.
func (bs *blockSpace) askHost() {
	file := bs.sparseFile()
	if file == nil {
		return
	}
	r, asked := bs.toAsk()
	var err error
	switch {
	case !asked:
		return
	case r.Len == 0:
		err = bs.eachOwn(file.Reserve) // others write there meanwhile
	default:
		_, err = file.Prepare(int64(r.Start)*BlockSize, r.Len*BlockSize)
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if r.Len > 0 {
		bs.putBack([]alloc.Run{r})
	}
	if err == nil {
		bs.hostGives()
		return
	}
	bs.askHostLater(err)
}

// toAsk is what askHost asks for, set aside if it is not the pool's own; false: there is nothing to ask now.
func (bs *blockSpace) toAsk() (alloc.Run, bool) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for bs.onHost.refuse.Failing() {
		r := bs.onHost.run
		if r.Len == 0 {
			return r, true
		}
		err := bs.alloc.SetAside(r)
		var u *alloc.UnloadedError
		if errors.As(err, &u) { // another run may be asked for when it is loaded
			if err = bs.bringGroup(u.Group); err == nil {
				continue
			}
			bs.askHostLater(err)
			return r, false
		}
		if err == nil {
			return r, true
		}
		bs.hostGives() // another was there, and had more luck
	}
	return alloc.Run{}, false
}
