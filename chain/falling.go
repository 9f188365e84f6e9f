package chain

import (
	"maps"
	"slices"
)

// What the end of all that was destroyed and is kept would free is counted for each part of the tree by itself: layers that
// go and hang together. When something of a part changes only that part is counted anew, by settleFalls, which holds the plan
// lock for pieces only. What lists grow by meanwhile is missed, and where a thing stays again its part is worth nothing
// until it is counted: so the sum is a lower bound at any time.

// falling is such a part. The plan lock guards it.
type falling struct {
	n      int64 // blocks
	layers []*layer
	stale  bool // to be counted anew, when the structure lock can be had
}

// counted: the layer goes with what was destroyed and is kept, if all of that is ended, and may be counted on: it is not
// open, and its end does not fail. The plan lock is held.
func (p *Pool) counted(l *layer) bool {
	if l.held > 0 || l.dead {
		return false
	}
	for _, id := range []uint64{p.doomedLayers[l.id], p.doomedVols[l.vol]} {
		if d := p.doomed[id]; d != nil && !d.try.failing() {
			return true
		}
	}
	return false
}

// recount has the part that a layer is in, and what hangs together with it, counted anew. What was counted stays until then:
// it is for what can only make it more. The plan lock is held.
func (p *Pool) recount(l *layer) {
	if l == nil {
		return
	}
	if f := l.falls; f != nil {
		if !f.stale {
			f.stale = true
			p.staleFalls = append(p.staleFalls, f)
		}
		return
	}
	l.falls = &falling{layers: []*layer{l}, stale: true}
	p.staleFalls = append(p.staleFalls, l.falls)
}

// uncount is recount where the part may be worth less. The plan lock is held.
func (p *Pool) uncount(l *layer) {
	if f := l.falls; f != nil {
		p.doomedN -= f.n
		f.n = 0
		p.recount(l)
	}
}

// recountAround is recount of what a layer hangs together with: it changes in a way that makes others fall.
func (p *Pool) recountAround(l *layer) {
	if l.falls != nil {
		p.recount(l)
	}
	if up := l.parent; up != nil && up.falls != nil {
		p.recount(up)
	}
}

// recountThing is recount of all that something destroyed is. Layers of a volume are found when it is counted.
func (p *Pool) recountThing(id uint64) { p.staleDoomed = append(p.staleDoomed, id) }

// uncountThing is uncount of it: it ends, or stays, or its end fails.
func (p *Pool) uncountThing(d *doomed) {
	if l := p.layers[d.layer]; l != nil {
		p.uncount(l)
	}
	for f := range d.falls {
		if len(f.layers) > 0 {
			p.uncount(f.layers[0])
		}
	}
	d.falls = nil
}

// fallsStale: something is to be counted anew. The plan lock is held.
func (p *Pool) fallsStale() bool { return len(p.staleFalls)+len(p.staleDoomed) > 0 }

// settleFalls counts what is to be counted anew.
func (p *Pool) settleFalls() {
	p.structure.Lock()
	defer p.structure.Unlock()
	p.settleFallsLocked()
}

// settleFallsLocked is settleFalls for who holds the structure lock.
func (p *Pool) settleFallsLocked() {
	p.mu.Lock()
	parts, ids := p.staleFalls, p.staleDoomed
	p.staleFalls, p.staleDoomed = nil, nil
	p.mu.Unlock()
	if len(parts)+len(ids) == 0 {
		return
	}
	x := &fall{p: p, lower: true, goes: func(l *layer) bool { return l.nameless() || p.counted(l) }}
	all := p.staleLayers(parts, ids)
	x.find(slices.Clone(all))
	sums := x.countApart()
	p.eachLayer(all, func(l *layer) {
		if x.at[l] == nil {
			l.falls = nil // it stays
		}
	})
	p.replaceFalls(x, sums)
}

// staleLayers are the layers of parts and things that are still there.
func (p *Pool) staleLayers(parts []*falling, ids []uint64) []*layer {
	var all, there []*layer
	for _, f := range parts {
		all = append(all, f.layers...)
	}
	var vols []Ino
	i := 0
	p.inPieces(func() bool {
		if i == len(ids) {
			return false
		}
		switch d := p.doomed[ids[i]]; {
		case d == nil:
		case d.layer != 0 && p.layers[d.layer] != nil:
			all = append(all, p.layers[d.layer])
		case d.layer == 0:
			vols = append(vols, d.vol)
		}
		i++
		return true
	})
	for _, v := range vols {
		all = append(all, p.layersOf(v)...)
	}
	p.eachLayer(all, func(l *layer) {
		if p.layers[l.id] == l && !l.dead {
			there = append(there, l)
		}
	})
	return there
}

// replaceFalls puts what was counted in the place of the parts that it was counted for. A part that has changed meanwhile
// is worth nothing, and is counted again.
func (p *Pool) replaceFalls(x *fall, sums map[*faller]int64) {
	parts := map[*faller]*falling{}
	i := 0
	p.inPieces(func() bool {
		if i == len(x.fallers) {
			return false
		}
		o := x.fallers[i]
		i++
		l, f := o.l, parts[o.top]
		if f == nil {
			f = &falling{}
			parts[o.top] = f
		}
		was := l.falls
		if was != nil && was != f {
			p.doomedN -= was.n
			was.n = 0
		}
		l.falls, f.layers = f, append(f.layers, l)
		if d := p.doomed[p.doomedVols[l.vol]]; d != nil {
			if d.falls == nil {
				d.falls = map[*falling]bool{}
			}
			delete(d.falls, was)
			d.falls[f] = true
		}
		if !x.goes(l) {
			p.recount(l)
		}
		return true
	})
	tops := slices.Collect(maps.Keys(parts))
	i = 0
	p.inPieces(func() bool {
		if i == len(tops) {
			return false
		}
		if f := parts[tops[i]]; !f.stale {
			f.n = sums[tops[i]]
			p.doomedN += f.n
		}
		i++
		return true
	})
}

// worth is how much less the end of all that is kept would free, if one thing were not to end. The structure lock is held.
func (p *Pool) worth(id uint64) (n int64) {
	p.settleFallsLocked()
	p.mu.Lock()
	d := p.doomed[id]
	parts := map[*falling]bool{}
	if d != nil {
		maps.Copy(parts, d.falls)
		if l := p.layers[d.layer]; l != nil && l.falls != nil {
			parts[l.falls] = true
		}
	}
	var all []*layer
	for f := range parts {
		n += f.n
		all = append(all, f.layers...)
	}
	p.mu.Unlock()
	x := &fall{p: p, lower: true, goes: func(l *layer) bool {
		mine := d.layer == l.id || d.layer == 0 && d.vol == l.vol
		return l.nameless() || p.counted(l) && !mine
	}}
	x.find(all)
	for _, k := range x.countApart() {
		n -= k
	}
	return n
}
