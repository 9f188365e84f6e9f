package erase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/chain/blockdev"
)

// batch is what shares one sync and one report.
type batch struct {
	demand bool // on demand, else background
	bytes  int64
	since  time.Time // when its first run was taken
	parts  []part
}

// part is what a batch holds of one job. zeroed is written, not yet synced.
type part struct {
	job            uint64
	method         blockdev.Method
	zeroed, failed []blockdev.Extent
}

// of returns the part that collects for job by method. Those that follow one
// another are one.
func (b *batch) of(job uint64, m blockdev.Method) *part {
	if n := len(b.parts); n == 0 || b.parts[n-1].job != job || b.parts[n-1].method != m {
		b.parts = append(b.parts, part{job: job, method: m})
	}
	return &b.parts[len(b.parts)-1]
}

// next asks the queue for at most n bytes. A run that is not whole blocks is a
// final error: nothing sensible can be reported about it. The caller holds the
// worker lock.
func (e *Eraser) next(n int64) (uint64, []blockdev.Extent, error) {
	job, runs := e.queue.Next(n)
	for _, x := range runs {
		if x.Off < 0 || x.Len <= 0 || x.Off%blockBytes != 0 || x.Len%blockBytes != 0 {
			return 0, nil, e.die(fmt.Errorf("erase: next: job %d: run at %d, %d bytes: not whole blocks", job, x.Off, x.Len))
		}
	}
	return job, runs, nil
}

// zero makes runs zero and puts them into b, as zeroed or failed. It returns
// the bytes that it tried to write, second attempts included. An error is
// final. The caller holds the worker lock.
func (e *Eraser) zero(ctx context.Context, b *batch, job uint64, runs []blockdev.Extent) (tried int64, err error) {
	for _, x := range runs {
		m, cost, err := e.resolve(x)
		tried += cost
		if err != nil {
			return tried, err
		}
		b.bytes += x.Len
		tried += x.Len
		err = e.zeroRun(x, m)
		if errors.Is(err, blockdev.ErrMethod) && m != blockdev.Overwrite {
			e.refused(m, err)
			m = blockdev.Overwrite
			err = e.zeroRun(x, m)
		}
		p := b.of(job, m)
		if err == nil {
			p.zeroed = appendExtent(p.zeroed, x)
			e.stats.wrote(e.clock.Now(), x.Len, b.demand)
			continue
		}
		e.stats.fault(&e.stats.s.Errors.Zero)
		n, retried := e.zeroBlocks(ctx, p, x)
		tried += retried
		e.stats.wrote(e.clock.Now(), n, b.demand)
		e.log.Warn("erase: zero", "job", job, "offset", x.Off, "bytes", x.Len, "failed_bytes", x.Len-n, "err", err)
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

// syncDevice makes durable what was written. An error is final. The caller
// holds the worker lock.
func (e *Eraser) syncDevice() error {
	start := e.clock.Now()
	if err := e.dev.Sync(); err != nil {
		e.stats.fault(&e.stats.s.Errors.Sync)
		return e.die(fmt.Errorf("erase: sync: %w", err))
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

// flush makes b durable and reports it: sync, read back, report. It returns the
// bytes reported as zeroed; b is empty then. An error is final: what was not
// reported before it never will be. The caller holds the worker lock.
func (e *Eraser) flush(b *batch) (zeroed int64, err error) {
	if len(b.parts) == 0 {
		return 0, nil
	}
	if err := e.syncDevice(); err != nil {
		return 0, err
	}
	for _, p := range b.parts {
		how := blockdev.How{Method: p.method, Verify: blockdev.Verify(e.verify.Load())}
		written := total(p.zeroed)
		e.readBack(&p, how.Verify)
		good, bad := total(p.zeroed), total(p.failed)
		if err := e.queue.Report(p.job, p.zeroed, p.failed, how); err != nil {
			e.stats.fault(&e.stats.s.Errors.Report)
			return zeroed, e.die(fmt.Errorf("erase: report: job %d: %w", p.job, err))
		}
		zeroed += good
		e.stats.reported(written, good, bad, p.method, b.demand)
	}
	*b = batch{demand: b.demand}
	return zeroed, nil
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
