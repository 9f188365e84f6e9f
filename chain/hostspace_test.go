package chain

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/chain/super"
)

// newSparse makes a pool in a file with holes, on a host that has room bytes more when the pool is there.
func newSparse(t testing.TB, size, room int64) *devtest.Disk {
	t.Helper()
	d := devtest.New(size, 512)
	d.OnHost(size)
	f := tiny
	f.Now = newClock().now
	ok(t, Create(d, f))
	d.OnHost(room)
	return d
}

// fillHost writes to new blocks of a volume until it is refused, which must be by the host, and returns how much it wrote.
func fillHost(t testing.TB, v *Volume, off int64) (wrote int64) {
	t.Helper()
	for {
		_, err := v.WriteAt(fill('x', BlockSize), off+wrote)
		if err == nil {
			wrote += BlockSize
			continue
		}
		if !errors.Is(err, ErrHostSpace) || !errors.Is(err, ErrNoSpace) || fault.Of(err) != fault.Transient {
			t.Fatalf("after %d bytes: %v (%v)", wrote, err, fault.Of(err))
		}
		return wrote
	}
}

// What the pool itself needs is there from the beginning: superblocks, ring, and pages for its metadata.
func TestSparsePoolHasItsOwn(t *testing.T) {
	d := newSparse(t, 16<<20, 0)
	own := int64(super.Slots*BlockSize) + tiny.RingBytes + int64(2*tiny.ExtentBlocks*BlockSize) + 16<<20/64
	if got := d.HostBytes(); got != own {
		t.Errorf("the host has given %d bytes, want %d", got, own)
	}
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	if wrote := fillHost(t, v, 0); wrote != 0 {
		t.Errorf("%d bytes were written into nothing", wrote)
	}
	for range 20 { // neither ring nor pages hit a hole
		ok(t, p.SetXattr(Req{}, v.ino, "user.a", fill(byte(97), 1000), 0))
		ok(t, p.Checkpoint())
	}
	if d.HostBytes() != own {
		t.Errorf("the host has given %d bytes, want %d", d.HostBytes(), own)
	}
}

// A host without space refuses who needs a new block, and nobody and nothing else. With space all is as before.
func TestHostWithoutSpace(t *testing.T) {
	d := newSparse(t, 32<<20, 2<<20)
	p := openPool(t, d)
	ctx, stop := context.WithCancel(t.Context())
	var house sync.WaitGroup
	house.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error("the background ended: ", err)
		}
	})
	defer house.Wait()
	defer stop()
	old, v := mustVolume(t, p, "old", 1<<20), mustVolume(t, p, "v", 16<<20)
	write(t, old, fill('a', 64<<10), 0)
	wrote := fillHost(t, v, 0)
	if wrote < 1<<20 || wrote > 2<<20 {
		t.Errorf("%d bytes were written on a host with 2 MiB", wrote)
	}
	clean := p.Usage().Clean
	for range 100 { // each try leaves the pool as it was
		_, err := v.WriteAt(fill('y', BlockSize), wrote)
		wantErr(t, "a try", err, ErrHostSpace)
		wantErr(t, "fallocate", v.Allocate(wrote, 4*BlockSize, false), ErrHostSpace)
	}
	u := p.Usage()
	if u.Clean != clean || p.blocks.alloc.Aside() != 0 {
		t.Errorf("%d bytes are clean after 100 tries, %d before", u.Clean, clean)
	}
	if u := p.Usage(); !errors.Is(u.HostShort, ErrHostSpace) || u.HostSince.IsZero() {
		t.Errorf("the reason is %v since %v", u.HostShort, u.HostSince)
	}
	write(t, old, fill('b', 64<<10), 0) // in place
	expect(t, v, 0, fill('x', int(wrote)))
	mustSnapshot(t, old, "s")
	ok(t, p.Checkpoint())

	d.OnHost(32 << 20)
	write(t, v, fill('z', 4<<20), wrote)
	if err := p.Usage().HostShort; err != nil {
		p.mu.Lock()
		p.blocks.onHost.refuse.At = time.Time{}
		p.mu.Unlock()
		p.poke()
		p.blocks.askHost()
	}
	if err := p.Usage().HostShort; err != nil {
		t.Errorf("the host has space, and is said to have none: %v", err)
	}
	expect(t, v, wrote, fill('z', 4<<20))
}

