package chain

import (
	"context"
	"slices"
	"testing"

	"slatefs/chain/blockdev"
)

// drained brings all that is freed to jobs, and zeroes it.
func drained(t testing.TB, p *Pool) {
	t.Helper()
	ok(t, p.EraseDrain(context.Background()))
	_, err := eraseSome(p, 1<<62)
	ok(t, err)
}

// wantLeft wants one reason, and no other.
func wantLeft(t testing.TB, p *Pool, s Subject, want Remain) {
	t.Helper()
	e, err := EvidenceOf(p, s)
	ok(t, err)
	if len(e.Remains) == 1 && want.ID == 0 {
		want.ID = e.Remains[0].ID
	}
	if e.Complete || len(e.Remains) != 1 || e.Remains[0] != want {
		t.Fatalf("evidence is %+v, want one reason: %+v", e, want)
	}
}

func wantComplete(t testing.TB, p *Pool, s Subject) {
	t.Helper()
	if e, err := EvidenceOf(p, s); err != nil || !e.Complete {
		t.Fatalf("evidence is %+v, %v, want it complete", e, err)
	}
}

// A clone that writes less than a block takes the rest of it along, from its origin: the origin is not gone before that is.
func TestEvidenceOfBytesAlong(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	of := Subject{Volumes: []Ino{v.ino}}
	write(t, v, fill('a', 8<<10), 0)
	c, err := p.Clone(Req{}, v.ino, "", RootIno, "c.raw")
	ok(t, err)
	write(t, existing(t, p, "c.raw"), fill('b', 512), 0)
	write(t, existing(t, p, "c.raw"), fill('b', 4<<10), 4<<10)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	drained(t, p)
	wantLeft(t, p, of, Remain{State: RemainShown, Bytes: 8 << 10, By: "c.raw", UpTo: true})
	ok(t, p.Checkpoint())
	wantLeft(t, p, of, Remain{State: RemainShown, Bytes: 8 << 10, By: "c.raw", UpTo: true})
	ok(t, p.DestroyVolume(Req{}, c.Ino, DestroyOptions{}))
	drained(t, p)
	wantComplete(t, p, of)
	mustCheck(t, p)
}

// The heir of a merge writes in place to blocks that were born in its origin: its own bytes are there then, and go with them.
func TestEvidenceOfBytesInPlace(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	write(t, v, fill('a', 8<<10), 0)
	c, err := p.Clone(Req{}, v.ino, "", RootIno, "c.raw")
	ok(t, err)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	drained(t, p)
	write(t, existing(t, p, "c.raw"), fill('c', 8<<10), 0)
	x, err := p.Clone(Req{}, c.Ino, "", RootIno, "x.raw")
	ok(t, err)
	ok(t, p.DestroyVolume(Req{}, c.Ino, DestroyOptions{Snapshots: true, Defer: true}))
	drained(t, p)
	wantLeft(t, p, Subject{Volumes: []Ino{c.Ino}}, Remain{State: RemainShown, Bytes: 8 << 10, By: "x.raw", UpTo: true})
	wantLeft(t, p, Subject{Volumes: []Ino{v.ino}}, Remain{State: RemainShown, Bytes: 8 << 10, By: "x.raw"})
	names := map[string]bool{}
	ok(t, EachVolumeEver(p, func(v VolumeEver) error { names[v.Path] = v.Gone; return nil }))
	if !names["c.raw"] || !names["v.raw"] {
		t.Errorf("volumes that are gone: %v", names)
	}
	ok(t, p.DestroyVolume(Req{}, x.Ino, DestroyOptions{}))
	drained(t, p)
	for _, ino := range []Ino{v.ino, c.Ino, x.Ino} {
		wantComplete(t, p, Subject{Volumes: []Ino{ino}})
	}
	mustCheck(t, p)
}

