package chain

import (
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

// recMap: n logical blocks of a head from lb on now lie at dev (0: they are a hole). clean: they came straight
// from clean, as fallocate maps them, not through the window. What they showed before is in old.
type recMap struct {
	layer LayerID
	lb, n int64
	dev   alloc.BlockID
	clean bool
	old   []runs.Run
	size  int64 // the layer's size afterwards, if larger; bytes
}

func (r *recMap) encode(e *codec.Encoder) {
	e.Uint(uint64(r.layer))
	e.Int(r.lb)
	e.Int(r.n)
	e.Uint(uint64(r.dev))
	e.Bool(r.clean)
	runs.Encode(e, r.old)
	e.Int(r.size)
}

func (r *recMap) decode(d *codec.Decoder) {
	r.layer, r.lb, r.n, r.dev, r.clean = LayerID(d.Uint()), d.Int(), d.Int(), alloc.BlockID(d.Uint()), d.Bool()
	r.old, r.size = runs.Decode(d), d.Int()
}

func (r *recMap) fillsHole() bool { return r.dev != 0 && !r.clean && len(r.old) == 0 }

func (r *recMap) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	if r.n <= 0 || r.n > mapEnd || r.lb > mapEnd-r.n || r.size > MaxSize || !l.head {
		return fmt.Errorf("layer %v: map record of %d blocks, head %v: %w", l.id, r.n, l.head, ErrCorrupt)
	}
	p.volumes.tallyMap(l, r.lb, r.n, r.dev != 0)
	p.tree.touch(l)
	l.top.Set(r.lb, overlay.Piece{Len: r.n, Dev: r.dev, Birth: birthOf(r.dev, l.id)})
	if r.dev != 0 {
		run := alloc.Run{Start: r.dev, Len: r.n}
		if r.clean {
			err = p.blocks.alloc.Set(run, alloc.Clean, alloc.InUse)
			l.fence, l.fenceLSN = l.id, p.commits.lsn // no plan may name it before the record is durable
		} else {
			err = p.blocks.alloc.Use(run)
		}
		if err != nil {
			return err
		}
		p.origins.wrote(l.id, l.vol, r.n)
		l.wrote = true
		p.tree.owns(l, r.n)
		l.refer += r.n
		l.mapLSN = p.commits.lsn
	}
	for _, o := range r.old {
		l.refer -= o.Len
		if err := p.tree.replaced(l, o, p.jobs.byVol[l.vol]); err != nil {
			return err
		}
	}
	if r.size > l.size {
		p.tree.setSize(l, r.size)
	}
	p.tree.noteNeed(l)
	return nil
}

// recDetach: blocks [lo, hi) of a head are cut off in one piece, mapped of them; a walk sorts them.
type recDetach struct {
	layer          LayerID
	lo, hi, mapped int64
	when           time.Time
}

func (r *recDetach) encode(e *codec.Encoder) {
	e.Uint(uint64(r.layer))
	e.Int(r.lo)
	e.Int(r.hi)
	e.Int(r.mapped)
	e.Time(r.when)
}

func (r *recDetach) decode(d *codec.Decoder) {
	r.layer, r.lo, r.hi, r.mapped, r.when = LayerID(d.Uint()), d.Int(), d.Int(), d.Int(), d.Time()
}

func (r *recDetach) warm(p *Pool) {
	if l := p.tree.layers[r.layer]; l != nil {
		p.names.warm(l.vol)
	}
}

func (r *recDetach) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	if r.lo < 0 || r.hi <= r.lo || r.hi > mapEnd || !l.head {
		return fmt.Errorf("layer %v: detach of blocks %d to %d: %w", l.id, r.lo, r.hi, ErrCorrupt)
	}
	p.volumes.tallyAnew(l.vol, r.lo, r.hi)
	p.tree.touch(l)
	below := l.top
	rest, window := overlay.Cut(below, l, r.lo, r.hi)
	l.top = overlay.New(rest, l)
	p.tree.noteDepth(l)
	l.refer -= r.mapped
	j := p.jobs.newJob(l.vol, p.names.pathOf(l.vol), "", reasonOverwritten+" in one piece", "", r.when)
	p.tree.newWalk(l, window, j, false)
	return nil
}

// recWalk: a walk has taken runs from what was cut off, and stands at next.
type recWalk struct {
	walk uint64
	next int64
	runs []runs.Run
	done bool
}

func (r *recWalk) encode(e *codec.Encoder) {
	e.Uint(r.walk)
	e.Int(r.next)
	runs.Encode(e, r.runs)
	e.Bool(r.done)
}

func (r *recWalk) decode(d *codec.Decoder) {
	r.walk, r.next, r.runs, r.done = d.Uint(), d.Int(), runs.Decode(d), d.Bool()
}

func (*recWalk) cuts() bool { return true }

func (r *recWalk) apply(p *Pool) error {
	w := p.tree.walks[r.walk]
	if w == nil {
		return fmt.Errorf("walk %d: %w", r.walk, ErrCorrupt)
	}
	p.tree.touchWalk(w)
	p.jobs.touchJob(w.job)
	for _, o := range r.runs {
		if err := p.tree.replaced(w.layer, o, w.job); err != nil {
			return err
		}
	}
	sorted := w.sorted()
	if w.next = r.next; r.done {
		w.next = mapEnd
	}
	if !sorted && w.sorted() {
		w.job.sorting--
		p.jobs.logEnded(w.job)
	}
	if r.done && p.commits.journal != nil { // in replay the pages that it gave back were in memory only: it goes over them again
		p.tree.endWalk(w)
	}
	return nil
}

// recResize: size of a head, bytes.
type recResize struct {
	layer LayerID
	size  int64
}

func (r *recResize) encode(e *codec.Encoder) { e.Uint(uint64(r.layer)); e.Int(r.size) }

func (r *recResize) decode(d *codec.Decoder) { r.layer, r.size = LayerID(d.Uint()), d.Int() }

func (r *recResize) apply(p *Pool) error {
	l, err := p.tree.layer(r.layer)
	if err != nil {
		return err
	}
	if r.size > MaxSize || !l.head {
		return fmt.Errorf("layer %v: size %d, head %v: %w", l.id, r.size, l.head, ErrCorrupt)
	}
	p.tree.setSize(l, r.size)
	return nil
}

func birthOf(dev alloc.BlockID, id LayerID) LayerID {
	if dev == 0 {
		return 0
	}
	return id
}
