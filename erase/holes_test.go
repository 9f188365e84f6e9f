package erase_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/erase"
)

// below is what lies below a pool file: the marks of a volume that a hole took out of it.
type below struct {
	d    *devtest.Disk
	mark byte
	n    int // blocks
}

// look counts the marks that an operation takes out of the file, before it does.
func (b *below) look(op devtest.Op) error {
	if op.Kind == devtest.OpZero && op.Method == blockdev.Release {
		b.n += bytes.Count(b.d.Peek(op.Off, op.Len), bytes.Repeat([]byte{b.mark}, chain.BlockSize))
	}
	return nil
}

// holesRig is a pool on a file, without any background.
type holesRig struct {
	t     *testing.T
	d     *devtest.Disk
	p     *chain.Pool
	below below
	skew  time.Duration // of its clock
}

const holesMark = 'h'

func newHolesRig(t *testing.T, d *devtest.Disk, b int) *holesRig {
	t.Helper()
	r := &holesRig{t: t, d: d, below: below{d, holesMark, b}}
	p, err := chain.Open(d, chain.Options{Now: func() time.Time { return time.Now().Add(r.skew) }})
	ok(t, err)
	r.p = p
	d.Fail(r.below.look)
	return r
}

// poolFile is a disk that is a file: it has no methods of block devices.
type poolFile struct{ *devtest.Disk }

func (poolFile) Methods() []blockdev.Method {
	return []blockdev.Method{blockdev.Overwrite, blockdev.Release}
}

// eraser is one that takes what there is by a method.
func (r *holesRig) eraser(q erase.Queue, m blockdev.Method) *erase.Eraser {
	r.t.Helper()
	e, err := erase.New(poolFile{r.d}, q, erase.Config{Clock: erase.NewClock(time.Now), Method: m, Verify: blockdev.VerifyFull})
	ok(r.t, err)
	return e
}

// all erases what is queued by a method.
func (r *holesRig) all(m blockdev.Method) {
	r.t.Helper()
	e := r.eraser(newQueue(r.t, r.p, r.d), m)
	for range 10 {
		ok(r.t, r.p.EraseDrain(r.t.Context()))
		_, err := e.Now(r.t.Context(), 1<<40)
		ok(r.t, err)
		if u := r.p.Usage(); u.Dirty+u.Freeing+u.Failed == 0 {
			return
		}
		r.skew += time.Hour // what failed is tried again after a while
	}
	r.t.Fatalf("it is never erased: %+v", r.p.EraseJobs())
}

// holesPool is a pool whose one volume had marks, and was destroyed. It returns that.
func holesPool(t *testing.T) (*devtest.Disk, chain.Ino) {
	t.Helper()
	d := devtest.New(4*mib, 512)
	ok(t, chain.Create(d, chain.Format{
		Name: "rig", Zeroed: true, GroupBlocks: 256, ExtentBlocks: 16, RingBytes: 64 * kib, WindowBlocks: 8, Now: time.Now,
	}))
	p, err := chain.Open(d, chain.Options{Now: time.Now})
	ok(t, err)
	var ino chain.Ino
	for i, name := range []string{"v.raw", "other.raw"} {
		a, err := p.Create(chain.Req{}, chain.RootIno, name, 0o644)
		ok(t, err)
		v, err := p.Volume(a.Ino)
		ok(t, err)
		ok(t, v.Truncate(mib))
		_, err = v.WriteAt(bytes.Repeat([]byte{holesMark + byte(i)}, 32*chain.BlockSize), 0)
		ok(t, err)
		if i == 0 {
			ino = a.Ino
		}
		ok(t, p.Unlink(chain.Req{}, chain.RootIno, name))
	}
	ok(t, p.EraseDrain(t.Context()))
	ok(t, p.Close())
	return d, ino
}

// judge wants the evidence of a volume to be complete only if nothing of it lies below the file. It tells whether it is.
func (r *holesRig) judge(what string, ino chain.Ino) bool {
	r.t.Helper()
	e, err := chain.EvidenceOf(r.p, chain.Subject{Volumes: []chain.Ino{ino}})
	ok(r.t, err)
	if e.Complete && r.below.n > 0 {
		r.t.Errorf("%s: %d blocks lie below the file, and it is complete: %+v", what, r.below.n, e)
	}
	if e.Released < int64(r.below.n)*chain.BlockSize {
		r.t.Errorf("%s: %d blocks lie below the file, and %d bytes are told to be released", what, r.below.n, e.Released)
	}
	return e.Complete
}

