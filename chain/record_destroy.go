package chain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"slatefs/chain/codec"
	"slatefs/chain/runs"
)

// recUnname: a snapshot loses its name and goes as far as its children let it; held: not before recReap.
type recUnname struct {
	layer LayerID
	held  bool
	when  time.Time
	who   string
	heirs *string // who shows it, looked up before the record; nil: not
}

func (r *recUnname) encode(e *codec.Encoder) {
	e.Uint(uint64(r.layer))
	e.Bool(r.held)
	e.Time(r.when)
	e.Str(r.who)
}

func (r *recUnname) decode(d *codec.Decoder) {
	r.layer, r.held, r.when, r.who = LayerID(d.Uint()), d.Bool(), d.Time(), d.Str()
}

func (r *recUnname) cuts() bool { return !r.held }

func (r *recUnname) warm(p *Pool) {
	l := p.tree.layers[r.layer]
	switch {
	case l == nil:
	case r.held: // who shows it is not asked before it goes
		p.names.warm(l.vol)
	default:
		r.heirs = p.jobs.warmFor(l)
	}
}

func (r *recUnname) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	if !l.named || len(l.tags) > 0 {
		return fmt.Errorf("layer %v, named %v, with %d tags, loses its name: %w", l.id, l.named, len(l.tags), ErrCorrupt)
	}
	j := p.jobs.newJob(l.vol, p.names.pathOf(l.vol), l.name, reasonSnapshot, r.who, r.when)
	p.tree.snaps.remove(l)
	p.tree.touch(l)
	l.named, l.kept, l.who = false, r.held, r.who // the name stays, for the job
	p.tree.noteOpen(l)
	p.tree.unheld(l)
	if !r.held {
		p.jobs.destroyed(j, l, r.heirs)
	}
	up := l.parent
	p.tree.reap(l, j, true)
	p.tree.lossBelow(up)
	p.jobs.endJob(j)
	return nil
}

// recReap: a nameless layer that nothing holds any more goes.
type recReap struct {
	layer LayerID
	when  time.Time
	heirs *string // as recUnname's
	merge *merge  // prepared before; nil: there is none, or it is replayed
}

func (r *recReap) encode(e *codec.Encoder) { e.Uint(uint64(r.layer)); e.Time(r.when) }

func (r *recReap) decode(d *codec.Decoder) { r.layer, r.when = LayerID(d.Uint()), d.Time() }

func (*recReap) cuts() bool { return true }

func (r *recReap) warm(p *Pool) { r.heirs = p.jobs.warmFor(p.tree.layers[r.layer]) }

func (r *recReap) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	reason := reasonSwept
	switch {
	case l.kept && l.name == "":
		reason = reasonVolume
	case l.kept:
		reason = reasonSnapshot
	}
	j := p.jobs.jobFor(l, l.name, reason, r.when)
	if l.kept {
		p.jobs.destroyed(j, l, r.heirs)
	}
	p.tree.touch(l)
	l.kept = false
	up := l.parent
	p.tree.reap(l, j, true)
	p.tree.lossBelow(up)
	p.jobs.endJob(j)
	return nil
}

// recSweep: blocks of a nameless layer that none of its descendants sees.
type recSweep struct {
	layer LayerID
	when  time.Time
	runs  []runs.Run

	inPieces bool // all but what the record itself does is done before and after it: layerTree.sweepOut
	list     *runs.List
	blocks   int64
}

func (r *recSweep) encode(e *codec.Encoder) {
	e.Uint(uint64(r.layer))
	e.Time(r.when)
	runs.Encode(e, r.runs)
}

func (r *recSweep) decode(d *codec.Decoder) {
	r.layer, r.when, r.runs = LayerID(d.Uint()), d.Time(), runs.Decode(d)
}

func (*recSweep) cuts() bool { return true }

func (r *recSweep) warm(p *Pool) {
	if l := p.tree.layers[r.layer]; l != nil {
		p.names.warm(cmp.Or(l.vol, l.was.vol))
	}
}

func (r *recSweep) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	j := p.jobs.jobFor(l, l.name, reasonSwept, r.when)
	p.tree.touch(l)
	j.layers = append(j.layers, l.id)
	if !r.inPieces {
		r.list, r.blocks = sweptList(r.runs)
		p.tree.unlist(l, r.runs)
	}
	p.tree.owns(l, -r.blocks)
	p.jobs.joinJob(j, r.list, r.blocks)
	l.swept = true
	return nil
}

// recDestroy: a volume goes with all its snapshots. Of one that has many recShed takes them.
type recDestroy struct {
	vol  Ino
	held []LayerID // open .snap files
	dir  Ino       // that layers which clones hold are charged to from then on
	when time.Time
	who  string
}

func (r *recDestroy) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Uint(uint64(len(r.held)))
	for _, l := range r.held {
		e.Uint(uint64(l))
	}
	e.Uint(uint64(r.dir))
	e.Time(r.when)
	e.Str(r.who)
}

