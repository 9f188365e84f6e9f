// Package devtest is a device in memory for tests of what lies on a device.
//
// A Disk keeps, for every 512-byte sector that was written since the last sync,
// the content that the sync made durable. So at any moment a power loss can be
// played (Crash): each unsynced sector then holds its durable or its last
// content, by a dice that the test owns. Faults are injected by hooks: an error
// for one operation (Fail), an operation that does not come back (Hold), a
// rotten bit (Flip), the end of the world at the k-th operation (CrashAt).
//
// A Disk is as strict as a device: misaligned or out of range is an error, and
// a failed Sync is final. Memory is taken for what is not zero only, so a Disk
// of many TiB is cheap.
package devtest

import (
	"fmt"
	"maps"
	"sync"

	"slatefs/chain/blockdev"
)

// SectorBytes is the unit in which durability is known and lost, in bytes. It
// is 512 even where the sector size of the Disk is 4096.
const SectorBytes = 512

const (
	chunkBytes   = 16 << 10
	chunkSectors = chunkBytes / SectorBytes
)

// sector is the content of one sector; nil stands for zeros.
type sector = *[SectorBytes]byte

// chunk is content of the disk. Only its owner writes to it, in place; once two
// disks share it, it has no owner and a writer copies it first.
type chunk struct {
	owner *Disk
	data  [chunkBytes]byte
}

// Disk is a device in memory; it implements blockdev.Device. All methods may be
// called concurrently.
type Disk struct {
	sectorSize int

	mu     sync.Mutex         // guards all below
	size   int64              // bytes
	chunks map[int64]*chunk   // last content by offset/chunkBytes; absent: zeros
	stale  map[int64]sector   // durable content of each unsynced sector, by offset/SectorBytes
	ops    int                // operations but reads
	reads  int                // reads
	failed error              // what a failed sync left: final
	fail   func(Op) error     // nil: none
	holds  map[*hold]struct{} // I/O held back

	crashAt int             // number of the operation that crashes; 0: none
	crashed bool            // every operation answers ErrCrashed
	torn    blockdev.Extent // what the crashing operation wrote
	grown   int64           // size that the crashing Grow asked for; 0: none
	fill    byte            // what Grow adds
	host    *host           // nil: it has space for all of the disk
}

var _ blockdev.Device = (*Disk)(nil)

// New is a disk of size bytes, all of them durable zeros, with a sector size of
// 512 or 4096. It panics when size is not a multiple of that.
func New(size int64, sectorSize int) *Disk {
	if sectorSize != 512 && sectorSize != 4096 || size < 0 || size%int64(sectorSize) != 0 {
		panic(fmt.Sprintf("devtest: new: size %d, sector size %d", size, sectorSize))
	}
	return &Disk{
		sectorSize: sectorSize,
		size:       size,
		chunks:     make(map[int64]*chunk),
		stale:      make(map[int64]sector),
		holds:      make(map[*hold]struct{}),
	}
}

// ReadAt reads the last content, synced or not.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.do(Op{Kind: OpRead, Off: off, Len: int64(len(p))}, func() { d.copyOut(p, off) })
}

// WriteAt writes p, unsynced.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	return d.do(Op{Kind: OpWrite, Off: off, Len: int64(len(p))}, func() { d.copyIn(p, off) })
}

// WriteAtDsync writes p and makes these sectors durable, no others.
func (d *Disk) WriteAtDsync(p []byte, off int64) (int, error) {
	return d.do(Op{Kind: OpWriteDsync, Off: off, Len: int64(len(p))}, func() {
		d.copyIn(p, off)
		if d.crashed {
			return
		}
		for s := off / SectorBytes; s < (off+int64(len(p)))/SectorBytes; s++ {
			delete(d.stale, s)
		}
	})
}

// Zero writes n bytes of zeros, unsynced. Every method is accepted and does the
// same; the Disk is a block device and a pool file in one.
func (d *Disk) Zero(off, n int64, m blockdev.Method) error {
	if !m.Erases() && m != blockdev.Release {
		return fmt.Errorf("devtest: zero: %s: %w", m, blockdev.ErrMethod)
	}
	_, err := d.do(Op{Kind: OpZero, Off: off, Len: n, Method: m}, func() { d.clear(off, n) })
	return err
}

// Sync makes everything durable. When a hook fails it, nothing becomes durable
// and nothing is dropped; every later write and Sync then answers the error.
func (d *Disk) Sync() error {
	_, err := d.do(Op{Kind: OpSync}, func() {
		if !d.crashed {
			clear(d.stale)
		}
	})
	return err
}

// Size is the size in bytes.
func (d *Disk) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size
}

// SectorSize is the unit of I/O in bytes.
func (d *Disk) SectorSize() int { return d.sectorSize }

// FillGrowth makes what Grow adds hold the byte b, as on a block device, which may hold anything there. 0: zeros, as in a
// pool file.
func (d *Disk) FillGrowth(b byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fill = b
}

// IsBlockDevice tells whether what Grow adds is other than zero.
func (d *Disk) IsBlockDevice() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fill != 0
}

