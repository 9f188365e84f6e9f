package chain

import (
	"flag"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

var flipAll = flag.Bool("flip.all", false, "flip a bit of every byte of every page, not of a sample")

// TestFlipSuper flips a bit of every byte of both superblocks. A damaged one is passed over; the older one opens the
// same state, or the journal or a page that is gone says that it must not.
func TestFlipSuper(t *testing.T) {
	for _, journal := range []bool{false, true} {
		d, last, _ := flipPool(t, journal)
		s, slot, err := super.Read(d)
		if err != nil {
			t.Fatal(err)
		}
		opened := 0
		for off := int64(0); off < super.Slots*BlockSize; off++ {
			if !*flipAll && (journal || testing.Short()) && off%61 != 0 {
				continue
			}
			r := flip(t, d, off, uint(off*5)%8, last)
			newest := off/BlockSize == int64(slot)
			switch {
			case !newest && (r.open != nil || !r.all):
				t.Fatalf("byte %d of the older superblock: %v", off, r.open)
			case newest && journal && r.open == nil:
				t.Fatalf("byte %d of the superblock of generation %d: the older one opened, with records after it", off, s.Generation)
			case newest && r.open == nil:
				opened++
			}
		}
		t.Logf("journal %v: the older superblock opened %d times", journal, opened)
	}
}

// TestFlipPages flips bits of every metadata page in use. With a twin nothing is lost and the repair is counted;
// without one, what is shown is right and the rest an error. Check finds every one of them.
func TestFlipPages(t *testing.T) {
	for _, journal := range []bool{false, true} {
		d, last, _ := flipPool(t, journal)
		p, err := Open(d.Clone(), readOnly())
		if err != nil {
			t.Fatal(err)
		}
		leaves := mapLeaves(t, p)
		pages, flips, lost := 0, 0, 0
		for _, e := range p.blocks.store.Extents() {
			for b := e.Start; b < e.End(); b++ {
				if !p.blocks.store.InUse(b) {
					continue
				}
				pages++
				for at := int64(0); at < BlockSize; at++ {
					if !*flipAll && (at+int64(b))%101 != 0 && at != 2 {
						continue
					}
					flips++
					if flipPage(t, d, b, at, !leaves[b], last) {
						lost++
					}
				}
			}
		}
		t.Logf("%d flips in %d pages: %d times something could not be read", flips, pages, lost)
		if pages < 20 || lost == 0 || lost == flips {
			t.Errorf("%d pages, %d flips, %d lost: not the pool that this test needs", pages, flips, lost)
		}
	}
}

// mapLeaves are the pages without a twin.
func mapLeaves(t testing.TB, p *Pool) map[alloc.BlockID]bool {
	t.Helper()
	leaves := map[alloc.BlockID]bool{}
	for _, l := range p.tree.layers {
		m, _ := l.top.Bottom()
		err := p.blocks.maps.Pages(m, func(ptr meta.Ptr, _ int64, _ uint8) (bool, error) {
			if ptr.Twin == 0 {
				leaves[ptr.Addr] = true
			}
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range p.tree.walks {
		m, _ := w.source.Bottom()
		err := p.blocks.maps.Pages(m, func(ptr meta.Ptr, _ int64, _ uint8) (bool, error) {
			leaves[ptr.Addr] = true
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return leaves
}

// flipPage flips a bit of byte at of page b, and tells whether something was lost by it.
func flipPage(t *testing.T, d *devtest.Disk, b alloc.BlockID, at int64, twins bool, want seen) bool {
	t.Helper()
	r := flip(t, d, int64(b)*BlockSize+at, uint(at)%8, want)
	lost := r.open != nil || !r.all
	switch {
	case r.open == nil && !r.found:
		t.Fatalf("byte %d of page %d: check finds nothing", at, b)
	case twins && (lost || r.repair == 0):
		t.Fatalf("byte %d of page %d, which has a twin: open %v, all there %v, %d repairs", at, b, r.open, r.all, r.repair)
	}
	return lost
}

// TestFlipJournal flips a bit of every byte of the batches after the checkpoint. The last batch may get lost, as in a
// power cut; before it, the pool does not open. A rotten batch before good ones is never the end of the journal.
func TestFlipJournal(t *testing.T) {
	d, last, before := flipPool(t, true)
	p, err := Open(d.Clone(), readOnly())
	if err != nil {
		t.Fatal(err)
	}
	from, to := p.supers.super.At.Off, p.commits.journal.Pos().Off
	if from >= to {
		t.Fatalf("the journal wraps: from %d to %d", from, to)
	}
	refused, opened, step := 0, 0, int64(1)
	if testing.Short() {
		step = 13
	}
	for off := from; off < to+1024; off += step {
		r := flip(t, d, p.format.RingOff+off, uint(off)%8, last, before)
		if r.open != nil {
			refused++
			continue
		}
		opened++
		if !r.all && len(r.shown) != len(before) {
			t.Fatalf("byte %d of the ring: %d of %d contents can be read", off, len(r.shown), len(last))
		}
		if off >= to && r.shown.partOf(last) != nil {
			t.Fatalf("byte %d behind the journal changed what is shown", off)
		}
	}
	t.Logf("%d times refused, %d times opened", refused, opened)
	if refused == 0 || opened == 0 {
		t.Error("not the journal that this test needs")
	}
}
