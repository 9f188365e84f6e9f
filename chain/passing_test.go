package chain

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/erase"
)

// A device that fails once, or a few times in a row, at any one of its operations: no volume but the one whose bytes were
// asked for notices, the pool does not fail, and in the end all is freed and erased.

var everyOp = flag.Bool("faults.every", false, "let each operation fail, instead of every so many")

var errPassing = errors.New("input/output error, this time")

// opClass is what an operation is for: a fault is injected into the k-th of a class.
type opClass int

const (
	classRead  opClass = iota
	classWrite         // pages, superblocks, data; not the journal
	classZero
	classPool // syncs, and writes of the journal: these are of the pool
)

var classNames = [...]string{"read", "write", "zero", "pool"}

func (p *poolPlace) class(o devtest.Op) opClass {
	switch {
	case o.Kind == devtest.OpRead:
		return classRead
	case o.Kind == devtest.OpZero:
		return classZero
	case o.Kind == devtest.OpWrite && (o.Off < p.ring || o.Off >= p.ring+p.ringBytes):
		return classWrite
	}
	return classPool
}

// poolPlace is where the journal of a pool lies.
type poolPlace struct{ ring, ringBytes int64 }

// faulty is a mixed load on a pool whose device fails.
type faulty struct {
	*testing.T
	d      *devtest.Disk
	at     poolPlace
	now    time.Time
	p      *Pool
	e      *erase.Eraser
	rng    *rand.Rand
	seen   [4]int // operations by class
	class  opClass
	from   int // the first that fails, of its class
	burst  int
	failed []string
	ends   bool // the load ends, by errEnded, when the pool fails

	others *Volume // the bystander
	data   []byte
	stamp  byte
}

const passingSize = 24 << 20

func newPassing(t *testing.T, base *devtest.Disk) *faulty {
	x := &faulty{T: t, d: base.Clone(), now: time.Unix(1_700_000_000, 0), rng: rand.New(rand.NewPCG(7, 7)), class: -1}
	x.open()
	x.at = poolPlace{x.p.format.RingOff, x.p.format.Ring}
	x.d.Fail(func(o devtest.Op) error {
		c := x.at.class(o)
		x.seen[c]++
		if c == x.class && x.seen[c] >= x.from && x.seen[c] < x.from+x.burst {
			x.failed = append(x.failed, o.String())
			return errPassing
		}
		return nil
	})
	return x
}

func (x *faulty) clock() time.Time { x.now = x.now.Add(time.Microsecond); return x.now }

func (x *faulty) open() {
	x.Helper()
	p, err := Open(x.d, Options{Now: x.clock, CacheBytes: 1 << 20, Host: &Host{Machine: [16]byte{1}, Since: x.now, Name: "test"}})
	ok(x, err)
	x.p = p
	x.e, err = erase.New(x.d, erasing{p}, erase.Config{Method: blockdev.Overwrite, Clock: erase.NewClock(x.clock)})
	ok(x, err)
	p.SetZeroNow(x.e.Now)
}

// erasing is the pool as erase wants it.
type erasing struct{ *Pool }

func (p erasing) Report(d blockdev.Done, how blockdev.How) (blockdev.Done, error) {
	return p.Pool.Report(d, How{Method: how.Method.String(), Verify: how.Verify.String()})
}

// try does something that a fault may keep from being done; then it is done by a later try.
func (x *faulty) try(what string, fn func() error) {
	x.Helper()
	for range 50 {
		err := fn()
		x.ended()
		if err == nil {
			return
		}
		if !errors.Is(err, errPassing) && !errors.Is(err, ErrNoSpace) {
			x.Fatalf("%s: %v (failed: %v)", what, err, x.failed)
		}
		if p := x.p.Failed(); p != nil {
			x.Fatalf("%s: the pool failed: %v (failed: %v)", what, p, x.failed)
		}
		x.house()
	}
	x.Fatalf("%s: not done in the end (failed: %v)", what, x.failed)
}

var errEnded = errors.New("the pool failed, as it should")

func (x *faulty) ended() {
	if x.ends && x.p.Failed() != nil {
		panic(errEnded)
	}
}

// house lets a minute pass in the background.
func (x *faulty) house() {
	x.Helper()
	for range 8 {
		for n := 0; x.p.keeper.keepHouse(x.Context()); n++ {
			if n > 10_000 {
				x.Fatalf("housekeeping does not end; troubles %+v", x.p.Usage().Troubles)
			}
		}
		x.now = x.now.Add(8 * time.Second)
	}
	x.ended()
	if err := x.p.Failed(); err != nil {
		x.Fatalf("the pool failed: %v (failed: %v)", err, x.failed)
	}
}

func (x *faulty) eraseSome(n int64) {
	x.Helper()
	x.try("erase", func() error { _, err := x.e.Now(x.Context(), n); return err })
}

