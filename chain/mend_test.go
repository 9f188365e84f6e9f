package chain

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// losePool is a pool of which a checkpoint was taken, and then much was done that only the journal has: claims, writes that came to
// nothing, destroys, a merge that cuts a list, erased blocks that are clean again, an extent of the store. It is left as a killed
// process leaves it.
func losePool(t testing.TB) (d *devtest.Disk, last seen) {
	t.Helper()
	d = newDisk(t, 16<<20)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	v := mustVolume(t, p, "a", 4<<20)
	for i := range int64(200) {
		write(t, v, fill('a'+byte(i%20), BlockSize), i*3*BlockSize)
	}
	takeSnapshot(t, p, "zero", v)
	for i := range int64(50) {
		write(t, v, fill('k'+byte(i%10), BlockSize), i*12*BlockSize)
	}
	takeSnapshot(t, p, "one", v)
	w := mustVolume(t, p, "gone", 2<<20)
	write(t, w, fill('w', 1<<20), 0)
	for i := range int64(90) {
		write(t, v, fill('A'+byte(i%20), BlockSize), i*6*BlockSize)
	}
	ok(t, p.Flush())
	ok(t, p.DestroyVolume(Req{}, w.ino, DestroyOptions{}))
	_, err = eraseSome(p, 200*BlockSize)
	ok(t, err)
	ok(t, p.space.grantPages(2*structurePages)) // so that the merge finds pages that the checkpoint has
	ok(t, p.Checkpoint())
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"one"}, DestroyOptions{})) // merged into the head, whose dead list is cut
	for i := range int64(60) {
		write(t, v, fill('0'+byte(i%10), 2*BlockSize), i*9*BlockSize)
	}
	takeSnapshot(t, p, "two", v)
	x := mustVolume(t, p, "later", 1<<20)
	write(t, x, fill('x', 400<<10), 0)
	ok(t, p.Flush())
	_, err = eraseSome(p, 60*BlockSize)
	ok(t, err)
	write(t, x, fill('y', 100<<10), 300<<10)
	ok(t, p.Flush())
	last, err = look(p)
	ok(t, err)
	write(t, x, fill('z', 100<<10), 600<<10) // its bytes are on the device, in blocks that only a claim names
	return d, last
}

// spoilt makes every copy of a page unreadable.
func spoilt(t testing.TB, d *devtest.Disk, ptrs ...meta.Ptr) {
	t.Helper()
	for _, p := range ptrs {
		wipe(t, d, int64(p.Addr))
		if p.Twin != 0 {
			wipe(t, d, int64(p.Twin))
		}
	}
}

// losses are what can be derived, each lost.
func losses(t testing.TB, d *devtest.Disk) map[string][]meta.Ptr {
	t.Helper()
	s, slot, err := super.Read(d)
	ok(t, err)
	p := newPool(d.Clone(), readOnly(), s, slot)
	ok(t, loadAlone(p))
	out := map[string][]meta.Ptr{"group table": {p.blocks.groupTable.Root}, "free map": {s.StoreRoot}}
	for _, ptr := range p.blocks.groupPtrs {
		if !ptr.IsNil() {
			out["all groups"] = append(out["all groups"], ptr)
		}
	}
	out["a group"] = out["all groups"][:1]
	out["last group"] = out["all groups"][len(out["all groups"])-1:]
	out["groups and table"] = append([]meta.Ptr{p.blocks.groupTable.Root}, out["all groups"]...)
	for name, ptrs := range maps.Clone(out) {
		if name != "free map" {
			out[name+" and free map"] = append([]meta.Ptr{s.StoreRoot}, ptrs...)
		}
	}
	return out
}

