package overlay

import (
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Builder settles stacks: it makes the pages that their storeys come to, from below, each storey once whatever stands on it.
// It changes no storey before Install, so that a build which fails leaves all as it was.
type Builder struct {
	// For is asked once for each storey that has changed anything: for the maps to change, the birth of the pages that are
	// made, and who is told of those that the map needs no more.
	For func(Owner) (maps *meta.Maps, birth meta.Birth, dead func(meta.Ptr))

	made  map[*Storey]meta.Map
	order []*Storey // its keys
}

// Settle makes the map that a stack comes to. It reads and writes pages. An error of For's maps comes back as it is.
func (b *Builder) Settle(o *Storey) (meta.Map, error) {
	if o.settled {
		return o.base, nil
	}
	if m, ok := b.made[o]; ok {
		return m, nil
	}
	m, err := b.Settle(o.under)
	if err != nil {
		return m, err
	}
	if b.made == nil {
		b.made = map[*Storey]meta.Map{}
	}
	switch o.kind {
	case entries:
		if m, err = b.apply(m, o); err != nil {
			return m, err
		}
	case rest, window:
		maps, birth, dead := b.For(o.owner)
		left, out, err := maps.Cut(m, o.lo, o.hi, birth, dead)
		if err != nil {
			return m, err
		}
		if m = left; o.kind == window {
			m, out = out, left
		}
		b.make(o.pair, out)
	}
	b.make(o, m)
	return m, nil
}

func (b *Builder) make(o *Storey, m meta.Map) {
	b.made[o] = m
	b.order = append(b.order, o)
}

func (b *Builder) apply(m meta.Map, o *Storey) (meta.Map, error) {
	if o.entries.Len() == 0 {
		return m, nil
	}
	maps, birth, dead := b.For(o.owner)
	turn := func(k omap.Key, q Piece) meta.Piece {
		return meta.Piece{Start: start(k), Len: q.Len, Dev: q.Dev, Birth: q.Birth, Mapped: q.Dev != 0}
	}
	err := omap.InChunks(&o.entries, turn, func(pieces []meta.Piece) (err error) {
		m, err = maps.Apply(m, pieces, birth, dead)
		return err
	})
	return m, err
}

// Map is what Settle returned for the stack.
func (b *Builder) Map(o *Storey) meta.Map {
	if o.settled {
		return o.base
	}
	return b.made[o]
}

// Install makes the storeys settled: they show what they showed, by their pages.
func (b *Builder) Install() {
	for b.InstallOne() {
	}
}

// InstallOne is Install for one storey, and tells whether there are more.
func (b *Builder) InstallOne() (more bool) {
	if last := len(b.order) - 1; last >= 0 {
		o := b.order[last]
		b.order = b.order[:last]
		*o = Storey{owner: o.owner, kind: o.kind, lo: o.lo, hi: o.hi, base: b.made[o], settled: true}
	}
	return len(b.order) > 0
}
