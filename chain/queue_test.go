package chain

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/chain/super"
)

// dirtied is a pool with three jobs, oldest first: what v overwrote, a destroyed snapshot, a destroyed volume.
func dirtied(t *testing.T) (*Pool, *Volume, *clock) {
	t.Helper()
	now := newClock()
	p := openPool(t, newDisk(t, 4<<20))
	p.opt.Now = now.now
	v, w := mustVolume(t, p, "v", 1<<20), mustVolume(t, p, "w", 1<<20)
	for i := range int64(20) { // the first five of v are alone on the device
		lb := i * 2
		if i < 10 {
			lb = i/2*2 + i%2*10
		}
		blocksAt(t, v, 'v', lb, 1)
		blocksAt(t, w, 'w', i*3, 2)
	}
	ok(t, v.Punch(0, 10*BlockSize)) // 5 blocks
	mustSnapshot(t, v, "s")
	blocksAt(t, v, 'x', 10, 30) // over 15
	ok(t, p.DestroySnapshots(Req{UID: 7}, v.ino, []string{"s"}, DestroyOptions{}))
	ok(t, p.Unlink(Req{Actor: "test"}, RootIno, "w")) // 40
	ok(t, p.EraseDrain(t.Context()))
	return p, v, now
}

func zeroThem(t *testing.T, p *Pool, runs []blockdev.Extent) {
	t.Helper()
	for _, r := range runs {
		ok(t, p.dev.Zero(r.Off, r.Len, blockdev.Overwrite))
	}
	ok(t, p.dev.Sync())
}

func TestEraseJobs(t *testing.T) {
	p, v, now := dirtied(t)
	js := p.EraseJobs()
	want := []JobInfo{
		{Volume: "v", Reason: reasonOverwritten, Freed: 5 * BlockSize},
		{Volume: "v", Layer: "s", Reason: reasonSnapshot, Freed: 15 * BlockSize},
		{Volume: "w", Reason: reasonVolume, Freed: 40 * BlockSize},
	}
	if len(js) != len(want) {
		t.Fatalf("%+v", js)
	}
	for i, j := range js {
		w := want[i]
		if j.Volume != w.Volume || j.Layer != w.Layer || j.Reason != w.Reason || j.Freed != w.Freed || j.Dirty != w.Freed || j.State != "queued" {
			t.Errorf("job %d: %+v, want %+v", i, j, w)
		}
		if j.Since.IsZero() || j.Since.After(now.t) || i > 0 && j.ID <= js[i-1].ID {
			t.Errorf("job %d: %+v", i, j)
		}
	}
	pl := planRead(t, v, 0, 4096)
	if id, runs := lend(t, p, 1<<30); runs != nil {
		t.Fatalf("job %d: %v are handed out under a plan that is older", id, runs)
	}
	for _, j := range p.EraseJobs() {
		if j.State != "waiting" {
			t.Errorf("under an open plan: %+v", j)
		}
	}
	pl.Abort()
	id, runs := lend(t, p, 1<<30)
	if s := p.EraseJobs()[0]; s.State != "erasing" || s.ID != jobOfToken(p, id) {
		t.Errorf("%+v", s)
	}
	ok(t, report(p, id, nil, runs))
	if s := p.EraseJobs()[0]; s.State != "failed" || s.Failed != s.Freed || s.Dirty != 0 {
		t.Errorf("%+v", s)
	}
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	ok(t, p.Checkpoint())
	if s := p.EraseJobs(); s[len(s)-1].State != "walking" {
		t.Errorf("%+v", s)
	}
}

// Oldest job first, in device order inside, in parts of any size, nothing twice; and freed = erased + queued + failed.
func TestQueueOrder(t *testing.T) {
	for _, part := range []int64{1, 3, 7, 1000} {
		p, _, now := dirtied(t)
		seen := map[int64]bool{}
		var ids []uint64
		last := map[uint64]int64{}
		total, failed := int64(0), int64(0)
		for step := int64(0); ; step++ {
			tok, runs := lend(t, p, part*BlockSize)
			if len(runs) == 0 {
				break
			}
			id := jobOfToken(p, tok)
			if len(ids) == 0 || ids[len(ids)-1] != id {
				ids = append(ids, id)
			}
			n := int64(0)
			for _, r := range runs {
				if r.Off <= last[id] {
					t.Errorf("job %d: block %d after %d", id, r.Off/BlockSize, last[id]/BlockSize)
				}
				last[id] = r.Off
				for b := r.Off; b < r.End(); b += BlockSize {
					if seen[b] {
						t.Errorf("block %d is handed out twice", b/BlockSize)
					}
					seen[b] = true
				}
				n += r.Len / BlockSize
			}
			if n > part {
				t.Errorf("%d blocks handed out, asked for %d", n, part)
			}
			if total += n; step%3 == 1 {
				failed += n
				ok(t, report(p, tok, nil, runs))
			} else {
				zeroThem(t, p, runs)
				ok(t, report(p, tok, runs, nil))
			}
			for _, j := range p.EraseJobs() {
				if j.Freed != j.Erased+j.Dirty+j.Failed {
					t.Errorf("%+v does not add up", j)
				}
			}
			mustCheck(t, p)
		}
		if total != 60 || !slices.IsSorted(ids) || len(ids) != 3 {
			t.Errorf("in parts of %d: %d blocks of jobs %v", part, total, ids)
		}
		usageOf(t, p, "what failed", 30, 0, 0, failed)
		now.t = now.t.Add(2 * time.Hour)
		eraseAll(t, p)
		usageOf(t, p, "all", 30, 0, 0, 0)
		if at := p.dev.(*devtest.Disk).Find(fill('w', 512)); at != nil {
			t.Errorf("w is still at %v", at)
		}
	}
}

