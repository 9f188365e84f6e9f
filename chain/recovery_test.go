package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
)

func reopen(t testing.TB, d *devtest.Disk, seed uint64) (*Pool, *devtest.Disk) {
	t.Helper()
	d = d.Crash(rand.New(rand.NewPCG(seed, 3)))
	return openPool(t, d), d
}

// A checkpoint that failed loses nothing, and the next one succeeds.
func TestFailedCheckpoint(t *testing.T) {
	for _, kind := range []string{"pages", "superblock"} {
		t.Run(kind, func(t *testing.T) {
			d := newDisk(t, 4<<20)
			p := openPool(t, d)
			v := mustVolume(t, p, "v", 1<<20)
			write(t, v, fill('a', 100<<10), 0)
			mustSnapshot(t, v, "s")
			write(t, v, fill('b', 50<<10), 10<<10)
			d.Fail(func(op devtest.Op) error {
				block := op.Off < super.Slots*BlockSize
				if op.Kind == devtest.OpWrite && op.Off >= 2*BlockSize+p.format.Ring && kind == "pages" || op.Kind == devtest.OpWrite && block && kind == "superblock" {
					return syscall.EIO
				}
				return nil
			})
			if err := p.Checkpoint(); !errors.Is(err, syscall.EIO) {
				t.Fatalf("checkpoint on a failing device: %v", err)
			}
			d.Fail(nil)
			if err := p.Failed(); err != nil {
				t.Fatal(err)
			}
			write(t, v, fill('c', 4096), 0)
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
			want := append(fill('c', 4096), fill('a', 6<<10)...)
			want = append(want, fill('b', 50<<10)...)
			crashed, _ := reopen(t, d.Clone(), 1)
			w, err := crashed.Volume(v.ino)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, w, 0, want)
			mustCheck(t, crashed)
			for range 3 {
				if err := p.Checkpoint(); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, v, 0, want)
			expect(t, snapOf(t, v, "s"), 0, fill('a', 100<<10))
			mustCheck(t, p)
		})
	}
}

// A failed sync is final: nothing is acknowledged any more, and what was flushed before is there.
func TestFailedSync(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 4096), 0)
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	write(t, v, fill('b', 4096), 8192)
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if err := p.Flush(); !errors.Is(err, syscall.EIO) || !errors.Is(err, ErrReadOnly) {
		t.Fatalf("flush: %v", err)
	}
	d.Fail(nil)
	if _, err := v.WriteAt(fill('c', 4096), 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write after a failed sync: %v", err)
	}
	if err := p.Flush(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("flush after a failed sync: %v", err)
	}
	expect(t, v, 0, fill('a', 4096)) // reads go on
	p, _ = reopen(t, d, 2)
	w, err := p.Volume(v.ino)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w, 0, fill('a', 4096))
}

// The pool is full to the last block and the journal too: a write is refused, nothing is lost, a destroy succeeds, and
// what it frees can be written.
func TestFullPool(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v, w := mustVolume(t, p, "v", 16<<20), mustVolume(t, p, "w", 16<<20)
	n := int64(0)
	for range 4 { // a checkpoint gives back a little of what was kept for it
		for ; ; n++ {
			to := v
			if n%3 == 0 {
				to = w
			}
			if _, err := to.WriteAt(fill(byte('a'+n%20), 4096), n*8192); err != nil {
				wantErr(t, "the last write", err, ErrNoSpace)
				break
			}
		}
		ok(t, p.Checkpoint())
	}
	if u := p.Usage(); u.Avail > 16*BlockSize || n*4096 < 2<<20 {
		t.Fatalf("full after %d blocks with %d bytes available", n, u.Avail)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		from := v
		if i%3 == 0 {
			from = w
		}
		expect(t, from, i*8192, fill(byte('a'+i%20), 4096))
	}
	mustCheck(t, p)
	if _, err := p.Create(Req{}, RootIno, "more", 0o600); !errors.Is(err, ErrNoSpace) {
		t.Errorf("create on a full pool: %v", err)
	}
	mustSnapshot(t, v, "s")     // costs nothing
	for full := false; !full; { // now the ring, without a checkpoint
		p.mu.Lock()
		done := p.commits.within(p.commits.tryRoom(credit{bytes: 64, frees: true}))
		err := p.commits.do(&recAnswer{unique: 1})
		done()
		p.mu.Unlock()
		ok(t, err)
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		full = !p.commits.holds(credit{bytes: changeBytes, frees: true})
		p.mu.Unlock()
	}
	if _, err := v.WriteAt(fill('y', 4096), n*8192); !errors.Is(err, ErrNoSpace) {
		t.Errorf("write with nothing clean and a full ring: %v", err)
	}
	if err := p.DestroyVolume(Req{}, w.ino, DestroyOptions{}); err != nil {
		t.Fatalf("destroy on a full pool: %v", err)
	}
	for i := range n / 4 { // zeroed on demand
		write(t, v, fill('z', 4096), i*4096)
	}
	mustCheck(t, p)
	p, _ = reopen(t, d, 3)
	mustCheck(t, p)
}

