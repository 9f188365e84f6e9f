package chain

import (
	"slatefs/chain/omap"
	"time"
)

// backoff is the failing state of something that is tried again: a walk, a sweep, a part of an erase job, the checkpoint.
// While it is failing, what it would free is not available, and it is not tried before its time. The zero value is well.
// The plan lock guards it.
type backoff struct {
	tries int       // that failed since the last one that did not
	at    time.Time // not tried before
	err   error     // of the last try; nil: well
}

// The time to the next try doubles from the first to the last of these.
const (
	firstRetry = time.Second
	lastRetry  = 512 * time.Second
)

// fail notes a try that failed, and returns how long the next one waits.
func (b *backoff) fail(now time.Time, err error) time.Duration {
	wait := min(firstRetry<<min(b.tries, 16), lastRetry)
	b.tries, b.at, b.err = b.tries+1, now.Add(wait), err
	return wait
}

// succeed notes a try that did not fail. It tells whether it was failing before.
func (b *backoff) succeed() (was bool) {
	was = b.failing()
	*b = backoff{}
	return was
}

// failing: the last try failed.
func (b *backoff) failing() bool { return b.err != nil }

// due: it may be tried now.
func (b *backoff) due(now time.Time) bool { return b.err == nil || !now.Before(b.at) }

// timeKey orders by a time; id tells apart what has the same.
func timeKey(t time.Time, id uint64) omap.Key {
	return omap.Key{Hi: uint64(t.UnixMicro()) ^ 1<<63, Lo: id}
}

// dueKey is timeKey of a time that must have come: no part of a microsecond is left of it.
func dueKey(t time.Time, id uint64) omap.Key { return timeKey(t.Add(time.Microsecond-1), id) }
