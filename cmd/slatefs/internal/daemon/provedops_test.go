package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// step does the operation of a seed, the same whatever was left out of those before it. What a pool may refuse is no error. Names are
// durable then.
func (w *provedWorld) step(seed uint32) error {
	w.n++
	w.rng = rand.New(rand.NewPCG(uint64(seed), 13))
	kind := w.rng.IntN(100)
	cut := w.cut
	if cut > 0 && movesNames(kind) { // what of that is durable nobody knows then
		cut = 0
	}
	if cut > 0 {
		w.cut = 0
		w.disk.CrashAt(cut)
	}
	err := w.do(kind)
	if cut > 0 {
		return w.crash()
	}
	if slices.ContainsFunc([]error{
		chain.ErrNoSpace, chain.ErrExist, chain.ErrNotFound, chain.ErrHasClones, chain.ErrHasSnapshots,
		chain.ErrGone, chain.ErrNotEmpty, chain.ErrInvalid,
	}, func(r error) bool { return errors.Is(err, r) }) {
		w.note("  refused: %v", err)
		err = nil
	}
	return err
}

// movesNames: the operation of a kind makes, moves or ends names, and owners, or may.
func movesNames(kind int) bool {
	return kind >= 24 && kind < 64 || kind >= 67 && kind < 76 || kind >= 87 && kind < 96 || kind > 97
}

func (w *provedWorld) do(kind int) error {
	v := w.pick(false)
	if v == nil && kind < 85 {
		return w.create()
	}
	switch {
	case kind < 24:
		return w.write(v)
	case kind < 46:
		return w.branch(kind, v)
	case kind < 52:
		return w.destroy(v)
	case kind < 62:
		return w.move(v)
	case kind < 64:
		uid := uint32(1000 + w.rng.IntN(3))
		w.note("chown %d %s", uid, v.path())
		_, err := w.pool.SetAttr(chain.Req{}, v.ino, chain.SetAttr{UID: &uid})
		if err == nil {
			v.uid = uid
		}
		return errors.Join(err, w.pool.Flush())
	case kind < 67:
		return w.shrink(v)
	case kind < 69:
		return w.policy(v)
	case kind < 70:
		return w.churn(v)
	case kind < 74:
		return w.undestroy()
	case kind < 87:
		return w.drain(kind)
	case kind < 92:
		return w.create()
	case kind < 94:
		return w.mkdir()
	case kind < 95:
		return w.extend()
	case kind < 96:
		return w.rmdir()
	case kind < 97:
		w.note("sign")
		_, err := w.s.certify(context.Background(), control.Peer{}, control.CertifyArgs{Asked: []string{"lab"}})
		return err
	case kind < 98:
		w.note("checkpoint")
		return w.pool.Checkpoint()
	case kind < 99:
		w.cut = 1 + w.rng.IntN(40)
		w.note("the power is cut at operation %d of the next step that leaves names alone", w.cut)
		return nil
	}
	return w.crash()
}

func (w *provedWorld) crash() error {
	w.note("crash")
	w.disk = w.disk.Crash(w.rng)
	return w.open()
}

func (w *provedWorld) extend() error {
	size := w.pool.Size()
	if size >= provedPool*3/2 {
		return nil
	}
	w.note("extend")
	if w.rng.IntN(3) == 0 {
		w.disk.FillGrowth(0xee)
	}
	return w.pool.Extend(size + 256<<10)
}

// churn makes more records than the log keeps, and lets the housekeeping cut it.
func (w *provedWorld) churn(v *thing) error {
	w.note("churn %s", v.path())
	f, err := w.pool.Volume(v.ino)
	for i := range 40 {
		if err != nil {
			return err
		}
		name := fmt.Sprintf("x%d-%d", w.n, i)
		_, err = f.WriteAt(bytes.Repeat([]byte{'x'}, chain.BlockSize), 0)
		if err == nil {
			err = w.pool.Snapshot(chain.Req{}, []chain.Ino{v.ino}, name)
		}
		if err == nil {
			_, err = f.WriteAt(make([]byte, chain.BlockSize), 0)
		}
		if err == nil {
			err = w.pool.DestroySnapshots(chain.Req{}, v.ino, []string{name}, chain.DestroyOptions{Defer: true, Now: true})
		}
		if err == nil {
			err = w.pool.EraseDrain(context.Background())
		}
		if err == nil {
			_, err = w.erase(1<<40, false)
		}
	}
	return errors.Join(err, w.house(func() bool {
		l := w.pool.Log().State()
		return l.Head.Seq-l.Cut.At.Seq <= 40
	}))
}

