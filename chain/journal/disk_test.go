package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

var errCrashed = errors.New("disk: no power")

// disk is a device in memory that remembers what is durable. Every access is
// checked against the ring's place and unit.
type disk struct {
	mu       sync.Mutex
	unit     int64
	lo, hi   int64 // the only bytes that may be touched
	durable  []byte
	current  []byte
	rng      *rand.Rand
	ops      int                // writes and syncs
	reads    int                // reads
	crashAt  int                // the op that loses power, 0 for none
	fail     func(string) error // injected error for "read", "write", "sync"
	dirty    [2]int64           // the bytes written since the last sync are in between
	violated error              // the first access that was not allowed
}

func newDisk(c Config, rng *rand.Rand) *disk {
	size := c.Off + c.Size + 4096
	d := &disk{
		unit: int64(c.Unit), lo: c.Off, hi: c.Off + c.Size, rng: rng,
		durable: make([]byte, size), current: make([]byte, size),
	}
	for i := range d.current {
		d.current[i] = byte(rng.Uint32())
	}
	copy(d.durable, d.current)
	return d
}

func (d *disk) check(p []byte, off int64) {
	n := int64(len(p))
	if n == 0 || off < d.lo || off+n > d.hi || off%d.unit != 0 || n%d.unit != 0 {
		d.violated = fmt.Errorf("access of %d bytes at %#x, ring is [%#x, %#x)", n, off, d.lo, d.hi)
		panic(d.violated)
	}
}

func (d *disk) inject(kind string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(kind)
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.check(p, off)
	d.reads++
	if err := d.inject("read"); err != nil {
		return 0, err
	}
	return copy(p, d.current[off:]), nil
}

// op counts one write or sync; false when the power goes at it or went before.
func (d *disk) op() bool {
	d.ops++
	return d.crashAt == 0 || d.ops < d.crashAt
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.check(p, off)
	d.touch(off, off+int64(len(p)))
	if !d.op() {
		if d.ops == d.crashAt {
			mix(d.rng, d.current[off:off+int64(len(p))], p)
		}
		return 0, errCrashed
	}
	if err := d.inject("write"); err != nil {
		mix(d.rng, d.current[off:off+int64(len(p))], p)
		return 0, err
	}
	return copy(d.current[off:], p), nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.op() {
		return errCrashed
	}
	if err := d.inject("sync"); err != nil {
		return err
	}
	copy(d.durable[d.dirty[0]:d.dirty[1]], d.current[d.dirty[0]:d.dirty[1]])
	d.dirty = [2]int64{}
	return nil
}

func (d *disk) touch(from, to int64) {
	if d.dirty[0] != d.dirty[1] {
		from, to = min(from, d.dirty[0]), max(to, d.dirty[1])
	}
	d.dirty = [2]int64{from, to}
}

// powerLoss returns the disk as it comes back: unsynced sectors arrived or not, or
// in part.
func (d *disk) powerLoss() *disk {
	mix(d.rng, d.durable, d.current)
	return d.restart(d.durable)
}

// killed returns the disk as the next process sees it when only this one died.
func (d *disk) killed() *disk { return d.restart(d.current) }

func (d *disk) restart(current []byte) *disk {
	n := &disk{unit: d.unit, lo: d.lo, hi: d.hi, rng: d.rng, dirty: [2]int64{d.lo, d.hi}}
	n.durable = append(n.durable, d.durable...)
	n.current = append(n.current, current...)
	return n
}

// mix copies a random subset of from's 512-byte sectors to to: sometimes all,
// sometimes none, some of them torn.
func mix(rng *rand.Rand, to, from []byte) {
	style := rng.IntN(4)
	for s := 0; s < len(to); s += 512 {
		end := min(s+512, len(to))
		switch style {
		case 0:
		case 1:
			copy(to[s:end], from[s:end])
		default:
			switch rng.IntN(4) {
			case 0:
			case 1:
				cut := s + rng.IntN(end-s)
				copy(to[s:cut], from[s:cut])
			case 2:
				cut := s + rng.IntN(end-s)
				copy(to[cut:end], from[cut:end])
			default:
				copy(to[s:end], from[s:end])
			}
		}
	}
}
