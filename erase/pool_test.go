package erase_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/fault"
	"slatefs/erase"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// queue is the pool as the eraser's queue. It looks at what goes through it: no block is with the eraser twice, nothing that
// is clean is handed out, and what is reported as zero is zero and synced.
type queue struct {
	*chain.Pool
	t    testing.TB
	d    *devtest.Disk
	mu   sync.Mutex
	out  map[int64]blockdev.Token // blocks that are handed out, by offset
	held map[blockdev.Token]int64 // bytes
}

func newQueue(t testing.TB, p *chain.Pool, d *devtest.Disk) *queue {
	return &queue{Pool: p, t: t, d: d, out: map[int64]blockdev.Token{}, held: map[blockdev.Token]int64{}}
}

func (q *queue) Next(n int64) (blockdev.Handout, error) {
	h, err := q.Pool.Next(n)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range h.Runs {
		q.held[h.Token] += r.Len
		for b := r.Off; b < r.End(); b += chain.BlockSize {
			if other := q.out[b]; other != 0 {
				q.t.Errorf("block at %#x is in hand-outs %d and %d", b, other, h.Token)
			}
			q.out[b] = h.Token
		}
	}
	return h, err
}

func (q *queue) Report(d blockdev.Done, how blockdev.How) (blockdev.Done, error) {
	stale := q.d.Unsynced()
	for _, r := range d.Zeroed {
		if b := q.d.Peek(r.Off, r.Len); !bytes.Equal(b, make([]byte, r.Len)) {
			q.t.Errorf("%d bytes at %#x are reported and not zero", r.Len, r.Off)
		}
		if slices.ContainsFunc(stale, func(x blockdev.Extent) bool { return x.Off < r.End() && r.Off < x.End() }) {
			q.t.Errorf("%d bytes at %#x are reported and not synced", r.Len, r.Off)
		}
	}
	// Before the pool has it: from then on others may be given the blocks.
	q.mu.Lock()
	for _, r := range slices.Concat(d.Zeroed, d.Failed) {
		for b := r.Off; b < r.End(); b += chain.BlockSize {
			delete(q.out, b)
		}
	}
	q.mu.Unlock()
	return q.Pool.Report(d, chain.How{Method: how.Method.String(), Verify: how.Verify.String(), Releases: !how.Method.Erases()})
}

func (q *queue) GiveBack(t blockdev.Token) {
	q.mu.Lock()
	for b, o := range q.out {
		if o == t {
			delete(q.out, b)
		}
	}
	q.mu.Unlock()
	q.Pool.GiveBack(t)
}

// rig is a pool, its eraser and what keeps house, as a daemon has them, on a disk of its own.
type rig struct {
	t    testing.TB
	d    *devtest.Disk
	p    *chain.Pool
	e    *erase.Eraser
	q    *queue
	stop func() // ends all and fails the test if it did not run until then
}

// newRig makes a pool of so many bytes and opens it.
func newRig(t testing.TB, size int64) *rig {
	d := devtest.New(size, 512)
	ok(t, chain.Create(d, chain.Format{Name: "rig", Zeroed: true, GroupBlocks: 1024, ExtentBlocks: 64, Now: time.Now}))
	r := &rig{t: t, d: d}
	r.open()
	return r
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) open() {
	r.t.Helper()
	p, err := chain.Open(r.d, chain.Options{Now: time.Now})
	ok(r.t, err)
	r.p, r.q = p, newQueue(r.t, p, r.d)
	r.e, err = erase.New(r.d, r.q, erase.Config{Clock: erase.NewClock(time.Now), Method: blockdev.Overwrite})
	ok(r.t, err)
	p.SetZeroNow(r.e.Now)
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"pool": p.Run, "eraser": r.e.Run} {
		wg.Go(func() {
			if err := run(ctx); (err != nil || ctx.Err() == nil) && !r.d.Crashed() {
				r.t.Errorf("%s: Run returned %v, its context %v", name, err, ctx.Err())
			}
		})
	}
	r.stop = func() { cancel(); wg.Wait() }
	r.t.Cleanup(r.stop)
}

// volume makes a volume full of one byte.
func (r *rig) volume(name string, size int64, b byte) *chain.Volume {
	r.t.Helper()
	a, err := r.p.Create(chain.Req{}, chain.RootIno, name, 0o644)
	ok(r.t, err)
	v, err := r.p.Volume(a.Ino)
	ok(r.t, err)
	ok(r.t, v.Truncate(size))
	_, err = v.WriteAt(bytes.Repeat([]byte{b}, int(size)), 0)
	ok(r.t, err)
	return v
}