func (w *provedWorld) create() error {
	if len(w.some(false)) > 5 {
		return nil
	}
	up, name := w.pick(true), fmt.Sprint("v", w.n)
	a, err := w.pool.Create(chain.Req{UID: uint32(1000 + w.rng.IntN(3))}, up.ino, name, 0o600)
	if err != nil {
		return err
	}
	v := w.add(a, name, up, false)
	w.note("create %s (%d, uid %d)", v.path(), v.ino, v.uid)
	f, err := w.pool.Volume(v.ino)
	if err == nil {
		err = f.Truncate(provedSize)
	}
	return errors.Join(err, w.pool.Flush())
}

func (w *provedWorld) mkdir() error {
	if len(w.some(true)) > 4 {
		return nil
	}
	up, name := w.pick(true), fmt.Sprint("d", w.n)
	a, err := w.pool.Mkdir(chain.Req{}, up.ino, name, 0o755)
	if err != nil {
		return err
	}
	w.note("mkdir %s", w.add(a, name, up, true).path())
	return w.pool.Flush()
}

func (w *provedWorld) rmdir() error {
	d := w.pick(true)
	if d == w.root {
		return nil
	}
	w.note("rmdir %s", d.path())
	err := w.pool.Rmdir(chain.Req{}, d.up.ino, d.name)
	if err == nil {
		d.ends(false)
	}
	return errors.Join(err, w.pool.Flush())
}

// move renames a volume or a directory, perhaps over another volume, or exchanges it with that.
func (w *provedWorld) move(v *thing) error {
	up, name, flag := w.pick(true), fmt.Sprint("m", w.n), chain.RenameNoReplace
	other := w.pick(false)
	switch w.rng.IntN(5) {
	case 0:
		if v = w.pick(true); v == w.root {
			return nil
		}
	case 1:
		if other == v {
			return nil
		}
		up, name, flag = other.up, other.name, 0
	case 2:
		if other == v {
			return nil
		}
		up, name, flag = other.up, other.name, chain.RenameExchange
	}
	w.note("rename %s to %s in %s, %d", v.path(), name, up.path(), flag)
	if err := w.pool.Rename(chain.Req{}, v.up.ino, v.name, up.ino, name, flag); err != nil {
		return err
	}
	if flag == 0 {
		other.ends(w.keeps())
	}
	if flag == chain.RenameExchange {
		other.up, other.name = v.up, v.name
	}
	v.up, v.name = up, name
	return w.pool.Flush()
}

// keeps: what is destroyed now is kept.
func (w *provedWorld) keeps() bool {
	p, err := w.pool.Prop(chain.RootIno, chain.PropDestroyDelay)
	return err == nil && p.Value == "1h"
}

func (w *provedWorld) write(v *thing) error {
	f, err := w.pool.Volume(v.ino)
	if err != nil {
		return err
	}
	i, err := w.pool.VolumeInfo(v.ino)
	if err != nil {
		return err
	}
	unit := []int64{provedSector, chain.BlockSize}[w.rng.IntN(2)]
	off := w.rng.Int64N(provedSize/unit) * unit
	b := w.bytes(v, i.Head, min(provedSize-off, (1+w.rng.Int64N(8))*unit))
	w.note("write %d: %s (layer %v) %d+%d", len(w.stamps)-1, v.path(), i.Head, off, len(b))
	_, err = f.WriteAt(b, off)
	if err == nil && w.rng.IntN(3) > 0 {
		err = w.pool.Flush()
	}
	return err
}

