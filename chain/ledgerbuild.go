package chain

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// buildLedger makes the ledger from what is stored. It reads the rows of all inodes and properties.
func (p *Pool) buildLedger() (*ledger, error) {
	g := &ledger{accounts: map[Ino]*account{}}
	above, links := map[Ino]Ino{}, map[Ino]int64{}
	for _, k := range []struct {
		kind rowKind
		load func(ino Ino, row []byte) error
	}{
		{rowInode, func(ino Ino, row []byte) error {
			n, err := parseInode(row)
			switch {
			case err != nil:
			case n.typ == TypeSymlink:
				links[n.parent] += n.words()
			default:
				above[ino] = n.parent
				g.open(ino, n.typ == TypeDir, nil).kept = n.kept
			}
			return err
		}},
		{rowOrphan, func(ino Ino, row []byte) error {
			var at spot
			err := at.unmarshal(row)
			above[ino] = at.dir
			return err
		}},
		{rowProperty, func(ino Ino, row []byte) error {
			name, val, err := parseProp(row)
			if a := g.accounts[ino]; a != nil && err == nil {
				a.take(name, val)
			}
			return err
		}},
	} {
		if err := p.cat.each(k.kind, k.load); err != nil {
			return nil, wrapCorrupt(err)
		}
	}
	for _, d := range p.doomed { // what is kept is promised nothing
		if a := g.accounts[d.vol]; a != nil && d.layer == 0 {
			a.props = props{}
		}
	}
	if err := g.link(above); err != nil {
		return nil, err
	}
	for _, l := range p.layers {
		if l.dead {
			continue
		}
		a := g.payer(l)
		if a.held += l.own; l.head && !a.dir {
			a.head, a.size = l.own, blocksOf(l.size)
		}
	}
	g.settleAll()
	return g, p.loadWords(g, links)
}

// link puts every account below its directory, or the root where that is gone.
func (g *ledger) link(above map[Ino]Ino) error {
	if g.root = g.accounts[RootIno]; g.root == nil || !g.root.dir {
		return fmt.Errorf("no root directory: %w", ErrCorrupt)
	}
	for ino, a := range g.accounts {
		if a == g.root {
			continue
		}
		if a.up = g.accounts[above[ino]]; a.up == nil || !a.up.dir {
			a.up = g.root
		}
		a.up.kids++
	}
	return g.acyclic()
}

// acyclic refuses directories that lie in each other, which only a hostile image has.
func (g *ledger) acyclic() error {
	good := map[*account]bool{g.root: true}
	for _, a := range g.accounts {
		var path []*account
		for o := a; !good[o]; o = o.up {
			if path = append(path, o); len(path) > len(g.accounts) {
				return fmt.Errorf("inode %d lies in itself: %w", a.ino, ErrCorrupt)
			}
		}
		for _, o := range path {
			good[o] = true
		}
	}
	return nil
}

// settleAll derives all accounts of a new ledger: sizes first, since promises of directories depend on them.
func (g *ledger) settleAll() {
	for _, a := range g.accounts {
		g.addWords(a, inodeWords)
		for o := a.up; o != nil && !a.dir; o = o.up {
			o.size += a.size
		}
	}
	for _, a := range g.accounts {
		g.settle(a)
	}
}

// take sets a property from its canonical value.
func (a *account) take(name, val string) {
	n, err := strconv.ParseInt(val, 10, 64)
	if err != nil || n < 0 {
		n = 0
	}
	blocks := n/BlockSize + min(1, n%BlockSize)
	switch name {
	case propRefreservation:
		if !a.dir { // a directory's is for volumes that are made in it
			a.refreservation, a.auto = blocks, val == "auto"
		}
	case propReservation:
		a.reservation = blocks
	case propQuota:
		a.quota = blocks
	case propRefquota:
		a.refquota = blocks
	case propPreallocated:
		a.kept = val == "on"
	}
}

// drift lists where the ledger differs from one that is built anew.
func (p *Pool) drift() (out []string, err error) {
	want, err := p.buildLedger()
	if err != nil {
		return nil, err
	}
	for _, a := range p.ledger.accounts { // what plans hold is not stored
		if w := want.accounts[a.ino]; w != nil {
			want.hold(w, a.open, a.openRefer)
			if p.heads[a.ino] != nil {
				want.resize(w, p.sizeWithPlans(a.ino, a))
			}
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(want.accounts)) {
		got, w := p.ledger.accounts[ino], *want.accounts[ino]
		if got == nil {
			out = append(out, fmt.Sprintf("inode %d has no account", ino))
			continue
		}
		g := *got
		if w.up != nil && (g.up == nil || g.up.ino != w.up.ino) {
			out = append(out, fmt.Sprintf("inode %d: its account is in the wrong directory", ino))
		}
		g.up, w.up = nil, nil
		if g != w {
			out = append(out, fmt.Sprintf("inode %d: account %+v, should be %+v", ino, g, w))
		}
	}
	if got := p.ledger; len(got.accounts) != len(want.accounts) || got.promised != want.promised || got.meta != want.meta {
		out = append(out, fmt.Sprintf("%d accounts, %d blocks promised and %d of metadata, should be %d, %d, %d",
			len(got.accounts), got.promised, got.meta, len(want.accounts), want.promised, want.meta))
	}
	return out, nil
}
