package chain

import (
	"cmp"
	"errors"
	"slices"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// destroyedRows checks that what is kept is there.
func (c *checker) destroyedRows() {
	p, n := c.p, 0
	err := p.names.cat.Each(catalog.Destroyed, func(uint64, []byte) error { n++; return nil })
	if err != nil {
		c.r.bad("catalog: %v", err)
	}
	if n != len(p.destroyed.rows) {
		c.r.bad("%d destroyed things are kept, counted %d", n, len(p.destroyed.rows))
	}
	for id, d := range p.destroyed.rows {
		switch l := p.tree.layers[d.layer]; {
		case d.layer == 0 && p.tree.head(d.vol) == nil:
			c.r.bad("destroyed thing %d: volume %d is gone", id, d.vol)
		case d.layer != 0 && (l == nil || l.vol != d.vol || !l.kept || l.named):
			c.r.bad("destroyed thing %d: layer %v of volume %d is gone", id, d.layer, d.vol)
		case id > p.commits.nextJob:
			c.r.bad("destroyed thing %d: above the last number given, %d", id, p.commits.nextJob)
		}
		if d.layer == 0 {
			if v, ok, err := p.names.cat.Get(meta.Key{Hi: catalog.Key(catalog.Inode, uint64(d.vol)).Hi}); err != nil || !ok {
				c.r.bad("destroyed thing %d: inode %d: %v", id, d.vol, err)
			} else if n, err := parseInode(v); err == nil && n.parent != 0 {
				c.r.bad("destroyed thing %d: inode %d has a name", id, d.vol)
			}
		}
	}
}

// places checks that where things ended leads to a directory that is there.
func (c *checker) places() {
	nm := c.p.names
	err := nm.cat.Each(catalog.Place, func(dir uint64, row []byte) error {
		up, err := parsePlace(row)
		if err != nil {
			return err
		}
		n, err := nm.inode(Ino(dir))
		there := err == nil
		if err != nil && !errors.Is(err, ErrGone) {
			return err
		}
		switch above, err := nm.hasPlace(up); {
		case err != nil:
			return err
		case there && (n.typ != TypeDir || up != 0):
			c.r.bad("place of directory %d: it is there, of type %d, and was removed from %d", dir, n.typ, up)
		case !there && up != 0 && up != RootIno && !above: // 0: who removed it kept no such rows, and nobody knows
			c.r.bad("place of directory %d: it is gone, and nothing ended in %d, which was above it", dir, up)
		}
		return nil
	})
	if err != nil {
		c.r.bad("catalog: %v", err)
	}
}

func (c *checker) keptVolume(ino Ino) bool {
	_, d := c.p.destroyed.destroyedVolume(ino)
	return d != nil
}

// homes checks that layers without a volume, snapshots in use and destroyed snapshots are found.
func (c *checker) homes() {
	p, homeless, open, destroyed := c.p, 0, 0, 0
	for _, l := range p.tree.layers {
		if got, _ := p.tree.byDir.Get(l.homeKey()); !l.dead && l.vol == 0 {
			if homeless++; got != l {
				c.r.bad("layer %v: it is of no volume, and not found in directory %d", l.id, l.dir)
			}
		}
		if got, _ := p.tree.openSnaps.Get(omap.Key{Hi: uint64(l.vol), Lo: uint64(l.id)}); l.held > 0 && !l.kept {
			if open++; got != l {
				c.r.bad("layer %v: it is in use, and not found", l.id)
			}
		}
	}
	for id, d := range p.destroyed.rows {
		if got, _ := p.destroyed.snaps.Get(omap.Key{Hi: uint64(d.vol), Lo: id}); d.layer != 0 {
			if destroyed++; got != id {
				c.r.bad("destroyed thing %d (%s): it is not found by its volume", id, d.what())
			}
		}
	}
	if n, m, k := p.tree.byDir.Len(), p.tree.openSnaps.Len(), p.destroyed.snaps.Len(); n != homeless || m != open || k != destroyed {
		c.r.bad("%d layers are of no volume, %d in use, %d snapshots destroyed, counted %d, %d and %d", homeless, open, destroyed, n, m, k)
	}
}

// snapIndex checks that the index says what layers and inodes do.
func (c *checker) snapIndex() {
	p, want, tagged := c.p, newSnapIndex(), 0
	for _, l := range p.tree.layers {
		if at := l.snapAt; l.named != (at != 0) {
			c.r.bad("layer %v: named %v, its place among snapshots is %d", l.id, l.named, at)
		}
		if err := l.validTags(); err != nil {
			c.r.bad("%v", err)
		}
		if got, _ := p.tree.snaps.tagged.Get(omap.Key{Hi: uint64(l.vol), Lo: uint64(l.id)}); len(l.tags) > 0 {
			if tagged++; got != l {
				c.r.bad("layer %v: tags hold it, and it is not found", l.id)
			}
			if n, err := p.names.inode(l.vol); err == nil && n.parent == 0 {
				c.r.bad("layer %v: tags hold it, and its volume %d has no name", l.id, l.vol)
			}
		}
		if !l.named {
			continue
		}
		if got, _ := p.tree.snaps.order.Get(omap.Key{Hi: uint64(l.vol), Lo: l.snapAt}); got != l {
			c.r.bad("layer %v: another is at its place among snapshots", l.id)
		}
		if got := p.tree.snaps.names[snapName{l.vol, l.name}]; got != l {
			c.r.bad("layer %v: volume %d has two snapshots of the name %q, or none", l.id, l.vol, l.name)
		}
		v := want.vols[l.vol]
		if v == nil {
			v = &snapVol{ino: l.vol}
			want.vols[l.vol] = v
		}
		v.n++
	}
	if got := p.tree.snaps.tagged.Len(); got != tagged {
		c.r.bad("tags hold %d snapshots, %d are found", tagged, got)
	}
	c.homes()
	for ino, all := range p.tree.byVol {
		if !slices.IsSortedFunc(all, func(a, b *layer) int { return cmp.Compare(a.id, b.id) }) {
			c.r.bad("volume %d: its layers are in no order", ino)
		}
	}
	if got := p.tree.snaps.order.Len(); got != len(p.tree.snaps.names) {
		c.r.bad("%d snapshots have %d names", got, len(p.tree.snaps.names))
	}
	named := 0
	for ino, w := range want.vols {
		v := p.tree.snaps.vols[ino]
		if v == nil || v.n != w.n {
			c.r.bad("volume %d has %d snapshots, the index says %+v", ino, w.n, v)
			continue
		}
		if n, err := p.names.inode(ino); p.tree.snaps.whole && (err != nil || n.home() != v.snapHome) {
			c.r.bad("volume %d has snapshots, which are listed at %+v: %v", ino, v.snapHome, err)
		}
		if v.dir != 0 {
			named++
		}
		if got, _ := p.tree.snaps.dirs.Get(omap.Key{Hi: uint64(v.dir), Lo: v.at}); v.dir != 0 && got != v {
			c.r.bad("volume %d has snapshots, and directory %d does not list them", ino, v.dir)
		}
	}
	if len(p.tree.snaps.vols) != len(want.vols) || p.tree.snaps.dirs.Len() != named {
		c.r.bad("%d volumes have snapshots, the index says %d, of which %d are listed", len(want.vols), len(p.tree.snaps.vols), p.tree.snaps.dirs.Len())
	}
}
