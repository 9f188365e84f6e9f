package blockdev

import (
	"fmt"
	"sync"
)

// Overlay is a device in memory over another one, which it reads and never writes: all that is written to it lies in
// memory. So what a change would do to a device can be tried without doing it. Written pages cost what they hold; zeroed
// ones a bit each, so that erasing a TiB takes 32 MiB. It crashes with the process.
//
// The device below must not change meanwhile. It belongs to the caller, and Close leaves it open.
type Overlay struct {
	base Device

	mu    sync.RWMutex
	size  int64
	pages map[int64]*[PageSize]byte // written, by offset/PageSize
	zero  map[int64]*zeroMap        // zeroed and not written since, by offset/PageSize/zeroPages
}

// zeroMap is a bit for each of zeroPages pages.
type zeroMap [zeroPages / 64]uint64

const zeroPages = 32768

var _ Device = (*Overlay)(nil)

// NewOverlay is an overlay over base that nothing was written to.
func NewOverlay(base Device) *Overlay {
	return &Overlay{base: base, size: base.Size(), pages: map[int64]*[PageSize]byte{}, zero: map[int64]*zeroMap{}}
}

func (o *Overlay) check(op string, n, off int64) error {
	if err := CheckRange(off, n, o.size, o.base.SectorSize()); err != nil {
		return fmt.Errorf("blockdev: overlay: %s: %d bytes at %#x: %w", op, n, off, err)
	}
	return nil
}

// ReadAt reads what was written here, else what lies below.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if err := o.check("read", int64(len(p)), off); err != nil {
		return 0, err
	}
	for at := off; at < off+int64(len(p)); {
		k, in := at/PageSize, at%PageSize
		b := p[at-off:]
		if o.here(k) {
			b = b[:min(int64(len(b)), PageSize-in)]
			if page := o.pages[k]; page != nil {
				copy(b, page[in:])
			} else {
				clear(b)
			}
		} else { // up to the next page that is here, in one read
			end := at - in + PageSize
			for end < off+int64(len(p)) && !o.here(end/PageSize) {
				end += PageSize
			}
			b = b[:min(int64(len(b)), end-at)]
			if _, err := o.base.ReadAt(b, at); err != nil {
				return 0, err
			}
		}
		at += int64(len(b))
	}
	return len(p), nil
}

// here tells whether page k hides what lies below. The lock is held.
func (o *Overlay) here(k int64) bool {
	return o.pages[k] != nil || o.isZero(k) || k*PageSize >= o.base.Size()
}

func (o *Overlay) isZero(k int64) bool {
	z := o.zero[k/zeroPages]
	return z != nil && z[k%zeroPages/64]&(1<<(k%64)) != 0
}

// WriteAt writes to memory.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.check("write", int64(len(p)), off); err != nil {
		return 0, err
	}
	for at := off; at < off+int64(len(p)); {
		k, in := at/PageSize, at%PageSize
		b := p[at-off:]
		b = b[:min(int64(len(b)), PageSize-in)]
		page, err := o.own(k, len(b) < PageSize)
		if err != nil {
			return 0, err
		}
		copy(page[in:], b)
		at += int64(len(b))
	}
	return len(p), nil
}

// own is page k to be written, with its content where that is wanted.
func (o *Overlay) own(k int64, content bool) (*[PageSize]byte, error) {
	if page := o.pages[k]; page != nil {
		return page, nil
	}
	page := (*[PageSize]byte)(Aligned(PageSize))
	if content && !o.here(k) {
		if _, err := o.base.ReadAt(page[:min(PageSize, o.base.Size()-k*PageSize)], k*PageSize); err != nil {
			return nil, err
		}
	}
	if z := o.zero[k/zeroPages]; z != nil {
		z[k%zeroPages/64] &^= 1 << (k % 64)
	}
	o.pages[k] = page
	return page, nil
}

// WriteAtDsync is WriteAt: nothing of it outlives the process.
func (o *Overlay) WriteAtDsync(p []byte, off int64) (int, error) { return o.WriteAt(p, off) }

// Zero makes n bytes zero in memory, by any Method.
func (o *Overlay) Zero(off, n int64, _ Method) error {
	if off%PageSize != 0 || n%PageSize != 0 {
		_, err := o.WriteAt(make([]byte, n), off)
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.check("zero", n, off); err != nil {
		return err
	}
	for k := off / PageSize; k < (off+n)/PageSize; k++ {
		z := o.zero[k/zeroPages]
		if z == nil {
			z = &zeroMap{}
			o.zero[k/zeroPages] = z
		}
		z[k%zeroPages/64] |= 1 << (k % 64)
		delete(o.pages, k)
	}
	return nil
}

// Sync has nothing to do.
func (o *Overlay) Sync() error { return nil }

// Size is the size in bytes: that of the device below, until Grow.
func (o *Overlay) Size() int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.size
}

// Grow adds zeros in memory.
func (o *Overlay) Grow(size int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if size < o.size {
		return fmt.Errorf("blockdev: overlay: grow: %w: it has %d bytes", ErrTooSmall, o.size)
	}
	o.size = size
	return nil
}

// SectorSize is that of the device below.
func (o *Overlay) SectorSize() int { return o.base.SectorSize() }

// Close forgets what was written, and leaves the device below open.
func (o *Overlay) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.pages)
	clear(o.zero)
	return nil
}
