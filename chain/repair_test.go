package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

func repairOptions() Options { return Options{Now: newClock().now, CacheBytes: 1 << 20} }

// repaired: a repair first says what it does, then does that, and there is nothing left to do.
func repaired(t testing.TB, d *devtest.Disk) *RepairReport {
	t.Helper()
	before := d.Clone()
	would, err := Repair(context.Background(), blockdev.NewOverlay(d), repairOptions())
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Peek(0, d.Size())) != string(before.Peek(0, d.Size())) {
		t.Fatal("what a repair would do was done")
	}
	did, err := Repair(context.Background(), d, repairOptions())
	if err != nil {
		t.Fatal(err)
	}
	if !did.Same(would) {
		t.Fatalf("it would do %q\nand did %q", would, did)
	}
	again, err := Repair(context.Background(), d, repairOptions())
	if err != nil || len(again.Did) > 0 || fmt.Sprint(again.Left) != fmt.Sprint(did.Left) {
		t.Fatalf("a second repair: %+v after %+v, %v", again, did, err)
	}
	return did
}

// shows: the pool opens and shows that, and a check finds nothing, lost things included.
func shows(t testing.TB, d *devtest.Disk, want seen) {
	t.Helper()
	p, err := Open(d.Clone(), readOnly())
	if err != nil {
		t.Fatal(err)
	}
	s, err := look(p)
	if err != nil {
		t.Fatal(err)
	}
	s.mustBe(t, want)
	r, err := p.Check(context.Background())
	if err != nil || len(r.Errors)+len(r.Leaks)+len(r.Lost) > 0 || p.Usage().Repairs > 0 {
		t.Fatalf("check: %+v, %d repairs, %v", r, p.Usage().Repairs, err)
	}
}

func TestRepairOfAWholePool(t *testing.T) {
	d, last, _ := flipPool(t, true)
	was := d.Clone()
	if r := repaired(t, d); len(r.Did)+len(r.Left) > 0 {
		t.Errorf("%+v", r)
	}
	if string(d.Peek(0, d.Size())) != string(was.Peek(0, d.Size())) {
		t.Error("a pool that is whole was written to")
	}
	shows(t, d, last)
}

// A lost superblock is made of the other one, of the older one too: what the journal has since then is not lost.
func TestRepairSuperblock(t *testing.T) {
	for _, journal := range []bool{false, true} {
		for slot := range int64(super.Slots) {
			d, last, _ := flipPool(t, journal)
			wipe(t, d, slot)
			_, opens := Open(d.Clone(), readOnly())
			r := repaired(t, d)
			if len(r.Did) != 1 || !r.Done() {
				t.Errorf("journal %v, slot %d: %+v", journal, slot, r)
			}
			t.Logf("journal %v, slot %d: %q, before: %v", journal, slot, r.Did, opens)
			shows(t, d, last)
			useIt(d.Clone())
		}
	}
}

// By the older superblock a repair makes nothing where the journal has not all that came since: the newer state is gone, and it
// is not for a program to decide that an older one will do.
func TestRepairKeepsFromAnOlderState(t *testing.T) {
	d, _, _ := flipPool(t, true)
	s, slot, err := super.Read(d)
	if err != nil {
		t.Fatal(err)
	}
	wipe(t, d, int64(slot))
	d.Flip(s.Geometry.RingOff+s.At.Off+60, 1) // the first batch behind the newer one
	was := d.Clone()
	if r := repaired(t, d); r.Done() || len(r.Did) > 0 {
		t.Errorf("%+v", r)
	}
	if string(d.Peek(0, d.Size())) != string(was.Peek(0, d.Size())) {
		t.Error("it was written to")
	}
	wipe(t, d, 1-int64(slot))
	if _, err := Repair(context.Background(), d, repairOptions()); !errors.Is(err, ErrNotPool) {
		t.Errorf("without any superblock: %v", err)
	}
}

