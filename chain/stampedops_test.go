package chain

import (
	"context"
	"fmt"
	"maps"
	"time"

	"slatefs/chain/blockdev"
)

// do does the operation of a kind, below 100.
func (w *stampedWorld) do(kind int) error {
	name := w.pick()
	if name == "" || len(w.vols) < 2 && kind > 96 {
		return w.create()
	}
	ino := w.vols[name]
	switch {
	case kind < 28:
		return w.write(name, ino)
	case kind < 30:
		return w.hold(name, ino)
	case kind < 36: // what may go on beside a write that has not ended
		return w.beside(kind, name, ino)
	}
	if err := w.release(); err != nil {
		return err
	}
	switch {
	case kind < 42:
		return w.change(name, ino)
	case kind < 58:
		return w.branch(kind, name, ino)
	case kind < 62:
		return w.undestroy()
	case kind < 70:
		return w.policy(name, ino)
	case kind < 84:
		return w.erase(kind)
	case kind < 88:
		w.note("purge")
		return w.purge()
	case kind < 90:
		w.note("close accounts")
		return w.closeAccounts()
	case kind < 92:
		return w.extend()
	case kind < 96:
		w.cut = 1 + w.rng.IntN(40)
		w.note("the power is cut at operation %d from now", w.cut)
		return nil
	}
	return w.create()
}

func (w *stampedWorld) create() error {
	if len(w.vols) > 4 {
		return nil
	}
	to := fmt.Sprint("v", w.n)
	a, err := w.p.Create(Req{}, RootIno, to, 0o600)
	if err != nil {
		return err
	}
	w.note("create %s (%d)", to, a.Ino)
	w.vols[to] = a.Ino
	v, err := w.p.Volume(a.Ino)
	if err == nil {
		err = v.Truncate(stampedSize)
	}
	return err
}

func (w *stampedWorld) write(name string, ino Ino) error {
	v, err := w.p.Volume(ino)
	if err == nil && (w.held != nil && w.held.vol == ino || w.p.Usage().Clean < 4*stampedSize) { // it would wait for its end
		err = w.release()
	}
	if err != nil {
		return err
	}
	off, n := w.extent()
	id, b := w.bytes(v, n)
	w.note("write %d: %s (%d, layer %v) %d+%d", id, name, ino, w.stamps[id].layer, off, n)
	if _, err = v.WriteAt(b, off); err == nil && w.rng.IntN(3) == 0 {
		w.note("  flush")
		err = w.p.Flush()
	}
	return err
}

// hold writes, and does not end that.
func (w *stampedWorld) hold(name string, ino Ino) error {
	v, err := w.p.Volume(ino)
	if err == nil {
		err = w.release()
	}
	if err != nil {
		return err
	}
	off, n := w.extent()
	pl := &Plan{}
	if err := w.p.volumes.until(func() (Need, error) { return v.PlanWrite(pl, off, n) }); err != nil {
		return err
	}
	w.held = &heldStamp{pl, ino}
	id, b := w.bytes(v, pl.Covers())
	w.note("write %d: %s (%d, layer %v) %d+%d, without an end", id, name, ino, w.stamps[id].layer, off, n)
	return w.p.volumes.carryOut(pl, b, off, false)
}

// release ends the write that was held: it counts, or it comes to nothing, though it has arrived.
func (w *stampedWorld) release() error {
	h := w.held
	if w.held = nil; h == nil {
		return nil
	}
	if w.rng.IntN(2) == 0 {
		w.note("  the held write comes to nothing")
		h.pl.Abort()
		return nil
	}
	w.note("  the held write ends")
	return h.pl.Commit(h.pl.Len)
}

func (w *stampedWorld) beside(kind int, name string, ino Ino) error {
	switch kind {
	case 30, 31:
		w.note("checkpoint")
		return w.p.Checkpoint()
	case 32, 33:
		w.note("erase some")
		_, err := eraseSome(w.p, int64(1+w.rng.IntN(40))*BlockSize)
		return err
	}
	w.note("destroy %s", name)
	delete(w.vols, name)
	return w.p.DestroyVolume(Req{}, ino, DestroyOptions{Snapshots: true, Defer: true})
}

// change makes parts of a volume zero, or gives them space, or another size.
func (w *stampedWorld) change(name string, ino Ino) error {
	v, err := w.p.Volume(ino)
	if err != nil {
		return err
	}
	off, n := w.extent()
	switch w.rng.IntN(8) {
	case 0, 1:
		w.note("truncate %s %d", name, off)
		return v.Truncate(off)
	case 2:
		w.note("zero range %s %d+%d", name, off, n)
		return v.ZeroRange(off, n, true)
	case 3:
		w.note("allocate %s %d+%d", name, off, n)
		return v.Allocate(off, n, false)
	case 4:
		n = stampedSize
	}
	w.note("punch %s %d+%d", name, off, n)
	return v.Punch(off, n)
}

