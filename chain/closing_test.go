package chain

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
)

// settle closes what can be closed: it takes the checkpoints that find it.
func settleAccounts(t testing.TB, p *Pool) {
	t.Helper()
	for range 3 {
		ok(t, p.Checkpoint())
		for more := true; more; {
			var err error
			more, err = p.keeper.closeSome(context.Background())
			ok(t, err)
		}
	}
	ok(t, p.Checkpoint())
}

// openAccounts are the rows of accounts that there are, but for what nobody knows the origin of.
func openAccounts(t testing.TB, p *Pool) (ids []LayerID) {
	t.Helper()
	ok(t, p.names.cat.Scan(catalog.Key(catalog.Account, 1), func(k meta.Key, _ []byte) bool {
		if catalog.KindOf(k) != catalog.Account {
			return false
		}
		ids = append(ids, LayerID(catalog.NumberOf(k)))
		return true
	}))
	return ids
}

func ofVolume(t testing.TB, p *Pool, vol Ino) Evidence {
	t.Helper()
	e, err := EvidenceOf(p, Subject{Volumes: []Ino{vol}})
	ok(t, err)
	return e
}

// A volume's account is closed when the last clone that shows its blocks has gone, without anybody asking; so is the clone's own. What
// is known of both stays, after a crash too.
func TestAccountsClose(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "vm.raw", 64<<10)
	write(t, v, fill('a', 32<<10), 0)
	a, err := p.Clone(Req{}, v.ino, "", RootIno, "c.raw")
	ok(t, err)
	c := existing(t, p, "c.raw")
	write(t, c, fill('b', 8<<10), 0)
	ok(t, p.DestroyVolume(Req{UID: 7}, v.ino, DestroyOptions{Snapshots: true, Defer: true, Now: true}))
	eraseAll(t, p)
	settleAccounts(t, p)
	e := ofVolume(t, p, v.ino)
	if want := (Remain{State: RemainShown, Bytes: 24 << 10, By: "c.raw"}); e.Complete || len(e.Remains) != 1 || e.Remains[0] != want {
		t.Fatalf("a clone shows it: %+v", e)
	}
	ok(t, p.DestroyVolume(Req{}, a.Ino, DestroyOptions{Now: true}))
	eraseAll(t, p)
	ok(t, p.Flush())
	p, d = reopen(t, d, 1)
	eraseAll(t, p) // what the crash left
	settleAccounts(t, p)
	mustCheck(t, p)
	if ids := openAccounts(t, p); len(ids) > 0 {
		t.Errorf("accounts of layers %v are open", ids)
	}
	for vol, written := range map[Ino]int64{v.ino: 32 << 10, a.Ino: 8 << 10} {
		if e := ofVolume(t, p, vol); !e.Complete || e.Written != written || e.Zeroed != written || e.Left != 0 {
			t.Errorf("volume %d: %+v", vol, e)
		}
	}
	p, _ = reopen(t, d, 2)
	if e := ofVolume(t, p, v.ino); e.Written != 32<<10 {
		t.Errorf("after a crash: %+v", e)
	}
	log, err := p.EraseLog()
	ok(t, err)
	gone := map[string]int64{}
	for _, r := range log {
		if r.Kind == evidence.Closed && r.Reason == reasonGone {
			gone[r.Volume] += r.Row.Written * BlockSize
		}
	}
	if len(gone) != 2 || gone["vm.raw"] == 0 || gone["c.raw"] == 0 {
		t.Errorf("the log says of these that all of them is gone: %v", gone)
	}
	var names []string
	ok(t, EachVolumeEver(p, func(v VolumeEver) error {
		names = append(names, v.Path)
		return nil
	}))
	if len(names) != 2 || names[0] != "vm.raw" || names[1] != "c.raw" {
		t.Errorf("volumes that ever were: %v", names)
	}
}

// What an account had when it was closed counts at once in what the pool ever wrote, not from the next checkpoint on.
func TestPoolEvidenceOfClosed(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "vm.raw", 64<<10)
	write(t, v, fill('a', 32<<10), 0)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Now: true}))
	drained(t, p)
	ok(t, p.Checkpoint())
	if more, err := p.keeper.closeSome(context.Background()); err != nil || !more {
		t.Fatalf("nothing was closed: %v, %v", more, err)
	}
	for range 2 {
		if e, err := EvidenceOf(p, Subject{Pool: true}); err != nil || !e.Complete || e.Written != 32<<10 || e.Zeroed != 32<<10 {
			t.Errorf("%+v, %v", e, err)
		}
		ok(t, p.Checkpoint())
	}
}

// logClosedAll is how often the log says of a volume that all of it is gone.
func logClosedAll(t testing.TB, p *Pool, path string) (n int) {
	t.Helper()
	log, err := p.EraseLog()
	ok(t, err)
	for _, r := range log {
		if r.Kind == evidence.Closed && r.Reason == reasonGone && r.Volume == path {
			n++
		}
	}
	return n
}

// An account that cannot be closed when that is found is closed later: here a clone has bytes of the volume in a block of its own.
func TestAccountsCloseLater(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	write(t, v, fill('a', 8<<10), 0)
	c, err := p.Clone(Req{}, v.ino, "", RootIno, "c.raw")
	ok(t, err)
	write(t, existing(t, p, "c.raw"), fill('b', 512), 0)
	write(t, existing(t, p, "c.raw"), fill('b', 4<<10), 4<<10)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	drained(t, p)
	settleAccounts(t, p)
	if n := logClosedAll(t, p, "v.raw"); n != 0 {
		t.Fatalf("the clone has bytes of it, and the log says %d times that it is gone", n)
	}
	ok(t, p.DestroyVolume(Req{}, c.Ino, DestroyOptions{}))
	drained(t, p)
	settleAccounts(t, p)
	for _, path := range []string{"v.raw", "c.raw"} {
		if n := logClosedAll(t, p, path); n != 1 {
			t.Errorf("the log says %d times that %s is gone", n, path)
		}
	}
	if ids := openAccounts(t, p); len(ids) > 0 {
		t.Errorf("accounts of layers %v are open", ids)
	}
	mustCheck(t, p)
}