// copiesOf are the copies of all pages that have a twin, and pages without one.
func copiesOf(t testing.TB, d *devtest.Disk) (copies [][2]int64) {
	t.Helper()
	s, slot, err := super.Read(d)
	ok(t, err)
	p := newPool(d.Clone(), readOnly(), s, slot)
	ok(t, loadAlone(p))
	add := func(ptr meta.Ptr) {
		if ptr.Twin != 0 {
			copies = append(copies, [2]int64{int64(ptr.Addr), int64(ptr.Twin)})
		}
	}
	trees := []struct {
		f *meta.Family
		t meta.Tree
	}{{p.blocks.groups, p.blocks.groupTable}, {p.names.cat.Family, p.names.cat.Tree}}
	for _, l := range p.tree.layers {
		for _, x := range l.lost.Trees {
			trees = append(trees, struct {
				f *meta.Family
				t meta.Tree
			}{p.blocks.lists, x})
		}
	}
	for _, x := range trees {
		ok(t, x.f.Pages(x.t, func(ptr meta.Ptr, _ bool) error { add(ptr); return nil }))
	}
	for _, ptr := range p.blocks.groupPtrs {
		add(ptr)
	}
	p.blocks.store.MapPages(add)
	return copies
}

// Of every page with two copies either one is written anew from the other.
func TestRepairTwins(t *testing.T) {
	d, last, _ := flipPool(t, true)
	all := copiesOf(t, d)
	if len(all) < 6 {
		t.Fatalf("%d pages with twins", len(all))
	}
	for _, c := range all {
		for _, b := range c {
			x := d.Clone()
			wipe(t, x, b)
			if r := repaired(t, x); len(r.Did) == 0 || !r.Done() {
				t.Errorf("copy at block %d: %+v", b, r)
			}
			shows(t, x, last)
		}
	}
	rng := rand.New(rand.NewPCG(7, 7))
	x := d.Clone()
	for _, c := range all { // and of all of them at once
		wipe(t, x, c[rng.IntN(2)])
	}
	wipe(t, x, 0)
	if r := repaired(t, x); !r.Done() {
		t.Errorf("%+v", r)
	}
	shows(t, x, last)
}

// A crash at any operation of a repair leaves what another repair ends; and an error of the device does.
func TestRepairCrash(t *testing.T) {
	for _, newest := range []bool{false, true} {
		base, last, _ := flipPool(t, true)
		_, slot, err := super.Read(base)
		ok(t, err)
		if newest {
			wipe(t, base, int64(slot))
		}
		for _, c := range copiesOf(t, base) { // of the superblock that is left
			wipe(t, base, c[0])
		}
		if !newest {
			wipe(t, base, 1-int64(slot))
		}
		points := 0
		for k := 1; ; k++ {
			d := base.Clone()
			d.CrashAt(k)
			_, err := Repair(context.Background(), d, repairOptions())
			if err == nil && !d.Crashed() {
				break
			}
			if err == nil {
				t.Fatalf("operation %d crashed, and nobody says so", k)
			}
			points++
			for seed := range uint64(3) {
				x := d.Clone().Crash(rand.New(rand.NewPCG(seed, uint64(k))))
				repaired(t, x)
				shows(t, x, last)
			}
			x := base.Clone() // the same operation fails once
			n := 0
			x.Fail(func(op devtest.Op) error {
				if op.Kind == devtest.OpRead {
					return nil
				}
				if n++; n == k {
					return errPower
				}
				return nil
			})
			_, err = Repair(context.Background(), x, repairOptions())
			x.Fail(nil)
			if err == nil {
				t.Logf("operation %d fails, and that costs nothing", k)
			}
			x = x.Clone()
			repaired(t, x)
			shows(t, x, last)
		}
		if points < 8 {
			t.Errorf("%d points", points)
		}
	}
}

// What is of another host is not repaired.
func TestRepairRefused(t *testing.T) {
	d, _, _ := flipPool(t, false)
	h := Host{Machine: [16]byte{1}, Name: "other", Since: newClock().now()}
	o := repairOptions()
	o.Host = &h
	p, err := Open(d, o)
	ok(t, err)
	ok(t, p.Flush())
	wipe(t, d, 0)
	if _, err := Repair(context.Background(), d, repairOptions()); !errors.Is(err, ErrHeld) {
		t.Errorf("a pool of another host: %v", err)
	}
	o.TakeOver = true
	o.Host = nil
	if _, err := Repair(context.Background(), d, o); err != nil {
		t.Error(err)
	}
}
