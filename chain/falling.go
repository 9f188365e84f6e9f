package chain

import (
	"fmt"
	"maps"
	"slices"

	"slatefs/chain/omap"
)

// What the end of all that was destroyed and is kept would free is counted for each part of the tree by itself: layers that
// go and hang together. When the tree changes only the parts that it concerns are counted anew, by settleFalls, which holds
// the plan lock for pieces only. What layers come to own or to lose meanwhile is followed (share). Where a thing stays again
// its part is worth nothing until it is counted: so the sum is a lower bound at any time.

// falling is such a part. The plan lock guards it.
type falling struct {
	n       int64 // blocks
	counted bool  // they are in destroyedIndex.blocks
	layers  []*layer
	stale   int // the settling that counts it anew, when the structure lock can be had: layerTree.settling; 0: none did or will
}

// add follows what one of its layers came to own, or to lose.
func (lt *layerTree) add(f *falling, blocks int64) {
	if f.n += blocks; f.counted {
		lt.destroyed.blocks += blocks
	}
}

// count puts a part into the sum, and discount takes it out: it is worth nothing until it is counted anew.
func (lt *layerTree) count(f *falling) {
	f.counted = true
	lt.destroyed.blocks += f.n
}

func (lt *layerTree) discount(f *falling) {
	if f.counted {
		lt.destroyed.blocks -= f.n
	}
	f.n, f.counted = 0, false
}

// counted: the layer goes with what was destroyed and is kept, if all of that is ended, and may be counted on: it is not
// open, and its end does not fail. The plan lock is held.
func (lt *layerTree) counted(l *layer) bool {
	lt.mu.assertHeld()
	if l.held > 0 || l.dead {
		return false
	}
	for _, id := range []uint64{lt.destroyed.layers[l.id], lt.destroyed.vols[l.vol]} {
		if d := lt.destroyed.rows[id]; d != nil && !d.try.Failing() {
			return true
		}
	}
	return false
}

// noteDestroyed follows a row: it is the only way in which something becomes destroyed, or is no more.
func (lt *layerTree) noteDestroyed(id uint64, v []byte) error {
	if v == nil {
		if d := lt.destroyed.rows[id]; d != nil {
			lt.uncountThing(d)
			lt.destroyed.ends.drop(id, d)
			delete(lt.destroyed.layers, d.layer)
			lt.destroyed.snaps.Delete(omap.Key{Hi: uint64(d.vol), Lo: id})
			if l := lt.layers[d.layer]; l != nil {
				lt.mayGo(l)
			}
			if d.layer == 0 {
				delete(lt.destroyed.vols, d.vol)
			}
			lt.health.forgetTry(&d.try)
			delete(lt.destroyed.rows, id)
		}
		return nil
	}
	d := &destroyed{}
	if err := d.unmarshal(v); err != nil {
		return fmt.Errorf("destroyed thing %d: %w", id, err)
	}
	if d.vol == 0 || d.size > MaxSize {
		return fmt.Errorf("destroyed thing %d: volume %d of %d bytes: %w", id, d.vol, d.size, ErrCorrupt)
	}
	if was := lt.destroyed.rows[id]; was != nil {
		lt.destroyed.ends.drop(id, was)
	}
	lt.destroyed.rows[id] = d
	lt.destroyed.ends.put(id, d)
	if d.layer != 0 {
		lt.destroyed.layers[d.layer] = id
		lt.destroyed.snaps.Set(omap.Key{Hi: uint64(d.vol), Lo: id}, id)
	} else {
		lt.destroyed.vols[d.vol] = id
	}
	lt.recountThing(id)
	lt.commits.nextJob = max(lt.commits.nextJob, id) // one row of numbers with jobs, so that an ID means one thing
	return nil
}

// recount has the part that a layer is in, and what hangs together with it, counted anew. What was counted stays until then:
// it is for what can only make it more. The plan lock is held.
func (lt *layerTree) recount(l *layer) {
	lt.mu.assertHeld()
	if l == nil {
		return
	}
	if l.falls == nil {
		l.falls = &falling{layers: []*layer{l}}
	}
	if f := l.falls; f.stale <= lt.settled {
		f.stale = lt.settled + 1
		lt.staleFalls = append(lt.staleFalls, f)
	}
}

// uncount is recount where the part may be worth less. The plan lock is held.
func (lt *layerTree) uncount(l *layer) {
	lt.mu.assertHeld()
	if f := l.falls; f != nil {
		lt.discount(f)
		lt.recount(l)
	}
}

// recountAround is recount of what a layer hangs together with: it changes in a way that makes others fall.
func (lt *layerTree) recountAround(l *layer) {
	if l.falls != nil {
		lt.recount(l)
	}
	if up := l.parent; up != nil && up.falls != nil {
		lt.recount(up)
	}
}

