package control

import "github.com/google/uuid"

// MetricsArgs say what to tell beside what costs the same however much is in a pool.
type MetricsArgs struct {
	Volumes bool // each volume, too, as far as there is time for
}

type (
	// PoolMetrics are all numbers of a pool, at about one moment. Sums are since the daemon began to serve, unless they say else: one
	// that takes over begins anew.
	PoolMetrics struct {
		Info     PoolInfo
		Requests []RequestMetrics // by kind, in an order that stays
		Work     WorkMetrics
		Cache    CacheMetrics
		Device   DeviceFailures
		Erase    EraseMetrics
		Volumes  []VolumeMetrics
		Left     bool // there are more volumes than there was time for
	}
	// RequestMetrics are what of one kind of request was answered: Op is read, write, flush, fallocate, lookup, attr, open or other.
	RequestMetrics struct {
		Op     string
		Bytes  int64 // read or written
		Failed int64 // answered with EIO
		Took   Histogram
	}
	// Histogram counts durations: slot i those below First x 2^i seconds, and not below half of that; the last one, the rest.
	Histogram struct {
		First float64 // seconds
		Sum   float64 // seconds
		Slots []int64
	}
	// WorkMetrics are what the pool did to keep what it is told. Times are seconds.
	WorkMetrics struct {
		Commits, Batches, BatchBytes   int64 // syncs of the log; of these, with a batch; bytes of the ring that these took
		CommitTime                     float64
		Checkpoints, CheckpointBytes   int64
		CheckpointTime, LastCheckpoint float64 // of all; of the last
		LastAgo                        float64 // since that ended; negative: there was none
	}
	// CacheMetrics are of the pages of metadata in memory, in bytes and pages.
	CacheMetrics struct {
		Used, Limit, Dirty int64 // clean pages; what they may take; what waits for a checkpoint, beside these
		Hits, Misses       int64
	}
	// DeviceFailures are what the kernel answered with an error when the pool's device was asked.
	DeviceFailures struct{ Reads, Writes, Syncs int64 }
	// EraseMetrics are what waits to be erased, and what was, in bytes and seconds. Unlike EraseInfo they have no jobs.
	EraseMetrics struct {
		Rate, Bound, Current         int64 // per second: as set, as it holds now, over the last seconds; of the first two 0 is unlimited
		Paused, Shut                 bool  // by somebody; by its window
		Queue                        int   // jobs
		Oldest                       float64
		Unscheduled                  int64
		End                          int64 // when all is zero, as it looks now, Unix seconds; 0: it is, or that cannot be told
		Background, Demand, Released int64 // Released is part of the others
		Failed                       int64 // each attempt counted
		Errors                       map[string]int64
		Step, Sync                   Histogram
	}
	// VolumeMetrics are of one volume. Numbers are bytes, but for the snapshots.
	VolumeMetrics struct {
		Name                                 string // from the root of the pool
		UUID                                 uuid.UUID
		Size, Used, UsedSnap, Refer, Written int64
		Promised                             int64 // what nobody has written yet, and is kept for it
		Snapshots                            int
		Read, Write, Flush                   Use
	}
	// Use is how often something was done, with how many bytes, and how many seconds it took together.
	Use struct {
		Count, Bytes int64
		Time         float64
	}
)