// What failed is tried again after 1, 2, 4, ... seconds.
func TestRetryBackOff(t *testing.T) {
	p, v, now := dirtied(t)
	eraseAll(t, p)
	blocksAt(t, v, 'n', 60, 4)
	ok(t, v.Punch(60*BlockSize, 4*BlockSize))
	for i := range 16 {
		wait := time.Second << min(i, 12)
		id, runs := lend(t, p, 1<<30)
		if id == 0 || extentBytes(runs) != 4*BlockSize {
			t.Fatalf("try %d: %v", i, runs)
		}
		at := now.t
		ok(t, report(p, id, nil, runs))
		if u := p.Usage(); u.Failed != 4*BlockSize || u.Dirty != 0 {
			t.Errorf("%+v", u)
		}
		now.t = at.Add(wait - time.Second/2)
		if id, runs := lend(t, p, 1<<30); runs != nil {
			t.Errorf("try %d: job %d is handed out before %v", i, id, wait)
		}
		now.t = at.Add(wait + time.Second/2)
	}
	eraseAll(t, p)
	mustCheck(t, p)
}

func extentBytes(rs []blockdev.Extent) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}

// The unmap and the seal are durable before a block is handed out, so before it is zeroed; the zeros are synced before
// the record that says so; that record is durable before the block is clean for others (invariant 5).
func TestEraseOrder(t *testing.T) {
	d := newDisk(t, 2<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 64<<10)
	blocksAt(t, v, 'a', 0, 4)
	ok(t, p.Flush())
	ok(t, v.Punch(0, 64<<10))
	var ops []string
	ring := func(off int64) bool { return off >= super.Slots*BlockSize && off < super.Slots*BlockSize+p.format.Ring }
	d.Fail(func(op devtest.Op) error {
		switch {
		case op.Kind == devtest.OpSync:
			ops = append(ops, "sync")
		case op.Kind == devtest.OpZero:
			ops = append(ops, "zero")
		case op.Kind == devtest.OpWrite && ring(op.Off):
			ops = append(ops, "batch")
		case op.Kind != devtest.OpRead:
			ops = append(ops, op.String())
		}
		return nil
	})
	id, runs := lend(t, p, 1<<30)
	zeroThem(t, p, runs)
	if st, err := p.blocks.alloc.State(alloc.BlockID(runs[0].Off / BlockSize)); err != nil || st != alloc.InUse {
		t.Errorf("before the report the block is %v, %v", st, err)
	}
	ok(t, report(p, id, runs, nil))
	if want := []string{"sync", "batch", "sync", "zero", "sync", "sync", "batch", "sync"}; !slices.Equal(ops, want) {
		t.Errorf("%q, want %q", ops, want)
	}
	d.Fail(nil)
}

// Nothing is handed out when the seal cannot be made durable.
func TestNoEraseWithoutSeal(t *testing.T) {
	d := newDisk(t, 2<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 64<<10)
	blocksAt(t, v, 'a', 0, 4)
	ok(t, v.Punch(0, 64<<10))
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpWrite {
			return syscall.EIO
		}
		return nil
	})
	if h, err := p.Next(1 << 30); h.Token != 0 || h.Runs != nil || fault.Of(err) != fault.Pool || p.Failed() == nil {
		t.Errorf("%+v, %v, pool %v", h, err, p.Failed())
	}
	d.Fail(nil)
	if h, err := p.Next(1 << 30); h.Token != 0 || h.Runs != nil || fault.Of(err) != fault.Pool {
		t.Errorf("a read-only pool hands out %+v, %v", h, err)
	}
}

func TestEpochs(t *testing.T) {
	e := newEpochs()
	if !e.over(0) {
		t.Error("nothing was ever open, and it is not over")
	}
	a, b := e.pin(0), e.pin(planLanes-1)
	first := e.seal()
	c := e.pin(1)
	second := e.seal()
	for _, s := range []struct {
		unpin         *epoch
		lane          uint8
		first, second bool
	}{{a, 0, false, false}, {c, 1, false, false}, {b, planLanes - 1, true, true}} {
		if !s.unpin.unpin(s.lane) {
			t.Error("nobody is told of the end of a plan that may be waited for")
		}
		if e.over(first) != s.first || e.over(second) != s.second {
			t.Errorf("over: %v, %v, want %v, %v", e.over(first), e.over(second), s.first, s.second)
		}
	}
	d := e.pin(2) // younger ones do not matter
	if !e.over(second) || e.over(d.number) {
		t.Error("a younger plan counts")
	}
	if d.unpin(2) {
		t.Error("somebody is told of the end of a plan that nobody waits for")
	}
}

func TestReadyIsSignalled(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	v := mustVolume(t, p, "v", 64<<10)
	blocksAt(t, v, 'a', 0, 4)
	ok(t, p.Flush())
	for len(p.Ready()) > 0 {
		<-p.Ready()
	}
	ok(t, v.Punch(0, 64<<10))
	select {
	case <-p.Ready():
	default:
		t.Error("dirty blocks, and no signal")
	}
	pl := planRead(t, v, 0, 4096)
	if _, runs := lend(t, p, 1<<30); runs != nil {
		t.Fatal("handed out under an open plan")
	}
	for len(p.Ready()) > 0 {
		<-p.Ready()
	}
	pl.Abort()
	select {
	case <-p.Ready():
	default:
		t.Error("the last plan ended, and no signal")
	}
}
