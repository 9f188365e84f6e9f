package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/erase"
)

// endQueue is what an eraser zeroes at a pool's end: a list of runs. Only the one who made it uses it.
type endQueue struct {
	runs   []blockdev.Extent
	last   blockdev.Token
	total  int64 // bytes
	failed int64
	at     *progressMark
	done   int64
	did    map[blockdev.Method]bool // what zeroed
}

// Next hands out runs in order.
func (q *endQueue) Next(limit int64) (blockdev.Handout, error) {
	var runs []blockdev.Extent
	for limit > 0 && len(q.runs) > 0 {
		x := q.runs[0]
		x.Len = min(x.Len, limit)
		runs = append(runs, x)
		limit -= x.Len
		q.runs[0].Off, q.runs[0].Len = x.End(), q.runs[0].Len-x.Len
		if q.runs[0].Len == 0 {
			q.runs = q.runs[1:]
		}
	}
	q.last++
	return blockdev.Handout{Token: q.last, Job: 1, Runs: runs}, nil
}

// WillRelease is for what is only released, and here nothing is.
func (q *endQueue) WillRelease(blockdev.Token) error {
	return errors.New("the end of a pool releases nothing")
}

// Report counts.
func (q *endQueue) Report(d blockdev.Done, how blockdev.How) (left blockdev.Done, err error) {
	if len(d.Zeroed) > 0 {
		q.did[how.Method] = true
	}
	q.done += extentBytes(d.Zeroed)
	q.failed += extentBytes(d.Failed)
	q.at.set(q.done, q.total)
	return blockdev.Done{}, nil
}

// GiveBack is for reports that fail, and none does.
func (q *endQueue) GiveBack(blockdev.Token) {}

// Flush has nothing to do: the pool ends.
func (q *endQueue) Flush() error { return nil }

// FailSync has nobody to tell.
func (q *endQueue) FailSync(err error) error { return err }

// Ready is never signalled: there is no background.
func (q *endQueue) Ready() <-chan struct{} { return nil }

// Clean is asked by a background only.
func (q *endQueue) Clean() int64 { return 0 }

// Deadlines are asked for by a background only.
func (q *endQueue) Deadlines() []blockdev.Due { return nil }

func extentBytes(list []blockdev.Extent) (n int64) {
	for _, x := range list {
		n += x.Len
	}
	return n
}

// endDevice is a device that has a pool to lose.
type endDevice interface {
	erase.Device
	Path() string
}

// leftovers are what a pool's end would leave on the device.
type leftovers struct {
	guest, meta []blockdev.Extent // meta without the superblocks
	method      blockdev.Method
}

// leftBy lists what a pool that is opened read-only left.
func leftBy(p *chain.Pool) (l leftovers, err error) {
	set, err := daemon.EraseSettingsOf(p)
	if err != nil {
		return l, err
	}
	if l.method = set.Method; !l.method.Erases() {
		l.method = blockdev.Auto
	}
	l.guest, l.meta, err = p.Used()
	l.meta = without(l.meta, super.Bytes)
	return l, err
}

// leftAnywhere is all of a device whose pool cannot be read.
func leftAnywhere(dev *blockdev.File) leftovers {
	whole := []blockdev.Extent{{Len: dev.Size() / chain.BlockSize * chain.BlockSize}}
	return leftovers{guest: without(whole, super.Bytes)}
}

// without cuts the first bytes of the device off.
func without(list []blockdev.Extent, n int64) (out []blockdev.Extent) {
	for _, x := range list {
		if end := x.End(); end > n {
			x.Off = max(x.Off, n)
			x.Len = end - x.Off
			out = append(out, x)
		}
	}
	return out
}

func (l leftovers) bytes() int64 { return extentBytes(l.guest) + extentBytes(l.meta) }

// eraseAll zeroes what a pool leaves, and reads it back: guest blocks, then metadata. The superblocks are left, so that
// it can be done again. It returns by what it was zeroed. An error: not all of it is zero.
func (a *app) eraseAll(ctx context.Context, dev endDevice, l leftovers) (map[blockdev.Method]bool, error) {
	var at progressMark
	total := l.bytes()
	at.set(0, total)
	did, err := slowly(ctx, a, "erase", at.get, func(ctx context.Context) (_ map[blockdev.Method]bool, err error) {
		q := &endQueue{total: total, at: &at, did: map[blockdev.Method]bool{}}
		e, err := erase.New(dev, q, erase.Config{
			Method: blockdev.Auto, Verify: blockdev.VerifyFull, Clock: erase.NewClock(a.now),
			Logger: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		if err == nil && erase.Offers(dev, l.method) == nil {
			err = e.SetMethod(l.method)
		}
		for _, part := range [][]blockdev.Extent{l.guest, l.meta} {
			if err != nil || len(part) == 0 {
				continue
			}
			q.runs = part
			if _, err = e.Now(ctx, extentBytes(part)); err == nil && q.failed > 0 {
				err = fmt.Errorf("%s on %s could not be zeroed, or do not read as zeros", show.FormatSize(q.failed), dev.Path())
			}
		}
		return q.did, err
	})
	if err != nil {
		return did, show.Hinted(errors.Join(err, ctx.Err()),
			"not all is erased, and the pool is still called one: see to the device, and do it again, with --certificate if one is wanted")
	}
	return did, nil
}