// mended: the pool shows what it did, is used again, and all that was not known to be clean is zeroed before it is used.
func mended(t testing.TB, d *devtest.Disk, last seen) {
	t.Helper()
	shows(t, d, last)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	mustCheck(t, p)
	logged := false
	rs, err := p.EraseLog()
	ok(t, err)
	for _, r := range rs {
		logged = logged || strings.HasPrefix(r.Reason, reasonRepair)
	}
	if !logged {
		t.Error("the erase log does not tell of it")
	}
	eraseAll(t, p)
	if n := p.Usage().Dirty; n != 0 {
		t.Errorf("%d are dirty after all was erased", n)
	}
	v := mustVolume(t, p, "new", 1<<20)
	write(t, v, fill('n', 1<<20), 0)
	mustCheck(t, p)
	ok(t, p.Close())
	q, err := Open(d.Clone(), readOnly())
	ok(t, err)
	r, err := q.Check(context.Background()) // and what is clean is zero
	if err != nil || len(r.Errors)+len(r.Leaks)+len(r.Lost) > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// What says where blocks are free is made anew of what says where they are used.
func TestRepairDerives(t *testing.T) {
	base, last := losePool(t)
	for name, ptrs := range losses(t, base) {
		t.Run(name, func(t *testing.T) {
			d := base.Clone()
			spoilt(t, d, ptrs...)
			if r, err := Repair(context.Background(), d.Clone(), repairOptions()); err != nil || !r.Done() {
				t.Fatalf("%+v, %v", r, err)
			}
			r := repaired(t, d)
			for _, l := range r.Did {
				t.Log(l)
			}
			if len(r.Did) == 0 || !r.Done() {
				t.Fatalf("%+v", r)
			}
			mended(t, d, last)
		})
	}
}

// A crash at any operation of that, and an error of the device, leave a pool that another repair ends.
func TestRepairDerivesCrash(t *testing.T) {
	base, last := losePool(t)
	lost := base.Clone()
	spoilt(t, lost, losses(t, base)["groups and table and free map"]...)
	ends := func(d *devtest.Disk) {
		t.Helper()
		repaired(t, d)
		shows(t, d, last)
	}
	points, step := 0, 1
	if testing.Short() {
		step = 5
	}
	for k := 1; ; k += step {
		d := lost.Clone()
		d.CrashAt(k)
		_, err := Repair(context.Background(), d, repairOptions())
		if err == nil && !d.Crashed() {
			break
		}
		points++
		ends(d.Clone().Crash(rand.New(rand.NewPCG(uint64(k), 1))))
	}
	for k := 1; k <= 100; k += 7 * step { // the k-th operation fails once, reads are among them
		d, n := lost.Clone(), 0
		d.Fail(func(devtest.Op) error {
			if n++; n == k {
				return errPower
			}
			return nil
		})
		r, err := Repair(context.Background(), d, repairOptions())
		d.Fail(nil)
		if err == nil && r.Done() {
			shows(t, d.Clone(), last)
		}
		ends(d.Clone())
	}
	if points < 20/step {
		t.Errorf("%d points", points)
	}
}

// An error at any operation of the device leaves what a second repair ends, and no block is clean that holds anything.
func TestRepairGoesOn(t *testing.T) {
	base, last := losePool(t)
	all := losses(t, base)
	step := int64(3)
	if testing.Short() {
		step = 13
	}
	for what, ptrs := range map[string][]meta.Ptr{"all": all["groups and table and free map"], "a group": all["a group"]} {
		for slot := range int64(super.Slots + 1) { // the last one: both are there
			lost := base.Clone()
			spoilt(t, lost, ptrs...)
			if slot < super.Slots {
				wipe(t, lost, slot)
			}
			failed := 0
			for k := int64(1); ; k += step {
				lasts := 1 + 5*(k&1)                     // more than what is tried again at once
				d, asked := lost.Clone(), atomic.Int64{} // a check reads several pages at once
				d.Fail(func(devtest.Op) error {
					if n := asked.Add(1); n >= k && n < k+lasts {
						return errPower
					}
					return nil
				})
				_, err := Repair(context.Background(), d, repairOptions())
				if d = d.Clone(); asked.Load() < k { // as the next process finds it
					break
				}
				if err != nil {
					failed++
				}
				if r := repaired(t, d); r.Done() {
					shows(t, d, last)
				} else if slot == super.Slots {
					t.Fatalf("%s, operation %d: %+v", what, k, r)
				}
			}
			t.Logf("%s, superblock %d: %d repairs failed", what, slot, failed)
		}
	}
}

// A superblock is written anew also where a repair of the rest fails.
func TestRepairDoesTheRest(t *testing.T) {
	d, last := losePool(t)
	ptrs := losses(t, d)["a group"]
	_, slot, err := super.Read(d)
	ok(t, err)
	wipe(t, d, 1-int64(slot)) // the older one
	spoilt(t, d, ptrs...)
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpWrite && op.Off >= super.Slots*BlockSize {
			return errPower
		}
		return nil
	})
	s, _, err := super.Read(d)
	ok(t, err)
	if _, err := Repair(context.Background(), d, repairOptions()); err == nil {
		t.Error("the device takes no page, and it is repaired")
	}
	if lost := super.Lost(d, s.UUID); len(lost) > 0 {
		t.Errorf("lost: %q", lost)
	}
	d = d.Clone()
	if r := repaired(t, d); !r.Done() {
		t.Errorf("%+v", r)
	}
	shows(t, d, last)
}

