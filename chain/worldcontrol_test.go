package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

func (w *world) snapshot(name string, d *disk) error {
	if err := w.releaseAll(d); err != nil {
		return err
	}
	s := fmt.Sprintf("s%d", w.n)
	w.note("snapshot %s@%s", name, s)
	d.snaps[s] = snap{bytes.Clone(d.data), d.size}
	err := w.p.Snapshot(Req{}, []Ino{d.ino}, s)
	if err == nil {
		w.m.flush()
	} else if errors.Is(err, ErrNoSpace) {
		delete(d.snaps, s)
	}
	return err
}

func (w *world) anySnap(d *disk) string {
	var names []string
	for n := range d.snaps {
		names = append(names, n)
	}
	if len(names) == 0 {
		return ""
	}
	sort.Strings(names)
	return names[w.rng.IntN(len(names))]
}

func (w *world) rollback(name string, d *disk) error {
	s := w.anySnap(d)
	if s == "" {
		return nil
	}
	if err := w.releaseAll(d); err != nil {
		return err
	}
	w.note("rollback %s@%s", name, s)
	d.data, d.size = bytes.Clone(d.snaps[s].data), d.snaps[s].size
	w.m.flush()
	return w.p.Rollback(Req{}, d.ino, s, false)
}

func (w *world) destroySnap(name string, d *disk) error {
	s := w.anySnap(d)
	if s == "" {
		return nil
	}
	if w.n%3 == 0 {
		if err := w.heldFirst(name, d, s); err != nil {
			return err
		}
	}
	w.note("destroy %s@%s", name, s)
	w.bury(name, d, s)
	delete(d.snaps, s)
	err := w.released(d, func() error {
		return w.p.DestroySnapshots(Req{}, d.ino, []string{s}, DestroyOptions{Defer: true})
	})
	if err == nil {
		w.m.flush()
	}
	return err
}

func (w *world) clone(name string, d *disk) error {
	if len(w.m.disks) > 4 {
		return nil
	}
	if err := w.releaseAll(d); err != nil {
		return err
	}
	s := w.anySnap(d)
	if w.rng.IntN(3) == 0 {
		s = ""
	}
	to := fmt.Sprintf("c%d", w.n)
	w.note("clone %s@%s %s", name, s, to)
	from := snap{d.data, d.size}
	if s != "" {
		from = d.snaps[s]
	}
	c := newModelDisk(0)
	c.data, c.size = bytes.Clone(from.data), from.size
	c.flush()
	w.m.disks[to] = c
	a, err := w.p.Clone(Req{}, d.ino, s, RootIno, to)
	c.ino = a.Ino
	if err == nil {
		w.m.flush()
	} else if errors.Is(err, ErrNoSpace) {
		delete(w.m.disks, to)
	}
	return err
}

func (w *world) destroy(name string, d *disk) error {
	if len(w.m.disks) < 2 {
		return nil
	}
	if err := w.releaseAll(d); err != nil {
		return err
	}
	w.note("unlink %s", name)
	w.bury(name, d, "")
	delete(w.m.disks, name)
	if err := w.released(d, func() error { return w.p.Unlink(Req{}, RootIno, name) }); err != nil {
		return err
	}
	return w.flush()
}

func (w *world) flush() error {
	err := w.p.Flush()
	if err == nil {
		w.m.flush()
	}
	return err
}

func (w *world) rename(name string, d *disk) error {
	to := fmt.Sprintf("r%d", w.n)
	w.note("rename %s %s", name, to)
	delete(w.m.disks, name)
	w.m.disks[to] = d
	if err := w.p.Rename(Req{}, RootIno, name, RootIno, to, 0); err != nil {
		return err
	}
	return w.flush()
}

// promise sets what a volume is promised or bound to; the pool may refuse it.
func (w *world) promise(name string, d *disk) error {
	s := []Setting{
		{Name: propRefreservation, Value: "auto"},
		{Name: propRefreservation, Value: "64K"},
		{Name: propRefreservation, Value: "none"},
		{Name: propReservation, Value: "128K"},
		{Name: propReservation, Inherit: true},
	}[w.rng.IntN(5)]
	w.note("set %s=%s %s", s.Name, s.Value, name)
	if err := w.p.SetProps(Req{}, d.ino, s); err != nil && !errors.Is(err, ErrNoSpace) {
		return err
	}
	return w.flush()
}

