package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// crashRig is a pool under load, and what may be in its volumes.
type crashRig struct {
	*pool
	rng     *rand.Rand
	workers []*worker
	next    atomic.Uint64 // numbers of writes
	snaps   []*snapshotSeen
	stopped atomic.Bool
}

// Shape of the load: volumes of workersPer parts, one writer each.
const (
	crashVolumes = 3
	workersPer   = 2
	partBlocks   = 1024 // 4 MiB
)

// worker writes to its part of a volume with O_DIRECT, and knows what each block may hold.
type worker struct {
	rig    *crashRig
	volume int
	first  int64 // block
	rng    *rand.Rand

	mu      sync.Mutex
	history [partBlocks][]change // of each block since the last crash, oldest first
	flushed [partBlocks]int      // index in history of the last change that a crash must not undo
}

// change is something done to a block. A punch has content 0 and a number all the same.
type change struct {
	number  uint64
	content uint64
	acked   bool
}

func volName(i int) string { return "v" + strconv.Itoa(i) }

// TestCrashOfTheDaemonUnderLoad kills the daemon ten times while volumes are written, punched, flushed and frozen.
// After each: the pool checks clean; every block holds what was last flushed or a later write, whole; every
// snapshot that was confirmed is there, holds what was acknowledged before it, and never changes.
func TestCrashOfTheDaemonUnderLoad(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		r := &crashRig{pool: newLab(t).newPool("lab", "1G", tr), rng: rand.New(rand.NewPCG(seed, 0))}
		r.mount()
		r.slatefs("set", "erase_throughput=0", r.mnt)
		for v := range crashVolumes {
			r.slatefs("create", "--size", fmt.Sprint(workersPer*partBlocks*block), r.at(volName(v)))
			for n := range workersPer {
				w := &worker{rig: r, volume: v, first: int64(n) * partBlocks, rng: rand.New(rand.NewPCG(seed, uint64(v*workersPer+n+1)))}
				for b := range w.history {
					w.history[b] = []change{{acked: true}}
				}
				r.workers = append(r.workers, w)
			}
		}
		for round := range 10 {
			r.round(t, round)
			if t.Failed() {
				t.FailNow()
			}
		}
		t.Logf("%d writes and punches, %d snapshots held", r.next.Load(), len(r.snaps))
	})
}

// round is one crash.
func (r *crashRig) round(t *testing.T, round int) {
	r.stopped.Store(false)
	var running sync.WaitGroup
	for _, w := range r.workers {
		running.Go(func() { w.run(t) })
	}
	stop := make(chan struct{})
	running.Go(func() { r.freeze(t, round, stop) })
	time.Sleep(time.Duration(300+r.rng.IntN(900)) * time.Millisecond)
	r.stopped.Store(true) // from here on errors are expected
	r.kill()
	close(stop)
	running.Wait()
	r.check() // the journal as the crash left it
	took := r.mount()
	t.Logf("round %d: mounted again in %v", round, took.Round(time.Millisecond))
	for _, w := range r.workers {
		w.verify(t)
	}
	for _, s := range r.snaps {
		r.verifySnapshot(t, s)
	}
	if r := r.try("pool", "check", "--online", r.mnt); r.code != 0 {
		t.Error(r)
	}
	r.thin(t)
}

// run writes until the daemon is gone.
func (w *worker) run(t *testing.T) {
	fd, err := unix.Open(w.rig.at(volName(w.volume)), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		if !w.rig.stopped.Load() {
			t.Error(err)
		}
		return
	}
	defer unix.Close(fd)
	for {
		if w.rng.IntN(12) == 0 {
			err = w.flush(fd)
		} else {
			err = w.change(fd)
		}
		if err != nil {
			if !w.rig.stopped.Load() {
				t.Errorf("%s: %v", volName(w.volume), err)
			}
			return
		}
	}
}

// change writes or punches some blocks.
func (w *worker) change(fd int) error {
	n := int64(1)
	if w.rng.IntN(4) == 0 {
		n += w.rng.Int64N(64)
	}
	at := w.rng.Int64N(partBlocks - n + 1)
	punch, dsync := w.rng.IntN(10) == 0, w.rng.IntN(16) == 0
	number := w.rig.next.Add(1)
	content := number
	if punch {
		content = 0
	}
	w.mu.Lock()
	for b := at; b < at+n; b++ {
		w.history[b] = append(w.history[b], change{number: number, content: content})
	}
	w.mu.Unlock()
	off := (w.first + at) * block
	var err error
	switch {
	case punch:
		err = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n*block)
	case dsync:
		_, err = unix.Pwritev2(fd, [][]byte{stamped(int(n*block), w.volume, off, number)}, off, unix.RWF_DSYNC)
	default:
		_, err = unix.Pwrite(fd, stamped(int(n*block), w.volume, off, number), off)
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for b := at; b < at+n; b++ {
		h := w.history[b]
		h[len(h)-1].acked = true
		if dsync && !punch {
			w.flushed[b] = len(h) - 1
		}
	}
	return nil
}

// flush makes what was acknowledged the least that a crash may leave. The worker does one thing at a time.
func (w *worker) flush(fd int) error {
	if err := unix.Fdatasync(fd); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for b, h := range w.history {
		w.flushed[b] = len(h) - 1
	}
	return nil
}

// verify reads a part after a crash, and takes what is there for what was flushed.
func (w *worker) verify(t *testing.T) {
	got := readBlocks(t, w.rig.at(volName(w.volume)), w.volume, w.first)
	for b, h := range w.history {
		may := h[w.flushed[b]:]
		if !slices.ContainsFunc(may, func(c change) bool { return c.content == got[b] }) {
			t.Errorf("%s: block %d holds write %d, want one of %+v", volName(w.volume), w.first+int64(b), got[b], may)
		}
		w.history[b] = []change{{number: h[len(h)-1].number, content: got[b], acked: true}}
		w.flushed[b] = 0
	}
}

// readBlocks reads a part of a volume: of each block the number of the write it is of. All its sectors must agree.
func readBlocks(t *testing.T, path string, volume int, first int64) (writes [partBlocks]uint64) {
	t.Helper()
	fd := open(t, path, unix.O_RDONLY|unix.O_DIRECT)
	defer closeFD(t, fd)
	buf := blockdev.Aligned(partBlocks * block)
	n, err := unix.Pread(fd, buf, first*block)
	if err != nil || n != len(buf) {
		t.Fatalf("%s: read %d bytes: %v", path, n, err)
	}
	for i := 0; i < len(buf); i += sector {
		st, err := readStamp(buf[i : i+sector])
		at := first*block + int64(i)
		if err == nil && st.write != 0 && st.where != place(volume, at/sector) {
			err = fmt.Errorf("it belongs to %x", st.where)
		}
		if err == nil && i%block > 0 && st.write != writes[i/block] {
			err = fmt.Errorf("torn block: write %d, before it %d", st.write, writes[i/block])
		}
		if err != nil {
			t.Errorf("%s: sector at %d: %v", path, at, err)
		}
		writes[i/block] = st.write
	}
	return writes
}
