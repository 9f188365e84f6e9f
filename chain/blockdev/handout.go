package blockdev

import "time"

// Token names one hand-out of dirty runs, from when it is made until all of it was reported or given back. Tokens are
// of one process and are never used twice. The zero Token names none.
type Token uint64

// Handout is dirty runs of one erase job that are with the eraser: nobody else touches them, and they are in no other
// hand-out, until they are reported or given back.
type Handout struct {
	Token Token
	Job   uint64   // for logs
	Runs  []Extent // in device order, whole blocks, disjoint; the receiver's
}

// Done is what became of runs of one hand-out, of all or of any part: they are zero and synced, or they are not.
type Done struct {
	Token          Token
	Zeroed, Failed []Extent // whole blocks; none twice, none that are not in the hand-out or were reported before
}

// Due is an erase job that is to be zero at a time.
type Due struct {
	Job       uint64
	Since, At time.Time
	Ahead     int64     // bytes that are erased before it is zero, its own among them, but for those that failed
	Failed    bool      // something of it failed, and is not tried again before Retry
	Retry     time.Time // zero: when it can be tried
}