// branch changes the tree of layers.
func (w *provedWorld) branch(kind int, v *thing) error {
	infos, err := w.pool.Snapshots(v.ino)
	if err != nil {
		return err
	}
	name, to := "", fmt.Sprint("c", w.n)
	if len(infos) > 0 {
		name = infos[w.rng.IntN(len(infos))].Name
	}
	switch {
	case kind < 32 || name == "" && kind > 40:
		w.note("snapshot %s@s%d", v.path(), w.n)
		err = w.pool.Snapshot(chain.Req{}, []chain.Ino{v.ino}, fmt.Sprint("s", w.n))
	case kind < 39 && len(w.some(false)) < 7:
		if w.rng.IntN(3) == 0 {
			name = ""
		}
		up := w.pick(true)
		var a chain.Attr
		if a, err = w.pool.Clone(chain.Req{UID: uint32(1000 + w.rng.IntN(3))}, v.ino, name, up.ino, to); err == nil {
			w.note("clone %s@%s %s (%d)", v.path(), name, w.add(a, to, up, false).path(), a.Ino)
		}
	case name == "":
		return nil
	case kind < 41:
		w.note("rollback %s@%s", v.path(), name)
		err = w.pool.Rollback(chain.Req{}, v.ino, name, true)
	default:
		w.note("destroy %s@%s", v.path(), name)
		err = w.pool.DestroySnapshots(chain.Req{}, v.ino, []string{name}, chain.DestroyOptions{Defer: true, Now: w.rng.IntN(2) == 0})
	}
	return errors.Join(err, w.pool.Flush())
}

func (w *provedWorld) destroy(v *thing) error {
	now := w.rng.IntN(3) == 0
	w.note("destroy %s, now %v", v.path(), now)
	kept := w.keeps() && !now
	err := w.pool.DestroyVolume(chain.Req{}, v.ino, chain.DestroyOptions{Snapshots: true, Defer: true, Now: now})
	if err == nil {
		v.ends(kept)
	}
	return errors.Join(err, w.pool.Flush())
}

func (w *provedWorld) shrink(v *thing) error {
	f, err := w.pool.Volume(v.ino)
	if err != nil {
		return err
	}
	off, n := w.rng.Int64N(provedSize/provedSector)*provedSector, w.rng.Int64N(provedSize)
	if w.rng.IntN(2) == 0 {
		w.note("truncate %s %d", v.path(), off)
		err = f.Truncate(off)
	} else {
		w.note("punch %s %d+%d", v.path(), off, n)
		err = f.Punch(off, n)
	}
	return errors.Join(err, w.pool.Flush())
}

// policy sets how long what is destroyed is kept, and whether it is erased.
func (w *provedWorld) policy(v *thing) error {
	s, ino := chain.Setting{Name: chain.PropDestroyDelay, Value: []string{"1h", "0"}[w.rng.IntN(2)]}, chain.RootIno
	if w.rng.IntN(2) == 0 {
		s, ino = chain.Setting{Name: chain.PropErase, Value: []string{chain.EraseNone, chain.EraseZero}[w.rng.IntN(2)]}, v.ino
	}
	w.note("set %s=%s of %d", s.Name, s.Value, ino)
	return errors.Join(w.pool.SetProps(chain.Req{}, ino, s), w.pool.Flush())
}

func (w *provedWorld) undestroy() error {
	kept := w.pool.Destroyed()
	if len(kept) == 0 {
		return nil
	}
	i := kept[w.rng.IntN(len(kept))]
	if i.Snapshot != "" {
		w.note("undestroy %d, a snapshot", i.ID)
		_, err := w.pool.Undestroy(chain.Req{}, i.ID, 0, "")
		return err
	}
	up, name := w.pick(true), fmt.Sprint("u", w.n)
	a, err := w.pool.Undestroy(chain.Req{}, i.ID, up.ino, name)
	if err != nil {
		return err
	}
	for _, t := range w.all {
		if t.ino == a.Ino && t.gone {
			t.gone, t.kept, t.up, t.name = false, false, up, name
			w.note("undestroy %d as %s", i.ID, t.path())
		}
	}
	return w.pool.Flush()
}
