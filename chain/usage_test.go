package chain

import (
	"syscall"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// usageOf expects that the states add up, and what of them is guests'.
func usageOf(t *testing.T, p *Pool, what string, live, dirty, freeing, failed int64) {
	t.Helper()
	u := p.Usage()
	if sum := u.Live + u.Clean + u.Claimed + u.Dirty + u.Freeing + u.Failed + u.Meta; sum != u.Total || u.Total != p.dev.Size() {
		t.Errorf("%s: the states of %d bytes add up to %d: %+v", what, u.Total, sum, u)
	}
	if got, want := [4]int64{u.Live, u.Dirty, u.Freeing, u.Failed}, scaled4([4]int64{live, dirty, freeing, failed}); got != want {
		t.Errorf("%s: live, dirty, freeing, failed %v, want %v", what, got, want)
	}
	total, free, avail, files, left := p.StatFS(RootIno)
	p.mu.Lock()
	lacking := p.space.ledger.PagesLacking(p.space.supply())
	p.mu.Unlock()
	if avail != u.Avail || avail > free || free > total || total+u.Reserve+u.Meta+lacking*BlockSize != u.Total || files+left != 1<<48 {
		t.Errorf("%s: statfs: %d bytes, %d free, %d available, %d files and %d more; %+v", what, total, free, avail, files, left, u)
	}
	mustCheck(t, p)
}

func TestUsage(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	usageOf(t, p, "empty", 0, 0, 0, 0)
	if total, free, avail, _, _ := p.StatFS(RootIno); total != free || free != avail {
		t.Errorf("an empty pool of %d bytes has %d free, %d available", total, free, avail)
	}
	v := mustVolume(t, p, "v", 1<<20)
	blocksAt(t, v, 'a', 0, 20)
	usageOf(t, p, "written", 20, 0, 0, 0)
	pl := planWrite(t, v, 100*BlockSize, 8*BlockSize)
	avail, pages := p.Usage().Avail, pl.room.pages*BlockSize
	pl.Abort() // what it claimed is dirty; it can be made clean, so it is available again
	usageOf(t, p, "aborted", 20, 8, 0, 0)
	if got := p.Usage().Avail; got < avail+8*BlockSize || got > avail+8*BlockSize+pages {
		t.Errorf("%d bytes available after an abort, %d before", got, avail)
	}
	mustSnapshot(t, v, "s")
	blocksAt(t, v, 'b', 0, 5)
	usageOf(t, p, "over a snapshot", 25, 8, 0, 0)
	blocksAt(t, v, 'c', 3, 4)
	usageOf(t, p, "again", 27, 8, 0, 0)
	ok(t, v.Punch(0, 2*BlockSize))
	usageOf(t, p, "punched", 25, 10, 0, 0)
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}))
	usageOf(t, p, "destroyed", 18, 17, 0, 0)
	c := mustClone(t, v, "", "c")
	blocksAt(t, c, 'd', 30, 6)
	usageOf(t, p, "cloned", 24, 17, 0, 0)
	ok(t, p.Unlink(Req{}, RootIno, "c"))
	usageOf(t, p, "unlinked", 18, 17, 6, 0)
	ok(t, p.EraseDrain(t.Context()))
	usageOf(t, p, "walked", 18, 23, 0, 0)
	id, runs := lend(t, p, 3*BlockSize)
	ok(t, report(p, id, nil, runs))
	usageOf(t, p, "failed", 18, 20, 0, 3)
	p, _ = reopen(t, d, 6) // everything was flushed by the report
	u := p.Usage()
	usageOf(t, p, "after a crash", 18, u.Dirty/BlockSize, 0, 3) // claims of the window are dirty too
	if u.Claimed != 0 || u.Dirty <= 20*BlockSize {
		t.Errorf("%+v", u)
	}
	eraseAll(t, p)
	usageOf(t, p, "erased", 18, 0, 0, 0)
	if u.Volumes != 1 || u.Snapshots != 0 || u.Layers != 1 || u.JournalSize != 64<<10 || u.Generation == 0 {
		t.Errorf("%+v", u)
	}
	p = again(t, p, false)
	usageOf(t, p, "after a restart", 18, 0, 0, 0)
	if u := p.Usage(); u.Claimed != 0 || u.JournalUsed > u.JournalSize {
		t.Errorf("after a clean end: %+v", u)
	}
}

// The store's extents are no room for files, also after a crash that replays their grants.
func TestStatFSAfterGrants(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", 8<<30)
	had := len(p.blocks.store.Extents())
	for i := range int64(300) {
		write(t, v, fill('a', 4096), i*(8<<20))
	}
	ok(t, p.space.grantAhead())
	ok(t, p.Flush()) // of the last writes the store may have needed nothing
	if len(p.blocks.store.Extents()) == had {
		t.Fatal("no grant")
	}
	usageOf(t, openCrashed(t, p), "after a crash", 300, p.Usage().Claimed/BlockSize, 0, 0)
}

func openCrashed(t *testing.T, p *Pool) *Pool {
	t.Helper()
	q, _ := reopen(t, p.dev.(*devtest.Disk).Clone(), 7)
	return q
}

// A failed sync leaves a pool that can be read and closed.
func TestFailedPoolCloses(t *testing.T) {
	d := newDisk(t, 2<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 8192)
	write(t, v, fill('a', 4096), 0)
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync {
			return syscall.EIO
		}
		return nil
	})
	wantErr(t, "flush", p.Flush(), syscall.EIO)
	wantErr(t, "create", func() error { _, err := p.Create(Req{}, RootIno, "x", 0); return err }(), ErrReadOnly)
	wantErr(t, "failed", p.Failed(), ErrReadOnly)
	expect(t, v, 0, fill('a', 4096))
	wantErr(t, "close", p.Close(), ErrReadOnly)
	wantErr(t, "close again", p.Close(), nil)
}
