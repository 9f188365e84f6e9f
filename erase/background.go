package erase

import (
	"context"
	"time"
)

// Run is the background: it zeroes what the queue has ready, under the rate,
// until ctx ends. It then reports what it has zeroed and returns nil. Any
// other end is the final error (a failed sync or Report), which every later
// Run and Now returns too.
func (e *Eraser) Run(ctx context.Context) error {
	// What is half done at the end of ctx is still synced and reported.
	work := context.WithoutCancel(ctx)
	b := newBucket(e.clock.Now(), e.bound())
	for ctx.Err() == nil {
		if rest := e.shut(e.clock.Now()); rest > 0 {
			if err := e.Flush(work); err != nil {
				return err
			}
			e.clock.Sleep(ctx, min(rest, shutNap))
			b.drain(e.clock.Now())
			continue
		}
		idle, err := e.turn(ctx, work, b)
		if err != nil {
			return err
		}
		if idle {
			e.await(ctx)
			b.drain(e.clock.Now())
		}
	}
	return e.Flush(work)
}

// turn does one step if its bytes are earned, else naps. idle means that there
// is nothing to do until await returns; nothing is pending then.
func (e *Eraser) turn(ctx, work context.Context, b *bucket) (idle bool, err error) {
	now := e.clock.Now()
	if r := e.bound(); r != b.rate {
		b.set(now, r)
	}
	if e.paused.Load() {
		return true, e.Flush(work)
	}
	step := stepBytes(b.rate)
	wait := b.wait(now, step)
	if err := e.lock(work); err != nil {
		return false, err
	}
	if wait <= 0 {
		idle, err = e.step(ctx, b, now, step)
	}
	if now = e.clock.Now(); err == nil && e.due(now) {
		_, err = e.flush(&e.pending)
	}
	e.unlock()
	if err == nil && wait > 0 {
		e.clock.Sleep(ctx, min(wait, napTime))
	}
	return idle, err
}

// step takes at most n bytes from the queue and zeroes them into the pending
// batch. idle: there were none, and nothing is pending any more. The caller
// holds the worker lock.
func (e *Eraser) step(ctx context.Context, b *bucket, now time.Time, n int64) (idle bool, err error) {
	job, runs, err := e.next(n)
	if err != nil {
		return false, err
	}
	if len(runs) == 0 {
		_, err = e.flush(&e.pending)
		return true, err
	}
	if e.pending.bytes == 0 {
		e.pending.since = now
	}
	tried, err := e.zero(ctx, &e.pending, job, runs)
	b.charge(now, tried)
	return false, err
}

// due tells whether the pending batch must be reported now. The caller holds
// the worker lock.
func (e *Eraser) due(now time.Time) bool {
	p := &e.pending
	return p.bytes > 0 && (p.bytes >= flushBytes || now.Sub(p.since) >= flushTime)
}

// Flush reports what the background has zeroed so far, instead of collecting
// more. Errors: ctx's, or the final one.
func (e *Eraser) Flush(ctx context.Context) error {
	if err := e.lock(ctx); err != nil {
		return err
	}
	defer e.unlock()
	_, err := e.flush(&e.pending)
	return err
}

// await returns when there may be work, or ctx ended.
func (e *Eraser) await(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-e.queue.Ready(): // if paused: SetPaused wakes it once more
	case <-e.wake:
	}
}

// stepBytes is the size of a step under a rate in bytes/s: whole blocks, at
// least one.
func stepBytes(rate int64) int64 {
	if rate == 0 || rate >= maxStepBytes*int64(time.Second/stepTime) {
		return maxStepBytes
	}
	n := rate / int64(time.Second/stepTime)
	return max(n-n%blockBytes, blockBytes)
}
