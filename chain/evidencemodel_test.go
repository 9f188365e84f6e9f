package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

var evidenceSeeds = flag.Uint64("evidence.seeds", 6, "how many seeds of the model test of evidence")

// A stamped world runs random operations on trees of volumes. Each write is stamped with who made it, sector by sector, so that
// the device itself says whose bytes are there.
type stampedWorld struct {
	t                      *testing.T
	p                      *Pool
	d                      *devtest.Disk
	rng                    *rand.Rand
	n                      int
	vols                   map[string]Ino
	stamps                 []stamp
	trace                  []string
	aligned                bool // whole blocks only
	exact, loose, complete int
}

type stamp struct {
	vol   Ino
	layer LayerID
}

const stampMagic = 0x5374616d70656421

const stampedSize = 256 << 10 // of a volume

func (w *stampedWorld) note(format string, a ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, a...))
}

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

// step does one operation.
func (w *stampedWorld) step() error {
	w.n++
	name := w.pick()
	ino := w.vols[name]
	k := w.rng.IntN(100)
	if name == "" || len(w.vols) < 2 && k > 90 {
		k = 99
	}
	switch {
	case k < 35:
		return w.write(name, ino)
	case k < 40:
		v, err := w.p.Volume(ino)
		if err != nil {
			return err
		}
		off, n := w.extent()
		w.note("punch %s %d+%d", name, off, n)
		return v.Punch(off, n)
	case k < 48:
		w.note("snapshot %s@s%d", name, w.n)
		return w.p.Snapshot(Req{}, []Ino{ino}, fmt.Sprint("s", w.n))
	case k < 53:
		if s := w.snap(ino); s != "" {
			w.note("rollback %s@%s", name, s)
			return w.p.Rollback(Req{}, ino, s, true)
		}
	case k < 61:
		if s := w.snap(ino); s != "" {
			w.note("destroy %s@%s", name, s)
			return w.p.DestroySnapshots(Req{}, ino, []string{s}, DestroyOptions{Defer: true})
		}
	case k < 68:
		if len(w.vols) < 5 {
			s, to := w.snap(ino), fmt.Sprint("c", w.n)
			if w.rng.IntN(3) == 0 {
				s = ""
			}
			w.note("clone %s@%s %s", name, s, to)
			a, err := w.p.Clone(Req{}, ino, s, RootIno, to)
			if err == nil {
				w.vols[to] = a.Ino
			}
			return err
		}
	case k < 74:
		w.note("destroy %s", name)
		delete(w.vols, name)
		return w.p.DestroyVolume(Req{}, ino, DestroyOptions{Snapshots: true, Defer: true})
	case k < 76:
		delay := []string{"1h", "0"}[w.rng.IntN(2)]
		w.note("delay %s", delay)
		return w.p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: delay})
	case k < 79:
		return w.undestroy()
	case k < 82:
		w.note("purge")
		return w.purge()
	case k < 85:
		w.note("checkpoint")
		return w.p.Checkpoint()
	case k < 90:
		w.note("erase")
		if err := w.p.EraseDrain(context.Background()); err != nil {
			return err
		}
		_, err := eraseSome(w.p, int64(1+w.rng.IntN(40))*BlockSize)
		return err
	case k < 93:
		return w.crash()
	default:
		if len(w.vols) < 4 {
			to := fmt.Sprint("v", w.n)
			w.note("create %s", to)
			v := mustVolume(w.t, w.p, to, stampedSize)
			w.vols[to] = v.ino
		}
	}
	return nil
}

func (w *stampedWorld) extent() (off, n int64) {
	unit := int64(sector)
	if w.aligned || w.rng.IntN(2) == 0 {
		unit = BlockSize
	}
	off = w.rng.Int64N(stampedSize/unit) * unit
	n = min(stampedSize-off, (1+w.rng.Int64N(12))*unit)
	return off, n
}

func (w *stampedWorld) write(name string, ino Ino) error {
	v, err := w.p.Volume(ino)
	if err != nil {
		return err
	}
	off, n := w.extent()
	id := len(w.stamps)
	w.stamps = append(w.stamps, stamp{ino, v.head().id})
	b := make([]byte, n)
	for i := 0; i < len(b); i += sector {
		binary.LittleEndian.PutUint64(b[i:], stampMagic)
		binary.LittleEndian.PutUint64(b[i+8:], uint64(id))
	}
	w.note("write %d: %s (%d, layer %v) %d+%d", id, name, ino, v.head().id, off, n)
	if w.rng.IntN(10) == 0 { // a write that comes to nothing, though it has arrived
		var pl Plan
		if err := w.p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, off, n) }); err != nil {
			return err
		}
		if err := w.p.volumes.carryOut(&pl, b[:pl.end-pl.from], off, false); err != nil {
			return err
		}
		pl.Abort()
		return nil
	}
	_, err = v.WriteAt(b, off)
	if err == nil && w.rng.IntN(3) == 0 {
		err = w.p.Flush()
	}
	return err
}

func (w *stampedWorld) purge() error {
	for _, id := range w.p.destroyed.ends.inOrder() {
		if err := w.p.removal.expire(id); err != nil {
			return err
		}
	}
	return w.p.Flush()
}

func (w *stampedWorld) undestroy() error {
	for _, i := range w.p.Destroyed() {
		if i.Snapshot == "" {
			to := fmt.Sprint("u", w.n)
			w.note("undestroy %d as %s", i.ID, to)
			a, err := w.p.Undestroy(Req{}, i.ID, RootIno, to)
			if err == nil {
				w.vols[to] = a.Ino
			}
			return err
		}
	}
	return nil
}