// recountThing is recount of all that something destroyed is. Layers of a volume are found when it is counted.
func (lt *layerTree) recountThing(id uint64) { lt.staleDestroyed = append(lt.staleDestroyed, id) }

// uncountThing is uncount of it: it ends, or stays, or its end fails.
func (lt *layerTree) uncountThing(d *destroyed) {
	if l := lt.layers[d.layer]; l != nil {
		lt.uncount(l)
	}
	for f := range d.falls {
		if len(f.layers) > 0 {
			lt.uncount(f.layers[0])
		}
	}
	d.falls = nil
}

// fallsStale: something is to be counted anew. The plan lock is held.
func (lt *layerTree) fallsStale() bool { return len(lt.staleFalls)+len(lt.staleDestroyed) > 0 }

// settleFalls counts what is to be counted anew.
func (lt *layerTree) settleFalls() {
	lt.structure.Lock()
	defer lt.structure.Unlock()
	lt.settleFallsLocked()
}

// settleFallsLocked is settleFalls for who holds the structure lock.
func (lt *layerTree) settleFallsLocked() {
	lt.mu.Lock()
	parts, ids := lt.staleFalls, lt.staleDestroyed
	lt.staleFalls, lt.staleDestroyed = nil, nil
	lt.settled++
	lt.mu.Unlock()
	if len(parts)+len(ids) == 0 {
		return
	}
	x := &fall{p: lt, lower: true, goes: func(l *layer) bool { return l.nameless() || lt.counted(l) }}
	all := lt.staleLayers(parts, ids)
	x.find(slices.Clone(all))
	worth := x.share()
	lt.eachLayer(all, func(l *layer) {
		if x.at[l] == nil {
			l.falls = nil // it stays
		}
	})
	lt.replaceFalls(x, worth)
}

// staleLayers are the layers of parts and things that are still there.
func (lt *layerTree) staleLayers(parts []*falling, ids []uint64) []*layer {
	var all, there []*layer
	for _, f := range parts {
		all = append(all, f.layers...)
	}
	var vols []Ino
	i := 0
	lt.inPieces(func() bool {
		if i == len(ids) {
			return false
		}
		switch d := lt.destroyed.rows[ids[i]]; {
		case d == nil:
		case d.layer != 0 && lt.layers[d.layer] != nil:
			all = append(all, lt.layers[d.layer])
		case d.layer == 0:
			vols = append(vols, d.vol)
		}
		i++
		return true
	})
	for _, v := range vols {
		all = append(all, lt.layersOf(v)...)
	}
	lt.eachLayer(all, func(l *layer) {
		if lt.layers[l.id] == l && !l.dead {
			there = append(there, l)
		}
	})
	return there
}

// replaceFalls puts what was counted in the place of the parts that it was counted for. A part that has changed meanwhile
// is worth nothing, and is counted again.
func (lt *layerTree) replaceFalls(x *fall, parts map[*faller]*falling) {
	i := 0
	lt.inPieces(func() bool {
		if i == len(x.fallers) {
			return false
		}
		o := x.fallers[i]
		i++
		l, f, was := o.l, parts[o.top], o.l.falls
		if was != nil {
			lt.discount(was)
		}
		l.falls, f.layers = f, append(f.layers, l)
		lt.shareOwn(o, f)
		if d := lt.destroyed.rows[lt.destroyed.vols[l.vol]]; d != nil {
			if d.falls == nil {
				d.falls = map[*falling]bool{}
			}
			delete(d.falls, was)
			d.falls[f] = true
		}
		if !x.goes(l) {
			lt.recount(l)
		}
		return true
	})
	tops := slices.Collect(maps.Keys(parts))
	i = 0
	lt.inPieces(func() bool {
		if i == len(tops) {
			return false
		}
		if f := parts[tops[i]]; f.stale == 0 {
			lt.count(f)
		}
		i++
		return true
	})
}

// worth is how much less the end of all that is kept would free, if one thing were not to end. The structure lock is held.
func (lt *layerTree) worth(id uint64) (n int64) {
	lt.settleFallsLocked()
	lt.mu.Lock()
	d := lt.destroyed.rows[id]
	parts := map[*falling]bool{}
	if d != nil {
		maps.Copy(parts, d.falls)
		if l := lt.layers[d.layer]; l != nil && l.falls != nil {
			parts[l.falls] = true
		}
	}
	var all []*layer
	for f := range parts {
		n += f.n
		all = append(all, f.layers...)
	}
	lt.mu.Unlock()
	x := &fall{p: lt, lower: true, goes: func(l *layer) bool {
		mine := d.layer == l.id || d.layer == 0 && d.vol == l.vol
		return l.nameless() || lt.counted(l) && !mine
	}}
	x.find(all)
	for _, k := range x.countApart() {
		n -= k
	}
	return n
}
