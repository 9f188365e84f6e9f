package erase

import (
	"context"
	"time"

	"slatefs/chain/blockdev"
)

// Run is the background: it zeroes what the queue has ready, under the rate,
// until ctx ends. It then reports what it has zeroed and returns nil, or the
// final error if there was one: it rests from that on, and every Now returns
// it. Nothing else ends Run.
func (e *Eraser) Run(ctx context.Context) error {
	// What is half done at the end of ctx is still synced and reported.
	work := context.WithoutCancel(ctx)
	b := newBucket(e.clock.Now(), e.bound())
	e.stats.restart(e.clock.Now())
	for ctx.Err() == nil && e.dead.Load() == nil {
		if rest := e.shut(e.clock.Now()); rest > 0 {
			e.reckon(e.clock.Now(), b)
			e.sweepUp(work)
			e.clock.Sleep(ctx, min(rest, shutNap))
			e.anew(b)
			continue
		}
		if e.turn(ctx, work, b) {
			e.await(ctx)
			e.anew(b)
		}
	}
	if err := e.dead.Load(); err != nil {
		e.log.Error("erase: the background rests", "err", err)
		<-ctx.Done()
		return err
	}
	if err := e.Flush(work); err != nil && e.dead.Load() == nil {
		e.log.Warn("erase: what was zeroed last is not reported, and stays dirty", "err", err)
	}
	return e.dead.Load()
}

// turn does one step if its bytes are earned, else naps. idle means that there
// is nothing to do until await returns; nothing is pending then.
func (e *Eraser) turn(ctx, work context.Context, b *bucket) (idle bool) {
	now := e.clock.Now()
	e.reckon(now, b)
	if r := e.bound(); r != b.rate {
		b.set(now, r)
		e.stats.restart(now)
	}
	if e.paused.Load() {
		return e.rests(ctx, e.sweepUp(work), b)
	}
	step := stepBytes(b.rate)
	wait := b.wait(now, step)
	if e.lock(work) != nil {
		return false
	}
	if wait <= 0 {
		idle = e.step(ctx, b, now, step)
	}
	if now = e.clock.Now(); e.due(now) {
		_, _ = e.flush(&e.pending) //nolint:errcheck // counted, logged, and tried again
	}
	again, any := e.keptDue()
	e.unlock()
	switch {
	case idle && any:
		return e.rests(ctx, again, b)
	case idle && !e.rest.Due(now):
		return e.rests(ctx, e.rest.At, b)
	case wait > 0:
		e.clock.Sleep(ctx, min(wait, napTime))
	}
	return idle
}

// rests naps if something is to be tried again at a time, and else tells that
// there is nothing to do.
func (e *Eraser) rests(ctx context.Context, again time.Time, b *bucket) (idle bool) {
	if again.IsZero() {
		return true
	}
	e.clock.Sleep(ctx, min(max(again.Sub(e.clock.Now()), time.Millisecond), napTime))
	e.anew(b)
	return false
}

// anew begins another stretch of work: nothing was earned while there was none.
func (e *Eraser) anew(b *bucket) {
	now := e.clock.Now()
	b.drain(now)
	e.stats.restart(now)
}

// step takes at most n bytes from the queue and zeroes them into the pending
// batch. idle: there were none, nothing is pending any more, and what is kept
// waits for its time. The caller holds the worker lock.
func (e *Eraser) step(ctx context.Context, b *bucket, now time.Time, n int64) (idle bool) {
	var h blockdev.Handout
	if e.rest.Due(now) && !e.keptFull() {
		h, _ = e.next(n) //nolint:errcheck // counted, logged, and tried again
	}
	if len(h.Runs) == 0 {
		had := len(e.pending.parts) > 0
		_, _ = e.flush(&e.pending) //nolint:errcheck // counted, logged, and tried again
		return !had                // the queue may have waited for the report
	}
	if e.pending.bytes == 0 {
		e.pending.since = now
	}
	tried, _ := e.zero(ctx, &e.pending, h) //nolint:errcheck // final: Run sees it
	b.charge(now, tried)
	return false
}

// sweepUp reports what is pending, and what is kept and due, and returns when
// to do so again; zero: nothing is left.
func (e *Eraser) sweepUp(work context.Context) (again time.Time) {
	if e.lock(work) != nil {
		return time.Time{}
	}
	defer e.unlock()
	_, _ = e.flush(&e.pending) //nolint:errcheck // counted, logged, and tried again
	again, _ = e.keptDue()
	return again
}

// due tells whether the pending batch, or what is kept, must be reported now. The caller holds
// the worker lock.
func (e *Eraser) due(now time.Time) bool {
	p := &e.pending
	if at, any := e.keptDue(); any && !now.Before(at) {
		return true
	}
	return p.bytes > 0 && (p.bytes >= flushBytes || now.Sub(p.since) >= flushTime)
}

// Flush reports what the background has zeroed so far, instead of collecting
// more, and what is kept because its report failed. Errors: ctx's, the final
// one, or why something is kept still.
func (e *Eraser) Flush(ctx context.Context) error {
	if err := e.lock(ctx); err != nil {
		return err
	}
	defer e.unlock()
	e.forgive()
	_, err := e.flush(&e.pending)
	return err
}

// pausedTime is how often deadlines are looked at in a pause.
const pausedTime = 10 * time.Second

// await returns when there may be work, or something to be told, or ctx ended.
func (e *Eraser) await(ctx context.Context) {
	var again <-chan time.Time
	if e.paused.Load() {
		t := time.NewTimer(pausedTime)
		defer t.Stop()
		again = t.C
	}
	select {
	case <-again:
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