func (r *recDestroy) decode(d *codec.Decoder) {
	r.vol = Ino(d.Uint())
	for range d.Len() {
		r.held = append(r.held, LayerID(d.Uint()))
	}
	r.dir, r.when, r.who = Ino(d.Uint()), d.Time(), d.Str()
}

func (*recDestroy) cuts() bool { return true }

func (r *recDestroy) warm(p *Pool) { p.names.warm(r.vol) }

func (r *recDestroy) apply(p *Pool) error {
	all := slices.Clone(p.tree.byVol[r.vol])
	if err := noneHasTags(all); err != nil {
		return err
	}
	j := p.jobs.newJob(r.vol, p.names.pathOf(r.vol), "", reasonVolume, r.who, r.when)
	p.tree.accounts.ended(r.vol)
	slices.SortFunc(all, func(a, b *layer) int { return cmp.Compare(a.id, b.id) }) // walks are numbered in this order
	mine := map[*layer]bool{}
	for _, l := range all {
		mine[l] = p.tree.letGo(l, slices.Contains(r.held, l.id), r.who)
	}
	delete(p.tree.heads, r.vol)
	if len(all) > 0 {
		p.tree.lossBelow(all[0].parent)
	}
	for i := len(all) - 1; i >= 0; i-- {
		if p.tree.layers[all[i].id] == nil || all[i].dead {
			continue
		}
		p.tree.reap(all[i], j, false)
	}
	for _, l := range all {
		if p.tree.layers[l.id] == l && !l.dead {
			p.tree.leaveTo(l, r.dir, j, mine[l])
		}
	}
	delete(p.tree.byVol, r.vol)
	p.jobs.endJob(j)
	return nil
}

// recHome: nameless layers that are charged to a directory are charged to another, all of them, of which there are few: others
// went by recHomeSome. No other layer is looked at.
type recHome struct{ dir, to Ino }

func (r *recHome) encode(e *codec.Encoder) { e.Uint(uint64(r.dir)); e.Uint(uint64(r.to)) }

func (r *recHome) decode(d *codec.Decoder) { r.dir, r.to = Ino(d.Uint()), Ino(d.Uint()) }

func (r *recHome) apply(p *Pool) error {
	p.tree.rehome(r.dir, r.to, math.MaxInt)
	return nil
}

// homesAtOnce bounds the layers of one recHomeSome.
const homesAtOnce = 8

// recHomeSome: the same of the oldest ones, homesAtOnce of them.
type recHomeSome struct{ dir, to Ino }

func (r *recHomeSome) encode(e *codec.Encoder) { e.Uint(uint64(r.dir)); e.Uint(uint64(r.to)) }

func (r *recHomeSome) decode(d *codec.Decoder) { r.dir, r.to = Ino(d.Uint()), Ino(d.Uint()) }

func (r *recHomeSome) apply(p *Pool) error {
	if n := p.tree.rehome(r.dir, r.to, homesAtOnce); n < homesAtOnce || r.dir == r.to {
		return fmt.Errorf("directory %d is charged for %d layers, %d are to be charged to %d: %w", r.dir, n, homesAtOnce, r.to, ErrCorrupt)
	}
	return nil
}

// recRevive: a snapshot that was destroyed has its name, or another one, again.
type recRevive struct {
	layer LayerID
	name  string

	homes map[Ino]snapHome // found before it is made
}

func (r *recRevive) encode(e *codec.Encoder) { e.Uint(uint64(r.layer)); e.Str(r.name) }

func (r *recRevive) decode(d *codec.Decoder) { r.layer, r.name = LayerID(d.Uint()), d.Str() }

func (r *recRevive) prepare(p *Pool) (err error) {
	if l := p.tree.layers[r.layer]; l != nil {
		r.homes, err = p.tree.snapHomes([]Ino{l.vol})
	}
	return err
}

func (r *recRevive) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	if err := CheckSnapName(r.name); err != nil || !l.kept || l.head || l.dead || l.vol == 0 {
		return fmt.Errorf("layer %v, kept %v, becomes %q: %w", l.id, l.kept, r.name, ErrCorrupt)
	}
	p.tree.touch(l)
	l.named, l.kept, l.name = true, false, r.name
	p.tree.noteOpen(l)
	p.tree.snaps.add(l, r.homes[l.vol])
	delete(p.tree.nameless, l)
	return nil
}

// prepare brings the runs of a sweep from the trees of all lists below the layer to what waits in memory.
func (r *recSweep) prepare(p *Pool) error {
	if l := p.tree.layers[r.layer]; l != nil && !r.inPieces {
		return p.tree.gather(l, r.runs)
	}
	return nil
}

func (r *recUnname) prepare(p *Pool) error {
	if r.held {
		return nil
	}
	return p.tree.prepareReap(p.tree.layers[r.layer])
}

func (r *recReap) prepare(p *Pool) error {
	if p.tree.merge = r.merge; r.merge != nil {
		return nil
	}
	return p.tree.prepareReap(p.tree.layers[r.layer])
}