// drained waits until nothing is left to erase.
func (r *rig) drained() {
	r.t.Helper()
	for range 100_000 {
		ok(r.t, r.p.EraseDrain(r.t.Context()))
		if u := r.p.Usage(); u.Dirty+u.Freeing+u.Failed == 0 && r.e.Stats().Pending == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	r.t.Fatalf("it is never erased: %+v\n%+v\n%+v", r.p.Usage(), r.p.EraseJobs(), r.e.Stats())
}

// done checks that the pool is well, that the eraser has nothing, and that no mark is left.
func (r *rig) done(marks ...byte) {
	r.t.Helper()
	ok(r.t, r.p.Failed())
	rep, err := r.p.Check(r.t.Context())
	ok(r.t, err)
	if len(rep.Errors)+len(rep.Leaks) > 0 {
		r.t.Errorf("check: %q", append(rep.Errors, rep.Leaks...))
	}
	if js := r.p.EraseJobs(); len(js) > 0 && js[0].Dirty+js[0].Failed > 0 {
		r.t.Errorf("jobs left: %+v", js)
	}
	for _, b := range marks {
		if at := r.d.Find(bytes.Repeat([]byte{b}, 512)); len(at) > 0 {
			r.t.Errorf("%q is still on the device, at %d places", b, len(at))
		}
	}
	r.stop()
	ok(r.t, r.p.Close())
}

// erasing waits until a job is being erased, and returns it.
func (r *rig) erasing() chain.JobInfo {
	r.t.Helper()
	for range 10_000 {
		for _, j := range r.p.EraseJobs() {
			if j.State == "erasing" {
				return j
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatal("nothing is being erased")
	return chain.JobInfo{}
}

func (r *rig) first(volume string) {
	r.t.Helper()
	for _, j := range r.p.EraseJobs() {
		if j.Volume == volume && j.Dirty > 0 {
			ok(r.t, r.p.EraseFirst(chain.Req{}, j.ID))
			return
		}
	}
}

// Another job goes first while one is being erased, again and again.
func TestFirstDuringAnErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 64*mib)
		r.e.SetRate(2 * mib)
		for i := range 3 {
			r.volume(fmt.Sprint("v", i), 4*mib, 'a'+byte(i))
		}
		for i := range 3 {
			ok(t, r.p.Unlink(chain.Req{}, chain.RootIno, fmt.Sprint("v", i)))
		}
		ok(t, r.p.EraseDrain(t.Context()))
		r.erasing()
		for i := range 30 {
			r.first(fmt.Sprint("v", i%3))
			time.Sleep(130 * time.Millisecond)
		}
		r.drained()
		r.done('a', 'b', 'c')
	})
}

// The method changes while a job is being erased, again and again: a hand-out is reported in parts.
func TestMethodDuringAnErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 64*mib)
		r.e.SetRate(2 * mib)
		r.volume("v", 8*mib, 'a')
		ok(t, r.p.Unlink(chain.Req{}, chain.RootIno, "v"))
		ok(t, r.p.EraseDrain(t.Context()))
		r.erasing()
		flip := []blockdev.Method{blockdev.Zeroout, blockdev.Unmap, blockdev.Overwrite, blockdev.Auto}
		n := 0
		r.d.Fail(func(op devtest.Op) error {
			if op.Kind == devtest.OpZero { // in the middle of a step, too
				n++
				return r.e.SetMethod(flip[n%len(flip)])
			}
			return nil
		})
		r.drained()
		r.d.Fail(nil)
		r.done('a')
	})
}

// A bad block is tried again while another job is being erased. In the end it can be written.
func TestBadBlockBesideAnotherJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 64*mib)
		r.e.SetRate(mib)
		r.volume("bad", mib, 'a')
		r.volume("good", 16*mib, 'b')
		bad := r.d.Find(bytes.Repeat([]byte{'a'}, chain.BlockSize))[17]
		var tries int
		r.d.Fail(func(op devtest.Op) error {
			if op.Kind == devtest.OpZero && op.Off <= bad && bad < op.Off+op.Len {
				if tries++; tries < 8 {
					return syscall.EIO
				}
			}
			return nil
		})
		ok(t, r.p.Unlink(chain.Req{}, chain.RootIno, "bad"))
		ok(t, r.p.Unlink(chain.Req{}, chain.RootIno, "good"))
		ok(t, r.p.EraseDrain(t.Context()))
		for r.p.Usage().Failed == 0 {
			time.Sleep(50 * time.Millisecond)
		}
		if u := r.p.Usage(); u.Failed != chain.BlockSize || u.Dirty == 0 {
			t.Errorf("one block is bad: %+v", u)
		}
		r.drained()
		if tries < 8 {
			t.Errorf("%d tries", tries)
		}
		r.done('a', 'b')
	})
}

