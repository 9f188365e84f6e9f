package chain

import (
	"sync/atomic"
	"time"
)

// counts are what was done since the pool was opened. They are for those who look: nobody decides by them, and any goroutine adds
// to them and reads them.
type counts struct {
	commits     spent        // self: batches, and syncs without one, that somebody waited for
	batches     atomic.Int64 // self: of these, with a batch
	batchBytes  atomic.Int64 // self: of the ring, headers and padding included
	checkpoints spent        // self: that are on the device, from the cut on
	checkBytes  atomic.Int64 // self: that these wrote
	checkLast   atomic.Int64 // self: nanoseconds that the last one took
	checkAt     atomic.Int64 // self: the moment at which it ended; 0: there was none
}

// countsFrom is what moments are counted from, in nanoseconds of a clock that never goes back.
var countsFrom = time.Now() //nolint:forbidigo // what took how long in fact, whatever clock the pool has

func sinceThen() time.Duration { return time.Since(countsFrom) }

// spent is how often something was done, and how long it took together.
type spent struct {
	n, nanos atomic.Int64 // self
}

func (s *spent) add(d time.Duration) {
	s.n.Add(1)
	s.nanos.Add(int64(d))
}

func (s *spent) get() Spent { return Spent{s.n.Load(), time.Duration(s.nanos.Load())} }

// Spent is how often something was done, and how long it took together.
type Spent struct {
	Count int64
	Time  time.Duration
}

// Work is what a pool did since it was opened.
type Work struct {
	Commits        Spent // of the log: batches made durable, and syncs for which there was none to be made
	Batches        int64 // of Commits, with a batch
	BatchBytes     int64 // of the ring, headers and padding included
	Checkpoints    Spent // that were published, from their cut on
	CheckpointAll  int64 // bytes that they wrote
	LastCheckpoint time.Duration
	LastAgo        time.Duration // since its end; negative: there was none
}

// work is Work, as of about now.
func (c *counts) work() Work {
	w := Work{
		Commits: c.commits.get(), Batches: c.batches.Load(), BatchBytes: c.batchBytes.Load(),
		Checkpoints: c.checkpoints.get(), CheckpointAll: c.checkBytes.Load(), LastCheckpoint: time.Duration(c.checkLast.Load()),
		LastAgo: -1,
	}
	if at := c.checkAt.Load(); at != 0 {
		w.LastAgo = sinceThen() - time.Duration(at)
	}
	return w
}

// checkpointed counts a checkpoint that began at a moment and wrote so many bytes.
func (c *counts) checkpointed(began time.Duration, bytes int64) {
	now := sinceThen()
	d := now - began
	c.checkpoints.add(d)
	c.checkBytes.Add(bytes)
	c.checkLast.Store(int64(d))
	c.checkAt.Store(int64(now))
}