// A volume that is gone may have more accounts than one record closes, none of which can be closed before the volume is.
func TestManyAccountsClose(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v.raw", 64<<10)
	const layers = 2*closeAtOnce + 3
	write(t, v, fill('a', 8<<10), 0)
	for i := range layers {
		ok(t, p.Snapshot(Req{}, []Ino{v.ino}, fmt.Sprint("s", i)))
		write(t, v, fill(byte(i), 512), 0) // and the rest of the block along
	}
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
	drained(t, p)
	settleAccounts(t, p)
	if ids := openAccounts(t, p); len(ids) > 0 {
		t.Errorf("%d accounts are open", len(ids))
	}
	if n := logClosedAll(t, p, "v.raw"); n != 1 {
		t.Errorf("the log says %d times that it is gone", n)
	}
	if e := ofVolume(t, p, v.ino); !e.Complete || e.Written != 8<<10+layers*BlockSize || e.Zeroed != e.Written {
		t.Errorf("%+v", e)
	}
	mustCheck(t, p)
}

// sealedWhileWritten seals a layer that has nothing left while a write is under way which was planned in it.
func sealedWhileWritten(t testing.TB, p *Pool, v *Volume) (pl *Plan, sealed LayerID) {
	t.Helper()
	write(t, v, fill('a', 16<<10), 0)
	ok(t, v.Punch(0, 16<<10))
	eraseAll(t, p)
	pl = &Plan{}
	ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(pl, 0, 8<<10) }))
	_, err := p.freezeHeads(Req{}, []Ino{v.ino}, "s") // which does not wait for the write
	ok(t, err)
	ok(t, p.Checkpoint())
	return pl, pl.born
}

// An account that has nothing left gets more all the same when a write comes to nothing that was under way when its layer was
// sealed. So checkpoints may find it twice before it is closed, and it is closed once.
func TestAccountFoundTwiceClosesOnce(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "vm.raw", 64<<10)
	pl, sealed := sealedWhileWritten(t, p, v) // a checkpoint found that nothing is left
	pl.Abort()
	ok(t, p.Checkpoint()) // that there is
	eraseAll(t, p)
	ok(t, p.Checkpoint()) // and that nothing is
	_, err := p.keeper.closeSome(t.Context())
	ok(t, err)
	p.origins.closing = append(p.origins.closing, sealed) // as the build of a checkpoint that was cut before does
	_, err = p.keeper.closeSome(t.Context())
	ok(t, err)
	if ids := closedAccounts(t, p); len(ids) != 1 || ids[0] != sealed {
		t.Errorf("accounts of layers %v are closed, of %v", ids, sealed)
	}
	settleAccounts(t, p)
	mustCheck(t, p)
	if e := ofVolume(t, p, v.ino); e.Written != 24<<10 || e.Zeroed != 24<<10 {
		t.Errorf("all that was written is zero: %+v", e)
	}
}

// closedAccounts are those that the log has as closed.
func closedAccounts(t testing.TB, p *Pool) (ids []LayerID) {
	t.Helper()
	log, err := p.EraseLog()
	ok(t, err)
	for _, r := range log {
		if r.Kind == evidence.Closed {
			ids = append(ids, r.Row.Layers...)
		}
	}
	return ids
}

// An account waits for the writes that may come to it, and for no others. Where these come to another layer it is closed then.
func TestAccountWaitsForItsWrites(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "vm.raw", 64<<10)
	pl, sealed := sealedWhileWritten(t, p, v)
	settleAccounts(t, p)
	if ids := closedAccounts(t, p); len(ids) != 0 {
		t.Fatalf("accounts of layers %v are closed, and a write is under way", ids)
	}
	var other Plan
	ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(&other, 32<<10, 8<<10) }))
	ok(t, pl.Commit(pl.Len))
	settleAccounts(t, p)
	if ids := closedAccounts(t, p); len(ids) != 1 || ids[0] != sealed {
		t.Errorf("accounts of layers %v are closed, of %v", ids, sealed)
	}
	ok(t, other.Commit(other.Len))
	mustCheck(t, p)
}

// Of an account that is closed with more than was written, as no pool does, the row stays as it was, and it is named.
func TestAccountBelowNothing(t *testing.T) {
	d := newDisk(t, 4<<20)
	p, err := Open(d, Options{Now: newClock().now})
	ok(t, err)
	v := mustVolume(t, p, "vm.raw", 64<<10)
	write(t, v, fill('a', 16<<10), 0)
	ok(t, p.Checkpoint())
	id := v.head().id
	ok(t, p.works.change(func(time.Time) error {
		return p.commits.do(&recClosed{vol: v.ino, layers: []closedAccount{{id, 5}}})
	}))
	ok(t, p.Checkpoint())
	if a, had, err := p.origins.stored(id); err != nil || !had || a.written != 4 {
		t.Errorf("account %+v, %v, %v", a, had, err)
	}
	if ds := p.Usage().Damages; len(ds) != 1 || !strings.Contains(ds[0], "account of layer") {
		t.Errorf("damages: %q", ds)
	}
	ok(t, p.Close())
}
