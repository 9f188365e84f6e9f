package fs

import (
	"context"
	"slices"
	"sync"
	"testing"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// disk is a device in memory that knows what is durable.
type disk struct {
	mu      sync.Mutex
	data    []byte
	durable []byte
	dirty   map[int64]bool // sectors written since the last sync
}

const sectorBytes = 512

var _ blockdev.Device = (*disk)(nil)

func newDisk(size int64) *disk {
	return &disk{data: make([]byte, size), durable: make([]byte, size), dirty: make(map[int64]bool)}
}

// afterPowerLoss is a disk with what is durable on d.
func (d *disk) afterPowerLoss() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{data: slices.Clone(d.durable), durable: slices.Clone(d.durable), dirty: make(map[int64]bool)}
}

func (d *disk) check(n, off int64) error { return blockdev.CheckRange(off, n, d.Size(), sectorBytes) }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copy(p, d.data[off:]), d.check(int64(len(p)), off)
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(int64(len(p)), off); err != nil {
		return 0, err
	}
	for s := off / sectorBytes; s < (off+int64(len(p)))/sectorBytes; s++ {
		d.dirty[s] = true
	}
	return copy(d.data[off:], p), nil
}

func (d *disk) WriteAtDsync(p []byte, off int64) (int, error) {
	n, err := d.WriteAt(p, off)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		copy(d.durable[off:], p)
		for s := off / sectorBytes; s < (off+int64(n))/sectorBytes; s++ {
			delete(d.dirty, s)
		}
	}
	return n, err
}

func (d *disk) Zero(off, n int64, _ blockdev.Method) error {
	_, err := d.WriteAt(make([]byte, n), off)
	return err
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.dirty {
		copy(d.durable[s*sectorBytes:(s+1)*sectorBytes], d.data[s*sectorBytes:])
	}
	clear(d.dirty)
	return nil
}

func (d *disk) Size() int64      { return int64(len(d.data)) }
func (d *disk) Grow(int64) error { return blockdev.ErrTooSmall }
func (d *disk) SectorSize() int  { return sectorBytes }
func (d *disk) Close() error     { return nil }

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