// What was erased the host has already: it is used when there are only holes beside it.
func TestHostWithoutSpaceStillHasWhatWasErased(t *testing.T) {
	d := newSparse(t, 32<<20, 2<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 16<<20)
	wrote := fillHost(t, v, 0)
	for range 3 {
		ok(t, v.Punch(0, wrote/2))
		ok(t, p.Flush())
		if got := fillHost(t, v, 0); got > 16<<20 || got < wrote/4 {
			t.Errorf("%d of %d bytes that were freed could be written again", got, wrote/2)
		}
	}
}

// The background asks the host again, after longer and longer, and once it has space the reason is gone without a writer.
func TestHostIsAskedAgain(t *testing.T) {
	d := newSparse(t, 16<<20, 0)
	p := openPool(t, d)
	fillHost(t, mustVolume(t, p, "v", 1<<20), 0)
	d.OnHost(2 * BlockSize) // not what was refused: only a few blocks
	p.blocks.askHost()
	if err := p.Usage().HostShort; err == nil {
		t.Error("two blocks of the host are taken for space")
	}
	var waits []time.Duration
	for range 8 {
		now := p.opt.Now()
		p.blocks.askHost()
		waits = append(waits, p.blocks.onHost.refuse.At.Sub(now).Round(time.Second))
	}
	if waits[0] >= waits[1] || waits[7] != hostRetry {
		t.Errorf("it waits %v", waits)
	}
	d.OnHost(1 << 20)
	p.blocks.askHost()
	if err := p.Usage().HostShort; err != nil {
		t.Error(err)
	}
}

// A pool that was copied with holes where it has its own blocks, on a host that has no space for them, asks again for those. It
// does not take them for clean ones of a group that it has not read.
func TestHostIsAskedForThePoolsOwn(t *testing.T) {
	d := newDisk(t, 16<<20)
	p := openPool(t, d)
	write(t, mustVolume(t, p, "v", 1<<20), fill('v', 64<<10), 0)
	ok(t, p.Close())
	d = d.Clone()
	d.OnHost(2 * BlockSize)
	p = openPool(t, d)
	p.mu.Lock()
	p.blocks.alloc.Unload(0)
	unread := !p.blocks.alloc.Loaded(0)
	p.mu.Unlock()
	if err := p.Usage().HostShort; err == nil || !unread {
		t.Fatalf("the host has no space: %v; group 0 is not loaded: %v", err, unread)
	}
	p.blocks.askHost()
	if err := p.Usage().HostShort; err == nil {
		t.Error("a host that has no space is said to have some")
	}
	d.OnHost(16 << 20)
	p.blocks.askHost()
	if err := p.Usage().HostShort; err != nil {
		t.Error(err)
	}
	write(t, mustVolume(t, p, "w", 1<<20), fill('w', 128<<10), 0)
	if u := p.Usage(); len(u.Damages) > 0 {
		t.Errorf("damages: %v", u.Damages)
	}
}

// What the host refused is asked for again when its group has left memory meanwhile.
func TestHostIsAskedForAGroupThatLeft(t *testing.T) {
	d := newSparse(t, 16<<20, 0)
	p := openPool(t, d)
	fillHost(t, mustVolume(t, p, "v", 1<<20), 0)
	ok(t, p.Checkpoint())
	p.mu.Lock()
	r := p.blocks.onHost.run
	g := p.blocks.alloc.Group(r.Start)
	left := p.blocks.alloc.Unload(g) && !p.blocks.alloc.Loaded(g)
	p.mu.Unlock()
	if r.Len == 0 || !left {
		t.Fatalf("%v was refused, its group has left memory: %v", r, left)
	}
	p.blocks.askHost()
	if err := p.Usage().HostShort; err == nil {
		t.Error("a host that has no space is said to have some")
	}
	d.OnHost(16 << 20)
	p.blocks.askHost()
	if u := p.Usage(); u.HostShort != nil || len(u.Damages) > 0 {
		t.Errorf("%v, damages: %v", u.HostShort, u.Damages)
	}
}