// crash cuts the power, and learns from the pool what is left of the names.
func (w *stampedWorld) crash() error {
	w.note("crash")
	w.p, w.d = reopen(w.t, w.d, uint64(w.n))
	w.vols = map[string]Ino{}
	return w.p.ReadDir(RootIno, 0, func(e DirEntry) bool { w.vols[e.Name] = e.Ino; return true })
}

// there is whose bytes the device has: by volume, and by layer.
func (w *stampedWorld) there() (vols map[Ino]bool, layers map[LayerID]bool) {
	vols, layers = map[Ino]bool{}, map[LayerID]bool{}
	b := w.d.Peek(0, w.d.Size())
	for i := 0; i < len(b); i += sector {
		if binary.LittleEndian.Uint64(b[i:]) != stampMagic {
			continue
		}
		s := w.stamps[binary.LittleEndian.Uint64(b[i+8:])]
		vols[s.vol], layers[s.layer] = true, true
	}
	return vols, layers
}

// check proves the accounts.
func (w *stampedWorld) check() {
	r, err := w.p.Check(context.Background())
	ok(w.t, err)
	if len(r.Errors)+len(r.Leaks) > 0 {
		w.t.Fatalf("check: %s\n%s", strings.Join(append(r.Errors, r.Leaks...), "\n"), strings.Join(w.trace, "\n"))
	}
}

// judge compares what is there with what evidence says. It may never call complete what is there. What it calls incomplete is there,
// but for three cases: a crash left something that is not erased yet; it says itself that it is "up to", that is, others' blocks; or a
// block was written over in place, as it was zeroed by a guest, or is now of the layer that was merged into an heir.
func (w *stampedWorld) judge(end bool) {
	vols, layers := w.there()
	seenVol, seenLayer := map[Ino]bool{}, map[LayerID]bool{}
	for _, s := range w.stamps {
		if !seenVol[s.vol] {
			seenVol[s.vol] = true
			w.one(Subject{Volumes: []Ino{s.vol}}, vols[s.vol], end)
		}
		if !seenLayer[s.layer] {
			seenLayer[s.layer] = true
			w.one(Subject{Layer: s.layer}, layers[s.layer], end)
		}
	}
	w.one(Subject{Pool: true}, len(vols) > 0, end)
}

func (w *stampedWorld) one(s Subject, there, end bool) {
	e, err := EvidenceOf(w.p, s)
	if errors.Is(err, ErrNotFound) && s.Layer > w.p.tree.nextLayer { // a crash took the layer, and nothing is said of it
		return
	}
	if err != nil {
		w.t.Fatalf("evidence of %+v: %v\n%s", s, err, strings.Join(w.trace, "\n"))
	}
	if e.Complete {
		w.complete++
	}
	switch {
	case e.Complete && there:
		w.t.Fatalf("evidence of %+v is complete, and bytes of it are there: %+v\n%s", s, e, strings.Join(w.trace, "\n"))
	case !e.Complete && end:
		w.t.Fatalf("all is erased, and evidence of %+v is not complete: %+v\n%s", s, e, strings.Join(w.trace, "\n"))
	case e.Complete == !there:
		w.exact++
	case !w.excused(s, e):
		w.t.Fatalf("evidence of %+v is not complete, and no byte of it is there: %+v\n%s", s, e, strings.Join(w.trace, "\n"))
	default:
		w.loose++
	}
}

// excused: evidence may be incomplete though no byte is there.
func (w *stampedWorld) excused(s Subject, e Evidence) bool {
	for _, r := range e.Remains {
		if !r.UpTo && r.State != RemainCrash && r.State != RemainInitial && e.Left == 0 {
			return false
		}
	}
	return true
}

// mayRefuse: a random operation may end so.
func mayRefuse(err error) bool {
	return slices.ContainsFunc([]error{ErrNoSpace, ErrExist, ErrNotFound, ErrHasClones, ErrHasSnapshots, ErrGone}, func(r error) bool {
		return errors.Is(err, r)
	})
}

// TestEvidenceModel: evidence of every volume and layer that ever was, and of the pool, after each step of random trees of volumes,
// clones, rollbacks, destroys, undestroys and crashes, is complete exactly when no byte is there that was written there.
func TestEvidenceModel(t *testing.T) {
	seeds := *evidenceSeeds
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	for seed := range seeds {
		w := &stampedWorld{t: t, d: newDisk(t, 8<<20), rng: rand.New(rand.NewPCG(seed, 11)), vols: map[string]Ino{}, aligned: seed%2 == 0}
		w.p = openPool(t, w.d)
		for range 150 {
			err := w.step()
			if err != nil && !mayRefuse(err) {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(w.trace, "\n"))
			}
			w.judge(false)
			if w.n%25 == 0 {
				w.check()
			}
		}
		for name := range w.vols {
			err := w.p.DestroyVolume(Req{}, w.vols[name], DestroyOptions{Snapshots: true, Clones: true, Now: true})
			if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrGone) { // it went as a clone
				ok(t, err)
			}
		}
		ok(t, w.purge())
		eraseAll(t, w.p)
		w.judge(true)
		settleAccounts(t, w.p)
		w.judge(true)
		w.check()
		t.Logf("seed %d: %d verdicts were exact, %d were incomplete without need, %d were complete; %d writes", seed, w.exact, w.loose, w.complete, len(w.stamps))
		if w.loose*4 > w.exact {
			t.Errorf("seed %d: %d verdicts of %d were incomplete without need", seed, w.loose, w.loose+w.exact)
		}
	}
}