// A group that was damaged under a mount has lost its clean blocks to nobody. A repair finds them.
func TestRepairFindsWhatAGroupLost(t *testing.T) {
	d, last := losePool(t)
	spoilt(t, d, losses(t, d)["all groups"]...)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	avail := p.Usage().Avail
	ok(t, p.Close())
	r := repaired(t, d)
	if !r.Done() || len(r.Did) == 0 {
		t.Fatalf("%+v", r)
	}
	mended(t, d, last)
	p, err = Open(d, readOnly())
	ok(t, err)
	if now := p.Usage().Avail; now+1<<20 <= avail { // the new volume has that
		t.Errorf("%d are available, before the repair it were %d", now, avail)
	}
}

// What a mounted pool could take no checkpoint for, with what was written then, is there after a repair.
func TestRepairOfWhatHeld(t *testing.T) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 4<<20)
	write(t, v, fill('a', 40*BlockSize), 0)
	ok(t, x.Checkpoint())
	write(t, v, fill('b', 40*BlockSize), 100*BlockSize)
	ok(t, x.Flush())
	x.spoil(x.blocks.groupTable.Root)
	if err := x.Checkpoint(); err == nil {
		t.Fatal("a checkpoint was taken")
	}
	write(t, v, fill('c', 40*BlockSize), 0)
	ok(t, x.Flush())
	last, err := look(x.Pool)
	ok(t, err)
	x.closed = true // as a killed process leaves it
	d := x.d.Clone()
	if _, err := Open(d.Clone(), readOnly()); err == nil {
		t.Fatal("it opens")
	}
	if r := repaired(t, d); !r.Done() {
		t.Fatalf("%+v", r)
	}
	mended(t, d, last)
}

// A page of the catalog that has names only is made anew of the inodes. One that has anything else is not.
func TestRepairDerivesNames(t *testing.T) {
	d := newDisk(t, 16<<20)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	for i := range 400 {
		_, err := p.Symlink(Req{}, RootIno, fmt.Sprintf("name %060d", i), "there")
		ok(t, err)
	}
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('v', 64<<10), 0)
	ok(t, p.Checkpoint())
	write(t, v, fill('w', 64<<10), 32<<10)
	ok(t, p.Flush())
	last, err := look(p)
	ok(t, err)
	tree := p.names.cat.Tree
	var leaves []meta.Ptr
	ok(t, p.names.cat.Family.Pages(tree, func(ptr meta.Ptr, leaf bool) error {
		if leaf {
			leaves = append(leaves, ptr)
		}
		return nil
	}))
	derived := 0
	for i, leaf := range leaves {
		x := d.Clone()
		spoilt(t, x, leaf)
		r, err := Repair(context.Background(), blockdev.NewOverlay(x), repairOptions())
		ok(t, err)
		if !r.Done() {
			continue
		}
		derived++
		r = repaired(t, x)
		t.Logf("leaf %d of %d: %q", i, len(leaves), r.Did)
		mended(t, x, last)
	}
	if derived < 3 || derived == len(leaves) {
		t.Errorf("%d of %d pages are made anew", derived, len(leaves))
	}
}

// Where it cannot be told what is used nothing is made anew: a block that a damaged page names would be free.
func TestRepairKeepsFromWhatIsNotKnown(t *testing.T) {
	d, _ := losePool(t)
	s, slot, err := super.Read(d)
	ok(t, err)
	p := newPool(d.Clone(), readOnly(), s, slot)
	ok(t, loadAlone(p))
	var pages []meta.Ptr
	for _, l := range p.tree.layers {
		m, _ := l.top.Bottom()
		ok(t, p.blocks.maps.Pages(m, func(ptr meta.Ptr, _ int64, _ uint8) (bool, error) {
			pages = append(pages, ptr)
			return true, nil
		}))
	}
	spoilt(t, d, pages[0], p.blocks.groupTable.Root)
	was := d.Clone()
	r := repaired(t, d)
	if r.Done() || len(r.Did) > 0 {
		t.Fatalf("%+v", r)
	}
	if string(d.Peek(0, d.Size())) != string(was.Peek(0, d.Size())) {
		t.Error("it was written to")
	}
}
