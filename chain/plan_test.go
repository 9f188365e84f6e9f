package chain

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

func planWrite(t testing.TB, v *Volume, off, n int64) *Plan {
	t.Helper()
	pl := &Plan{}
	if err := v.p.until(func() (Need, error) { return v.PlanWrite(pl, off, n) }); err != nil {
		t.Fatal(err)
	}
	return pl
}

func planRead(t testing.TB, v *Volume, off, n int64) *Plan {
	t.Helper()
	pl := &Plan{}
	if err := v.p.until(func() (Need, error) { return v.PlanRead(pl, off, n) }); err != nil {
		t.Fatal(err)
	}
	return pl
}

func carryOut(t testing.TB, pl *Plan, b []byte, off int64) {
	t.Helper()
	if err := pl.p.carryOut(pl, b, off, false); err != nil {
		t.Fatal(err)
	}
	if err := pl.Commit(pl.Len); err != nil {
		t.Fatal(err)
	}
}

func mustSnapshot(t testing.TB, v *Volume, name string) {
	t.Helper()
	if err := poolOf(v).Snapshot(Req{}, []Ino{v.ino}, name); err != nil {
		t.Fatal(err)
	}
}

func snapOf(t testing.TB, v *Volume, name string) *Snap {
	t.Helper()
	infos, err := poolOf(v).Snapshots(v.ino)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Name == name {
			s, err := poolOf(v).Snap(i.Layer)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("no snapshot %s", name)
	return nil
}

func mustClone(t testing.TB, v *Volume, snap, name string) *Volume {
	t.Helper()
	a, err := poolOf(v).Clone(Req{}, v.ino, snap, RootIno, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := poolOf(v).Volume(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A plan keeps what it names, whatever happens to the volume meanwhile: nothing is erased or handed out again.
func TestPlansHeldAcross(t *testing.T) {
	type event struct {
		name string
		do   func(t *testing.T, v *Volume) error
		gone bool // it waits for the writes
	}
	events := []event{
		{"discard", func(_ *testing.T, v *Volume) error { return v.Punch(0, 1<<20) }, true},
		{"large discard", func(_ *testing.T, v *Volume) error { return v.detach(0, mapEnd) }, false},
		{"truncate", func(_ *testing.T, v *Volume) error { return v.Truncate(0) }, true},
		{"rollback", func(_ *testing.T, v *Volume) error { return poolOf(v).Rollback(Req{}, v.ino, "a", true) }, true},
		{"unlink", func(_ *testing.T, v *Volume) error { return poolOf(v).Unlink(Req{}, RootIno, "v") }, true},
	}
	for _, e := range events {
		t.Run(e.name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 1<<20)
			mustSnapshot(t, v, "a")
			write(t, v, fill('x', 64<<10), 0)
			read := planRead(t, v, 0, 64<<10)
			inPlace := planWrite(t, v, 0, 4096)
			fresh := planWrite(t, v, 512<<10, 8192)
			done := make(chan error, 1)
			go func() { done <- e.do(t, v) }() // a rollback waits for the writes
			if !e.gone {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				if e.gone {
					p.mu.Lock()
					p.mu.Unlock() //nolint:staticcheck // lets the other goroutine in
				}
				if _, err := eraseSome(p, 1<<30); err != nil {
					t.Fatal(err)
				}
			}
			b := make([]byte, 64<<10)
			if _, err := p.volumes.readSpans(read, b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, fill('x', 64<<10)) {
				t.Fatal("what an open read plan names was changed")
			}
			read.Abort()
			carryOut(t, inPlace, fill('y', 4096), 0)
			carryOut(t, fresh, fill('z', 8192), 512<<10)
			if e.gone {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			if e.name == "discard" {
				expect(t, v, 0, fill(0, 1<<20))
			}
			eraseAll(t, p)
			mustCheck(t, p)
			for _, c := range "xy" {
				if at := p.dev.(*devtest.Disk).Find(fill(byte(c), 512)); len(at) > 0 {
					t.Errorf("%c is still at %v", c, at)
				}
			}
		})
	}
}

// A write in place that was planned before a snapshot belongs to it; an allocating one commits into the new head.
func TestSnapshotBetweenPlanAndWrite(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 8192), 0)
	inPlace := planWrite(t, v, 0, 4096)
	fresh := planWrite(t, v, 64<<10, 4096)
	done := make(chan error, 1)
	go func() { done <- p.Snapshot(Req{}, []Ino{v.ino}, "a") }()
	for v.headID() == inPlaceHead(v, inPlace) { // until the heads are switched
	}
	select {
	case err := <-done:
		t.Fatalf("the snapshot returned before the plans from before it ended: %v", err)
	case <-time.After(200 * time.Millisecond): // it has had time to
	}
	write(t, v, fill('n', 4096), 4096) // new writes go on
	carryOut(t, inPlace, fill('i', 4096), 0)
	carryOut(t, fresh, fill('f', 4096), 64<<10)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := snapOf(t, v, "a")
	expect(t, s, 0, fill('i', 4096))
	expect(t, s, 4096, fill('o', 4096))
	expect(t, s, 64<<10, fill(0, 4096))
	expect(t, v, 0, fill('i', 4096))
	expect(t, v, 4096, fill('n', 4096))
	expect(t, v, 64<<10, fill('f', 4096))
	write(t, v, fill('j', 4096), 0)
	expect(t, s, 0, fill('i', 4096))
}

func (v *Volume) headID() LayerID {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	return v.head().id
}

// inPlaceHead is the first layer of a test's volume, which has one before its first snapshot.
func inPlaceHead(v *Volume, _ *Plan) LayerID {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	first := v.head()
	for first.parent != nil {
		first = first.parent
	}
	return first.id
}

// A write that must read first has its block alone: it waits for older plans on it, younger ones wait for it.
func TestBlockLocks(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshot=%v", snapshot), func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 1<<20)
			full := planWrite(t, v, 0, 4096)
			done := make(chan error, 1)
			if snapshot {
				was := v.headID()
				go func() { done <- p.Snapshot(Req{}, []Ino{v.ino}, "a") }()
				for v.headID() == was {
				}
			}
			var part Plan
			need, err := v.PlanWrite(&part, 512, 512)
			if err != nil || !need.is(needPlan) {
				t.Fatalf("a partial write beside a full one: %+v, %v", need, err)
			}
			carryOut(t, full, fill('f', 4096), 0)
			if snapshot {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Fulfil(context.Background(), need); err != nil {
				t.Fatal(err)
			}
			part.Quit()
			write(t, v, fill('p', 512), 512)
			expect(t, v, 0, append(fill('f', 512), append(fill('p', 512), fill('f', 3072)...)...))
		})
	}
}

// poolOf is the pool of a volume.
func poolOf(v *Volume) *Pool { return v.p.commits.owner.(*Pool) }

// What is written in a row lies in a row on the device, and is read as one span, one request of the device, however many pieces,
// writes and layers made it.
func TestNeighboursAreOneSpan(t *testing.T) {
	for _, piece := range []int64{4 << 10, 20 << 10, 64 << 10, 1 << 20} {
		p := openPool(t, newDisk(t, 256<<20))
		const pieces = 16
		v := mustVolume(t, p, "v", pieces*piece)
		for i := range int64(pieces) {
			write(t, v, fill('a'+byte(i), int(piece)), i*piece)
			if i%4 == 0 {
				mustSnapshot(t, v, fmt.Sprint(i))
			}
		}
		pl := planRead(t, v, 0, pieces*piece)
		if len(pl.Spans) > 2 { // two claims may lie apart
			t.Errorf("%d spans of %d writes of %d bytes: %v", len(pl.Spans), pieces, piece, pl.Spans)
		}
		pl.Abort()
	}
}
