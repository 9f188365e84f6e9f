package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// seen is what a pool shows: content by path, and by path@snapshot.
type seen map[string][]byte

// look reads everything. Each error must be one of damaged metadata; what cannot be read is left out.
func look(p *Pool) (seen, error) {
	s := seen{}
	var bad []error
	var names []string
	err := p.ReadDir(RootIno, 0, func(e DirEntry) bool { names = append(names, e.Name); return true })
	bad = append(bad, err)
	for _, name := range names {
		a, err := p.Resolve(name)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if a.Type == TypeSymlink {
			if to, err := p.Readlink(a.Ino); err == nil {
				s[name] = []byte(to)
			} else {
				bad = append(bad, err)
			}
			continue
		}
		v, err := p.Volume(a.Ino)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if b, err := content(v, v.Size()); err == nil {
			s[name] = b
		} else {
			bad = append(bad, err)
		}
		for _, l := range p.tree.byVol[a.Ino] {
			if !l.named {
				continue
			}
			snap, err := p.Snap(l.id)
			if err != nil {
				return nil, err
			}
			if b, err := content(snap, snap.Size()); err == nil {
				s[name+"@"+l.name] = b
			} else {
				bad = append(bad, err)
			}
		}
	}
	for _, err := range bad {
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
	}
	return s, nil
}

func content(r readerAt, size int64) ([]byte, error) {
	b := make([]byte, size)
	_, err := r.ReadAt(b, 0)
	return b, err
}

// within one of the states: nothing is shown that is not right.
func (s seen) partOf(states ...seen) error {
	var first error
	for _, want := range states {
		var err error
		for name, b := range s {
			if w, ok := want[name]; !ok || !bytes.Equal(b, w) {
				err = fmt.Errorf("%s shows what it never held", name)
			}
		}
		if err == nil {
			return nil
		}
		first = err
	}
	return first
}

// flipped opens the disk after one bit of it was flipped, looks and checks. states are what it may show; whole: it must
// show all of the first.
type flipped struct {
	open   error
	all    bool // everything could be read
	found  bool // check found something, or a copy was repaired
	shown  seen
	repair int64
}

func flip(t testing.TB, d *devtest.Disk, off int64, bit uint, states ...seen) (r flipped) {
	t.Helper()
	d = d.Clone()
	d.Flip(off, bit)
	name := fmt.Sprintf("bit %d of byte %d", bit, off)
	within(t, name, func() {
		p, err := Open(d, readOnly())
		if r.open = err; err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: open: %v", name, err)
			}
			return
		}
		if r.shown, err = look(p); err == nil {
			err = r.shown.partOf(states...)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		r.all = len(r.shown) == len(states[0])
		report, err := p.Check(context.Background())
		if err != nil {
			t.Errorf("%s: check: %v", name, err)
			return
		}
		r.repair = p.Usage().Repairs
		r.found = len(report.Errors)+len(report.Lost) > 0 || r.repair > 0
	})
	return r
}

// flipPool has snapshots, a clone, a job and a walk in its last checkpoint, and in the journal after it records, if
// journal is set. It is left as a killed process leaves it.
func flipPool(t testing.TB, journal bool) (d *devtest.Disk, last, before seen) {
	t.Helper()
	d = newDisk(t, 4<<20)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	v := mustVolume(t, p, "disk.raw", 256<<10)
	for i := range 8 {
		write(t, v, fill('a'+byte(i), 4096), int64(i)*12288)
	}
	takeSnapshot(t, p, "one", v)
	write(t, v, fill('z', 8192), 4096)
	if _, err := p.Clone(Req{}, v.ino, "one", RootIno, "clone.raw"); err != nil {
		t.Fatal(err)
	}
	write(t, existing(t, p, "clone.raw"), fill('y', 4096), 100<<10)
	for i := range 40 { // a catalog of more than a page
		if _, err := p.Symlink(Req{}, RootIno, fmt.Sprintf("link %0100d", i), string(fill('l', 100))); err != nil {
			t.Fatal(err)
		}
	}
	w := mustVolume(t, p, "gone", 64<<10)
	write(t, w, fill('x', 32<<10), 0)
	if err := p.DestroyVolume(Req{}, w.ino, DestroyOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if journal {
		for i := range 6 {
			if before, err = look(p); err != nil {
				t.Fatal(err)
			}
			write(t, v, fill('A'+byte(i), 4096), int64(i)*16384)
			if i == 2 {
				takeSnapshot(t, p, "two", v)
			}
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if last, err = look(p); err != nil {
		t.Fatal(err)
	}
	return d, last, before
}