// What fallocate mapped reads zero after a crash, whatever was being written to it.
func TestAllocateThenCrash(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 0)
	if err := v.Allocate(0, 256<<10, false); err != nil {
		t.Fatal(err)
	}
	if a, _ := p.GetAttr(v.ino); a.Blocks != 512 || a.Size != 256<<10 {
		t.Fatalf("%d blocks of 512, size %d", a.Blocks, a.Size)
	}
	if off, err := v.SeekData(0); err != nil || off != 0 {
		t.Errorf("SEEK_DATA: %d, %v", off, err)
	}
	expect(t, v, 0, fill(0, 256<<10))
	write(t, v, fill('a', 4096), 0)
	for seed := range uint64(8) {
		q, _ := reopen(t, d.Clone(), seed)
		w, err := q.Volume(v.ino)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 256<<10)
		if _, err := w.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		for i, c := range b {
			if c != 0 && (c != 'a' || i >= 4096) {
				t.Fatalf("seed %d: byte %d is %#x", seed, i, c)
			}
		}
		mustCheck(t, q)
	}
	if err := v.Allocate(0, 64<<20, false); !errors.Is(err, ErrNoSpace) {
		t.Errorf("more than the pool has: %v", err)
	}
}

// A write beside a fallocate that has not returned yet must not touch its blocks: without their record they are clean.
func TestWriteBesideAllocate(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 256<<10)
	write(t, v, fill('w', 4096), 128<<10) // so that the window is ready
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.mapClean(0, 64, 0); err != nil { // what Allocate does before its flush
		t.Fatal(err)
	}
	pl := planWrite(t, v, 0, 4096)
	if pl.InPlace {
		t.Error("a plan names blocks whose record is not durable")
	}
	carryOut(t, pl, fill('a', 4096), 0)
	for seed := range uint64(8) {
		q, _ := reopen(t, d.Clone(), seed)
		mustCheck(t, q)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	pl = planWrite(t, v, 4096, 4096)
	if !pl.InPlace {
		t.Error("a plan names other blocks though the record is durable")
	}
	pl.Abort()
}

// A write with O_DSYNC into a block that an earlier write was given, and whose record is not durable yet, is durable when
// it returns: the bytes in place would be nothing without the record.
func TestSyncWriteAfterWrite(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 256<<10)
	write(t, v, fill('o', 8192), 0)
	takeSnapshot(t, p, "s", v) // else the block would be v's own already
	write(t, v, fill('a', 4096), 0)
	if _, err := v.WriteAtSync(fill('b', 4096), 0); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		q, _ := reopen(t, d.Clone(), seed)
		expect(t, existing(t, q, "v"), 0, append(fill('b', 4096), fill('o', 4096)...))
	}
	pl := planWrite(t, v, 0, 4096)
	if !pl.InPlace {
		t.Error("it is durable, and a plan would flush again")
	}
	pl.Abort()
}

