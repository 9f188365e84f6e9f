package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/chain/size"
)

// sick is a pool whose metadata pages, and nothing else, cannot be read or written while bad says so.
type sick struct {
	*Pool
	t   *testing.T
	d   *devtest.Disk
	now time.Time
	bad devtest.OpKind
}

func newSick(t *testing.T) *sick {
	d := newDisk(t, 16<<20)
	x := &sick{t: t, d: d, now: time.Unix(1_700_000_000, 0)}
	p, err := Open(d, Options{Now: func() time.Time { return x.now }, CacheBytes: 1 << 20})
	ok(t, err)
	x.Pool = p
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	d.Fail(func(o devtest.Op) error {
		if o.Kind != x.bad || o.Kind == 0 || o.Off < 2*BlockSize {
			return nil
		}
		for _, e := range p.blocks.store.Extents() {
			if off := int64(e.Start) * BlockSize; o.Off < off+e.Len*BlockSize && off < o.Off+o.Len {
				return errPassing
			}
		}
		return nil
	})
	t.Cleanup(func() {
		x.bad = 0
		if p.Failed() == nil && !p.closed {
			mustCheck(t, p)
			ok(t, p.Close())
		}
	})
	return x
}

// forget empties the cache, so that pages are read from the device.
func (x *sick) forget() {
	x.blocks.store.SetCacheBytes(0)
	x.blocks.store.SetCacheBytes(1 << 20)
}

// keep lets housekeeping do what it can.
func (x *sick) keep() {
	for x.keeper.keepHouse(x.t.Context()) {
	}
	ok(x.t, x.Failed())
}

// What a walk frees is not available while its map cannot be read, or while the checkpoint that it waits for cannot be
// taken; when they can be, all is freed and erased by itself.
func TestFailingWalk(t *testing.T) {
	t.Run("map", func(t *testing.T) { testFailingWalk(t, true, "failing") })
	t.Run("checkpoint", func(t *testing.T) { testFailingWalk(t, false, "walking") })
}

func testFailingWalk(t *testing.T, settled bool, state string) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 8<<20)
	other := mustVolume(t, x.Pool, "other", 16<<20)
	for i := range int64(600) {
		write(t, v, fill('v', BlockSize), i*2*BlockSize)
	}
	ok(t, x.Checkpoint())
	ok(t, x.Unlink(Req{}, RootIno, "v"))
	ok(t, x.Flush())
	counted := x.Usage().Avail
	if settled {
		ok(t, x.Checkpoint())
	}
	x.bad = devtest.OpRead
	x.forget()
	for range 5 {
		x.keep()
		x.forget()
		x.now = x.now.Add(time.Second)
	}
	u := x.Usage()
	if u.Freeing == 0 || u.Stranded != u.Freeing || u.Avail > counted-u.Stranded {
		t.Fatalf("freeing %d, stranded %d, available %d, before %d", u.Freeing, u.Stranded, u.Avail, counted)
	}
	if js := x.EraseJobs(); len(js) != 1 || js[0].State != state || settled && !strings.Contains(js[0].Error, errPassing.Error()) {
		t.Fatalf("%+v", js)
	}
	if len(u.Troubles) == 0 || u.Troubles[0].Kind != fault.Transient.String() || u.Troubles[0].Tries < 2 {
		t.Fatalf("%+v", u.Troubles)
	}
	x.bad = 0
	if !settled {
		x.heal(0)
		return
	}
	err := x.SetProps(Req{}, other.ino, Setting{Name: propRefreservation, Value: fmt.Sprint(u.Avail + u.Stranded/2)})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), size.Exact(u.Avail)+" available") {
		t.Fatalf("a promise that counts on what is stranded (%d of %d): %v", u.Stranded, u.Avail, err)
	}
	if err := x.SetProps(Req{}, other.ino, Setting{Name: propRefreservation, Value: fmt.Sprint(u.Avail / 2 / BlockSize * BlockSize)}); err != nil {
		t.Fatalf("a promise that does not: %v", err)
	}
	x.heal(0)
}

// heal makes the device well: what was in trouble is done, all is freed and erased, and so many snapshots are left.
func (x *sick) heal(snapshots int) {
	x.t.Helper()
	x.bad = 0
	x.now = x.now.Add(lastRetry)
	x.keep()
	eraseAll(x.t, x.Pool)
	if u := x.Usage(); u.Freeing+u.Stranded+u.Dirty > 0 || len(u.Troubles) > 0 || u.Snapshots != snapshots {
		x.t.Fatalf("left: %+v", u)
	}
}

