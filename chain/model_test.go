package chain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
type model struct {
	disks map[string]*disk
	delay bool    // what is destroyed is kept
	kept  []grave // that, the oldest first
}

// grave is what was destroyed and is kept: a volume, or a snapshot of one.
type grave struct {
	name string // of the volume
	d    *disk  // it
	ino  Ino
	snap string
	s    snap
}

func newModel() *model { return &model{disks: map[string]*disk{}} }

func (m *model) clone() *model {
	c := newModel()
	for n, d := range m.disks {
		c.disks[n] = d.clone()
	}
	c.delay = m.delay
	for _, g := range m.kept {
		if g.d != nil {
			g.d = g.d.clone()
		}
		c.kept = append(c.kept, g)
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
	return m.verifyKept(p)
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
	m.delay = p.removal.delay() > 0
	m.kept = m.kept[m.goneBefore(p):]
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