// done checks the pool, and closes it.
func (r *holesRig) done() {
	r.t.Helper()
	rep, err := r.p.Check(r.t.Context())
	ok(r.t, err)
	if len(rep.Errors)+len(rep.Leaks) > 0 {
		r.t.Errorf("check: %q", append(rep.Errors, rep.Leaks...))
	}
	ok(r.t, r.p.Close())
}

// A hole is punched, and a crash takes the report of it, at each operation of the device; all is zeroed by another method afterwards. What
// lies below the file then is never called erased.
func TestReleasedThroughCrashes(t *testing.T) {
	base, ino := holesPool(t)
	complete, punched := 0, 0
	for at := 1; ; at++ {
		r := newHolesRig(t, base.Clone(), 0)
		r.d.CrashAt(r.d.Ops() + at)
		for again := true; again; { // some is released, then a checkpoint, then more
			n, err := r.eraser(newQueue(t, r.p, r.d), blockdev.Release).Now(t.Context(), 24*chain.BlockSize)
			again = err == nil && n > 0 && r.p.Checkpoint() == nil
		}
		if !r.d.Crashed() {
			break
		}
		r = newHolesRig(t, r.d.Crash(rand.New(rand.NewPCG(uint64(at), 1))), r.below.n)
		r.all(blockdev.Overwrite)
		if r.below.n > 0 {
			punched++
		}
		for range 2 {
			if r.judge(fmt.Sprint("operation ", at), ino) {
				complete++
			}
			ok(t, r.p.Checkpoint())
		}
		r.done()
	}
	if complete == 0 || punched < 10 {
		t.Errorf("%d verdicts were complete, and %d crashes came after a hole: that proves nothing", complete, punched)
	}
}

// holesQueue is a pool that does not take what was released.
type holesQueue struct {
	*queue
	err error
}

func (q holesQueue) Report(d blockdev.Done, how blockdev.How) (blockdev.Done, error) {
	if q.err != nil {
		return d, q.err
	}
	return q.queue.Report(d, how)
}

// What was released, and reported as failed or not at all, is zeroed by another method, in the same process or the next. It lies below the
// file all the same.
func TestReleasedAndReportedOtherwise(t *testing.T) {
	base, ino := holesPool(t)
	for name, spoil := range map[string]func(r *holesRig, q *holesQueue){
		"it cannot be read back": func(r *holesRig, _ *holesQueue) {
			r.d.Fail(func(op devtest.Op) error {
				if op.Kind == devtest.OpRead && r.below.n > 0 {
					return fault.Mark(fault.Transient, syscall.EIO)
				}
				return r.below.look(op)
			})
		},
		"the report is refused": func(_ *holesRig, q *holesQueue) { q.err = fault.Mark(fault.Refused, errors.New("no")) },
	} {
		for _, crash := range []bool{false, true} {
			what := fmt.Sprintf("%s, crash %v", name, crash)
			r := newHolesRig(t, base.Clone(), 0)
			q := &holesQueue{queue: newQueue(t, r.p, r.d)}
			spoil(r, q)
			e := r.eraser(q, blockdev.Release)
			_, _ = e.Now(t.Context(), 20*chain.BlockSize) // it fails, or fails in part
			if r.below.n == 0 {
				t.Fatalf("%s: nothing was released", what)
			}
			r.d.Fail(r.below.look)
			if crash {
				r = newHolesRig(t, r.d.Crash(rand.New(rand.NewPCG(1, 1))), r.below.n)
			}
			r.all(blockdev.Overwrite)
			for range 2 {
				r.judge(what, ino)
				ok(t, r.p.Checkpoint())
			}
			r.done()
		}
	}
}

// Where it cannot be noted that blocks may be released, none is.
func TestNothingIsReleasedUnnoted(t *testing.T) {
	base, ino := holesPool(t)
	r := newHolesRig(t, base.Clone(), 0)
	r.d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpZero && op.Method == blockdev.Release {
			t.Errorf("%d bytes at %#x are released", op.Len, op.Off)
		}
		return nil
	})
	q := unnoted{newQueue(t, r.p, r.d)}
	for range 3 {
		if n, err := r.eraser(q, blockdev.Release).Now(t.Context(), 1<<40); n > 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("released %d bytes, %v", n, err)
		}
	}
	r.all(blockdev.Overwrite)
	if !r.judge("nothing was released", ino) {
		t.Error("and it is not complete")
	}
	r.done()
}

// unnoted is a pool that cannot note it.
type unnoted struct{ *queue }

func (unnoted) WillRelease(blockdev.Token) error { return fault.Mark(fault.Transient, syscall.ENOSPC) }
