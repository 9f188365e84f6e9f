package chain

import (
	"cmp"
	"maps"
	"slices"

	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// What falls when layers go. A block is dead when nobody shows it any more. Of a layer that goes (a goer) and one child
// under which something stays, dead are the blocks that the child has lost; if that one goes too, also those that its
// only child has lost; and so on down to the first that stays. The dead lists of one line have no block in common, so
// that a line of goers is weighed once for each list: what is born above the line's floor is what falls. Where two or more
// children stay a block is dead that all of them have lost; that is intersected. So a count costs the goers, and what lies in
// the lists where lines divide.
//
// Who counts holds the structure lock, which keeps the tree as it is but for new heads, and the lists of all layers but
// heads. The plan lock is taken for pieces of at most pieceLen layers or entries, and no page is read under it.

// DestroyForecast is what a destroy would free. Bytes.
type DestroyForecast struct {
	Freed  int64    // what it frees, sweeps included
	Kept   int64    // what the destroyed things own and others still show
	SeenBy []string // those: "vm.raw", "vm.raw@a", "clone test.raw", "open files"
	None   int64    // part of Freed: of volumes with erase=none
}

// ForecastDestroy says what DestroySnapshots, or without names DestroyVolume, would free, and refuses what they would
// refuse. It is exact but for discards that are still being walked, and for what is written while it counts.
func (p *Pool) ForecastDestroy(ino Ino, names []string, o DestroyOptions) (DestroyForecast, error) {
	if names != nil {
		return p.ForecastGroup([]SnapsOf{{ino, names}}, o)
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	vols, err := p.removal.admitDestroyVolume(ino, o)
	if err != nil {
		return DestroyForecast{}, err
	}
	return p.tree.forecastFall(nil, vols, map[Ino]bool{ino: true})
}

// ForecastGroup is ForecastDestroy for DestroyGroup: what all of them together would free.
func (p *Pool) ForecastGroup(group []SnapsOf, o DestroyOptions) (DestroyForecast, error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	layers, vols, err := p.removal.admitGroup(group, o)
	if err != nil {
		return DestroyForecast{}, err
	}
	of := map[Ino]bool{}
	for _, g := range group {
		of[g.Vol] = true
	}
	return p.tree.forecastFall(layers, vols, of)
}

// forecastFall says what falls when layers and volumes go. of are the volumes that are named, all others are called clones. The
// structure lock is held.
func (lt *layerTree) forecastFall(layers []*layer, vols []Ino, of map[Ino]bool) (f DestroyForecast, err error) {
	for _, v := range vols {
		layers = append(layers, lt.layersOf(v)...)
	}
	gone, seen := map[*layer]bool{}, map[string]bool{}
	lt.eachLayer(layers, func(l *layer) {
		if l.held == 0 {
			gone[l] = true
			return
		}
		seen["open files"] = true
		f.Kept += l.own * BlockSize
	})
	x := &fall{p: lt, goes: func(l *layer) bool { return l.nameless() || gone[l] }}
	x.find(slices.Collect(maps.Keys(gone)))
	if err := x.forecast(&f); err != nil {
		return f, wrapCorrupt(err)
	}
	if f.Kept > 0 || len(seen) > 0 {
		x.seers(of, seen)
		for name := range seen {
			f.SeenBy = append(f.SeenBy, name)
		}
		slices.Sort(f.SeenBy)
	}
	return f, nil
}

// fall finds what becomes dead when layers go.
type fall struct {
	p     *layerTree
	goes  func(*layer) bool // nothing shows the layer itself any more. It is called under the plan lock
	lower bool              // a lower bound will do: nothing is intersected

	fallers []*faller // the goers around what goes, parents first
	at      map[*layer]*faller
	nones   map[Ino]bool // volumes, whether they have erase=none
}

// faller is a layer that goes.
type faller struct {
	l     *layer
	up    *faller
	top   *faller // of those that hang together
	own   int64   // blocks
	class fallClass
	kids  []*layer
	left  []*layer // those of them under which something stays
	line  *fallLine
	parts int // of the line, down to this one
}

// fallClass tells falls apart that are reported apart.
type fallClass uint8

const (
	fallNone     fallClass = 1 << iota // of erase=none
	fallNameless                       // of a layer that nobody held before
	fallClasses
)

// falls are sums of blocks by class.
type falls [fallClasses]int64

func (s *falls) of(which func(fallClass) bool) (n int64) {
	for c, k := range s {
		if which(fallClass(c)) {
			n += k
		}
	}
	return n
}

// fallLine is a line of goers of which each has one child under which something stays. Its births, by class.
type fallLine struct {
	from  LayerID // floor of the first
	parts []fallPart
}

// fallPart are births up to a number, above those of the part before.
type fallPart struct {
	to    LayerID
	class fallClass
}

// askNone asks none of each volume that layers are of, so that later no piece asks for several.
func (x *fall) askNone(layers []*layer) {
	var one []*layer
	seen := map[Ino]bool{0: true}
	for _, l := range layers {
		if !x.lower && !seen[l.vol] {
			one, seen[l.vol] = append(one, l), true
		}
	}
	i := 0
	x.p.inPiecesOf(1, func() bool {
		if i < len(one) {
			x.none(one[i])
			i++
		}
		return i < len(one)
	})
}

// none: the blocks of the layer are not zeroed before they are used again. The plan lock is held.
func (x *fall) none(l *layer) bool {
	if l.vol == 0 {
		return l.was.none
	}
	none, known := x.nones[l.vol]
	if !known {
		x.p.names.brought(func() { none = x.p.names.unscheduled(l.vol) })
		x.nones[l.vol] = none
	}
	return none
}

// forecast adds what becomes dead. What was dead before, and waits for a sweep, is not of this.
func (x *fall) forecast(f *DestroyForecast) error {
	sum, err := x.count()
	if err != nil {
		return err
	}
	before := &fall{p: x.p, goes: (*layer).nameless}
	var nameless []*layer
	for _, o := range x.fallers {
		if o.class&fallNameless != 0 {
			nameless = append(nameless, o.l)
			continue
		}
		f.Kept += o.own * BlockSize
	}
	before.find(nameless)
	was, err := before.count()
	if err != nil {
		return err
	}
	for c := range sum {
		sum[c] -= was[c]
	}
	f.Kept = max(0, f.Kept-sum.of(func(c fallClass) bool { return c&fallNameless == 0 })*BlockSize)
	f.Freed = sum.of(func(fallClass) bool { return true }) * BlockSize
	f.None = sum.of(func(c fallClass) bool { return c&fallNone != 0 }) * BlockSize
	return nil
}

// find finds the goers among layers, and those that hang together with them.
func (x *fall) find(all []*layer) {
	x.at, x.nones = map[*layer]*faller{}, map[Ino]bool{}
	var tops []*layer
	slices.SortFunc(all, func(a, b *layer) int { return cmp.Compare(a.id, b.id) })
	climbed, i := map[*layer]bool{}, 0
	var l *layer
	x.p.inPieces(func() bool {
		if l == nil {
			if i == len(all) {
				return false
			}
			l = all[i]
			i++
		}
		switch {
		case climbed[l] || !x.goes(l):
			l = nil
			return true
		case l.parent == nil || !x.goes(l.parent):
			tops = append(tops, l)
		}
		climbed[l] = true
		if l = l.parent; l != nil && !x.goes(l) {
			l = nil
		}
		return true
	})
	x.askNone(all)
	x.p.descend(tops, func(l *layer) bool {
		up := x.at[l.parent]
		if up != nil {
			up.kids = append(up.kids, l)
		}
		if !x.goes(l) {
			return false
		}
		f := &faller{l: l, up: up, own: l.own}
		if f.top = f; up != nil {
			f.top = up.top
		}
		if l.nameless() {
			f.class |= fallNameless
		}
		if !x.lower && x.none(l) {
			f.class |= fallNone
		}
		x.fallers, x.at[l] = append(x.fallers, f), f
		return true
	})
	for _, f := range slices.Backward(x.fallers) {
		for _, k := range f.kids {
			if o := x.at[k]; o == nil || len(o.left) > 0 {
				f.left = append(f.left, k)
			}
		}
	}
}

// count sums up what of the blocks of the goers nobody would show.
func (x *fall) count() (sum falls, err error) {
	for _, f := range x.fallers {
		x.join(f)
		if err := x.add(f, &sum); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// countApart does the same for those that hang together, by the top one. What nobody held before is not in it.
func (x *fall) countApart() map[*faller]int64 {
	sums := map[*faller]int64{}
	for _, f := range x.fallers {
		x.join(f)
		var sum falls
		if x.add(f, &sum) == nil { // a list that cannot be read is not counted on
			sums[f.top] += sum[0]
		}
	}
	return sums
}

// join puts a goer at the end of the line that it belongs to.
func (x *fall) join(f *faller) {
	if f.up != nil && len(f.up.left) == 1 && f.up.left[0] == f.l {
		f.line = f.up.line
	} else {
		f.line = &fallLine{from: f.l.floor()}
	}
	if n := len(f.line.parts) - 1; n >= 0 && f.line.parts[n].class == f.class {
		f.line.parts[n].to = f.l.id
	} else {
		f.line.parts = append(f.line.parts, fallPart{f.l.id, f.class})
	}
	f.parts = len(f.line.parts)
}

// add adds what falls because one goer goes too: if nothing stays below it all that it owns, else what is in the dead lists
// below of its line.
func (x *fall) add(f *faller, sum *falls) error {
	switch {
	case len(f.left) == 0:
		sum[f.class] += f.own
		return nil
	case len(f.left) == 1:
		return x.weigh(f, x.lostOf(f.left[0]), sum)
	case x.lower:
		return nil
	}
	i := 0
	return x.common(f.left, f.line.from, f.l.id, func(r runs.Run) {
		for i < f.parts-1 && r.Birth > f.line.parts[i].to {
			i++
		}
		sum[f.line.parts[i].class] += r.Len
	})
}

// weigh adds what the one child of a goer under which something stays has lost of the line, by parts: halves of them as long
// as there is something. lost tells how much of the births in (from, to] it has lost.
func (x *fall) weigh(f *faller, lost func(from, to LayerID) (int64, error), sum *falls) error {
	var add func(from, to LayerID, parts []fallPart) error
	add = func(from, to LayerID, parts []fallPart) error {
		n, err := lost(from, to)
		switch {
		case err != nil || n == 0:
			return err
		case len(parts) == 1:
			sum[parts[0].class] += n
			return nil
		}
		half := len(parts) / 2
		if err := add(from, parts[half-1].to, parts[:half]); err != nil {
			return err
		}
		return add(parts[half-1].to, to, parts[half:])
	}
	return add(f.line.from, f.l.id, f.line.parts[:f.parts]) // others of the line may reach further by now
}

// lostOf tells what a layer has lost.
func (x *fall) lostOf(l *layer) func(from, to LayerID) (int64, error) {
	return func(from, to LayerID) (int64, error) { return x.p.weighLost(l, from, to) }
}

// common calls fn for the blocks with births in (lo, hi] that are lost under all of some layers, in key order.
func (x *fall) common(ls []*layer, lo, hi LayerID, fn func(runs.Run)) error {
	d := &deadReader{p: x.p, under: x.below}
	for from := (omap.Key{Hi: uint64(lo) + 1}); from != lastKey; {
		runs, next, err := d.commonlyLost(ls, from, omap.Key{Hi: uint64(hi) + 1})
		if err != nil {
			return err
		}
		for _, r := range runs {
			fn(r)
		}
		from = next
	}
	return nil
}

// below are the children of a goer under which something stays; nil for a layer that stays.
func (x *fall) below(l *layer) []*layer {
	if f := x.at[l]; f != nil {
		return f.left
	}
	return nil
}

// seers collects who stays below what goes, as seen from volumes.
func (x *fall) seers(from map[Ino]bool, names map[string]bool) {
	var tops []*layer
	for _, f := range x.fallers {
		if f.class&fallNameless == 0 {
			tops = append(tops, f.l)
		}
	}
	x.p.descend(tops, func(l *layer) bool {
		if x.goes(l) || !l.head && !l.named {
			return true
		}
		var name string
		x.p.names.brought(func() { name = x.p.names.pathOf(l.vol) })
		if l.named {
			name += "@" + l.name
		}
		if !from[l.vol] {
			name = "clone " + name
		}
		names[name] = true
		return false
	})
}