func (x *faulty) write(v *Volume, off, n int64) []byte {
	x.Helper()
	x.stamp++
	b := fill(x.stamp|0x80, int(n))
	x.try("write", func() error { _, err := v.WriteAt(b, off); return err })
	return b
}

// step is a bit of the load: the bystander reads, writes and flushes, beside whatever else happens.
func (x *faulty) step() {
	x.Helper()
	off := x.rng.Int64N(int64(len(x.data))/BlockSize-4) * BlockSize
	copy(x.data[off:], x.write(x.others, off, 2*BlockSize))
	got := make([]byte, 16*BlockSize)
	at := x.rng.Int64N(int64(len(x.data) - len(got)))
	x.try("read", func() error { _, err := x.others.ReadAt(got, at); return err })
	if !bytes.Equal(got, x.data[at:at+int64(len(got))]) {
		x.Fatalf("the other volume reads wrong at %d", at)
	}
	x.try("flush", x.p.Flush)
	x.now = x.now.Add(2 * time.Second)
	x.p.blocks.store.SetCacheBytes(0) // what is needed is read again
	x.p.blocks.store.SetCacheBytes(1 << 20)
	for i := 0; i < 3 && x.p.keeper.keepHouse(x.Context()); i++ {
	}
	x.eraseSome(x.rng.Int64N(40) * BlockSize)
}

func (x *faulty) volume(name string, size int64) *Volume {
	x.Helper()
	var a Attr
	x.try("create", func() (err error) {
		if a, err = x.p.Create(Req{}, RootIno, name, 0o600); errors.Is(err, ErrExist) {
			a, err = x.p.Lookup(RootIno, name)
		}
		return err
	})
	v, err := x.p.Volume(a.Ino)
	ok(x, err)
	x.try("truncate", func() error { return v.Truncate(size) })
	return v
}

