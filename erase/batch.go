package erase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

// batch is what shares one sync and one report.
type batch struct {
	demand bool // on demand, else background
	bytes  int64
	since  time.Time // when its first run was taken
	parts  []part
}

// part is what a batch holds of one hand-out, by one method. zeroed is
// written, not yet synced.
type part struct {
	token          blockdev.Token
	job            uint64
	method         blockdev.Method
	zeroed, failed []blockdev.Extent
}

// of returns the part that collects for a hand-out by method.
func (b *batch) of(h blockdev.Handout, m blockdev.Method) *part {
	if n := len(b.parts); n == 0 || b.parts[n-1].token != h.Token || b.parts[n-1].method != m {
		b.parts = append(b.parts, part{token: h.Token, job: h.Job, method: m})
	}
	return &b.parts[len(b.parts)-1]
}

// next asks the queue for at most n bytes. No runs: there is nothing now, or
// the queue cannot say, which err tells unless it is final, and the next call
// waits for a back-off. What is to be released is noted to be. A run that is not whole blocks is a bug of the queue:
// nothing sensible could be zeroed or reported. The caller holds the worker
// lock.
func (e *Eraser) next(n int64) (h blockdev.Handout, err error) {
	h, err = e.queue.Next(n)
	if err == nil && len(h.Runs) > 0 && e.choice.Load().have == blockdev.Release {
		if err = e.queue.WillRelease(h.Token); err != nil {
			e.queue.GiveBack(h.Token)
		} else {
			e.noted = h.Token
		}
	}
	switch now := e.clock.Now(); {
	case err == nil:
		if e.rest.Err != nil {
			e.rest = fault.Backoff{}
			e.stats.rests(nil)
		}
	case fault.Of(err) == fault.Pool:
		return blockdev.Handout{}, e.die(fmt.Errorf("erase: next: %w", err))
	default:
		wait := e.rest.Fail(now, err, lastRetry)
		e.stats.fault(&e.stats.s.Errors.Next)
		e.stats.rests(err)
		e.log.Warn("erase: next", "err", err, "again_after", wait)
		return blockdev.Handout{}, fmt.Errorf("erase: next: %w", err)
	}
	for _, x := range h.Runs {
		if x.Off < 0 || x.Len <= 0 || x.Off%blockBytes != 0 || x.Len%blockBytes != 0 {
			fault.Misuse("a hand-out is whole blocks: job %d, run at %d, %d bytes", h.Job, x.Off, x.Len)
		}
	}
	return h, nil
}

// zero makes the runs of a hand-out zero and puts them into b, as zeroed or
// failed. It returns the bytes that it tried to write, second attempts
// included. An error is final. The caller holds the worker lock.
func (e *Eraser) zero(ctx context.Context, b *batch, h blockdev.Handout) (tried int64, err error) {
	for _, x := range h.Runs {
		m, cost, err := e.resolve(x)
		tried += cost
		if err != nil {
			return tried, err
		}
		if m == blockdev.Release && h.Token != e.noted {
			m = blockdev.Overwrite // it was set since the hand-out was taken, and is not noted
		}
		b.bytes += x.Len
		tried += x.Len
		err = e.zeroRun(x, m)
		if errors.Is(err, blockdev.ErrMethod) && m != blockdev.Overwrite {
			e.refused(m, err)
			m = blockdev.Overwrite
			err = e.zeroRun(x, m)
		}
		p := b.of(h, m)
		if err == nil {
			p.zeroed = appendExtent(p.zeroed, x)
			e.stats.wrote(e.clock.Now(), x.Len, b.demand)
			continue
		}
		e.stats.fault(&e.stats.s.Errors.Zero)
		n, retried := e.zeroBlocks(ctx, p, x)
		tried += retried
		e.stats.wrote(e.clock.Now(), n, b.demand)
		e.log.Warn("erase: zero", "job", h.Job, "offset", x.Off, "bytes", x.Len, "failed_bytes", x.Len-n, "err", err)
	}
	return tried, nil
}

// zeroRun is one step on the device.
func (e *Eraser) zeroRun(x blockdev.Extent, m blockdev.Method) error {
	start := e.clock.Now()
	err := e.dev.Zero(x.Off, x.Len, m)
	e.stats.took(&e.stats.s.Step, e.clock.Now().Sub(start))
	return err
}

// syncDevice makes durable what was written. An error is final, and the pool's.
// The caller holds the worker lock.
func (e *Eraser) syncDevice() error {
	start := e.clock.Now()
	if err := e.dev.Sync(); err != nil {
		e.stats.fault(&e.stats.s.Errors.Sync)
		return e.die(fault.Mark(fault.Pool, fmt.Errorf("erase: sync: %w", errors.Join(err, e.queue.FailSync(err)))))
	}
	e.stats.took(&e.stats.s.Sync, e.clock.Now().Sub(start))
	return nil
}

// zeroBlocks tries x once more, block by block, so that one bad block does not
// keep its neighbours dirty. A run of one block is not tried again, nor is what
// is left when ctx ends: that has failed. It returns the bytes zeroed and tried.
func (e *Eraser) zeroBlocks(ctx context.Context, p *part, x blockdev.Extent) (zeroed, tried int64) {
	for off := x.Off; off < x.End(); off += blockBytes {
		block := blockdev.Extent{Off: off, Len: blockBytes}
		if x.Len == blockBytes || ctx.Err() != nil {
			p.failed = appendExtent(p.failed, block)
			continue
		}
		tried += blockBytes
		if err := e.dev.Zero(off, blockBytes, p.method); err != nil {
			p.failed = appendExtent(p.failed, block)
			continue
		}
		zeroed += blockBytes
		p.zeroed = appendExtent(p.zeroed, block)
	}
	return zeroed, tried
}

// appendExtent appends x, joined to the last extent if it continues it.
func appendExtent(list []blockdev.Extent, x blockdev.Extent) []blockdev.Extent {
	if n := len(list); n > 0 && list[n-1].End() == x.Off {
		list[n-1].Len += x.Len
		return list
	}
	return append(list, x)
}

// total is the length of list in bytes.
func total(list []blockdev.Extent) (bytes int64) {
	for _, x := range list {
		bytes += x.Len
	}
	return bytes
}
