package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// id is the number under which a grave is kept, or 0.
func (g grave) id(p *Pool) uint64 {
	for id, d := range p.destroyed.rows {
		l := p.tree.layers[d.layer]
		if g.d != nil && d.layer == 0 && d.vol == g.d.ino || g.d == nil && d.vol == g.ino && l != nil && d.name == g.snap {
			return id
		}
	}
	return 0
}

// goneBefore is how many of what is kept went because their space was needed: the oldest do.
func (m *model) goneBefore(p *Pool) (n int) {
	for n < len(m.kept) && m.kept[n].id(p) == 0 {
		n++
	}
	return n
}

// verifyKept: what the pool keeps is what the model does, but for the oldest, and holds what it held.
func (m *model) verifyKept(p *Pool) error {
	gone := m.goneBefore(p)
	if len(p.destroyed.rows) != len(m.kept)-gone {
		return fmt.Errorf("%d destroyed things are kept, want the last %d of %+v", len(p.destroyed.rows), len(m.kept)-gone, m.kept)
	}
	for _, g := range m.kept[gone:] {
		id := g.id(p)
		if id == 0 {
			return fmt.Errorf("%s@%s is not kept", g.name, g.snap)
		}
		l, want := p.tree.layers[p.destroyed.rows[id].layer], g.s
		if g.d != nil {
			l, want = p.tree.heads[g.d.ino], snap{g.d.data, g.d.size}
			if err := g.d.verifyLayers(p); err != nil {
				return fmt.Errorf("%s, kept%w", g.name, err)
			}
		}
		got, err := readLayer(p, l)
		if err != nil || l.size != want.size || !bytes.Equal(got, want.data) {
			return fmt.Errorf("%s@%s, kept, changed: %d bytes, want %d: %w", g.name, g.snap, l.size, want.size, err)
		}
	}
	return nil
}

// verifyLayers is verifySnaps of a volume that has no name.
func (d *disk) verifyLayers(p *Pool) error {
	found := 0
	for _, l := range p.tree.byVol[d.ino] {
		if !l.named {
			continue
		}
		found++
		want := d.snaps[l.name]
		got, err := readLayer(p, l)
		if err != nil || l.size != want.size || !bytes.Equal(got, want.data) {
			return fmt.Errorf("@%s: changed, %d bytes, want %d: %w", l.name, l.size, want.size, err)
		}
	}
	if found != len(d.snaps) {
		return fmt.Errorf(": %d snapshots, want %d", found, len(d.snaps))
	}
	return nil
}

func readLayer(p *Pool, l *layer) ([]byte, error) {
	b := make([]byte, maxDisk)
	var pl Plan
	err := p.volumes.until(func() (Need, error) {
		return p.volumes.planRead(&pl, nil, layerShown{l}, 0, l.size)
	})
	if err != nil {
		return nil, err
	}
	_, err = p.volumes.readSpans(&pl, b[:l.size])
	pl.Abort()
	return b, err
}

// bury notes in the model what a destroy did: the volume of that name, or its snapshot.
func (w *world) bury(name string, d *disk, s string) {
	g := grave{name: name, d: d.clone()}
	g.d.flush()
	if s != "" {
		g = grave{name: name, ino: d.ino, snap: s, s: d.snaps[s]}
	}
	switch {
	case w.m.delay:
		w.m.kept = append(w.m.kept, g)
	case s == "": // its snapshots that are kept go with it
		w.m.kept = slices.DeleteFunc(w.m.kept, func(g grave) bool { return g.ino == d.ino })
	}
}

// setDelay turns keeping on or off.
func (w *world) setDelay() error {
	w.m.delay = !w.m.delay
	w.note("delay %v", w.m.delay)
	if err := w.p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: map[bool]string{true: "1h", false: "0"}[w.m.delay]}); err != nil {
		w.m.delay = !w.m.delay
		return err
	}
	return w.flush()
}

// undestroy brings something back, or ends it.
func (w *world) undestroy() error {
	w.m.kept = w.m.kept[w.m.goneBefore(w.p):]
	if len(w.m.kept) == 0 {
		return w.setDelay()
	}
	i := w.rng.IntN(len(w.m.kept))
	g := w.m.kept[i]
	id := g.id(w.p)
	w.note("undestroy %s@%s %d", g.name, g.snap, id)
	if g.d == nil && w.p.destroyed.vols[g.ino] != 0 {
		if _, err := w.p.Undestroy(Req{}, id, 0, ""); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("undestroy of a snapshot of a destroyed volume: %w", err)
		}
		return nil
	}
	before := w.m.clone()
	w.m.kept = slices.Delete(slices.Clone(w.m.kept), i, i+1)
	if w.rng.IntN(4) == 0 && i == 0 {
		w.note("it ends")
		if g.d != nil {
			w.m.kept = slices.DeleteFunc(w.m.kept, func(o grave) bool { return o.ino == g.d.ino })
		}
		if err := w.p.removal.expire(id); err != nil {
			return err
		}
		return w.flush()
	}
	if g.d != nil {
		w.m.disks[g.name] = g.d
	} else {
		for _, d := range w.m.disks {
			if d.ino == g.ino {
				d.snaps[g.snap] = g.s
			}
		}
	}
	_, err := w.p.Undestroy(Req{}, id, 0, "")
	switch {
	case errors.Is(err, ErrNoSpace):
		w.m = before
	case err == nil:
		w.m.flush()
	}
	return err
}

// purge ends all that is kept.
func (w *world) purge() error {
	for _, id := range w.p.destroyed.ends.inOrder() {
		if err := w.p.removal.expire(id); err != nil {
			return err
		}
	}
	w.m.kept = nil
	return w.p.Flush()
}

// layerShown reads a layer, whatever it is.
type layerShown struct{ l *layer }

func (o layerShown) shows() (*layer, error) { return o.l, nil }
func (o layerShown) showsNow() *layer       { return o.l }