// done is a change that an earlier try has made, and failed to say so.
func done(err error) error {
	if errors.Is(err, ErrExist) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (x *faulty) snapshot(v *Volume, name string) {
	x.Helper()
	x.try("snapshot", func() error { return done(x.p.Snapshot(Req{}, []Ino{v.ino}, name)) })
}

func (x *faulty) clone(v *Volume, snap, name string) *Volume {
	x.Helper()
	x.try("clone", func() error { _, err := x.p.Clone(Req{}, v.ino, snap, RootIno, name); return done(err) })
	a, err := x.p.Lookup(RootIno, name)
	ok(x, err)
	c, err := x.p.Volume(a.Ino)
	ok(x, err)
	return c
}

func (x *faulty) destroy(v *Volume, o DestroyOptions) {
	x.Helper()
	x.try("destroy", func() error { return done(x.p.DestroyVolume(Req{}, v.ino, o)) })
	x.step()
}

func (x *faulty) destroySnap(v *Volume, name string) {
	x.Helper()
	x.try("destroy snapshot", func() error {
		return done(x.p.DestroySnapshots(Req{}, v.ino, []string{name}, DestroyOptions{Defer: true}))
	})
	x.step()
}

// scatter writes every other block of a range, so that maps and lists get pages.
func (x *faulty) scatter(v *Volume, off, blocks int64) {
	x.Helper()
	for i := range blocks {
		x.write(v, off+i*2*BlockSize, BlockSize)
		if i%32 == 31 {
			x.step()
		}
	}
}

// load is everything that frees: overwrites, discards in pieces and in one, snapshots, rollback, clones and what they
// leave to sweeps, destroys.
func (x *faulty) load() {
	x.others = x.volume("others", 512<<10)
	x.data = make([]byte, 512<<10)
	copy(x.data, x.write(x.others, 0, 256<<10))
	a := x.volume("a", 8<<20)
	x.scatter(a, 0, 150)
	x.snapshot(a, "one")
	x.scatter(a, 64*BlockSize, 100)
	x.snapshot(a, "two")
	x.scatter(a, 0, 40)
	c, e := x.clone(a, "one", "c"), x.clone(a, "one", "e")
	x.scatter(c, 0, 120)
	x.scatter(e, 0, 120)
	x.try("checkpoint", x.p.Checkpoint)
	x.destroySnap(a, "two")
	x.try("rollback", func() error { return x.p.Rollback(Req{}, a.ino, "one", true) })
	x.destroy(a, DestroyOptions{Snapshots: true, Defer: true}) // one is nameless now, and swept
	x.step()
	b := x.volume("b", 8<<20)
	x.scatter(b, 0, 150)
	x.try("checkpoint", x.p.Checkpoint)
	x.try("detach", func() error { return b.detach(0, mapEnd) })
	x.scatter(b, 0, 20)
	x.destroy(b, DestroyOptions{})
	x.destroy(c, DestroyOptions{})
	x.destroy(e, DestroyOptions{})
}

// end: the device is well. All that was destroyed is freed and erased, nothing is in trouble, and the pool is whole.
func (x *faulty) end() {
	x.Helper()
	x.class = -1
	for range 20 {
		x.now = x.now.Add(20 * time.Minute)
		x.house()
		ok(x, x.p.EraseDrain(x.Context()))
		_, err := x.e.Now(x.Context(), 1<<40)
		ok(x, err)
	}
	u := x.p.Usage()
	if u.Dirty+u.Freeing+u.Failed+u.Stranded > 0 || len(u.Troubles) > 0 || len(x.p.EraseJobs()) > 0 {
		x.Fatalf("left: dirty %d, freeing %d, failed %d, stranded %d; troubles %+v; jobs %+v (failed: %v)",
			u.Dirty, u.Freeing, u.Failed, u.Stranded, u.Troubles, x.p.EraseJobs(), x.failed)
	}
	if want := int64(512<<10) / BlockSize * BlockSize; u.Live > want {
		x.Fatalf("%d bytes live, the only volume has %d (failed: %v)", u.Live, want, x.failed)
	}
	expect(x, x.others, 0, x.data)
	mustCheck(x, x.p)
	left := x.d.Peek(0, x.d.Size())
	for _, mark := range x.marks(left) {
		x.Fatalf("%s (failed: %v)", mark, x.failed)
	}
	ok(x, x.p.Close())
	x.open()
	mustCheck(x, x.p)
	v, err := x.p.Volume(x.others.ino)
	ok(x, err)
	expect(x, v, 0, x.data)
	ok(x, x.p.Close())
}

// marks finds blocks full of what was written, that the other volume does not have.
func (x *faulty) marks(disk []byte) (out []string) {
	mine := map[byte]bool{}
	for _, c := range x.data {
		mine[c] = true
	}
	for off := 0; off < len(disk); off += BlockSize {
		b := disk[off : off+BlockSize]
		if b[0]&0x80 != 0 && !mine[b[0]] && bytes.Equal(b, fill(b[0], BlockSize)) {
			out = append(out, fmt.Sprintf("block %d holds what was destroyed, %#x", off/BlockSize, b[0]))
		}
	}
	return out
}

// passingBase is the empty pool, and how many operations of each class the load has.
func passingBase(t *testing.T) (*devtest.Disk, [4]int) {
	t.Helper()
	f := tiny
	f.RingBytes = 128 << 10
	f.Now = newClock().now
	base := devtest.New(passingSize, 512)
	ok(t, Create(base, f))
	x := newPassing(t, base)
	x.load()
	n := x.seen
	x.end()
	return base, n
}

func TestPassingFaults(t *testing.T) {
	base, n := passingBase(t)
	t.Logf("operations: %d reads, %d writes, %d zeroings", n[classRead], n[classWrite], n[classZero])
	for _, burst := range []int{1, 3, 30} {
		for class := classRead; class <= classZero; class++ {
			stride := max(1, n[class]/12)
			if *everyOp {
				stride = 1
			}
			for k := 1 + burst%stride; k <= n[class]; k += stride {
				x := newPassing(t, base)
				x.class, x.from, x.burst = class, k, burst
				x.load()
				x.end()
				if t.Failed() {
					t.Fatalf("%s %d, and %d more", classNames[class], k, burst-1)
				}
			}
		}
	}
}

// A lost sync or journal write is of the pool: it is read-only then, and reads go on. Housekeeping does not end.
func TestFaultsOfThePool(t *testing.T) {
	base, n := passingBase(t)
	stride := max(1, n[classPool]/10)
	for k := 1; k <= n[classPool]; k += stride {
		x := newPassing(t, base)
		x.class, x.from, x.burst, x.ends = classPool, k, 1, true
		func() {
			defer func() {
				r := recover()
				if err, _ := r.(error); !errors.Is(err, errEnded) {
					panic(r)
				}
			}()
			x.load()
		}()
		if err := x.p.Failed(); fault.Of(err) != fault.Pool || !errors.Is(err, ErrReadOnly) {
			t.Fatalf("sync or journal write %d failed (%v): the pool: %v", k, x.failed, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		run := make(chan error)
		go func() { run <- x.p.Run(ctx) }()
		select {
		case err := <-run:
			t.Fatalf("housekeeping ended: %v", err)
		default:
		}
		if x.others != nil {
			b := make([]byte, BlockSize)
			_, err := x.others.ReadAt(b, 0)
			ok(t, err)
			if _, err = x.others.WriteAt(b, 0); !errors.Is(err, ErrReadOnly) {
				t.Fatalf("a write is answered %v", err)
			}
		}
		cancel()
		ok(t, <-run)
	}
}
