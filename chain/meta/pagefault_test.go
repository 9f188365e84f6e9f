package meta

import (
	"errors"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/fault"
)

// What a page's error is: damage where every copy is known to be wrong; transient where one could not be read.
func TestKindsOfPageErrors(t *testing.T) {
	eio := fault.Mark(fault.Transient, errors.New("input/output error"))
	for _, c := range []struct {
		name        string
		twin        bool
		first, last string // what becomes of each copy: "", "flip", "eio"
		want        fault.Kind
		ok          bool
	}{
		{"eio", false, "eio", "", fault.Transient, false},
		{"flip", false, "flip", "", fault.Object, false},
		{"eio with twin", true, "eio", "", 0, true},
		{"flip with twin", true, "flip", "", 0, true},
		{"both eio", true, "eio", "eio", fault.Transient, false},
		{"eio and flip", true, "eio", "flip", fault.Transient, false},
		{"flip and eio", true, "flip", "eio", fault.Transient, false},
		{"both flipped", true, "flip", "flip", fault.Object, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk()
			s := NewStore(d, testTotal, 1<<20)
			addExtents(t, s, 2, 32)
			p := put(t, s, 7, c.twin)
			s = reopen(t, d, checkpoint(t, s))
			bad := map[int64]bool{}
			for b, how := range map[alloc.BlockID]string{p.Addr: c.first, p.Twin: c.last} {
				switch how {
				case "flip":
					d.flip(b, 1000)
				case "eio":
					bad[int64(b)] = true
				}
			}
			d.fail = func(write bool, b int64) error {
				if !write && bad[b] {
					return eio
				}
				return nil
			}
			_, err := s.Get(p, rawNumber)
			if c.ok {
				must(t, err)
				return
			}
			var pe *PageError
			if fault.Of(err) != c.want || !errors.As(err, &pe) || errors.Is(err, ErrCorrupt) != (c.want == fault.Object) {
				t.Fatalf("%v: %v, want %v", err, fault.Of(err), c.want)
			}
		})
	}
}

// A page that is wrong once and right the second time is right.
func TestFlippedInTransit(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 1<<20)
	addExtents(t, s, 2, 32)
	p := put(t, s, 7, false)
	s = reopen(t, d, checkpoint(t, s))
	flaky := &flakyDisk{disk: d, wrong: 1}
	s.dev = flaky
	wantNumber(t, s, p, 7)
	if flaky.wrong != 0 {
		t.Fatal("the page was not read")
	}
}

type flakyDisk struct {
	*disk
	wrong int
}

func (d *flakyDisk) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.disk.ReadAt(p, off)
	if d.wrong > 0 {
		d.wrong--
		p[200] ^= 1
	}
	return n, err
}
