package erase

import "context"

// Now zeroes on demand, outside the rate, for a writer that found too few
// clean blocks. It returns when at least so many bytes were reported durable
// since the call began, by it or left over from the background, or when the
// queue has nothing ready: then zeroed is less than asked for and err is nil.
// zeroed is right beside an error as well: ctx's, or the final one.
//
// The caller holds no lock that Queue.Next or Queue.Report needs.
func (e *Eraser) Now(ctx context.Context, bytes int64) (zeroed int64, err error) {
	for more := true; more && zeroed < bytes; {
		var n int64
		n, more, err = e.demand(ctx, bytes-zeroed)
		zeroed += n
		if err != nil {
			return zeroed, err
		}
	}
	return zeroed, nil
}

// demand reports one batch: what the background has pending if there is
// something, else up to want bytes from the queue. more is false when the queue
// had nothing left.
func (e *Eraser) demand(ctx context.Context, want int64) (zeroed int64, more bool, err error) {
	if err := e.lock(ctx); err != nil {
		return 0, false, err
	}
	defer e.unlock()
	if e.pending.bytes > 0 {
		zeroed, err = e.flush(&e.pending)
		return zeroed, true, err
	}
	b := batch{demand: true}
	want = min(want, flushBytes)
	for more = true; more && b.bytes < want && ctx.Err() == nil; {
		job, runs, err := e.next(wholeBlocks(min(want-b.bytes, maxStepBytes)))
		if err != nil {
			return 0, false, err
		}
		if _, err := e.zero(ctx, &b, job, runs); err != nil {
			return 0, false, err
		}
		more = len(runs) > 0
	}
	zeroed, err = e.flush(&b)
	if err == nil {
		err = ctx.Err()
	}
	return zeroed, more, err
}

// wholeBlocks rounds bytes up to blocks.
func wholeBlocks(n int64) int64 { return (n + blockBytes - 1) / blockBytes * blockBytes }
