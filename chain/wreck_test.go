package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
	"slatefs/chain/super"
)

// salvaged is what a wreck shows, as look tells of a pool, without what is not whole; lost are the ranges that are told as lost.
func salvaged(t testing.TB, d *devtest.Disk) (w *Wreck, s seen, lost map[string][][2]int64) {
	t.Helper()
	w, err := OpenWreck(d)
	if err != nil {
		t.Fatal(err)
	}
	s, lost = shownBy(t, w, d)
	return w, s, lost
}

func shownBy(t testing.TB, w *Wreck, d *devtest.Disk) (s seen, lost map[string][][2]int64) {
	t.Helper()
	s, lost = seen{}, map[string][][2]int64{}
	for _, r := range w.Relics(true) {
		name := strings.Join(r.Path, "/")
		if r.Snap != "" {
			name += "@" + r.Snap
		}
		if r.Size > 64<<20 {
			t.Fatalf("%s has %d bytes", name, r.Size)
		}
		b, end := make([]byte, r.Size), int64(0)
		err := w.Content(&r, func(off, n, dev int64) error {
			if off < end || n <= 0 || n > r.Size-off {
				return fmt.Errorf("%s: piece %d+%d of %d behind %d", name, off, n, r.Size, end)
			}
			end = off + n
			whole := make([]byte, (n+BlockSize-1)/BlockSize*BlockSize)
			_, err := d.ReadAt(whole, dev)
			copy(b[off:], whole[:n])
			return err
		}, func(off, n int64, err error) error {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, meta.ErrCorrupt) && !errors.Is(err, errTooMuch) {
				t.Errorf("%s: lost %d+%d: %v", name, off, n, err)
			}
			lost[name] = append(lost[name], [2]int64{off, n})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(lost[name]) == 0 {
			s[name] = b
		}
	}
	return s, lost
}

// volumes are what look shows, without symbolic links.
func (s seen) volumes() seen {
	out := seen{}
	for name, b := range s {
		if !strings.HasPrefix(name, "link ") {
			out[name] = b
		}
	}
	return out
}

func (s seen) mustBe(t testing.TB, want seen) {
	t.Helper()
	if err := s.partOf(want); err != nil {
		t.Error(err)
	}
	for name := range want {
		if _, ok := s[name]; !ok {
			t.Errorf("%s is not shown", name)
		}
	}
}

// A wreck of a whole pool shows what the pool shows, the journal included, and writes nothing.
func TestWreckOfAWholePool(t *testing.T) {
	for _, journal := range []bool{false, true} {
		d, last, _ := flipPool(t, journal)
		w, s, lost := salvaged(t, d)
		s.mustBe(t, last.volumes())
		if !w.Exact || len(w.Notes) > 0 || len(lost) > 0 {
			t.Errorf("exact %v, notes %q, lost %v", w.Exact, w.Notes, lost)
		}
	}
}

// wipe overwrites a block.
func wipe(t testing.TB, d *devtest.Disk, block int64) {
	t.Helper()
	if _, err := d.WriteAt(fill('!', BlockSize), block*BlockSize); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

// Where one superblock is lost, the other one and the journal behind it have all that there was: also the older one, by which
// the pool may be opened no more.
func TestWreckOfOneSuperblock(t *testing.T) {
	for _, journal := range []bool{false, true} {
		for slot := range int64(super.Slots) {
			d, last, _ := flipPool(t, journal)
			wipe(t, d, slot)
			w, s, lost := salvaged(t, d)
			s.mustBe(t, last.volumes())
			if !w.Exact || len(lost) > 0 || len(w.Notes) != 1 || !strings.Contains(w.Notes[0], fmt.Sprintf("superblock %d of 2", slot+1)) {
				t.Errorf("slot %d: exact %v, notes %q, lost %v", slot, w.Exact, w.Notes, lost)
			}
		}
	}
}

// A journal with a hole is followed up to it, and that is told.
func TestWreckOfAJournalWithAHole(t *testing.T) {
	d, last, _ := flipPool(t, true)
	p, err := Open(d.Clone(), readOnly())
	if err != nil {
		t.Fatal(err)
	}
	var states []seen
	at, ring := p.supers.super.At.Off, p.format.RingOff
	for unit := int64(0); unit < 4; unit++ {
		c := d.Clone()
		c.Flip(ring+(at+unit*int64(p.format.Unit))%p.format.Ring+60, 1)
		if _, err := Open(c.Clone(), readOnly()); unit == 0 && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a hole at the journal's head: %v", err)
		}
		w, s, lost := salvaged(t, c)
		if len(lost) > 0 || len(s) == 0 {
			t.Errorf("unit %d: %d volumes, lost %v", unit, len(s), lost)
		}
		if s.partOf(last) != nil && w.Exact {
			t.Errorf("unit %d: what is older is called exact", unit)
		}
		states = append(states, s)
	}
	if bytes.Equal(states[0]["disk.raw"], last["disk.raw"]) || states[0].partOf(last) == nil {
		t.Error("a hole at the head changes nothing")
	}
}

// Flipped bits, anywhere in what is metadata: nothing is shown that was not there, what is called exact is.
func TestWreckOfFlippedBits(t *testing.T) {
	d, last, before := flipPool(t, true)
	p, err := Open(d.Clone(), readOnly())
	if err != nil {
		t.Fatal(err)
	}
	blocks := []int64{0, 1}
	for _, e := range p.blocks.store.Extents() {
		for b := e.Start; b < e.End(); b++ {
			if p.blocks.store.InUse(b) {
				blocks = append(blocks, int64(b))
			}
		}
	}
	_ = before
	for i, b := range blocks {
		c := d.Clone()
		c.Flip(b*BlockSize+int64(i*97%BlockSize), uint(i%8))
		_, s, _ := salvaged(t, c)
		if err := s.partOf(last); err != nil {
			t.Errorf("block %d: %v", b, err)
		}
	}
}

// With both superblocks lost the catalog is found where it lies, and only the pool's.
func TestWreckWithoutSuperblocks(t *testing.T) {
	d, last, _ := flipPool(t, false)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wipe(t, d, 0)
	wipe(t, d, 1)
	if _, err := OpenWreck(d); !errors.Is(err, ErrNotPool) {
		t.Fatalf("a pool without superblocks: %v", err)
	}
	found, err := FindCatalogs(context.Background(), d, func(int64, int64) {})
	if err != nil || len(found) != 1 || found[0].Lost != 0 || found[0].Volumes != 2 {
		t.Fatalf("found %+v: %v", found, err)
	}
	w := OpenFound(d, found[0])
	s, lost := shownBy(t, w, d)
	s.mustBe(t, last.volumes())
	if w.Exact || len(w.Notes) != 1 || len(lost) > 0 {
		t.Errorf("exact %v, notes %q, lost %v", w.Exact, w.Notes, lost)
	}
}

// What keeps a pool from opening keeps nobody from its volumes: group table, metadata store, jobs.
func TestWreckOfWhatVolumesDoNotNeed(t *testing.T) {
	for name, pages := range map[string]func(p *Pool) []meta.Ptr{
		"group table":    func(p *Pool) []meta.Ptr { return []meta.Ptr{p.blocks.groupTable.Root} },
		"metadata store": func(p *Pool) []meta.Ptr { return []meta.Ptr{p.supers.super.StoreRoot} },
	} {
		d, last, _ := flipPool(t, true)
		p, err := Open(d.Clone(), readOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, ptr := range pages(p) {
			wipe(t, d, int64(ptr.Addr))
			wipe(t, d, int64(ptr.Twin))
		}
		if _, err := Open(d.Clone(), readOnly()); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: the pool opens: %v", name, err)
		}
		w, s, lost := salvaged(t, d)
		s.mustBe(t, last.volumes())
		if !w.Exact || len(lost) > 0 {
			t.Errorf("%s: exact %v, notes %q, lost %v", name, w.Exact, w.Notes, lost)
		}
	}
}

// sameWreck: a wreck of a pool that opens shows, layer by layer, what the pool shows.
func sameWreck(t testing.TB, d *devtest.Disk, at string) {
	t.Helper()
	p, err := Open(d.Clone(), readOnly())
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	w, err := OpenWreck(d)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	torn := func(note string) bool { return strings.HasPrefix(note, "superblock ") } // a crash may tear the one that was being written
	if rest := slices.DeleteFunc(slices.Clone(w.Notes), torn); !w.Exact || len(rest) > 0 || len(w.Notes) > 1 {
		t.Fatalf("%s: a wreck of a whole pool: exact %v, %q", at, w.Exact, w.Notes)
	}
	relics := map[LayerID]Relic{}
	for _, r := range w.Relics(true) {
		relics[r.Layer] = r
	}
	n := 0
	for id, l := range p.tree.layers {
		p.mu.Lock()
		i, err := p.names.inode(l.vol)
		p.mu.Unlock()
		if !l.head && !l.named || l.dead || err != nil || i.parent == 0 {
			continue
		}
		n++
		r, ok := relics[id]
		if path := strings.Join(r.Path, "/"); !ok || r.Nowhere || path != p.Path(l.vol) || r.Size != l.size || r.Snap != l.name && !l.head {
			t.Fatalf("%s: layer %v of %s, %d bytes: the wreck has %+v", at, id, p.Path(l.vol), l.size, r)
		}
		sameBlocks(t, p, l, w, &r)
		delete(relics, id)
	}
	if len(relics) > 0 {
		t.Fatalf("%s: %d volumes and snapshots, the wreck has more: %+v", at, n, relics)
	}
}

func sameBlocks(t testing.TB, p *Pool, l *layer, w *Wreck, r *Relic) {
	t.Helper()
	type at struct{ lb, dev int64 }
	have, want := map[at]bool{}, map[at]bool{}
	err := w.Content(r, func(off, n, dev int64) error {
		for k := int64(0); k*BlockSize < n; k++ {
			have[at{off/BlockSize + k, dev/BlockSize + k}] = true
		}
		return nil
	}, func(off, n int64, err error) error { return fmt.Errorf("lost %d+%d: %w", off, n, err) })
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := newChecker(t.Context(), p, Pace{})
	c.pieces(l.top, []region{{0, blocksOf(l.size)}}, "wreck", func(lb int64, q overlay.Piece) {
		for k := range q.Len {
			if lb+k < blocksOf(l.size) {
				want[at{lb + k, int64(q.Dev) + k}] = true
			}
		}
	})
	if !maps.Equal(have, want) {
		t.Fatalf("layer %v: the wreck shows %d blocks, the pool %d, not the same", l.id, len(have), len(want))
	}
}

// anyWreck reads all that a wreck has, whatever that is: it ends, and nothing lies where nothing may.
func anyWreck(t testing.TB, d *devtest.Disk) {
	t.Helper()
	w, err := OpenWreck(d)
	if err != nil {
		return
	}
	for _, r := range w.Relics(true) {
		var sum int64
		err := w.Content(&r, func(off, n, dev int64) error {
			if sum += n; off < 0 || n <= 0 || off+n > r.Size || dev < super.Bytes || dev+n > w.Super.Size() || sum > w.Super.Size() {
				return fmt.Errorf("piece %d+%d at %d", off, n, dev)
			}
			return nil
		}, func(off, n int64, err error) error {
			if off < 0 || n <= 0 || off+n > r.Size || err == nil {
				return fmt.Errorf("lost %d+%d: %w", off, n, err)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%q of %d bytes: %v", r.Path, r.Size, err)
		}
	}
}