// A checkpoint whose pages cannot be written leaves the old superblock; the pool goes on, and a later one succeeds.
func TestFailingCheckpoint(t *testing.T) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 4<<20)
	want := make([]byte, 4<<20)
	put := func(i int64) {
		write(t, v, fill(byte(i), BlockSize), i*2*BlockSize)
		copy(want[i*2*BlockSize:], fill(byte(i), BlockSize))
	}
	for i := range int64(100) {
		put(i)
	}
	gen := x.Usage().Generation
	x.bad = devtest.OpWrite
	if err := x.Checkpoint(); fault.Of(err) != fault.Transient {
		t.Fatalf("a checkpoint whose pages cannot be written: %v", err)
	}
	for i := range int64(100) {
		put(100 + i)
		if i%10 == 0 {
			mustSnapshot(t, v, "s"+string(rune('a'+i/10)))
		}
		x.now = x.now.Add(time.Second)
		x.keep()
	}
	u := x.Usage()
	if u.Generation != gen || len(u.Troubles) != 1 || u.Troubles[0].What != "the checkpoint" || u.Troubles[0].Tries < 4 {
		t.Fatalf("generation %d, was %d; %+v", u.Generation, gen, u.Troubles)
	}
	expect(t, v, 0, want)
	ok(t, x.Flush())
	q, _ := reopen(t, x.d.Clone(), 1) // a crash now finds the old superblock and the journal
	o, err := q.Volume(v.ino)
	ok(t, err)
	expect(t, o, 0, want)
	x.bad = 0
	x.now = x.now.Add(lastRetry)
	x.keep()
	if u := x.Usage(); u.Generation == gen || len(u.Troubles) > 0 {
		t.Fatalf("generation %d, was %d; %+v", u.Generation, gen, u.Troubles)
	}
	expect(t, v, 0, want)
}

// A build that meets a page that it cannot read leaves the pool as it was, to the last page and list.
func TestFailingBuild(t *testing.T) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 4<<20)
	for i := range int64(200) {
		write(t, v, fill('a', BlockSize), i*2*BlockSize)
	}
	mustSnapshot(t, v, "a")
	ok(t, x.Checkpoint())
	for i := range int64(100) {
		write(t, v, fill('b', BlockSize), i*4*BlockSize)
	}
	ok(t, v.Punch(0, 100*BlockSize))
	for i := range 3 {
		x.forget()
		x.bad = devtest.OpRead
		if err := x.Checkpoint(); fault.Of(err) != fault.Transient {
			t.Fatalf("a checkpoint that cannot read the map: %v", err)
		}
		x.bad = 0
		mustCheck(t, x.Pool)
		mustSnapshot(t, v, fmt.Sprint("s", i))
		write(t, v, fill('c', BlockSize), 300*BlockSize)
	}
	if _, depth := v.head().top.Bottom(); depth > 3 {
		t.Fatalf("%d storeys: cuts that came to nothing left some", depth)
	}
	ok(t, x.Checkpoint())
	expect(t, v, 0, make([]byte, 100*BlockSize))
	expect(t, v, 100*BlockSize, fill('b', BlockSize))
	expect(t, v, 300*BlockSize, fill('c', BlockSize))
}

// A list that cannot be read keeps a merge and a sweep from being made, and nothing else.
func TestFailingLists(t *testing.T) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 8<<20)
	for i := range int64(300) {
		write(t, v, fill('a', BlockSize), i*2*BlockSize)
	}
	mustSnapshot(t, v, "one")
	mustSnapshot(t, v, "two")
	for i := range int64(250) {
		write(t, v, fill('b', BlockSize), i*2*BlockSize)
	}
	c, err := x.Clone(Req{}, v.ino, "one", RootIno, "c")
	ok(t, err)
	cv, err := x.Volume(c.Ino)
	ok(t, err)
	for i := range int64(250) {
		write(t, cv, fill('c', BlockSize), i*2*BlockSize)
	}
	ok(t, x.Checkpoint())
	x.forget()
	x.bad = devtest.OpRead
	ok(t, x.DestroySnapshots(Req{}, v.ino, []string{"two"}, DestroyOptions{})) // merged into the head
	ok(t, x.DestroySnapshots(Req{}, v.ino, []string{"one"}, DestroyOptions{Defer: true}))
	x.keep()
	x.forget()
	x.keep()
	if u := x.Usage(); len(u.Troubles) == 0 {
		t.Fatal("no trouble is shown")
	}
	x.bad = 0
	mustCheck(t, x.Pool)
	x.heal(0)
	expect(t, v, 0, fill('b', BlockSize))
	expect(t, cv, 0, fill('c', BlockSize))
	if len(x.d.Find(fill('a', BlockSize))) == 0 {
		t.Fatal("what both still show is gone")
	}
}

// A group whose page cannot be read gives no blocks, and none that are counted on, until it can be.
func TestShunnedGroup(t *testing.T) {
	x := newSick(t)
	v := mustVolume(t, x.Pool, "v", 4<<20)
	write(t, v, fill('v', 800*BlockSize), 0)
	for i := range int64(50) {
		ok(t, v.Punch((100+i*4)*BlockSize, 2*BlockSize))
	}
	eraseAll(t, x.Pool)
	ok(t, x.Checkpoint())
	x.forget()
	for g := range x.blocks.alloc.Groups() {
		x.blocks.alloc.Unload(g)
	}
	avail := x.Usage().Avail
	x.bad = devtest.OpRead
	x.mu.Lock()
	_, err := findCleanNow(x.blocks, x.blocks.alloc.Total(), 1)
	x.mu.Unlock()
	ok(t, err)
	if u := x.Usage(); len(u.Troubles) == 0 || u.Avail >= avail {
		t.Fatalf("%d available, before %d; %+v", u.Avail, avail, u.Troubles)
	}
	x.heal(0)
	if u := x.Usage(); u.Avail != avail {
		t.Fatalf("%d available, before %d", u.Avail, avail)
	}
}