func (w *world) create() error {
	if len(w.m.disks) > 3 {
		return nil
	}
	name := fmt.Sprintf("v%d", w.n)
	w.note("create %s", name)
	d := newModelDisk(0)
	w.m.disks[name] = d
	a, err := w.p.Create(Req{}, RootIno, name, 0o600)
	if errors.Is(err, ErrNoSpace) {
		delete(w.m.disks, name)
	}
	if err != nil {
		return err
	}
	d.ino = a.Ino
	if w.rng.IntN(4) == 0 {
		if err := w.p.SetProps(Req{}, d.ino, Setting{Name: PropErase, Value: EraseNone}); err != nil {
			return err
		}
	}
	if w.rng.IntN(2) == 0 { // some of what it frees is late then, and some is not
		if err := w.p.SetProps(Req{}, d.ino, Setting{Name: PropDeadline, Value: []string{"1s", "1h"}[w.rng.IntN(2)]}); err != nil {
			return err
		}
	}
	return w.flush()
}

func (w *world) erase() error {
	for i := 0; i < 4; i++ {
		w.p.keeper.keepHouse(w.ctx())
		if err := w.p.Failed(); err != nil {
			return err
		}
	}
	if js := w.p.EraseJobs(); len(js) > 0 && w.rng.IntN(4) == 0 {
		id := js[w.rng.IntN(len(js))].ID
		w.note("first %d", id)
		if err := w.p.EraseFirst(Req{}, id); err != nil {
			return err
		}
		w.m.flush()
	}
	return w.eraseParts(int64(1+w.rng.IntN(64)) * BlockSize)
}

// borrowed is what the world has of a hand-out, block by block: zero on the device, and synced.
type borrowed struct {
	tok    blockdev.Token
	blocks []blockdev.Extent
}

// eraseParts is an eraser that takes several hand-outs, reports them in parts and in any order, as zero or failed, keeps
// some open and gives some back.
func (w *world) eraseParts(n int64) error {
	for range 1 + w.rng.IntN(4) {
		h, err := w.p.Next(n)
		if err != nil {
			return err
		}
		if h.Token == 0 {
			break
		}
		for _, r := range h.Runs {
			if err := w.p.dev.Zero(r.Off, r.Len, blockdev.Overwrite); err != nil {
				return err
			}
		}
		w.lent = append(w.lent, &borrowed{h.Token, blocksIn(h.Runs)})
	}
	if err := w.p.dev.Sync(); err != nil {
		return err
	}
	for i := w.rng.IntN(2 + 2*len(w.lent)); i > 0 && len(w.lent) > 0; i-- {
		b := w.lent[w.rng.IntN(len(w.lent))]
		w.rng.Shuffle(len(b.blocks), func(i, j int) { b.blocks[i], b.blocks[j] = b.blocks[j], b.blocks[i] })
		cut := w.rng.IntN(len(b.blocks) + 1)
		d := blockdev.Done{Token: b.tok, Zeroed: b.blocks[:cut]}
		if w.rng.IntN(6) == 0 {
			d.Zeroed, d.Failed = nil, d.Zeroed
		}
		w.note("report of hand-out %d: %d zero, %d failed, %d left", b.tok, len(d.Zeroed), len(d.Failed), len(b.blocks)-cut)
		if _, err := w.p.Report(d, How{}); err != nil {
			return err
		}
		b.blocks = b.blocks[cut:]
		switch {
		case len(b.blocks) > 0 && w.rng.IntN(4) == 0:
			w.note("hand-out %d is given back", b.tok)
			w.p.GiveBack(b.tok)
		case len(b.blocks) > 0:
			continue
		}
		w.lent = slices.DeleteFunc(w.lent, func(o *borrowed) bool { return o == b })
	}
	if w.rng.IntN(2) == 0 {
		return w.flush()
	}
	return nil
}

// giveBack ends all hand-outs.
func (w *world) giveBack() {
	for _, b := range w.lent {
		w.p.GiveBack(b.tok)
	}
	w.lent = nil
}

// maxWorld bounds the device, in bytes.
const maxWorld = 2 * crashDisk

// resize makes the pool larger, by itself or after somebody else made the device larger, or smaller, and then the device.
func (w *world) resize() error {
	d := w.p.dev.(*devtest.Disk)
	size := d.Size() + int64(1+w.rng.IntN(300))*BlockSize
	switch k := w.rng.IntN(3); {
	case k == 0:
		w.note("reduce")
		bytes, err := w.p.Reduce(crashDisk/2, int64(1+w.rng.IntN(40))*BlockSize)
		if err == nil && w.rng.IntN(3) > 0 {
			w.note("cut at %d", bytes)
			d.Cut(bytes)
		}
		return err
	case size > maxWorld:
		return nil
	case k == 1:
		w.note("extend to %d", size)
		return w.p.Extend(size)
	}
	w.note("grow the device to %d and extend", size)
	if err := d.Grow(size); err != nil {
		return err
	}
	return w.p.Extend(0)
}