// What a crash left claimed may be anybody's who was there, until it is zero, and of who came later and has the number, and so the
// UUID, of one that the crash took; not of who was gone.
func TestEvidenceOfCrash(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v.raw", 64<<10)
	gone := mustVolume(t, p, "gone.raw", 64<<10)
	write(t, gone, fill('g', 4<<10), 0)
	ok(t, p.DestroyVolume(Req{}, gone.ino, DestroyOptions{}))
	drained(t, p)
	ok(t, p.Flush())
	write(t, v, fill('a', 8<<10), 0) // its record is lost
	lost := mustVolume(t, p, "lost.raw", 64<<10)
	write(t, lost, fill('l', 8<<10), 0)
	p, _ = reopen(t, d, 1)
	later := mustVolume(t, p, "later.raw", 64<<10)
	if later.ino != lost.ino {
		t.Fatalf("inode %d, want that of the lost one, %d", later.ino, lost.ino)
	}
	for _, ino := range []Ino{v.ino, later.ino} {
		e := ofVolume(t, p, ino)
		if e.Complete || len(e.Remains) != 1 || e.Remains[0].State != RemainCrash {
			t.Fatalf("evidence of %d is %+v, and a crash left blocks", ino, e)
		}
	}
	wantComplete(t, p, Subject{Volumes: []Ino{gone.ino}})
	drained(t, p)
	wantComplete(t, p, Subject{Volumes: []Ino{v.ino}})
	wantComplete(t, p, Subject{Volumes: []Ino{later.ino}})
}

// Blocks that could not be zeroed, were only released, are of erase=none, or are being written, are told as such.
func TestEvidenceStates(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	gone := func(name string, s ...Setting) Subject {
		v := mustVolume(t, p, name, 64<<10)
		if len(s) > 0 {
			ok(t, p.SetProps(Req{}, v.ino, s...))
		}
		write(t, v, fill('a', 8<<10), 0)
		ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
		ok(t, p.EraseDrain(context.Background()))
		return Subject{Volumes: []Ino{v.ino}}
	}
	none := gone("none.raw", Setting{Name: PropErase, Value: EraseNone})
	wantLeft(t, p, none, Remain{State: RemainUnscheduled, Bytes: 8 << 10})

	failed := gone("failed.raw")
	wantLeft(t, p, failed, Remain{State: RemainQueued, Bytes: 8 << 10})
	tok, rs := lend(t, p, 1<<20)
	_, err := p.Report(blockdev.Done{Token: tok, Failed: rs}, How{})
	ok(t, err)
	wantLeft(t, p, failed, Remain{State: RemainFailed, Bytes: 8 << 10})

	released := gone("released.raw")
	tok, rs = lend(t, p, 1<<20)
	for _, r := range rs {
		ok(t, p.dev.Zero(r.Off, r.Len, blockdev.Overwrite))
	}
	ok(t, reportHow(p, tok, rs, nil, How{Method: "release", Releases: true}))
	wantLeft(t, p, released, Remain{State: RemainReleased, Bytes: 8 << 10})

	v := mustVolume(t, p, "writing.raw", 64<<10)
	writing := Subject{Volumes: []Ino{v.ino}}
	wantComplete(t, p, writing)
	var pl Plan
	ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, 0, 8<<10) }))
	wantLeft(t, p, writing, Remain{State: RemainWriting, Bytes: 8 << 10})
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
	wantLeft(t, p, writing, Remain{State: RemainWriting, Bytes: 8 << 10})
	pl.Abort()
	wantLeft(t, p, writing, Remain{State: RemainQueued, Bytes: 8 << 10})
	drained(t, p)
	wantComplete(t, p, writing)
}

// Of a pool that an older program made not all is known of what was there before, and all of what came since.
func TestEvidenceOfOldPool(t *testing.T) {
	d := readGolden(t)
	p := openPool(t, d)
	drained(t, p) // what the process left that made it
	old := existing(t, p, "disk.raw")
	wantLeft(t, p, Subject{Volumes: []Ino{old.ino}}, Remain{State: RemainUnknown})
	v := mustVolume(t, p, "new.raw", 64<<10)
	of := Subject{Volumes: []Ino{v.ino}}
	write(t, v, fill('n', 8<<10), 0)
	wantLeft(t, p, of, Remain{State: RemainShown, Bytes: 8 << 10, By: "new.raw"})
	ok(t, p.Checkpoint())
	p, _ = reopen(t, d, 1)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
	drained(t, p)
	wantComplete(t, p, of)
	wantLeft(t, p, Subject{Volumes: []Ino{old.ino}}, Remain{State: RemainUnknown})
	mustCheck(t, p)
}

