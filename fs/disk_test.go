package fs

import (
	"context"
	"sync"
	"testing"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// eraseOnce zeroes what the pool hands out, at most n bytes, and returns how much it was.
func eraseOnce(p *chain.Pool, d blockdev.Device, n int64) (done int64, err error) {
	h, err := p.Next(n)
	if err != nil {
		return 0, err
	}
	for _, r := range h.Runs {
		if err := d.Zero(r.Off, r.Len, blockdev.Overwrite); err != nil {
			return 0, err
		}
		done += r.Len
	}
	if done == 0 {
		return 0, nil
	}
	if err := d.Sync(); err != nil {
		return 0, err
	}
	if _, err := p.Report(blockdev.Done{Token: h.Token, Zeroed: h.Runs}, chain.How{}); err != nil {
		return 0, err
	}
	return done, p.Flush()
}

// runEraser erases what is freed, until ctx is done.
func runEraser(ctx context.Context, t testing.TB, p *chain.Pool, d blockdev.Device) {
	var mu sync.Mutex
	erase := func(n int64) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		return eraseOnce(p, d, n)
	}
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return erase(n) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Ready():
		}
		for ctx.Err() == nil {
			n, err := erase(8 << 20)
			if err != nil {
				t.Errorf("erase: %v", err)
				return
			}
			if n == 0 {
				break
			}
		}
	}
}
