package chain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sort"
)

const sector = 512

// disk is what a model knows of a volume: what was acknowledged, and what each sector may hold after a crash.
type disk struct {
	ino     Ino
	data    []byte // of maxDisk bytes; what lies past size is zero
	size    int64
	durable []byte
	later   map[int64][][]byte // by sector: written since the last flush
	sizes   []int64
	snaps   map[string]snap
}

type snap struct {
	data []byte
	size int64
}

const maxDisk = 192 << 10

func newModelDisk(ino Ino) *disk {
	d := &disk{ino: ino, data: make([]byte, maxDisk), snaps: map[string]snap{}}
	d.flush()
	return d
}

func (d *disk) clone() *disk {
	c := *d
	c.data = bytes.Clone(d.data)
	c.durable = bytes.Clone(d.durable)
	c.later = map[int64][][]byte{}
	for k, v := range d.later {
		c.later[k] = append([][]byte{}, v...)
	}
	c.sizes = append([]int64{}, d.sizes...)
	c.snaps = map[string]snap{}
	for k, v := range d.snaps {
		c.snaps[k] = v
	}
	return &c
}

func (d *disk) flush() {
	d.durable = bytes.Clone(d.data)
	d.later = map[int64][][]byte{}
	d.sizes = []int64{d.size}
}

// put lays b over the disk as a write that may or may not survive until the next flush.
func (d *disk) put(b []byte, off int64) {
	copy(d.data[off:], b)
	for s := off / sector; s*sector < off+int64(len(b)); s++ {
		d.later[s] = append(d.later[s], bytes.Clone(d.data[s*sector:(s+1)*sector]))
	}
}

func (d *disk) grow(size int64) {
	if size > d.size {
		d.size = size
		d.sizes = append(d.sizes, size)
	}
}

func (d *disk) truncate(size int64) {
	if size < d.size {
		d.put(make([]byte, d.size-size), size)
	}
	d.size = size
	d.sizes = append(d.sizes, size)
}

// allows tells whether a crash may leave this content.
func (d *disk) allows(got []byte, size int64) error {
	ok := false
	for _, s := range d.sizes {
		ok = ok || s == size
	}
	if !ok {
		return fmt.Errorf("size %d, may be %v", size, d.sizes)
	}
	for i := int64(0); i < size; i++ {
		if got[i] == d.durable[i] {
			continue
		}
		ok := false
		for _, v := range d.later[i/sector] {
			ok = ok || v[i%sector] == got[i]
		}
		if !ok {
			return fmt.Errorf("byte %d is %#x, flushed %#x, %d later versions", i, got[i], d.durable[i], len(d.later[i/sector]))
		}
	}
	return nil
}

// model is what a pool must hold.
type model struct{ disks map[string]*disk }

func newModel() *model { return &model{map[string]*disk{}} }

func (m *model) clone() *model {
	c := newModel()
	for n, d := range m.disks {
		c.disks[n] = d.clone()
	}
	return c
}

func (m *model) flush() {
	for _, d := range m.disks {
		d.flush()
	}
}

