package erase

import "context"

// Now zeroes on demand, outside the rate, for a writer that found too few
// clean blocks. It returns when at least so many bytes were reported durable
// since the call began, by it or left over from the background, or when the
// queue has nothing ready: then zeroed is less than asked for and err is nil.
// zeroed is right beside an error as well: ctx's, the final one, or, if zeroed
// is 0, that by which the queue did not take what was zeroed or did not say
// what is next.
//
// The caller holds no lock that Queue.Next or Queue.Report needs.
func (e *Eraser) Now(ctx context.Context, bytes int64) (zeroed int64, err error) {
	var trouble error
	for try, more := 0, true; more && zeroed < bytes && try < maxTrouble; {
		var n int64
		n, more, err = e.demand(ctx, bytes-zeroed, try == 0)
		zeroed += n
		switch {
		case err == nil:
		case ctx.Err() != nil || e.dead.Load() != nil:
			return zeroed, err
		default: // another job may give what this one does not
			trouble = err
			try++
		}
	}
	if zeroed > 0 {
		return zeroed, nil
	}
	return zeroed, trouble
}

// maxTrouble bounds how much one call of Now zeroes whose report fails.
const maxTrouble = 4

// demand reports one batch: what the background has done if there is
// something, else up to want bytes from the queue. more is false when the queue
// had nothing left. anew: what is kept is reported again before its time.
func (e *Eraser) demand(ctx context.Context, want int64, anew bool) (zeroed int64, more bool, err error) {
	if err := e.lock(ctx); err != nil {
		return 0, false, err
	}
	defer e.unlock()
	if e.pending.bytes > 0 || anew && len(e.kept) > 0 {
		if anew {
			e.forgive()
		}
		if zeroed, err = e.flush(&e.pending); zeroed > 0 || e.dead.Load() != nil || e.keptFull() {
			return zeroed, zeroed > 0, err
		}
	}
	b := batch{demand: true}
	want = min(want, flushBytes)
	var trouble error
	for more = true; more && b.bytes < want && ctx.Err() == nil; {
		h, err := e.next(wholeBlocks(min(want-b.bytes, maxStepBytes)))
		if err != nil {
			trouble = err
		}
		if _, err := e.zero(ctx, &b, h); err != nil {
			return 0, false, err
		}
		more = len(h.Runs) > 0
	}
	zeroed, err = e.flush(&b)
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = trouble
	}
	return zeroed, more, err
}

// wholeBlocks rounds bytes up to blocks.
func wholeBlocks(n int64) int64 { return (n + blockBytes - 1) / blockBytes * blockBytes }
