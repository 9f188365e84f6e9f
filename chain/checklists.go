package chain

import (
	"slatefs/alloc"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

// lost compares a dead list with what it must be: what the parent shows and the layer does not, but for what a walk
// still has to sort.
func (c *checker) lost(l *layer, who string) {
	var want omap.Map[runs.Entry]
	forget := func(_ int64, q overlay.Piece) { runs.Carve(&want, runs.Run{Dev: q.Dev, Len: q.Len, Birth: q.Birth}) }
	differs := c.differs(l, who)
	c.pieces(l.parent.top, differs, who, func(_ int64, q overlay.Piece) {
		want.Set(runs.Key(q.Birth, q.Dev), runs.Entry{Len: q.Len})
	})
	c.pieces(l.top, differs, who, forget)
	for _, w := range c.p.tree.walks {
		if w.layer == l {
			c.pieces(w.source, []region{{w.next, mapEnd}}, who, forget)
		}
	}
	var here int64
	c.list(&l.lost, who+": dead list", func(k omap.Key, e runs.Entry) {
		if e.Page {
			return
		}
		if k.Hi > uint64(l.parent.floor()) {
			here += e.Len
		}
		if runs.Carve(&want, runs.Run{Dev: alloc.BlockID(k.Lo), Len: e.Len, Birth: LayerID(k.Hi)}) != e.Len {
			c.r.bad("%s: dead list: blocks %d+%d born in %v: the layer shows them, or the parent does not", who, k.Lo, e.Len, LayerID(k.Hi))
		}
	})
	if here != l.lostHere {
		c.r.bad("%s: has lost %d blocks of its parent, counted %d", who, here, l.lostHere)
	}
	want.Ascend(omap.Key{}, func(k omap.Key, e runs.Entry) bool {
		c.r.bad("%s: blocks %d+%d born in %v are lost and not in the dead list", who, k.Lo, e.Len, LayerID(k.Hi))
		return true
	})
}

// region is a part of a map, in blocks.
type region struct{ lo, hi int64 }

var wholeMap = region{0, mapEnd}

// differs is where a layer's map differs from its parent's: all of it where that cannot be told from pages.
func (c *checker) differs(l *layer, who string) (out []region) {
	if l.parent == nil || l.parent.swept || l.swept {
		return []region{wholeMap}
	}
	mine, plain := l.top.Plain()
	theirs, also := l.parent.top.Plain()
	if !plain || !also {
		return []region{wholeMap}
	}
	err := c.p.blocks.maps.Differ(theirs, mine, func(lo, hi int64) error {
		out = append(out, region{lo, hi})
		return nil
	})
	if err != nil {
		c.r.bad("%s: map: %v", who, err)
		return []region{wholeMap}
	}
	return out
}

func (c *checker) list(l *runs.List, who string, fn func(omap.Key, runs.Entry)) {
	if err := l.Ascend(c.p.blocks.lists, omap.Key{}, func(k omap.Key, e runs.Entry) bool { fn(k, e); return true }); err != nil {
		c.r.bad("%s: %v", who, err)
	}
}

// unswept: what is dead under a nameless layer and was not swept yet; its map no longer says so.
func (c *checker) unswept(l *layer, who string) {
	d := &deadReader{p: c.p.tree, held: true}
	for next := (omap.Key{}); next != lastKey; {
		runs, end, err := d.deadBelow(l, next)
		if err != nil {
			c.r.bad("%s: sweep: %v", who, err)
			return
		}
		for _, r := range runs {
			c.see(r.Dev, r.Len, r.Birth, seenLive, 0, who)
		}
		next = end
	}
}