// holdPrepare begins a write whose claim is held while it prepares its first block.
func holdPrepare(t *testing.T, p *Pool, d *devtest.Disk, v *Volume) (end func()) {
	t.Helper()
	ok(t, p.space.grantPages(4*structurePages)) // so that the claim is what prepares next
	come, first := make(chan struct{}), atomic.Bool{}
	release := d.Hold(func(op devtest.Op) bool {
		if op.Kind != devtest.OpZero || first.Swap(true) {
			return false
		}
		close(come)
		return true
	})
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = v.WriteAt(fill('v', 64<<10), 0) })
	<-come
	return func() {
		release()
		wg.Wait()
	}
}

// While blocks are prepared nobody else gets them: fallocate and the store take others, and all count as available.
func TestPreparedBlocksAreNobodyElses(t *testing.T) {
	d := newSparse(t, 8<<20, 8<<20)
	p := openPool(t, d)
	v, w := mustVolume(t, p, "v", 1<<20), mustVolume(t, p, "w", 1<<20)
	ok(t, p.space.grantPages(4*structurePages))
	avail := p.Usage().Avail
	end := holdPrepare(t, p, d, v)
	defer end()
	if got := p.Usage().Avail; got < avail-unit {
		t.Errorf("%d bytes are available while some are prepared, %d before", got, avail)
	}
	ok(t, w.Allocate(0, 64<<10, false))
	write(t, w, fill('w', 64<<10), 0) // in place: over what fallocate mapped
	ok(t, p.space.grantPages(p.blocks.store.FreePages()+1))
	end()
	expect(t, v, 0, fill('v', 64<<10))
	expect(t, w, 0, fill('w', 64<<10))
}

// A reduction leaves what is being prepared at the pool's end.
func TestReduceLeavesWhatIsPrepared(t *testing.T) {
	d := newSparse(t, 8<<20, 8<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	end := holdPrepare(t, p, d, v)
	defer end()
	p.mu.Lock()
	last := int64(p.blocks.alloc.AsideEnd()) * BlockSize // nothing behind it is in use yet
	p.mu.Unlock()
	size, err := p.reduceOnly()
	ok(t, err)
	if size < last || size == 8<<20 {
		t.Errorf("the pool was cut to %d bytes, those up to %d are being prepared", size, last)
	}
	end()
	expect(t, v, 0, fill('v', 64<<10))
}

// reduceOnly does what Reduce does, without waiting for claims.
func (p *Pool) reduceOnly() (size int64, err error) {
	err = p.resize(func(time.Time) (err error) {
		size, err = p.reduceLocked(0, 0)
		return err
	})
	return size, err
}

// Sixteen writers beside fallocate and checkpoints on a host that has space for half of it: all are refused by the host,
// none by anything else, and what was acknowledged reads back.
func TestCrowdOnFullHost(t *testing.T) {
	d := newSparse(t, 64<<20, 8<<20)
	p := openPool(t, d)
	ctx, stop := context.WithCancel(t.Context())
	var house, crowd sync.WaitGroup
	house.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error("the background ended: ", err)
		}
	})
	wrote := make([]int64, 16)
	vols := make([]*Volume, len(wrote))
	for i := range wrote {
		vols[i] = mustVolume(t, p, string(rune('a'+i)), 4<<20)
		crowd.Go(func() {
			if i%4 == 0 {
				for {
					if err := vols[i].Allocate(wrote[i], 64<<10, true); err != nil {
						wantErr(t, "fallocate", err, ErrHostSpace)
						return
					}
					wrote[i] += 64 << 10
				}
			}
			wrote[i] = fillHost(t, vols[i], 0)
		})
	}
	crowd.Wait()
	stop()
	house.Wait()
	for i, n := range wrote {
		b := make([]byte, n)
		if _, err := vols[i].ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		want := byte('x')
		if i%4 == 0 {
			want = 0
		}
		for at, c := range b {
			if c != want {
				t.Fatalf("volume %d, byte %d: %#x", i, at, c)
			}
		}
	}
	ok(t, p.Checkpoint())
}

var _ sparseFile = (*blockdev.File)(nil)
