package chain

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
)

// world runs random operations on a pool and on the model.
type world struct {
	p       *Pool
	m       *model
	before  *model // as the model was before the operation that is running
	rng     *rand.Rand
	n       int
	held    []heldWrite
	reads   []heldRead
	full    bool // ENOSPC is allowed
	stamp   byte
	trace   []string
	logging bool
	lent    []*borrowed // from the erase queue
}

type heldWrite struct {
	pl   *Plan
	name string
	d    *disk
	b    []byte
	off  int64
}

// heldRead is a read plan that stays open: what it named may be overwritten in place, and nothing else.
type heldRead struct {
	pl   *Plan
	d    *disk
	may  [][]byte // contents of the disk since
	size int64
}

func (w *world) note(format string, a ...any) {
	if w.logging {
		w.trace = append(w.trace, fmt.Sprintf(format, a...))
	}
}

func (w *world) pick() (string, *disk) {
	names := w.m.names()
	if len(names) == 0 {
		return "", nil
	}
	n := names[w.rng.IntN(len(names))]
	return n, w.m.disks[n]
}

func (w *world) bytes(n int64) []byte {
	w.stamp++
	b := make([]byte, n)
	for i := range b {
		b[i] = w.stamp | 1
	}
	for i := 0; i+8 <= len(b); i += sector { // tell sectors apart
		b[i+1], b[i+2], b[i+3] = byte(w.n), byte(i/sector), byte(i/sector>>8)
	}
	return b
}

// extent is a random range, aligned to 512 most of the time.
func (w *world) extent(limit int64) (off, n int64) {
	off = w.rng.Int64N(limit/sector) * sector
	switch w.rng.IntN(6) {
	case 0:
		n = sector
	case 1:
		n = 1 + w.rng.Int64N(3*sector)
		off += w.rng.Int64N(sector)
	case 2:
		off, n = off/BlockSize*BlockSize, BlockSize
	case 3:
		n = (1 + w.rng.Int64N(40)) * sector
	case 4:
		off, n = off/BlockSize*BlockSize, (1+w.rng.Int64N(8))*BlockSize
	default:
		n = (1 + w.rng.Int64N(200)) * sector
	}
	if off+n > limit {
		n = limit - off
	}
	return off, n
}

// step does one operation. An error is the device's; what the pool may refuse is no error.
func (w *world) step() error {
	w.n++
	w.before = w.m.clone()
	if err := w.letErase(); err != nil {
		return err
	}
	name, d := w.pick()
	k := w.rng.IntN(100)
	if d == nil {
		k = 99
	}
	err := w.run(k, name, d)
	if errors.Is(err, ErrNoSpace) && w.full {
		return nil
	}
	return err
}

func (w *world) run(k int, name string, d *disk) error {
	switch {
	case k < 34:
		return w.write(name, d)
	case k < 38:
		return w.holdWrite(name, d)
	case k < 41:
		return w.holdRead(name, d)
	case k < 46:
		return w.release()
	case k < 54:
		w.note("flush")
		err := w.p.Flush()
		if err == nil {
			w.m.flush()
		}
		return err
	case k < 60:
		return w.punch(name, d)
	case k < 63:
		size := w.rng.Int64N(maxDisk)
		if err := w.releaseAll(d); err != nil { // a shrink would wait for them
			return err
		}
		w.note("truncate %s %d", name, size)
		v, err := w.volume(d)
		if err != nil {
			return err
		}
		d.truncate(size)
		w.wrote(d) // the edge is zeroed in place
		return v.Truncate(size)
	case k < 71:
		return w.snapshot(name, d)
	case k < 75:
		return w.rollback(name, d)
	case k < 80:
		return w.destroySnap(name, d)
	case k < 83:
		return w.clone(name, d)
	case k < 85:
		return w.destroy(name, d)
	case k < 86:
		return w.rename(name, d)
	case k < 87:
		return w.promise(name, d)
	case k < 90:
		w.note("checkpoint")
		return w.p.Checkpoint()
	case k < 95:
		w.note("erase")
		return w.erase()
	case k < 96:
		return w.resize()
	case k < 98:
		return w.undestroy()
	default:
		return w.create()
	}
}

func (w *world) volume(d *disk) (*Volume, error) { return w.p.Volume(d.ino) }

func (w *world) write(name string, d *disk) error {
	off, n := w.extent(maxDisk)
	b := w.bytes(n)
	if w.rng.IntN(8) == 0 {
		b = make([]byte, n)
	}
	w.note("write %s %d+%d", name, off, n)
	if w.blocks(d, off, n) {
		return nil
	}
	v, err := w.volume(d)
	if err != nil {
		return err
	}
	old := d.clone()
	d.put(b, off)
	if cut := (off + n) / BlockSize * BlockSize; cut > off { // zeros are written without the rest of the last block
		d.grow(cut)
	}
	d.grow(off + n)
	if _, err = v.WriteAt(b, off); errors.Is(err, ErrNoSpace) {
		w.m.disks[name] = old // refused, though some of it may have been written
		for i := range b {
			old.later[(off+int64(i))/sector] = d.later[(off+int64(i))/sector]
		}
		old.sizes = d.sizes
		got, rerr := readAll(v, v.Size())
		if rerr != nil {
			return rerr
		}
		old.data, old.size = got, v.Size()
	}
	w.wrote(w.m.disks[name])
	return err
}

