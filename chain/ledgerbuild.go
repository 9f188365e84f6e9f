package chain

import (
	"fmt"
	"strconv"

	"slatefs/chain/catalog"
	"slatefs/chain/ledger"
)

// buildLedger makes the ledger from what is stored. It reads the rows of all inodes and properties.
func (sp *admission) buildLedger() (*ledger.Ledger, error) {
	g := ledger.Load(BlockSize)
	above, links := map[ledger.ID]ledger.ID{}, map[ledger.ID]int64{}
	for _, k := range []struct {
		kind catalog.Kind
		load func(id ledger.ID, row []byte) error
	}{
		{catalog.Inode, func(id ledger.ID, row []byte) error {
			n, err := parseInode(row)
			switch {
			case err != nil:
			case n.typ == TypeSymlink:
				links[ledger.ID(n.parent)] += n.words()
			default:
				above[id] = ledger.ID(n.parent)
				g.Keep(g.Open(id, n.typ == TypeDir, nil), n.kept)
			}
			return err
		}},
		{catalog.Orphan, func(id ledger.ID, row []byte) error {
			var at spot
			err := at.unmarshal(row)
			above[id] = ledger.ID(at.dir)
			if a := g.Of(id); a != nil && at.going() {
				g.Gone(a)
			}
			return err
		}},
		{catalog.Property, func(id ledger.ID, row []byte) error {
			name, val, err := parseProp(row)
			if a := g.Of(id); a != nil && err == nil {
				to := a.Set()
				takeProp(&to, a.Dir(), name, val)
				g.Set(a, to)
			}
			return err
		}},
	} {
		if err := sp.names.cat.Each(k.kind, func(ino uint64, row []byte) error { return k.load(ledger.ID(ino), row) }); err != nil {
			return nil, wrapCorrupt(err)
		}
	}
	for _, d := range sp.destroyed.rows { // what is kept is promised nothing
		if a := g.Of(ledger.ID(d.vol)); a != nil && d.layer == 0 {
			g.Gone(a)
		}
	}
	if err := g.Link(ledger.ID(RootIno), above); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	for _, l := range sp.tree.layers {
		if l.dead {
			continue
		}
		a := payer(g, l)
		g.Own(a, l.own, false)
		if l.head && !a.Dir() {
			g.NewHead(a, l.own, blocksOf(l.size))
		}
	}
	if err := sp.loadWords(g, links); err != nil {
		return nil, err
	}
	g.Ready()
	return g, nil
}

// loadWords counts the words of a new ledger, when its accounts have their places: links by directory, and attributes.
func (sp *admission) loadWords(g *ledger.Ledger, links map[ledger.ID]int64) error {
	for dir, n := range links {
		if a := g.Of(dir); a != nil {
			g.AddWords(a, n)
		}
	}
	err := sp.names.cat.Each(catalog.Xattr, func(ino uint64, row []byte) error {
		if a := g.Of(ledger.ID(ino)); a != nil {
			g.AddAttr(a, len(row), 1)
		}
		return nil
	})
	return wrapCorrupt(err)
}

// takeProp sets a property from its canonical value.
func takeProp(to *ledger.Props, dir bool, name, val string) {
	n, err := strconv.ParseInt(val, 10, 64)
	if err != nil || n < 0 {
		n = 0
	}
	blocks := n/BlockSize + min(1, n%BlockSize)
	switch name {
	case propRefreservation:
		if !dir { // a directory's is for volumes that are made in it
			to.Refreservation, to.Auto = blocks, val == "auto"
		}
	case propReservation:
		to.Reservation = blocks
	case propQuota:
		to.Quota = blocks
	case propRefquota:
		to.Refquota = blocks
	case propPreallocated:
		to.Kept = val == "on"
	}
}

// drift lists where the ledger differs from one that is built anew.
func (sp *admission) drift() ([]string, error) {
	want, err := sp.buildLedger()
	if err != nil {
		return nil, err
	}
	sp.ledger.Each(func(a *ledger.Account) { // what plans hold is not stored
		if w := want.Of(a.ID()); w != nil {
			n, vol := a.Numbers(), Ino(a.ID())
			want.Hold(w, n.Open, n.OpenRefer)
			if sp.tree.head(vol) != nil {
				want.Resize(w, sp.sizeWithPlans(vol, a))
			}
		}
	})
	return sp.ledger.Differs(want), nil
}
