package fault

import "time"

// Backoff is the failing state of something that is tried again. While it is failing it is not tried before its time. The
// zero value is well. The caller locks.
type Backoff struct {
	Tries int       // that failed since the last one that did not
	At    time.Time // not tried before
	Err   error     // of the last try; nil: well
}

// FirstRetry is how long the try after the first that failed waits. The time doubles from one to the next.
const FirstRetry = time.Second

// Fail notes a try that failed, and returns how long the next one waits, at most most.
func (b *Backoff) Fail(now time.Time, err error, most time.Duration) time.Duration {
	wait := min(FirstRetry<<min(b.Tries, 16), most)
	b.Tries, b.At, b.Err = b.Tries+1, OnGrid(now.Add(wait)), err
	return b.At.Sub(now)
}

// OnGrid is the first whole microsecond that is not before t: queues order what is tried again by microseconds, so that who is
// woken at that very time finds it due.
func OnGrid(t time.Time) time.Time {
	return t.Add(time.Duration(999 - (t.Nanosecond()+999)%1000))
}

// Succeed notes a try that did not fail. It tells whether it was failing before.
func (b *Backoff) Succeed() (was bool) {
	was = b.Failing()
	*b = Backoff{}
	return was
}

// Failing tells whether the last try failed.
func (b *Backoff) Failing() bool { return b.Err != nil }

// Due tells whether it may be tried now.
func (b *Backoff) Due(now time.Time) bool { return b.Err == nil || !now.Before(b.At) }