// released brings all that is freed to jobs, and has an eraser that only gives the space back.
func released(t testing.TB, p *Pool) {
	t.Helper()
	ok(t, p.EraseDrain(context.Background()))
	for {
		tok, rs := lend(t, p, 1<<30)
		if tok == 0 {
			return
		}
		for _, r := range rs {
			ok(t, p.dev.Zero(r.Off, r.Len, blockdev.Overwrite))
		}
		ok(t, p.dev.Sync())
		ok(t, reportHow(p, tok, rs, nil, How{Method: "release", Releases: true}))
	}
}

// What a crash left claimed, and was only released, may be anybody's for good.
func TestEvidenceOfReleasedCrash(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v.raw", 64<<10)
	ok(t, p.Flush())
	write(t, v, fill('a', 8<<10), 0) // its record is lost
	p, _ = reopen(t, d, 1)
	released(t, p)
	for range 2 {
		for _, s := range []Subject{{Volumes: []Ino{v.ino}}, {Layer: 1}} {
			if e, err := EvidenceOf(p, s); err != nil || len(e.Remains) != 1 || e.Remains[0].State != RemainReleased || !e.Remains[0].UpTo {
				t.Errorf("evidence of %+v is %+v, %v, and what a crash left was only released", s, e, err)
			}
		}
		ok(t, p.Checkpoint())
		settleAccounts(t, p)
	}
}

// The same in a pool that an older program made: of births that nobody knows it has no account.
func TestEvidenceOfReleasedCrashInOldPool(t *testing.T) {
	d := readGolden(t)
	p := openPool(t, d)
	drained(t, p)
	v := mustVolume(t, p, "new.raw", 64<<10)
	ok(t, p.Flush())
	write(t, v, fill('n', 8<<10), 0) // its record is lost
	p, d = reopen(t, d, 1)
	released(t, p)
	for range 3 {
		wantLeft(t, p, Subject{Volumes: []Ino{v.ino}}, Remain{State: RemainReleased, Bytes: nobodysIn(p), UpTo: true})
		ok(t, p.Checkpoint())
		ok(t, p.Close())
		p = openPool(t, d)
	}
	mustCheck(t, p)
}

// nobodysIn is what of births that nobody knows was only released, in bytes.
func nobodysIn(p *Pool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.origins.nobodys * BlockSize
}

// A volume to which nothing was written, for all that is known, is known when it is gone, also after the job of what a crash left is
// over, if that was only released.
func TestEvidenceOfUnwrittenAfterRelease(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	lost := mustVolume(t, p, "lost.raw", 64<<10)
	ok(t, p.Flush())
	write(t, lost, fill('l', 8<<10), 0)
	p, d = reopen(t, d, 1)
	released(t, p)
	ok(t, p.Flush())
	for _, how := range []string{"in memory", "replayed", "loaded"} {
		switch how {
		case "loaded":
			ok(t, p.Checkpoint())
			fallthrough
		case "replayed":
			p, d = reopen(t, d, 2)
		}
		v := mustVolume(t, p, how+".raw", 64<<10)
		ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
		ok(t, p.Flush())
		known := false
		ok(t, EachVolumeEver(p, func(e VolumeEver) error { known = known || e.Ino == v.ino; return nil }))
		if !known {
			t.Errorf("%s: it is not known", how)
		}
	}
	mustCheck(t, p)
}

// Bytes of a volume may be in what is another's: what of that was only released keeps both from being complete.
func TestEvidenceOfReleasedElsewhere(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	write(t, v, fill('a', 8<<10), 0)
	c, err := p.Clone(Req{}, v.ino, "", RootIno, "c.raw")
	ok(t, err)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	drained(t, p)
	write(t, existing(t, p, "c.raw"), fill('c', 8<<10), 0)
	ok(t, p.DestroyVolume(Req{}, c.Ino, DestroyOptions{}))
	released(t, p)
	for range 2 {
		wantLeft(t, p, Subject{Volumes: []Ino{v.ino}}, Remain{State: RemainReleased, Bytes: 8 << 10})
		wantLeft(t, p, Subject{Volumes: []Ino{c.Ino}}, Remain{State: RemainReleased, Bytes: 8 << 10, UpTo: true})
		settleAccounts(t, p)
	}
	mustCheck(t, p)
}

