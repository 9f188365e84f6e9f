package chain

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/erase"
)

// pinnedReads is how many plans of reads TestPinned makes.
const pinnedReads = 6000

// pinnedWorld is what the actors of TestPinned share: volumes of which each block that is written says whose it is.
type pinnedWorld struct {
	*Pool
	vols  []*Volume
	seq   atomic.Uint64
	reads atomic.Int64
}

// pinnedBlocks is the size of such a volume.
const pinnedBlocks = 200

// stampOf fills a block with words of which none is zero: of which volume it is, which block of it, and a number of its own.
func stampOf(ino Ino, lb int64, seq uint64) []byte {
	b := make([]byte, 0, BlockSize)
	for len(b) < BlockSize {
		b = binary.LittleEndian.AppendUint64(b, uint64(ino)|1<<63)
		b = binary.LittleEndian.AppendUint64(b, uint64(lb)|1<<62)
		b = binary.LittleEndian.AppendUint64(b, seq|1<<61)
		b = binary.LittleEndian.AppendUint64(b, ^uint64(0))
	}
	return b
}

// judge tells what is wrong with what is on the device where a plan says that bytes of a volume are.
func (w *pinnedWorld) judge(ino Ino, pl *Plan) ([]byte, error) {
	out := make([]byte, 0, pl.Len)
	lb := pl.Off / BlockSize
	for _, s := range pl.Spans {
		if s.Dev < 0 {
			out = append(out, make([]byte, s.Len)...)
			lb += s.Len / BlockSize
			continue
		}
		b := make([]byte, s.Len)
		if _, err := w.dev.ReadAt(b, s.Dev); err != nil {
			return nil, err
		}
		for at := int64(0); at < s.Len; at, lb = at+BlockSize, lb+1 {
			got := b[at : at+BlockSize]
			seq := binary.LittleEndian.Uint64(got[16:]) &^ (1 << 61)
			if !bytes.Equal(got, stampOf(ino, lb, seq)) {
				return nil, fmt.Errorf("block %d of volume %d, at %#x under a plan: %x ...", lb, ino, s.Dev+at, got[:32])
			}
		}
		out = append(out, b...)
	}
	return out, nil
}

// look plans a read of some blocks, keeps the plan while others go on, and judges what is there at last. What does not change it
// reads twice.
func (w *pinnedWorld) look(rng *rand.Rand, pl *Plan) error {
	v := w.vols[rng.IntN(len(w.vols))]
	of, still := v.PlanRead, false
	if rng.IntN(2) == 0 {
		if s := w.anySnap(rng, v); s != nil {
			of, still = s.PlanRead, true
		}
	}
	lb, n := rng.Int64N(pinnedBlocks-8), 1+rng.Int64N(8)
	if err := w.volumes.until(func() (Need, error) { return of(pl, lb*BlockSize, n*BlockSize) }); err != nil {
		return err
	}
	defer pl.Abort()
	w.reads.Add(1)
	was, err := w.judge(v.ino, pl)
	for range rng.IntN(100) {
		runtime.Gosched()
	}
	if err != nil {
		return err
	}
	now, err := w.judge(v.ino, pl)
	if err == nil && still && !bytes.Equal(was, now) {
		err = fmt.Errorf("blocks %d of a snapshot of volume %d changed under a plan", lb, v.ino)
	}
	return err
}

// anySnap is a snapshot of a volume, or nil. It is not opened: only plans keep it.
func (w *pinnedWorld) anySnap(rng *rand.Rand, v *Volume) *Snap {
	infos, err := w.Snapshots(v.ino)
	if err != nil || len(infos) == 0 {
		return nil
	}
	s, err := w.Snap(infos[rng.IntN(len(infos))].Layer)
	if err != nil {
		return nil
	}
	return s
}