// The store gets an extent while a checkpoint is built; the power goes at every operation of it.
func TestGrantInsideCheckpoint(t *testing.T) {
	base := newDisk(t, 16<<20)
	prepare := func(d *devtest.Disk) (*Pool, *Volume) {
		p, err := Open(d, Options{Now: newClock().now}) // with a cache that all of it fits in
		ok(t, err)
		v := mustVolume(t, p, "v", 8<<30)
		for i := range int64(700) { // leaves all over the place
			write(t, v, fill('a', 4096), i*(8<<20)) // four in a leaf's region
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		return p, v
	}
	for k := 1; ; k += 3 {
		d := base.Clone()
		p, v := prepare(d)
		had := len(p.blocks.store.Extents())
		d.CrashAt(k)
		err := p.persist.checkpoint() // without granting ahead
		if err == nil {
			d.CrashAt(1 << 30)
			if len(p.blocks.store.Extents()) == had {
				t.Fatal("the checkpoint needed no grant")
			}
			return
		}
		if !errors.Is(err, devtest.ErrCrashed) {
			t.Fatal(err)
		}
		q, _ := reopen(t, d, uint64(k))
		w, err := q.Volume(v.ino)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(700) {
			expect(t, w, i*(8<<20), fill('a', 4096))
		}
		mustCheck(t, q)
	}
}

// What a large discard cut off is sorted right, though its layer is merged or destroyed before the walk is done.
func TestWalkOutlivesItsLayer(t *testing.T) {
	ends := map[string]func(p *Pool, v *Volume) error{
		"merged": func(p *Pool, v *Volume) error {
			if err := p.Snapshot(Req{}, []Ino{v.ino}, "c"); err != nil {
				return err
			}
			if err := p.DestroySnapshots(Req{}, v.ino, []string{"c"}, DestroyOptions{}); err != nil {
				return err
			}
			return p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{})
		},
		"destroyed":   func(p *Pool, v *Volume) error { return p.Unlink(Req{}, RootIno, "v") },
		"rolled back": func(p *Pool, v *Volume) error { return p.Rollback(Req{}, v.ino, "a", false) },
	}
	for name, end := range ends {
		for steps := range 3 {
			t.Run(fmt.Sprintf("%s/steps=%d", name, steps), func(t *testing.T) {
				d := newDisk(t, 8<<20)
				p := openPool(t, d)
				v := mustVolume(t, p, "v", 4<<20)
				for i := range int64(300) {
					write(t, v, fill('a', 4096), i*8192)
				}
				mustSnapshot(t, v, "a")
				for i := range int64(300) {
					if i%2 == 0 {
						write(t, v, fill('b', 4096), i*8192)
					}
				}
				if err := v.detach(0, mapEnd); err != nil {
					t.Fatal(err)
				}
				for range steps {
					p.keeper.keepHouse(t.Context())
				}
				mustCheck(t, p)
				if err := end(p, v); err != nil {
					t.Fatal(err)
				}
				mustCheck(t, p)
				q, _ := reopen(t, d.Clone(), uint64(steps))
				mustCheck(t, q)
				eraseAll(t, q)
				mustCheck(t, q)
				eraseAll(t, p)
				mustCheck(t, p)
				if at := d.Find(fill('b', 512)); len(at) > 0 {
					t.Errorf("what was cut off is still at %v", at)
				}
				if _, err := p.Lookup(RootIno, "v"); err == nil && name == "rolled back" {
					expect(t, v, 0, fill('a', 4096))
				}
			})
		}
	}
}

// A base that is destroyed under two clones stays nameless while they need it; what both have overwritten goes.
func TestBaseUnderTwoClones(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 256<<10), 0)
	mustSnapshot(t, v, "base")
	one, two := mustClone(t, v, "base", "one"), mustClone(t, v, "base", "two")
	if err := p.Unlink(Req{}, RootIno, "v"); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, p)
	eraseAll(t, p)
	expect(t, one, 0, fill('a', 256<<10))
	write(t, one, fill('1', 128<<10), 0)
	write(t, two, fill('2', 128<<10), 64<<10)
	eraseAll(t, p)
	mustCheck(t, p)
	// both have overwritten 64K to 128K: 16 blocks
	if got := blocksOf4K(d, 'a'); got != 48 {
		t.Errorf("%d blocks of the base are left, want 48", got)
	}
	q, _ := reopen(t, d.Clone(), 1)
	mustCheck(t, q)
	write(t, one, fill('1', 128<<10), 128<<10)
	write(t, two, fill('2', 64<<10), 0)
	write(t, two, fill('2', 128<<10), 128<<10)
	eraseAll(t, p)
	mustCheck(t, p)
	if at := d.Find(fill('a', 512)); len(at) > 0 {
		t.Errorf("of the base %d sectors are left", len(at))
	}
	expect(t, one, 0, fill('1', 256<<10))
	expect(t, two, 0, fill('2', 256<<10))
	if err := p.Unlink(Req{}, RootIno, "one"); err != nil {
		t.Fatal(err)
	}
	eraseAll(t, p)
	mustCheck(t, p)
	expect(t, two, 0, fill('2', 256<<10))
}

var errPower = errors.New("power cut")

// blocksOf4K counts the blocks that are full of c.
func blocksOf4K(d *devtest.Disk, c byte) (n int) {
	for off := int64(0); off < d.Size(); off += BlockSize {
		if string(d.Peek(off, BlockSize)) == string(fill(c, BlockSize)) {
			n++
		}
	}
	return n
}

// Long rows of trees in dead lists are merged by checkpoints: destroys between checkpoints make them, and go on.
func TestLongRowsAreMerged(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 1<<20), 0)
	for i := range 24 {
		mustSnapshot(t, v, fmt.Sprintf("s%02d", i))
		write(t, v, fill(byte('b'+i), 4096), int64(i)*8192)
		if err := p.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 24 { // newest first: every list joins the head's
		if err := p.DestroySnapshots(Req{}, v.ino, []string{fmt.Sprintf("s%02d", 23-i)}, DestroyOptions{}); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			mustCheck(t, p)
		}
		for _, l := range p.tree.layers {
			if len(l.lost.Trees) > maxRow {
				t.Fatalf("%d trees in a dead list", len(l.lost.Trees))
			}
		}
	}
	eraseAll(t, p)
	for i := range 24 {
		expect(t, v, int64(i)*8192, fill(byte('b'+i), 4096))
	}
}
