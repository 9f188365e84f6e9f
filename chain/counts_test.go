package chain

import (
	"testing"
	"time"
)

// TestWork: what a pool did is counted once, and takes time.
func TestWork(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	for i := range int64(64) {
		write(t, v, fill('b', BlockSize), 128<<10+2*i*BlockSize) // so many runs that the map has a page
	}
	ok(t, p.Flush())
	was := p.Usage()
	write(t, v, fill('a', 64<<10), 0)
	ok(t, p.Flush())
	is := p.Usage()
	n, b := is.Work.Batches-was.Work.Batches, is.Work.BatchBytes-was.Work.BatchBytes // one more where pages were granted
	if n < 1 || b != is.JournalUsed-was.JournalUsed || n != is.Work.Commits.Count-was.Work.Commits.Count {
		t.Errorf("%d batches, %d bytes; the ring has %d more: %+v", n, b, is.JournalUsed-was.JournalUsed, is.Work)
	}
	ok(t, p.Flush()) // nothing waits: a sync, and no batch
	if now := p.Usage(); now.Work.Commits.Count != is.Work.Commits.Count+1 || now.Work.Batches != is.Work.Batches {
		t.Errorf("a flush of nothing: %+v after %+v", now.Work, is.Work)
	}
	ok(t, p.Checkpoint())
	now := p.Usage()
	n, b = now.Work.Checkpoints.Count-is.Work.Checkpoints.Count, now.Work.CheckpointAll-is.Work.CheckpointAll
	if n != 1 || b != now.CheckpointBytes || b <= 0 {
		t.Errorf("%d checkpoints of %d bytes, the last wrote %d", n, b, now.CheckpointBytes)
	}
	if w := now.Work; w.LastAgo < 0 || w.LastCheckpoint <= 0 || w.Commits.Time <= 0 || w.Checkpoints.Time < w.LastCheckpoint {
		t.Errorf("times: %+v", now.Work)
	}
	if now.Cache.Bytes <= 0 || now.Cache.Limit < now.Cache.Bytes || now.Cache.Hits <= was.Cache.Hits {
		t.Errorf("cache: %+v after %+v", now.Cache, was.Cache)
	}
	p = again(t, p, false)
	read := p.Usage().Cache.Misses
	expect(t, existing(t, p, "v"), 0, fill('a', 64<<10))
	expect(t, existing(t, p, "v"), 128<<10, fill('b', BlockSize))
	if n := p.Usage().Cache.Misses; n <= read {
		t.Errorf("%d pages were read before a read of a pool that was just opened, and %d after it", read, n)
	}
}

// TestOldestJob: how long something waits is that of the oldest, whichever goes first.
func TestOldestJob(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	eraseAll(t, p)
	c := atClock(p)
	if u := p.Usage(); u.Jobs != 0 || !u.OldestJob.IsZero() {
		t.Fatalf("%d jobs since %v of a pool that is clean", u.Jobs, u.OldestJob)
	}
	c.t = c.t.Add(time.Hour)
	var since []time.Time
	for _, path := range []string{"old", "lazy", "due", "first"} {
		plant(t, p, path)
		v := existing(t, p, path)
		switch path {
		case "lazy":
			setProp(t, p, v.ino, PropErase, EraseNone)
		case "due":
			setProp(t, p, v.ino, PropDeadline, "1h")
		}
		write(t, v, fill('x', 64<<10), 0)
		c.t = c.t.Add(time.Minute)
		ok(t, p.Unlink(Req{}, RootIno, path))
		since = append(since, c.t)
		c.t = c.t.Add(time.Minute)
	}
	ok(t, p.EraseDrain(t.Context()))
	ok(t, p.EraseFirst(Req{}, jobOf(t, p, "first").ID))
	u := p.Usage()
	if n := len(p.EraseJobs()); u.Jobs != n || u.OldestJob.Before(since[0].Add(-time.Second)) || u.OldestJob.After(since[0].Add(time.Second)) {
		t.Errorf("%d jobs of %d, the oldest since %v, want %v", u.Jobs, n, u.OldestJob, since[0])
	}
	ok(t, p.EraseFirst(Req{}, jobOf(t, p, "old").ID))
	if u := p.Usage(); u.OldestJob.After(since[0].Add(time.Second)) {
		t.Errorf("of ranks the oldest is since %v, want %v", u.OldestJob, since[0])
	}
}
