package chain

import (
	"slices"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// origins compares the accounts with what the blocks of the pool say: of each birth, what is left is what maps, walks and jobs
// have.
func (c *checker) origins() {
	ot := c.p.origins
	if !ot.begun {
		return
	}
	lines := 0
	for _, l := range c.p.tree.layers {
		for i, s := range l.line {
			if o, _ := c.p.tree.lines.Get(s.key(l.id)); o != l {
				c.r.bad("layer %v: it is not found by volume %d, which is in its line", l.id, s.vol)
			}
			if !slices.ContainsFunc(l.line[:i], func(o span) bool { return o.vol == s.vol }) {
				lines++
			}
		}
	}
	if n := c.p.tree.lines.Len(); n != lines {
		c.r.bad("%d layers are found by the volumes in their lines, and %d are there", n, lines)
	}
	have := c.have
	for birth, a := range c.accounts() {
		if a.left() != have[birth] || a.zeroed < 0 || a.released < 0 {
			c.r.bad("account of layer %v: written %d, zeroed %d, released %d blocks, and %d are there",
				birth, a.written, a.zeroed, a.released, have[birth])
		}
		delete(have, birth)
	}
	for birth, n := range have {
		c.r.bad("account of layer %v: there is none, and %d blocks are there", birth, n)
	}
}

// inLine: whose births a layer owns is in its line.
func (c *checker) inLine(l *layer, birth LayerID, who string) {
	in := func(s span) bool { return s.from <= birth && birth <= s.to }
	if c.p.origins.covers(birth) && !slices.ContainsFunc(l.line, in) {
		c.r.bad("%s: owns a block born in %v, and that is not in its line %v", who, birth, l.line)
	}
}

// accounts are all of them, by birth: rows, with what has changed since.
func (c *checker) accounts() map[LayerID]account {
	ot, all := c.p.origins, map[LayerID]account{}
	add := func(birth LayerID, o *account) {
		a := all[birth]
		a.add(o)
		all[birth] = a
	}
	named := map[meta.Key]bool{}
	for _, kind := range []catalog.Kind{catalog.Account, catalog.OfVolume, catalog.Closing, catalog.Elsewhere} {
		err := c.p.names.cat.Scan(catalog.Key(kind, 0), func(k meta.Key, v []byte) bool {
			var err error
			switch {
			case catalog.KindOf(k) != kind:
				return false
			case kind == catalog.Account:
				var a account
				if err = a.unmarshal(v); err == nil {
					add(LayerID(catalog.NumberOf(k)), &a)
				}
			case kind == catalog.OfVolume && k.Lo == 0 && k != beginKey:
				err = new(volumeAccount).unmarshal(v)
			case kind == catalog.OfVolume && k != beginKey:
				named[k] = true
			case kind == catalog.Elsewhere:
				_, err = parseElsewhere(k, v)
			}
			if err != nil {
				c.r.bad("row of kind %d, number %d: %v", kind, catalog.NumberOf(k), err)
			}
			return true
		})
		if err != nil {
			c.r.bad("accounts: %v", err)
		}
	}
	for birth, a := range all {
		k := ofVolumeKey(a.vol, birth)
		if birth != 0 && !named[k] {
			c.r.bad("account of layer %v: volume %d does not name it", birth, a.vol)
		}
		delete(named, k)
	}
	for k := range named {
		c.r.bad("volume %d names the account of layer %v, and there is none", catalog.NumberOf(k), LayerID(k.Lo))
	}
	for _, changes := range []*originChanges{ot.frozen, &ot.since} {
		if changes == nil {
			continue
		}
		changes.layers.Ascend(omap.Key{}, func(k omap.Key, a *account) bool {
			add(LayerID(k.Lo), a)
			return true
		})
	}
	return all
}