// write writes one block, and keeps the plan a while before its data arrives, and before it ends.
func (w *pinnedWorld) write(rng *rand.Rand, pl *Plan) error {
	v, lb := w.vols[rng.IntN(len(w.vols))], rng.Int64N(pinnedBlocks)
	if err := w.volumes.until(func() (Need, error) { return v.PlanWrite(pl, lb*BlockSize, BlockSize) }); err != nil {
		pl.Quit()
		return err
	}
	for range rng.IntN(40) {
		runtime.Gosched()
	}
	if _, err := w.dev.WriteAt(stampOf(v.ino, lb, w.seq.Add(1)), pl.Spans[0].Dev); err != nil {
		pl.Abort()
		return err
	}
	for range rng.IntN(10) {
		runtime.Gosched()
	}
	if ended, err := pl.CommitNow(); ended {
		return err
	}
	return pl.Commit(pl.Len)
}

// change changes the structure, frees, or writes pages.
func (w *pinnedWorld) change(rng *rand.Rand) error {
	v, name := w.vols[rng.IntN(len(w.vols))], fmt.Sprint("s", rng.IntN(4))
	switch rng.IntN(8) {
	case 0, 1:
		return w.Snapshot(Req{}, []Ino{w.vols[0].ino, w.vols[1].ino}, name)
	case 2:
		return w.Rollback(Req{}, v.ino, name, true)
	case 3, 4:
		return w.DestroySnapshots(Req{}, v.ino, []string{name}, DestroyOptions{Defer: true, Now: true})
	case 5:
		return v.Punch(rng.Int64N(pinnedBlocks-16)*BlockSize, 16*BlockSize)
	case 6:
		return w.Checkpoint()
	default:
		return w.Flush()
	}
}

// TestPinned: what a plan names is what it was made for until it ends, whatever is written, frozen, rolled back, destroyed,
// discarded, erased and used again meanwhile. It fails when a block is zeroed, or has another owner, under a plan. Under the race
// detector it finds who changes what others look at.
func TestPinned(t *testing.T) {
	d := newDisk(t, 16<<20)
	p, err := Open(d, Options{Now: time.Now, CacheBytes: 64 << 10})
	ok(t, err)
	e, err := erase.New(d, erasing{p}, erase.Config{Method: blockdev.Overwrite, Clock: erase.NewClock(time.Now)})
	ok(t, err)
	p.SetZeroNow(e.Now)
	w := &pinnedWorld{Pool: p}
	for i := range 2 {
		v := mustVolume(t, p, fmt.Sprint("v", i), pinnedBlocks*BlockSize)
		for lb := range int64(pinnedBlocks) {
			write(t, v, stampOf(v.ino, lb, w.seq.Add(1)), lb*BlockSize)
		}
		w.vols = append(w.vols, v)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var house, actors sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"housekeeping": p.Run, "eraser": e.Run} {
		house.Go(func() {
			if err := run(ctx); err != nil || ctx.Err() == nil {
				t.Errorf("%s ended: %v", name, err)
			}
		})
	}
	var bad atomic.Bool
	act := func(what string, seed uint64, do func(rng *rand.Rand, pl *Plan) error) {
		actors.Go(func() {
			rng, pl := rand.New(rand.NewPCG(seed, 5)), &Plan{}
			for w.reads.Load() < pinnedReads && !bad.Load() {
				if err := do(rng, pl); err != nil && !isAnswer(err) && !errors.Is(err, ErrGone) {
					t.Errorf("%s: %v", what, err)
					bad.Store(true)
				}
			}
		})
	}
	for i := range uint64(3) {
		act("read", i, w.look)
	}
	for i := range uint64(2) {
		act("write", 10+i, w.write)
	}
	act("change", 20, func(rng *rand.Rand, _ *Plan) error { return w.change(rng) })
	actors.Wait()
	stop()
	house.Wait()
	ok(t, p.Failed())
	if n := p.Usage().Generation; n < 3 {
		t.Errorf("%d checkpoints: nothing went on beside the reads", n)
	}
	eraseAll(t, p)
	mustCheck(t, p)
	ok(t, p.Close())
}