// Grow adds durable zeros, or what FillGrowth said, up to size bytes. A crash leaves any size between.
func (d *Disk) Grow(size int64) error {
	_, err := d.do(Op{Kind: OpGrow, Off: size}, func() {
		if d.crashed {
			d.grown = size
			return
		}
		d.growTo(size)
	})
	return err
}

// growTo makes the disk larger. The caller holds mu or is alone.
func (d *Disk) growTo(size int64) {
	old := d.size
	d.size = size
	if d.fill == 0 {
		return
	}
	for s := old / SectorBytes; s < size/SectorBytes; s++ {
		b := d.own(s / chunkSectors).data[s%chunkSectors*SectorBytes:][:SectorBytes]
		for i := range b {
			b[i] = d.fill
		}
	}
}

// Cut makes the disk smaller, as lvreduce would: what lay behind is gone. It is no operation. It panics when size is not a
// multiple of the sector size below the present one.
func (d *Disk) Cut(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size <= 0 || size > d.size || size%int64(d.sectorSize) != 0 {
		panic(fmt.Sprintf("devtest: cut: from %d to %d bytes", d.size, size))
	}
	d.clear(size, d.size-size)
	maps.DeleteFunc(d.stale, func(s int64, _ sector) bool { return s >= size/SectorBytes })
	d.size = size
}

// Close does nothing: a test opens the same Disk again.
func (d *Disk) Close() error { return nil }

// Methods are those that erase, the best first.
func (d *Disk) Methods() []blockdev.Method {
	return []blockdev.Method{blockdev.Zeroout, blockdev.Unmap, blockdev.Overwrite}
}

// Clone is another disk with the same content and the same unsynced sectors,
// without hooks, counts, a planned crash or a failed sync. A clone of a crashed
// disk can be crashed once more: one crash, many outcomes.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cloneLocked()
}

func (d *Disk) cloneLocked() *Disk {
	c := New(d.size, d.sectorSize)
	for _, k := range d.chunks {
		if k.owner == d { // else it is shared already, and others may be reading owner
			k.owner = nil
		}
	}
	maps.Copy(c.chunks, d.chunks)
	maps.Copy(c.stale, d.stale)
	c.torn, c.grown, c.fill = d.torn, d.grown, d.fill
	return c
}

// copyOut fills p with the content at off. The caller holds mu.
func (d *Disk) copyOut(p []byte, off int64) {
	for len(p) > 0 {
		in := off % chunkBytes
		n := min(int64(len(p)), chunkBytes-in)
		if k := d.chunks[off/chunkBytes]; k != nil {
			copy(p[:n], k.data[in:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+n
	}
}

// copyIn writes p at off; the sectors become unsynced. The caller holds mu.
func (d *Disk) copyIn(p []byte, off int64) {
	for len(p) > 0 {
		in := off % chunkBytes
		n := min(int64(len(p)), chunkBytes-in)
		d.keep(off, n)
		if d.chunks[off/chunkBytes] != nil || !zeros(p[:n]) {
			copy(d.own(off / chunkBytes).data[in:], p[:n])
		}
		p, off = p[n:], off+n
	}
}

// clear zeroes n bytes at off; sectors that were not zeros become unsynced. Its
// cost follows what the disk holds, not n. The caller holds mu.
func (d *Disk) clear(off, n int64) {
	one := func(c int64) {
		lo, hi := max(off, c*chunkBytes), min(off+n, (c+1)*chunkBytes)
		if d.chunks[c] == nil || lo >= hi {
			return
		}
		d.keep(lo, hi-lo)
		if hi-lo == chunkBytes {
			delete(d.chunks, c)
			return
		}
		clear(d.own(c).data[lo-c*chunkBytes : hi-c*chunkBytes])
	}
	if n/chunkBytes > int64(len(d.chunks)) {
		for c := range d.chunks {
			one(c)
		}
		return
	}
	for c := off / chunkBytes; c*chunkBytes < off+n; c++ {
		one(c)
	}
}

// keep remembers the durable content of the sectors in [off, off+n), which lies
// within one chunk, before they are written. The caller holds mu.
func (d *Disk) keep(off, n int64) {
	k := d.chunks[off/chunkBytes]
	for s := off / SectorBytes; s < (off+n)/SectorBytes; s++ {
		if _, ok := d.stale[s]; ok {
			continue
		}
		var was sector
		if k != nil {
			in := s % chunkSectors * SectorBytes
			if b := k.data[in : in+SectorBytes]; !zeros(b) {
				was = new([SectorBytes]byte)
				copy(was[:], b)
			}
		}
		d.stale[s] = was
	}
}

// own is chunk c, ready to be written in place. The caller holds mu.
func (d *Disk) own(c int64) *chunk {
	k := d.chunks[c]
	switch {
	case k == nil:
		k = &chunk{owner: d}
	case k.owner != d:
		k = &chunk{owner: d, data: k.data}
	}
	d.chunks[c] = k
	return k
}

var zeroChunk [chunkBytes]byte

// zeros tells whether b, at most a chunk, is all zeros.
func zeros(b []byte) bool { return string(b) == string(zeroChunk[:len(b)]) }
