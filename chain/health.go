package chain

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"slatefs/chain/fault"
)

// lastRetry is the longest that anything which failed waits for its next try. While it does, what it would free is not available.
const lastRetry = 512 * time.Second

// health knows what is failing and is tried again with a back-off, and what damaged pages touch. It is for those who look: nobody
// decides by it. The plan lock guards it.
type health struct {
	*core

	checkpoints fault.Backoff   // mu
	troubles    troubles        // mu: what is failing
	damages     map[string]bool // mu: what damaged pages touch, as far as it was met
	shown       []string        // mu: the first of them, in order
}

// noteTry notes how a try of something ended that is tried again: it is failing, or well again. An error of the pool is
// nobody's in particular, and one of a pool that is closed, or of who gave up waiting, says nothing. The plan lock is held.
func (he *health) noteTry(b *fault.Backoff, what string, err error) {
	he.mu.assertHeld()
	switch {
	case err == nil:
		he.troubles.drop(b)
		if b.Succeed() {
			he.mu.say(he.log, slog.LevelInfo, "works again", "pool", he.name, "what", what)
			he.poke()
		}
		return
	case he.failed != nil, fault.Of(err) == fault.Pool, errors.Is(err, ErrClosed), errors.Is(err, ErrHostSpace), errors.Is(err, context.Canceled):
		return
	}
	wait := b.Fail(he.opt.Now(), err, lastRetry)
	he.troubles.set(b, what, true)
	if errors.Is(err, ErrNoSpace) {
		return // Usage says so
	}
	he.mu.say(he.log, slog.LevelError, "could not be done, and is tried again", "pool", he.name, "what", what, "kind", fault.Of(err).String(), "tries", b.Tries,
		"wait", wait, "error", err)
}

// passing: the device could not, or one thing is damaged. It concerns what was tried, and nobody who needed it done only
// because it would help.
func passing(err error) bool {
	return fault.Of(err) == fault.Transient || fault.Of(err) == fault.Object
}

// mayTry: its time has come. The clock is looked at only for what is failing.
func (he *health) mayTry(b *fault.Backoff) bool { return !b.Failing() || b.Due(he.opt.Now()) }

// forgetTry: what was tried is no more. Nil: it is no more already.
func (he *health) forgetTry(b *fault.Backoff) {
	if b == nil {
		return
	}
	he.troubles.drop(b)
	*b = fault.Backoff{}
}

// Trouble is something that could not be done in the background and is tried again.
type Trouble struct {
	What  string
	Tries int       // that failed, one after the other
	Next  time.Time // not tried before
	Kind  string    // whom the error concerns: see chain/fault
	Error string    // of the last try
}

// noteDamage names something that a damaged page touches. The plan lock is held.
func (he *health) noteDamage(what string) {
	he.mu.assertHeld()
	if he.damages[what] {
		return
	}
	he.damages[what] = true
	if len(he.shown) < troublesShown {
		at, _ := slices.BinarySearch(he.shown, what)
		he.shown = slices.Insert(he.shown, at, what)
	}
	he.mu.say(he.log, slog.LevelError, "metadata is damaged", "pool", he.name, "what", what)
}