// branch changes the tree of layers.
func (w *stampedWorld) branch(kind int, name string, ino Ino) error {
	s := w.snap(ino)
	switch {
	case kind < 44 || s == "" && kind > 50:
		w.note("snapshot %s@s%d", name, w.n)
		return w.p.Snapshot(Req{}, []Ino{ino}, fmt.Sprint("s", w.n))
	case kind < 51 && len(w.vols) < 5:
		to := fmt.Sprint("c", w.n)
		if w.rng.IntN(3) == 0 {
			s = ""
		}
		w.note("clone %s@%s %s", name, s, to)
		a, err := w.p.Clone(Req{}, ino, s, RootIno, to)
		if err == nil {
			w.vols[to] = a.Ino
		}
		return err
	case s == "":
		return nil
	case kind < 53:
		w.note("rollback %s@%s", name, s)
		return w.p.Rollback(Req{}, ino, s, true)
	}
	w.note("destroy %s@%s", name, s)
	return w.p.DestroySnapshots(Req{}, ino, []string{s}, DestroyOptions{Defer: true})
}

func (w *stampedWorld) undestroy() error {
	kept := w.p.Destroyed()
	if len(kept) == 0 {
		return nil
	}
	i := kept[w.rng.IntN(len(kept))]
	w.note("undestroy %d, %s@%s", i.ID, i.Volume, i.Snapshot)
	if i.Snapshot != "" {
		_, err := w.p.Undestroy(Req{}, i.ID, 0, "")
		return err
	}
	to := fmt.Sprint("u", w.n)
	a, err := w.p.Undestroy(Req{}, i.ID, RootIno, to)
	if err == nil {
		w.vols[to] = a.Ino
	}
	return err
}

// policy sets how long what is destroyed is kept, and whether it is erased.
func (w *stampedWorld) policy(name string, ino Ino) error {
	s := Setting{Name: PropDestroyDelay, Value: []string{"1h", "0"}[w.rng.IntN(2)]}
	if w.rng.IntN(2) == 0 {
		s = Setting{Name: PropErase, Value: []string{EraseNone, EraseZero, EraseZero}[w.rng.IntN(3)]}
	} else {
		ino, name = RootIno, "all"
	}
	w.note("set %s=%s of %s", s.Name, s.Value, name)
	return w.p.SetProps(Req{}, ino, s)
}

func (w *stampedWorld) extend() error {
	size := w.p.Size()
	if size >= stampedPool*3/2 {
		return nil
	}
	w.note("extend")
	if w.rng.IntN(3) == 0 {
		w.d.FillGrowth(0xee)
	}
	return w.p.Extend(size + 256<<10)
}

// erase works off some of what is queued: as a rule it is zeroed.
func (w *stampedWorld) erase(kind int) error {
	if err := w.p.EraseDrain(context.Background()); err != nil {
		return err
	}
	n := int64(1+w.rng.IntN(40)) * BlockSize
	switch kind {
	case 70:
		w.note("erase all")
		n = 1 << 40
	case 71, 72:
		return w.eraseElse(n, true)
	case 73, 74:
		return w.eraseElse(n, false)
	case 75:
		w.note("time passes")
		w.clock.t = w.clock.t.Add(10 * time.Minute)
	}
	w.note("erase %d", n)
	_, err := eraseSome(w.p, n)
	return err
}

// eraseElse has an eraser that only gives space back, or that fails.
func (w *stampedWorld) eraseElse(n int64, releases bool) error {
	h, err := w.p.Next(n)
	if err != nil || h.Token == 0 {
		return err
	}
	if !releases {
		w.note("fail to erase %v", h.Runs)
		_, err := w.p.Report(blockdev.Done{Token: h.Token, Failed: h.Runs}, How{})
		return err
	}
	return w.releaseAll(h)
}

// releaseAll gives the space of a hand-out back. What of it is reported, and how, differs: it lies below the device all the same.
func (w *stampedWorld) releaseAll(h blockdev.Handout) error {
	kind := w.rng.IntN(6)
	w.note("release %v, end %d", h.Runs, kind)
	if err := w.p.WillRelease(h.Token); err != nil {
		return err
	}
	for _, r := range h.Runs {
		found := map[uint64]bool{}
		w.stampsIn(r.Off, r.Len, found)
		if err := w.p.dev.Zero(r.Off, r.Len, blockdev.Overwrite); err != nil {
			return err
		}
		maps.Copy(w.below, found)
	}
	if err := w.p.dev.Sync(); err != nil {
		return err
	}
	switch kind {
	case 0: // the report is lost
		w.p.GiveBack(h.Token)
		return nil
	case 1: // it cannot be read back
		_, err := w.p.Report(blockdev.Done{Token: h.Token, Failed: h.Runs}, How{Method: "release", Releases: true})
		return err
	case 2: // another method went over it
		return reportHow(w.p, h.Token, h.Runs, nil, How{Method: "overwrite"})
	}
	return reportHow(w.p, h.Token, h.Runs, nil, How{Method: "release", Releases: true})
}