func (m *model) names() []string {
	var out []string
	for n := range m.disks {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

func readAll(r readerAt, size int64) ([]byte, error) {
	b := make([]byte, maxDisk)
	if size > maxDisk {
		return nil, fmt.Errorf("size %d", size)
	}
	if n, err := r.ReadAt(b[:size], 0); err != nil && (!errors.Is(err, io.EOF) || int64(n) != size) {
		return nil, err
	}
	return b, nil
}

// verify compares a pool with the model. exact: nothing was lost since the last flush either.
func (m *model) verify(p *Pool, exact bool) error {
	found := map[string]Ino{}
	if err := p.ReadDir(RootIno, 0, func(e DirEntry) bool { found[e.Name] = e.Ino; return true }); err != nil {
		return err
	}
	if len(found) != len(m.disks) {
		return fmt.Errorf("volumes %v, want %v", found, m.names())
	}
	for name, d := range m.disks {
		v, err := p.Volume(found[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		got, err := readAll(v, v.Size())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if exact && (v.Size() != d.size || !bytes.Equal(got, d.data)) {
			i := 0
			for i < maxDisk-1 && got[i] == d.data[i] {
				i++
			}
			return fmt.Errorf("%s: byte %d is %#x, want %#x, size %d, want %d", name, i, got[i], d.data[i], v.Size(), d.size)
		}
		if err := d.allows(got, v.Size()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := d.verifySnaps(p, v.ino); err != nil {
			return fmt.Errorf("%s%w", name, err)
		}
	}
	return nil
}

func (d *disk) verifySnaps(p *Pool, ino Ino) error {
	infos, err := p.Snapshots(ino)
	if err != nil {
		return err
	}
	if len(infos) != len(d.snaps) {
		return fmt.Errorf(": %d snapshots, want %d", len(infos), len(d.snaps))
	}
	for _, i := range infos {
		want, ok := d.snaps[i.Name]
		if !ok {
			return fmt.Errorf("@%s: not known", i.Name)
		}
		s, err := p.Snap(i.Layer)
		if err != nil {
			return fmt.Errorf("@%s: %w", i.Name, err)
		}
		got, err := readAll(s, s.Size())
		if err != nil {
			return fmt.Errorf("@%s: %w", i.Name, err)
		}
		if s.Size() != want.size || !bytes.Equal(got, want.data) {
			return fmt.Errorf("@%s: snapshot changed, %d bytes, want %d", i.Name, s.Size(), want.size)
		}
	}
	return nil
}

// adopt makes what the pool holds the flushed truth.
func (m *model) adopt(p *Pool) error {
	for name, d := range m.disks {
		a, err := p.Lookup(RootIno, name)
		if err != nil {
			return err
		}
		v, err := p.Volume(a.Ino)
		if err != nil {
			return err
		}
		d.ino, d.size = a.Ino, v.Size()
		if d.data, err = readAll(v, d.size); err != nil {
			return err
		}
		clear(d.data[d.size:])
		d.flush()
	}
	return nil
}

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
	case k < 87:
		return w.rename(name, d)
	case k < 90:
		w.note("checkpoint")
		return w.p.Checkpoint()
	case k < 96:
		w.note("erase")
		return w.erase()
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
	if err := w.p.until(func() (Need, error) { return v.PlanWrite(h.pl, off, n) }); err != nil {
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
	if err := w.p.until(func() (Need, error) { return v.PlanRead(h.pl, 0, d.size) }); err != nil {
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
		_, err := w.p.readSpans(h.pl, b)
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
	if err := w.p.carryOut(h.pl, h.b, h.off, false); err != nil {
		h.pl.Abort()
		return err
	}
	return h.pl.Commit(h.pl.Len)
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

func (w *world) snapshot(name string, d *disk) error {
	if err := w.releaseAll(d); err != nil {
		return err
	}
	s := fmt.Sprintf("s%d", w.n)
	w.note("snapshot %s@%s", name, s)
	d.snaps[s] = snap{bytes.Clone(d.data), d.size}
	err := w.p.Snapshot(Req{}, []Ino{d.ino}, s)
	if err == nil {
		w.m.flush()
	} else if errors.Is(err, ErrNoSpace) {
		delete(d.snaps, s)
	}
	return err
}

func (w *world) anySnap(d *disk) string {
	var names []string
	for n := range d.snaps {
		names = append(names, n)
	}
	if len(names) == 0 {
		return ""
	}
	sort.Strings(names)
	return names[w.rng.IntN(len(names))]
}

func (w *world) rollback(name string, d *disk) error {
	s := w.anySnap(d)
	if s == "" {
		return nil
	}
	if err := w.releaseAll(d); err != nil {
		return err
	}
	w.note("rollback %s@%s", name, s)
	d.data, d.size = bytes.Clone(d.snaps[s].data), d.snaps[s].size
	w.m.flush()
	return w.p.Rollback(Req{}, d.ino, s, false)
}

func (w *world) destroySnap(name string, d *disk) error {
	s := w.anySnap(d)
	if s == "" {
		return nil
	}
	w.note("destroy %s@%s", name, s)
	delete(d.snaps, s)
	err := w.p.DestroySnapshots(Req{}, d.ino, []string{s}, DestroyOptions{Defer: true})
	if err == nil {
		w.m.flush()
	}
	return err
}

func (w *world) clone(name string, d *disk) error {
	if len(w.m.disks) > 4 {
		return nil
	}
	if err := w.releaseAll(d); err != nil {
		return err
	}
	s := w.anySnap(d)
	if w.rng.IntN(3) == 0 {
		s = ""
	}
	to := fmt.Sprintf("c%d", w.n)
	w.note("clone %s@%s %s", name, s, to)
	from := snap{d.data, d.size}
	if s != "" {
		from = d.snaps[s]
	}
	c := newModelDisk(0)
	c.data, c.size = bytes.Clone(from.data), from.size
	c.flush()
	w.m.disks[to] = c
	a, err := w.p.Clone(Req{}, d.ino, s, RootIno, to)
	c.ino = a.Ino
	if err == nil {
		w.m.flush()
	} else if errors.Is(err, ErrNoSpace) {
		delete(w.m.disks, to)
	}
	return err
}

func (w *world) destroy(name string, d *disk) error {
	if len(w.m.disks) < 2 {
		return nil
	}
	if err := w.releaseAll(d); err != nil {
		return err
	}
	w.note("unlink %s", name)
	delete(w.m.disks, name)
	if err := w.p.Unlink(Req{}, RootIno, name); err != nil {
		return err
	}
	return w.flush()
}

func (w *world) flush() error {
	err := w.p.Flush()
	if err == nil {
		w.m.flush()
	}
	return err
}

func (w *world) rename(name string, d *disk) error {
	to := fmt.Sprintf("r%d", w.n)
	w.note("rename %s %s", name, to)
	delete(w.m.disks, name)
	w.m.disks[to] = d
	if err := w.p.Rename(Req{}, RootIno, name, RootIno, to, 0); err != nil {
		return err
	}
	return w.flush()
}

func (w *world) create() error {
	if len(w.m.disks) > 3 {
		return nil
	}
	name := fmt.Sprintf("v%d", w.n)
	w.note("create %s", name)
	d := newModelDisk(0)
	w.m.disks[name] = d
	a, err := w.p.Create(Req{}, RootIno, name, 0o600)
	if errors.Is(err, ErrNoSpace) {
		delete(w.m.disks, name)
	}
	if err != nil {
		return err
	}
	d.ino = a.Ino
	return w.flush()
}

func (w *world) erase() error {
	for i := 0; i < 4; i++ {
		if _, err := w.p.keepHouse(w.ctx()); err != nil {
			return err
		}
	}
	_, err := eraseSome(w.p, int64(1+w.rng.IntN(64))*BlockSize)
	return err
}
