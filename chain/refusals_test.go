package chain

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/super"
)

// Writers that are refused are counted from the first on, who is promised his space goes on beside them, and when there is
// space again it is over.
func TestRefusals(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	c := atClock(p)
	sure := mustVolume(t, p, "sure", 1<<20)
	setProp(t, p, sure.ino, propRefreservation, "1M")
	v := mustVolume(t, p, "v", 64<<20)
	if r := p.Usage().Refusals; r.Count != 0 {
		t.Fatalf("refused from the beginning: %+v", r)
	}
	fillUp := func(from int64) (at int64) {
		for at = from; at < 64<<20; at += 64 << 10 {
			if _, err := v.WriteAt(fill('x', 64<<10), at); err != nil {
				if !errors.Is(err, ErrNoSpace) {
					t.Fatal(err)
				}
				return at
			}
		}
		return at
	}
	at := fillUp(0)
	first := p.Usage().Refusals
	if first.Count != 1 || !strings.Contains(first.Error, ErrNoSpace.Error()) || first.Since != first.Last {
		t.Fatalf("the first: %+v", first)
	}
	c.t = c.t.Add(time.Hour)
	for range 3 {
		_, err := v.WriteAt(fill('x', 64<<10), at)
		wantErr(t, "write", err, ErrNoSpace)
	}
	write(t, sure, fill('s', 512<<10), 0) // promised
	if r := p.Usage().Refusals; r.Count != 4 || r.Since != first.Since || r.Last.Sub(r.Since) < time.Hour {
		t.Errorf("an hour later: %+v", r)
	}
	ok(t, v.Punch(0, 1<<20))
	ok(t, p.Flush())
	c.t = c.t.Add(time.Minute)
	if r := p.Usage().Refusals; r.Count != 0 {
		t.Errorf("there is space again: %+v", r)
	}
	setProp(t, p, v.ino, propRefquota, "5500K")
	_, err := v.WriteAt(fill('x', 1<<20), 60<<20)
	wantErr(t, "write", err, ErrQuota)
	if r := p.Usage().Refusals; r.Count != 0 {
		t.Errorf("a quota is none of it: %+v", r)
	}
}

// A superblock that is overwritten or damaged is lost, whichever it is, and so is one copy of a page: check says so, by a kind of
// its own, and the pool goes on.
func TestCheckTellsWhatIsLost(t *testing.T) {
	for slot := range int64(super.Slots) {
		for name, b := range map[string]byte{"zero": 0, "damaged": 0x55} {
			d := newDisk(t, 8<<20)
			p := openPool(t, d)
			write(t, mustVolume(t, p, "v", 1<<20), fill('x', 64<<10), 0)
			ok(t, p.Checkpoint())
			at := slot*BlockSize + 1000
			if b == 0 {
				at = slot * BlockSize
			}
			_, err := d.WriteAt(slices.Repeat([]byte{b}, 512), at/512*512)
			ok(t, err)
			r, err := p.Check(t.Context())
			ok(t, err)
			if len(r.Errors)+len(r.Leaks) != 0 || len(r.Lost) != 1 || !strings.HasPrefix(r.Lost[0], "superblock "+string(rune('1'+slot))+" of 2: ") {
				t.Errorf("slot %d, %s: %+v", slot, name, r)
			}
			if lost := LostSuperblocks(d, p.uuid); len(lost) > 1 {
				t.Errorf("slot %d, %s: a checkpoint later: %v", slot, name, lost)
			}
			write(t, existing(t, p, "v"), fill('y', 64<<10), 0)
			ok(t, p.Checkpoint())
			write(t, existing(t, p, "v"), fill('z', 64<<10), 0)
			ok(t, p.Checkpoint())
			if r, err = p.Check(t.Context()); err != nil || len(r.Lost) != 0 {
				t.Errorf("slot %d, %s: two checkpoints later: %+v, %v", slot, name, r, err)
			}
		}
	}
}

func TestCheckTellsALostCopy(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	write(t, mustVolume(t, p, "v", 1<<20), fill('x', 64<<10), 0)
	ok(t, p.Checkpoint())
	root := p.supers.super.Catalog.Root
	_, err := d.WriteAt(fill(0, BlockSize), int64(root.Twin)*BlockSize)
	ok(t, err)
	view, err := Open(d, Options{Now: newClock().now, ReadOnly: true, Properties: testProperties})
	ok(t, err)
	r, err := view.Check(t.Context())
	ok(t, err)
	if len(r.Errors)+len(r.Leaks) != 0 || len(r.Lost) != 1 || !strings.Contains(r.Lost[0], "is damaged") {
		t.Errorf("%+v", r)
	}
	ok(t, view.Close())
}
