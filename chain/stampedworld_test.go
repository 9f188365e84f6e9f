package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"slatefs/chain/blockdev/devtest"
)

// A stamped world runs random operations on trees of volumes. Each write is stamped with who made it, sector by sector, so that
// the device itself says whose bytes are there.
type stampedWorld struct {
	p      *Pool
	d      *devtest.Disk
	clock  *clock
	rng    *rand.Rand // of the operation that runs
	n      int
	vols   map[string]Ino
	stamps []stamp
	below  map[uint64]bool // of stamps in what was only released: they lie below the device for good
	held   *heldStamp
	cut    int  // the power is cut at so many operations of the device from the next step's begin; 0: it is not
	whole  bool // blocks only
	trace  []string
}

// stamp is who made a write: a volume, and the layer that was its head then.
type stamp struct {
	vol   Ino
	layer LayerID
}

// heldStamp is a write that has come to the device, and has not ended.
type heldStamp struct {
	pl  *Plan
	vol Ino
}

const (
	stampMagic  = 0x5374616d70656421
	stampedSize = 256 << 10 // of a volume
	stampedPool = 4 << 20
)

func newStampedWorld(base *devtest.Disk, whole bool) (*stampedWorld, error) {
	w := &stampedWorld{d: base.Clone(), clock: newClock(), vols: map[string]Ino{}, below: map[uint64]bool{}, whole: whole}
	return w, w.open()
}

func (w *stampedWorld) open() (err error) {
	w.p, err = Open(w.d, Options{Now: w.clock.now, CacheBytes: 1 << 20, Properties: testProperties})
	if err == nil {
		p := w.p
		p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	}
	return err
}

func (w *stampedWorld) note(format string, a ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, a...))
}

// told is what was done.
func (w *stampedWorld) told() string { return strings.Join(w.trace, "\n") }

func (w *stampedWorld) pick() string {
	var names []string
	for n := range w.vols {
		names = append(names, n)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return names[w.rng.IntN(len(names))]
}

func (w *stampedWorld) snap(ino Ino) string {
	infos, err := w.p.Snapshots(ino)
	if err != nil || len(infos) == 0 {
		return ""
	}
	return infos[w.rng.IntN(len(infos))].Name
}

// step does the operation of a seed, the same whatever was left out of those before it. What a pool may refuse is no error; after a
// crash in the middle of it it goes on.
func (w *stampedWorld) step(seed uint32) error {
	w.n++
	w.rng = rand.New(rand.NewPCG(uint64(seed), 11))
	cut := w.cut
	if w.cut = 0; cut > 0 {
		w.d.CrashAt(cut)
	}
	err := w.do(w.rng.IntN(100))
	switch {
	case cut > 0:
		return w.crash()
	case slices.ContainsFunc([]error{
		ErrNoSpace, ErrExist, ErrNotFound, ErrHasClones, ErrHasSnapshots, ErrGone,
	}, func(r error) bool { return errors.Is(err, r) }):
		w.note("  refused: %v", err)
		return nil
	}
	return err
}

// crash cuts the power, and learns from the pool what is left of the names.
func (w *stampedWorld) crash() error {
	w.note("crash")
	w.held = nil
	w.d = w.d.Crash(w.rng)
	if err := w.open(); err != nil {
		return err
	}
	w.vols = map[string]Ino{}
	return w.p.ReadDir(RootIno, 0, func(e DirEntry) bool { w.vols[e.Name] = e.Ino; return true })
}

// there is whose bytes the device has, or what lies below it: by volume, and by layer.
func (w *stampedWorld) there() (vols map[Ino]bool, layers map[LayerID]bool) {
	vols, layers = map[Ino]bool{}, map[LayerID]bool{}
	found := map[uint64]bool{}
	w.stampsIn(0, w.d.Size(), found)
	for _, ids := range []map[uint64]bool{found, w.below} {
		for id := range ids {
			vols[w.stamps[id].vol], layers[w.stamps[id].layer] = true, true
		}
	}
	return vols, layers
}

// stampsIn finds the stamps in a part of the device.
func (w *stampedWorld) stampsIn(off, n int64, found map[uint64]bool) {
	b := w.d.Peek(off, n)
	for i := 0; i < len(b); i += sector {
		if binary.LittleEndian.Uint64(b[i:]) == stampMagic {
			found[binary.LittleEndian.Uint64(b[i+8:])] = true
		}
	}
}

// bytes are those of a write by the head of a volume.
func (w *stampedWorld) bytes(v *Volume, n int64) (id int, b []byte) {
	id = len(w.stamps)
	w.stamps = append(w.stamps, stamp{v.ino, v.head().id})
	b = make([]byte, n)
	for i := 0; i < len(b); i += sector {
		binary.LittleEndian.PutUint64(b[i:], stampMagic)
		binary.LittleEndian.PutUint64(b[i+8:], uint64(id))
	}
	return id, b
}

func (w *stampedWorld) extent() (off, n int64) {
	unit := int64(sector)
	if w.whole || w.rng.IntN(2) == 0 {
		unit = BlockSize
	}
	off = w.rng.Int64N(stampedSize/unit) * unit
	n = min(stampedSize-off, (1+w.rng.Int64N(12))*unit)
	return off, n
}

// end ends all: volumes, what is kept, writes, what failed, and what is not scheduled. What was only released is left.
func (w *stampedWorld) end() error {
	w.note("end")
	w.rng = rand.New(rand.NewPCG(1, 1))
	if err := w.release(); err != nil {
		return err
	}
	for _, ino := range w.vols {
		err := w.p.DestroyVolume(Req{}, ino, DestroyOptions{Snapshots: true, Clones: true, Now: true})
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrGone) { // it went as a clone
			return err
		}
	}
	if err := w.purge(); err != nil {
		return err
	}
	w.clock.t = w.clock.t.Add(48 * time.Hour)
	if err := w.p.EraseDrain(context.Background()); err != nil {
		return err
	}
	w.demand(1)
	defer w.demand(-1)
	if _, err := eraseSome(w.p, 1<<62); err != nil {
		return err
	}
	if js := w.p.EraseJobs(); len(js) != 0 {
		return fmt.Errorf("jobs left: %+v", js)
	}
	return nil
}

// demand is a writer that waits for clean blocks, so that what is not scheduled is zeroed.
func (w *stampedWorld) demand(n int) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.p.jobs.demand += n
}

// close checks the pool, and closes it.
func (w *stampedWorld) close() error {
	if err := w.release(); err != nil {
		return err
	}
	r, err := w.p.Check(context.Background())
	if err == nil && len(r.Errors)+len(r.Leaks) > 0 {
		err = errors.New("check: " + strings.Join(append(r.Errors, r.Leaks...), "\n"))
	}
	return errors.Join(err, w.p.Close())
}

// purge ends what is kept.
func (w *stampedWorld) purge() error {
	for _, id := range w.p.destroyed.ends.inOrder() {
		if err := w.p.removal.expire(id); err != nil {
			return err
		}
	}
	return w.p.Flush()
}

func (w *stampedWorld) closeAccounts() error {
	err := w.p.Checkpoint()
	for more := err == nil; more && err == nil; {
		more, err = w.p.keeper.closeSome(context.Background())
	}
	return err
}
