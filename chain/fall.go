package chain

import (
	"slices"

	"slatefs/chain/omap"
)

// DestroyForecast is what a destroy would free. Bytes.
type DestroyForecast struct {
	Freed  int64    // what it frees, sweeps included
	Kept   int64    // what the destroyed things own and others still show
	SeenBy []string // those: "vm.raw", "vm.raw@a", "clone test.raw", "open files"
	None   int64    // part of Freed: of volumes with erase=none
}

// ForecastDestroy says what DestroySnapshots, or without names DestroyVolume, would free, and refuses what they would
// refuse. It is exact but for discards that are still being walked.
func (p *Pool) ForecastDestroy(ino Ino, names []string, o DestroyOptions) (f DestroyForecast, err error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	var vols []Ino
	var layers []*layer
	if names == nil {
		vols, err = p.admitDestroyVolume(ino, o)
	} else {
		vols, err = p.admitDestroy(ino, names, o)
		for _, name := range names {
			if l, err := p.snapshot(ino, name); err == nil && !slices.Contains(layers, l) {
				layers = append(layers, l)
			}
		}
	}
	if err != nil {
		return f, err
	}
	for _, v := range vols {
		layers = append(layers, p.byVol[v]...)
	}
	x := &fall{p: p, gone: map[*layer]bool{}}
	var roots []*layer
	seen := map[string]bool{}
	for _, l := range layers {
		p.mu.step(1)
		if l.held > 0 {
			seen["open files"] = true
			f.Kept += l.own * BlockSize
			continue
		}
		x.gone[l] = true
		root := l
		for root.parent != nil {
			p.mu.step(1)
			root = root.parent
		}
		if !slices.Contains(roots, root) {
			roots = append(roots, root)
		}
	}
	for _, r := range roots {
		if err := x.tree(r, &f); err != nil {
			return f, wrapCorrupt(err)
		}
	}
	if f.Kept > 0 || len(seen) > 0 {
		for l := range x.gone {
			x.seers(l, ino, seen)
		}
		for name := range seen {
			f.SeenBy = append(f.SeenBy, name)
		}
		slices.Sort(f.SeenBy)
	}
	return f, nil
}

// fall finds what becomes dead when layers go.
type fall struct {
	p    *Pool
	gone map[*layer]bool
	now  bool // as it is before they go

	lower bool // a lower bound will do: nothing is intersected
}

// goes: nothing shows the layer itself any more.
func (x *fall) goes(l *layer) bool { return l.nameless() || !x.now && x.gone[l] }

// left are the children of a layer under which something stays.
func (x *fall) left(l *layer) (out []*layer) {
	for _, c := range l.children {
		x.p.mu.step(1)
		if !x.goes(c) || len(x.left(c)) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// below is left for a layer that goes; nil for one that stays.
func (x *fall) below(l *layer) []*layer {
	if !x.goes(l) {
		return nil
	}
	return x.left(l)
}

// tree adds what becomes dead in the layers of a tree. What was dead before, and waits for a sweep, is not of this.
func (x *fall) tree(l *layer, f *DestroyForecast) error {
	x.p.mu.step(1)
	if x.goes(l) {
		n, err := x.dead(l)
		switch {
		case err != nil:
		case !l.nameless():
			f.Kept += (l.own - n) * BlockSize
		default:
			x.now = true
			var was int64
			was, err = x.dead(l)
			n -= was
			x.now = false
		}
		if err != nil {
			return err
		}
		f.Freed += n * BlockSize
		if l.vol != 0 && x.p.unscheduled(l.vol) || l.vol == 0 && l.was.none {
			f.None += n * BlockSize
		}
	}
	for _, c := range l.children {
		if err := x.tree(c, f); err != nil {
			return err
		}
	}
	return nil
}

// dead is how many of the blocks that l owns nobody would show.
func (x *fall) dead(l *layer) (int64, error) {
	left := x.left(l)
	switch {
	case len(left) == 0:
		return l.own, nil
	case len(left) == 1 && !x.goes(left[0]):
		return left[0].lostHere, nil
	}
	return x.lost(left, l.floor(), l.id)
}

// lost is how many blocks with births in (lo, hi] are lost under all of some layers. It gives the plan lock up between
// pieces of long lists; the structure lock keeps the tree as it is, but for new heads.
func (x *fall) lost(ls []*layer, lo, hi LayerID) (n int64, err error) {
	if len(ls) == 1 { // the dead lists of one line do not overlap
		if n, err = ls[0].lost.weigh(x.p.lists, lo, hi); err != nil {
			return 0, err
		}
		if below := x.below(ls[0]); len(below) > 0 {
			more, err := x.lost(below, lo, hi)
			return n + more, err
		}
		return n, nil
	}
	if x.lower {
		return 0, nil
	}
	for from := (omap.Key{Hi: uint64(lo) + 1}); from != lastKey; {
		runs, next, err := x.p.commonlyLost(ls, x.below, from, omap.Key{Hi: uint64(hi) + 1})
		if err != nil {
			return 0, err
		}
		x.p.mu.step(len(runs))
		for _, r := range runs {
			n += r.n
		}
		from = next
		x.p.mu.Unlock() // writers go on between the pieces
		x.p.mu.Lock()
	}
	return n, nil
}

// seers collects who stays below a layer, as seen from a volume.
func (x *fall) seers(l *layer, from Ino, names map[string]bool) {
	for _, c := range l.children {
		x.p.mu.step(1)
		if x.goes(c) || !c.head && !c.named {
			x.seers(c, from, names)
			continue
		}
		name := x.p.pathOf(c.vol)
		if c.named {
			name += "@" + c.name
		}
		if c.vol != from {
			name = "clone " + name
		}
		names[name] = true
	}
}