// All at once: writers, destroys, erase first, methods, pauses, demand, bad blocks, and crashes between. Nothing is handed
// out twice, nothing is clean before it is zero, nothing is stranded, and in the end all is erased.
func TestEraserAndPoolModel(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { eraseModel(t, seed) })
	}
}

const (
	modelVolumes = 4
	modelSize    = 2 * mib
	modelByte    = 0xa5
)

func eraseModel(t *testing.T, seed uint64) {
	r := newRig(t, 12*mib)
	for round := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, round))
		if round > 0 { // of what is not synced any part stays
			r.d = r.d.Crash(rng)
			r.open()
		}
		if round < 3 {
			r.d.CrashAt(r.d.Ops() + 50 + rng.IntN(1500))
		}
		r.story(seed*10 + round)
		if !r.d.Crashed() && round < 3 {
			r.d.CrashAt(r.d.Ops() + 1)
			_ = r.p.Flush() // it crashes
		}
		if round < 3 {
			r.stop()
		}
	}
	r.drained()
	for i := range modelVolumes {
		_ = r.p.Unlink(chain.Req{}, chain.RootIno, fmt.Sprint("v", i)) // it may be gone already
	}
	r.drained()
	t.Logf("seed %d: %+v", seed, r.e.Stats().Errors)
	r.done(modelByte)
}

// story lets everybody work on the pool for a while.
func (r *rig) story(seed uint64) {
	zero := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	r.d.Fail(func(op devtest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.Kind == devtest.OpZero && zero.IntN(12) == 0, op.Kind == devtest.OpRead && zero.IntN(60) == 0:
			return fault.Mark(fault.Transient, syscall.EIO)
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range modelVolumes {
		wg.Go(func() { r.writer(fmt.Sprint("v", i), rand.New(rand.NewPCG(seed, uint64(2+i)))) })
	}
	wg.Go(func() { r.operator(rand.New(rand.NewPCG(seed, 99))) })
	wg.Wait()
	r.d.Fail(nil)
	r.e.SetPaused(false)
	r.e.SetRate(0)
}

// fine tells whether an error is part of the story.
func (r *rig) fine(what string, err error) {
	if err != nil && fault.Of(err) != fault.Transient && !errors.Is(err, chain.ErrNoSpace) && !errors.Is(err, chain.ErrNotFound) && !r.d.Crashed() {
		r.t.Errorf("%s: %v", what, err)
	}
}

func (r *rig) writer(name string, rng *rand.Rand) {
	for range 60 {
		if r.d.Crashed() {
			return
		}
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		a, err := r.p.Lookup(chain.RootIno, name)
		if errors.Is(err, chain.ErrNotFound) {
			a, err = r.p.Create(chain.Req{}, chain.RootIno, name, 0o644)
		}
		var v *chain.Volume
		if err == nil {
			v, err = r.p.Volume(a.Ino)
		}
		if err != nil {
			r.fine("open", err)
			continue
		}
		off := rng.Int64N(modelSize/kib) * kib
		n := min(modelSize-off, kib<<rng.IntN(10))
		switch rng.IntN(8) {
		case 0:
			r.fine("punch", v.Punch(off, n))
		case 1:
			r.fine("truncate", v.Truncate(off))
		case 2:
			r.fine("unlink", r.p.Unlink(chain.Req{}, chain.RootIno, name))
		case 3:
			r.fine("snapshot", r.p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, fmt.Sprint("s", rng.Int64())))
		case 4:
			r.fine("flush", r.p.Flush())
		default:
			_, err := v.WriteAt(bytes.Repeat([]byte{modelByte}, int(n)), off)
			r.fine("write", err)
		}
	}
}

// operator changes whatever can be changed while blocks are being erased.
func (r *rig) operator(rng *rand.Rand) {
	methods := []blockdev.Method{blockdev.Auto, blockdev.Zeroout, blockdev.Unmap, blockdev.Overwrite}
	for range 120 {
		if r.d.Crashed() {
			return
		}
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		switch rng.IntN(6) {
		case 0:
			if js := r.p.EraseJobs(); len(js) > 0 {
				r.fine("first", r.p.EraseFirst(chain.Req{}, js[rng.IntN(len(js))].ID))
			}
		case 1:
			ok(r.t, r.e.SetMethod(methods[rng.IntN(len(methods))]))
		case 2:
			r.e.SetPaused(rng.IntN(3) == 0)
		case 3:
			r.e.SetRate([]int64{0, 256 * kib, 2 * mib}[rng.IntN(3)])
		case 4:
			r.e.SetVerify(blockdev.Verify(rng.IntN(3)))
		case 5:
			_, err := r.e.Now(r.t.Context(), int64(rng.IntN(64))*chain.BlockSize)
			r.fine("now", err)
		}
	}
}