// A volume to which nothing was written, for all that is known, is known when it is gone, if there may be bytes of it: what a crash
// left may be its, and a write that was under way when it was destroyed.
func TestEvidenceOfUnwritten(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	known := func(ino Ino) (yes bool) {
		ok(t, EachVolumeEver(p, func(v VolumeEver) error { yes = yes || v.Ino == ino; return nil }))
		return yes
	}
	gone := func(v *Volume) {
		ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
		ok(t, p.Flush())
	}
	none := mustVolume(t, p, "none.raw", 64<<10)
	gone(none)
	late := mustVolume(t, p, "late.raw", 64<<10)
	var pl Plan
	ok(t, p.volumes.until(func() (Need, error) { return late.PlanWrite(&pl, 0, 8<<10) }))
	gone(late)
	pl.Abort()
	lost := mustVolume(t, p, "lost.raw", 64<<10)
	ok(t, p.Flush())
	write(t, lost, fill('l', 8<<10), 0)
	p, _ = reopen(t, d, 1)
	gone(existing(t, p, "lost.raw"))
	for range 2 {
		if known(none.ino) || !known(late.ino) || !known(lost.ino) {
			t.Errorf("known are none.raw %v, late.raw %v, lost.raw %v", known(none.ino), known(late.ino), known(lost.ino))
		}
		ok(t, p.Checkpoint())
	}
	if e := ofVolume(t, p, lost.ino); e.Complete || len(e.Remains) != 1 || e.Remains[0].State != RemainCrash {
		t.Errorf("evidence of lost.raw is %+v, and a crash left blocks", e)
	}
	drained(t, p)
	later := mustVolume(t, p, "later.raw", 64<<10)
	gone(later)
	if known(later.ino) {
		t.Error("later.raw is known, and nothing is left that may be its")
	}
	mustCheck(t, p)
}

// A snapshot in whose own layer nothing was born shows what is older, and is not complete while it does; its layer has nothing, and is. One
// that shows nothing is complete.
func TestEvidenceOfWhatIsShown(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	mustSnapshot(t, v, "empty")
	write(t, v, fill('a', 8<<10), 0)
	mustSnapshot(t, v, "first")
	mustSnapshot(t, v, "idle")
	write(t, v, fill('b', 4<<10), 32<<10)
	mustSnapshot(t, v, "last")
	layer := func(name string) LayerID { return snapOf(t, v, name).l.id }
	wantComplete(t, p, Subject{Layer: layer("empty"), Shows: true})
	wantComplete(t, p, Subject{Layer: layer("idle")})
	for name, want := range map[string]int64{"first": 8 << 10, "idle": 8 << 10, "last": 12 << 10} {
		e, err := EvidenceOf(p, Subject{Layer: layer(name), Shows: true})
		ok(t, err)
		if r := (Remain{State: RemainShown, Bytes: want, By: "v.raw@" + name}); e.Complete || !slices.Contains(e.Remains, r) {
			t.Errorf("%s: %+v, want %+v in it", name, e, r)
		}
	}
	idle := Subject{Layer: layer("idle"), Shows: true}
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"idle"}, DestroyOptions{}))
	wantComplete(t, p, idle) // it has gone
}

// Bytes that a write of less than a block took along into a clone, and another one in there from a snapshot of it into its head, are
// there when the first block of the clone is zero.
func TestEvidenceOfBytesFartherAlong(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	of := Subject{Volumes: []Ino{v.ino}}
	write(t, v, fill('a', 4<<10), 0)
	mustSnapshot(t, v, "layer")
	layer := Subject{Layer: snapOf(t, v, "layer").l.id}
	_, err := p.Clone(Req{}, v.ino, "", RootIno, "c.raw")
	ok(t, err)
	c := existing(t, p, "c.raw")
	write(t, c, fill('b', 512), 0)
	mustSnapshot(t, c, "s")
	write(t, c, fill('c', 512), 512)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	ok(t, p.DestroySnapshots(Req{}, c.ino, []string{"s"}, DestroyOptions{}))
	drained(t, p)
	for range 2 {
		for _, s := range []Subject{of, layer} {
			wantLeft(t, p, s, Remain{State: RemainShown, Bytes: 4 << 10, By: "c.raw", UpTo: true})
		}
		ok(t, p.Checkpoint())
	}
	ok(t, p.DestroyVolume(Req{}, c.ino, DestroyOptions{}))
	drained(t, p)
	wantComplete(t, p, of)
	wantComplete(t, p, layer)
	mustCheck(t, p)
}
