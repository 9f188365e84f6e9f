package chain

import (
	"fmt"
	"slices"
	"time"

	"slatefs/chain/codec"
)

// recHead: a new volume's first layer; its parent is the snapshot that it is cloned from, or 0.
type recHead struct {
	vol    Ino
	parent LayerID
	size   int64
	when   time.Time
}

func (r *recHead) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Uint(uint64(r.parent))
	e.Int(r.size)
	e.Time(r.when)
}

func (r *recHead) decode(d *codec.Decoder) {
	r.vol, r.parent, r.size, r.when = Ino(d.Uint()), LayerID(d.Uint()), d.Int(), d.Time()
}

func (r *recHead) apply(p *Pool) error {
	var parent *layer
	if r.parent != 0 {
		var err error
		if parent, err = p.tree.layer(r.parent); err != nil {
			return err
		}
	}
	if r.size > MaxSize || p.tree.head(r.vol) != nil || parent != nil && (parent.head || parent.dead) {
		return fmt.Errorf("head of volume %d, %d bytes, parent %v: %w", r.vol, r.size, r.parent, ErrCorrupt)
	}
	p.tree.newLayer(parent, r.vol, r.size, r.when)
	return nil
}

// recFreeze: heads become snapshots at one instant, each with a new head above it. No name: nameless, for a clone.
type recFreeze struct {
	vols []Ino
	name string
	when time.Time
	who  string

	list  []byte           // vols, encoded: nil: not yet
	homes map[Ino]snapHome // of those that get their first snapshot, found before it is made, unless it is later
	later *switching       // of heads that are there, by who sees to the rest of it; nil: all at once
}

func (r *recFreeze) encode(e *codec.Encoder) {
	list := r.list
	if list == nil {
		list = volumeList(r.vols)
	}
	e.B = append(e.B, list...)
	e.Str(r.name)
	e.Time(r.when)
	e.Str(r.who)
}

func (r *recFreeze) decode(d *codec.Decoder) {
	for range d.Len() {
		r.vols = append(r.vols, Ino(d.Uint()))
	}
	r.name, r.when, r.who = d.Str(), d.Time(), d.Str()
}

func (r *recFreeze) prepare(p *Pool) (err error) {
	if r.name != "" && r.later == nil {
		r.homes, err = p.tree.snapHomes(r.vols)
	}
	return err
}

func (r *recFreeze) apply(p *Pool) error {
	if err := CheckSnapName(r.name); r.name != "" && err != nil {
		return fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	s := r.later
	if s == nil {
		s = &switching{homes: r.homes}
	}
	s.name, s.who, s.when = r.name, r.who, r.when
	s.first, s.freeze = p.tree.numbers(len(r.vols)), p.plans.freeze()
	if r.later != nil {
		p.tree.switching = s
		return nil
	}
	for i, v := range r.vols {
		if p.tree.heads[v] == nil {
			return fmt.Errorf("freeze of volume %d: %w", v, ErrCorrupt)
		}
		p.tree.switchHead(s, v, s.first+LayerID(i))
	}
	return nil
}

// recRollback: a new head on a snapshot; the old head is dead.
type recRollback struct {
	vol  Ino
	snap LayerID
	when time.Time
	who  string
}

func (r *recRollback) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Uint(uint64(r.snap))
	e.Time(r.when)
	e.Str(r.who)
}

func (r *recRollback) decode(d *codec.Decoder) {
	r.vol, r.snap, r.when, r.who = Ino(d.Uint()), LayerID(d.Uint()), d.Time(), d.Str()
}

func (*recRollback) cuts() bool { return true }

func (r *recRollback) warm(p *Pool) { p.names.warm(r.vol) }

func (r *recRollback) apply(p *Pool) error {
	snap, err := p.tree.layer(r.snap)
	if err != nil {
		return err
	}
	old := p.tree.head(r.vol)
	if old == nil || snap.head || snap.dead {
		return fmt.Errorf("rollback of volume %d: %w", r.vol, ErrCorrupt)
	}
	p.volumes.tallyAnew(r.vol, 0, mapEnd)
	p.tree.newLayer(snap, r.vol, snap.size, r.when)
	p.tree.touch(old)
	old.head = false
	p.origins.seal(old.id, r.vol, old.created)
	j := p.jobs.newJob(r.vol, p.names.pathOf(r.vol), snap.name, reasonRollback, r.who, r.when)
	up := old.parent
	p.tree.reap(old, j, false)
	p.tree.lossBelow(up)
	p.jobs.endJob(j)
	return nil
}

// recRename: name of a snapshot.
type recRename struct {
	layer LayerID
	name  string
}

func (r *recRename) encode(e *codec.Encoder) { e.Uint(uint64(r.layer)); e.Str(r.name) }

func (r *recRename) decode(d *codec.Decoder) { r.layer, r.name = LayerID(d.Uint()), d.Str() }

func (r *recRename) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	if err := CheckSnapName(r.name); err != nil || !l.named {
		return fmt.Errorf("layer %v, named %v, becomes %q: %w", l.id, l.named, r.name, ErrCorrupt)
	}
	home := p.tree.snaps.vols[l.vol].snapHome
	p.tree.snaps.remove(l)
	p.tree.touch(l)
	l.name = r.name
	if l.who == whoAuto { // it is somebody's now
		l.who = ""
	}
	p.tree.snaps.add(l, home)
	return nil
}

// recTag: a tag holds a snapshot from then on, or not any more.
type recTag struct {
	layer LayerID
	on    bool
	tag   string
	when  time.Time
}

func (r *recTag) encode(e *codec.Encoder) {
	e.Uint(uint64(r.layer))
	e.Bool(r.on)
	e.Str(r.tag)
	e.Time(r.when)
}

func (r *recTag) decode(d *codec.Decoder) {
	r.layer, r.on, r.tag, r.when = LayerID(d.Uint()), d.Bool(), d.Str(), d.Time()
}

func (r *recTag) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	at := l.hasTag(r.tag)
	if CheckTag(r.tag) != nil || !l.named || (at >= 0) == r.on || r.on && len(l.tags) >= MaxTags {
		return fmt.Errorf("layer %v, named %v, with %d tags: tag %q, on %v: %w", l.id, l.named, len(l.tags), r.tag, r.on, ErrCorrupt)
	}
	p.tree.touch(l)
	if l.tags = slices.Clone(l.tags); r.on { // a row that was taken has the old ones
		l.tags = append(l.tags, SnapTag{r.tag, r.when})
	} else {
		l.tags = slices.Delete(l.tags, at, at+1)
	}
	p.tree.snaps.follows(l)
	return nil
}
