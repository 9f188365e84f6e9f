package chain

import (
	"runtime"
	"slices"

	"slatefs/chain/omap"
)

// What no job has is owned by a layer. Who shows it: that layer, and those below it that have not lost it. What one of those
// shows is what its owner has less what the dead lists between have, which have no block in common. So no map is read.

// owned is what one layer owns of the subject.
type owned struct {
	l     *layer
	spans []birthRange
	n     int64 // blocks
	other bool  // they are of others, and may have bytes of the subject
}

// birthRange are births of the subject that are next to each other in a line.
type birthRange struct{ from, to LayerID }

// held finds what layers own of the subject, and who shows it.
func (q *inquiry) held() error {
	type group struct {
		vol   Ino
		other bool
	}
	rest := map[group][]LayerID{}
	for birth, o := range q.open {
		if g := (group{o.vol, o.other}); o.left > o.jobs && birth != 0 {
			rest[g] = append(rest[g], birth)
		}
	}
	for g, births := range rest {
		slices.Sort(births)
		var n int64
		for _, birth := range births {
			n += q.open[birth].left - q.open[birth].jobs
		}
		for _, o := range q.owners(g.vol, births, g.other) {
			n -= o.n
			if err := q.shown(o); err != nil {
				return err
			}
		}
		if n > 0 { // it went to a job since that was looked at
			q.remain(Remain{State: RemainFreeing, UpTo: g.other}, n)
		}
	}
	return nil
}

// owners are the layers that own births of a volume.
func (q *inquiry) owners(vol Ino, births []LayerID, other bool) (out []*owned) {
	lt, at, left := q.p.tree, omap.Key{Hi: uint64(vol)}, len(births)
	lt.inPiecesOf(pieceLen/4, func() bool {
		k, l, ok := lt.lines.Ceil(at)
		if !ok || k.Hi != uint64(vol) || left == 0 {
			return false
		}
		at = k.Next()
		o := &owned{l: l, other: other}
		for _, s := range l.line {
			if s.vol != vol {
				continue
			}
			i, _ := slices.BinarySearch(births, s.from)
			first := i
			for ; i < len(births) && births[i] <= s.to; i++ {
				lt.mu.step(1)
				a := q.open[births[i]]
				o.n += a.left - a.jobs
				left--
			}
			if i > first { // those of the subject that are between have nothing left
				o.spans = append(o.spans, birthRange{births[first], births[i-1]})
			}
		}
		if o.n > 0 {
			out = append(out, o)
		}
		return true
	})
	return out
}

// seen is a layer, as who looks sees it.
type seenLayer struct {
	state  RemainState // empty: nothing shows it
	vol    Ino
	name   string
	id     uint64
	kids   int
	walks  bool
	gone   bool // no layer any more
	layer  *layer
	remain int64
}

// look sees a layer.
func (q *inquiry) look(l *layer, remain int64) seenLayer {
	p := q.p
	p.mu.Lock()
	defer p.mu.Unlock()
	o := seenLayer{layer: l, vol: l.vol, kids: len(l.children), walks: len(l.walks) > 0, gone: l.dead, remain: remain}
	if l.named || l.kept {
		o.name = l.name
	}
	snap, vol := p.destroyed.layers[l.id], p.destroyed.vols[l.vol]
	switch {
	case l.dead:
	case (l.head || l.named) && vol != 0 && l.vol != 0:
		o.state, o.id = RemainDestroyed, vol
	case l.head || l.named:
		o.state = RemainShown
	case l.kept && snap != 0:
		o.state, o.id = RemainDestroyed, snap
	case l.kept && l.held > 0:
		o.state = RemainOpen
	}
	return o
}

// kid is a child of a layer; nil: it has not so many.
func (q *inquiry) kid(l *layer, i int) *layer {
	q.p.mu.Lock()
	defer q.p.mu.Unlock()
	if i < len(l.children) {
		return l.children[i]
	}
	return nil
}

// shown finds who shows what a layer owns, and what nobody does.
func (q *inquiry) shown(o *owned) error {
	top := q.look(o.l, o.n)
	if top.gone {
		q.remain(Remain{State: RemainFreeing, UpTo: o.other}, o.n)
		return nil
	}
	if err := q.showBelow(o, top); err != nil {
		return err
	}
	if top.state != "" || len(o.l.children) == 0 {
		if top.state == "" {
			q.remain(Remain{State: RemainFreeing, UpTo: o.other}, o.n)
		}
		return nil
	}
	return q.unseen(o)
}

// showBelow names those that show something, the layer itself among them.
func (q *inquiry) showBelow(o *owned, top seenLayer) error {
	type place struct {
		seenLayer
		next int
	}
	stack := []place{{top, 0}}
	q.show(top, o.other)
	for len(stack) > 0 {
		at := &stack[len(stack)-1]
		c := q.kid(at.layer, at.next)
		if c == nil {
			stack = stack[:len(stack)-1]
			continue
		}
		at.next++
		if q.budget--; q.budget < 0 {
			q.remain(Remain{State: RemainShown, More: 1}, 0)
			return nil
		}
		n := at.remain
		for _, r := range o.spans {
			lost, err := q.p.tree.weighLost(c, r.from-1, r.to)
			if err != nil {
				return err
			}
			n -= lost
		}
		if n <= 0 {
			continue
		}
		below := q.look(c, n)
		q.show(below, o.other)
		stack = append(stack, place{below, 0})
		runtime.Gosched()
	}
	return nil
}

// show notes what a layer shows.
func (q *inquiry) show(o seenLayer, other bool) {
	if o.state == "" {
		return
	}
	r := Remain{State: o.state, ID: o.id, UpTo: o.walks || other}
	if r.By = q.p.Path(o.vol); o.name != "" {
		r.By += "@" + o.name
	}
	q.remain(r, o.remain)
}

// unseen notes what of a layer that only others hold none of them shows: a sweep, or a merge, brings it to a job.
func (q *inquiry) unseen(o *owned) error {
	var kids []*layer
	for c := q.kid(o.l, 0); c != nil; c = q.kid(o.l, len(kids)) {
		kids = append(kids, c)
	}
	d := &deadReader{p: q.p.tree}
	var n int64
	for _, r := range o.spans {
		to := omap.Key{Hi: uint64(r.to) + 1}
		for from := (omap.Key{Hi: uint64(r.from)}); from != lastKey; {
			rs, next, err := d.commonlyLost(kids, from, to)
			if err != nil {
				return err
			}
			for _, k := range rs {
				n += k.Len
			}
			from = next
		}
	}
	if n > 0 {
		q.remain(Remain{State: RemainFreeing, UpTo: o.other}, n)
	}
	return nil
}