// wrote: what open read plans may see by writes in place.
func (w *world) wrote(d *disk) {
	for i := range w.reads {
		if w.reads[i].d == d || w.reads[i].d.ino == d.ino {
			w.reads[i].may = append(w.reads[i].may, bytes.Clone(d.data))
		}
	}
}

// blocks: a write that has to wait for a held plan would wait for ever here.
func (w *world) blocks(d *disk, off, n int64) bool {
	for _, h := range w.held {
		if h.d.ino == d.ino && off/BlockSize <= (h.off+int64(len(h.b))-1)/BlockSize && h.off/BlockSize <= (off+n-1)/BlockSize {
			return true
		}
	}
	return false
}

func (w *world) holdWrite(name string, d *disk) error {
	off, n := w.extent(maxDisk)
	if w.blocks(d, off, n) || len(w.held) > 3 {
		return nil
	}
	v, err := w.volume(d)
	if err != nil {
		return err
	}
	w.note("plan %s %d+%d", name, off, n)
	h := heldWrite{&Plan{}, name, d, w.bytes(n), off}
	if err := w.p.volumes.until(func() (Need, error) { return v.PlanWrite(h.pl, off, n) }); err != nil {
		return err
	}
	w.held = append(w.held, h)
	return nil
}

func (w *world) holdRead(name string, d *disk) error {
	if len(w.reads) > 3 || d.size == 0 {
		return nil
	}
	v, err := w.volume(d)
	if err != nil {
		return err
	}
	w.note("read plan %s", name)
	h := heldRead{&Plan{}, d, [][]byte{bytes.Clone(d.data)}, d.size}
	if err := w.p.volumes.until(func() (Need, error) { return v.PlanRead(h.pl, 0, d.size) }); err != nil {
		return err
	}
	w.reads = append(w.reads, h)
	return nil
}

// release ends the oldest held plan.
func (w *world) release() error {
	if len(w.reads) > 0 && w.rng.IntN(2) == 0 {
		h := w.reads[0]
		w.reads = w.reads[1:]
		b := make([]byte, h.size)
		_, err := w.p.volumes.readSpans(h.pl, b)
		h.pl.Abort()
		if err != nil {
			return err
		}
		for i, c := range b {
			ok := false
			for _, m := range h.may {
				ok = ok || m[i] == c
			}
			if !ok {
				panic(fmt.Sprintf("byte %d of an open read plan became %#x", i, c))
			}
		}
		return nil
	}
	if len(w.held) == 0 {
		return nil
	}
	h := w.held[0]
	w.held = w.held[1:]
	return w.finish(h)
}

func (w *world) finish(h heldWrite) error {
	if w.rng.IntN(5) == 0 {
		w.note("abort %s", h.name)
		h.pl.Abort()
		return nil
	}
	w.note("carry out %s %d+%d", h.name, h.off, len(h.b))
	for _, d := range w.m.disks {
		if d.ino == h.d.ino {
			d.put(h.b, h.off)
			d.grow(h.off + int64(len(h.b)))
			w.wrote(d)
		}
	}
	if err := w.p.volumes.carryOut(h.pl, h.b, h.off, false); err != nil {
		h.pl.Abort()
		return err
	}
	return h.pl.Commit(h.pl.Len)
}

// letErase ends all plans when little is clean: a writer would wait for the end of those that keep what is dirty from being
// erased, and nobody else would end them.
func (w *world) letErase() error {
	for len(w.held)+len(w.reads) > 0 && w.p.Usage().Clean < 2*maxDisk {
		if err := w.release(); err != nil {
			return err
		}
		w.before = w.m.clone()
	}
	return nil
}

// releaseAll ends all held writes of a disk: what is to come would wait for them.
func (w *world) releaseAll(d *disk) error {
	var rest []heldWrite
	var mine []heldWrite
	for _, h := range w.held {
		if h.d.ino == d.ino {
			mine = append(mine, h)
		} else {
			rest = append(rest, h)
		}
	}
	w.held = rest
	for _, h := range mine {
		if err := w.finish(h); err != nil {
			return err
		}
	}
	w.before = w.m.clone()
	return nil
}

func (w *world) punch(name string, d *disk) error {
	off, n := w.extent(maxDisk)
	if w.blocks(d, off, maxDisk-off) { // one up to the end fences all that is behind
		return nil
	}
	n = min(n, max(0, d.size-off))
	w.note("punch %s %d+%d", name, off, n)
	v, err := w.volume(d)
	if err != nil {
		return err
	}
	if n > 0 {
		d.put(make([]byte, n), off)
	}
	w.wrote(d)
	switch {
	case w.rng.IntN(4) == 0 && off%BlockSize == 0 && n >= BlockSize: // as a large one goes
		if n/BlockSize*BlockSize != n {
			if err := v.zeroEdge(nil, off+n/BlockSize*BlockSize, off+n); err != nil {
				return err
			}
		}
		return v.detach(off/BlockSize, (off+n)/BlockSize)
	}
	return v.Punch(off, n)
}
