package main

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"slatefs/chain/blockdev"
	"slatefs/chain/super"
)

// veil is a device whose superblocks are kept in memory until it is lifted: so long there is no pool on the device itself.
type veil struct {
	*blockdev.File

	mu  sync.Mutex
	top [super.Bytes]byte
}

// newVeil takes the superblocks off a device, durably.
func newVeil(dev *blockdev.File) (*veil, error) {
	return &veil{File: dev}, super.Wipe(dev)
}

// lift writes the superblocks, after all else is durable. On return there is a pool, durably.
func (v *veil) lift() error {
	if err := v.Sync(); err != nil {
		return err
	}
	b := blockdev.Aligned(super.Bytes)
	v.mu.Lock()
	copy(b, v.top[:])
	v.mu.Unlock()
	if _, err := v.File.WriteAt(b, 0); err != nil {
		return err
	}
	return v.Sync()
}

// ReadAt is blockdev.Device's.
func (v *veil) ReadAt(p []byte, off int64) (int, error) {
	n, err := v.File.ReadAt(p, off)
	if err == nil && off >= 0 && off < super.Bytes {
		v.mu.Lock()
		copy(p, v.top[off:])
		v.mu.Unlock()
	}
	return n, err
}

// WriteAt is blockdev.Device's.
func (v *veil) WriteAt(p []byte, off int64) (int, error) { return v.write(p, off, v.File.WriteAt) }

// WriteAtDsync is blockdev.Device's.
func (v *veil) WriteAtDsync(p []byte, off int64) (int, error) {
	return v.write(p, off, v.File.WriteAtDsync)
}

// write keeps what is a superblock's and writes the rest.
func (v *veil) write(p []byte, off int64, do func([]byte, int64) (int, error)) (int, error) {
	if err := blockdev.CheckRange(off, int64(len(p)), v.Size(), v.SectorSize()); err != nil {
		return 0, err
	}
	kept := v.keep(off, int64(len(p)), func(top []byte) { copy(top, p) })
	n, err := do(p[kept:], off+kept)
	return int(kept) + n, err
}

// Zero is blockdev.Device's.
func (v *veil) Zero(off, n int64, m blockdev.Method) error {
	if err := blockdev.CheckRange(off, n, v.Size(), v.SectorSize()); err != nil {
		return err
	}
	kept := v.keep(off, n, func(top []byte) { clear(top) })
	if kept == n {
		return nil
	}
	return v.File.Zero(off+kept, n-kept, m)
}

// keep calls set with what of n bytes at off is the superblocks', and returns how much that is.
func (v *veil) keep(off, n int64, set func(top []byte)) int64 {
	n = min(n, max(0, super.Bytes-off))
	if n > 0 {
		v.mu.Lock()
		set(v.top[off : off+n])
		v.mu.Unlock()
	}
	return n
}

// layVeiled makes an empty pool on an open device that is there as a whole at one moment, the last. On error there is none, and
// none of what was there before.
func (a *app) layVeiled(ctx context.Context, dev *blockdev.File, n newPool, id uuid.UUID) error {
	if err := mayLay(dev, n); err != nil {
		return err
	}
	v, err := newVeil(dev)
	if err == nil {
		err = a.layPool(ctx, v, n, id)
	}
	if err == nil {
		err = v.lift()
	}
	return err
}
