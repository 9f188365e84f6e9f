package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// How a ledger comes into being: accounts are opened in any order, Link says what lies where, then what layers own and
// what words there are is told, and Ready derives all.

// ErrTree says that the accounts are no tree.
var ErrTree = errors.New("accounts are no tree")

// Load is an empty ledger that takes what is stored. block is the size of a block in bytes.
func Load(block int64) *Ledger {
	return &Ledger{accounts: map[ID]*Account{}, block: block, loading: true}
}

// Link puts every account below its directory, or below the root where that is gone, and counts their names. ErrTree:
// there is no root directory, or directories lie in each other, which only a hostile image has.
func (g *Ledger) Link(root ID, above map[ID]ID) error {
	if g.root = g.accounts[root]; g.root == nil || !g.root.dir {
		return fmt.Errorf("no root directory: %w", ErrTree)
	}
	for id, a := range g.accounts {
		if a == g.root {
			continue
		}
		if a.up = g.accounts[above[id]]; a.up == nil || !a.up.dir {
			a.up = g.root
		}
		g.join(a, a.up)
	}
	if err := g.acyclic(); err != nil {
		return err
	}
	for _, a := range g.accounts {
		g.AddWords(a, NameWords)
	}
	return nil
}

func (g *Ledger) acyclic() error {
	good := map[*Account]bool{g.root: true}
	for _, a := range g.accounts {
		var path []*Account
		for o := a; !good[o]; o = o.up {
			if path = append(path, o); len(path) > len(g.accounts) {
				return fmt.Errorf("inode %d lies in itself: %w", a.id, ErrTree)
			}
		}
		for _, o := range path {
			good[o] = true
		}
	}
	return nil
}

// Ready ends the loading.
func (g *Ledger) Ready() {
	g.loading = false
	for _, a := range g.accounts {
		g.settle(a)
	}
}

// Differs lists where a ledger differs from the one that it should be, as texts for people.
func (g *Ledger) Differs(should *Ledger) (out []string) {
	for _, id := range should.sorted() {
		got, w := g.accounts[id], should.accounts[id]
		switch {
		case got == nil:
			out = append(out, fmt.Sprintf("inode %d has no account", id))
			continue
		case w.up != nil && (got.up == nil || got.up.id != w.up.id):
			out = append(out, fmt.Sprintf("inode %d: its account is in the wrong directory", id))
		}
		if got.n != w.n || got.dir != w.dir || got.kids != w.kids || got.Gone() != w.Gone() || got.Set() != w.Set() {
			out = append(out, fmt.Sprintf("inode %d: account %v, should be %v", id, got, w))
		}
	}
	if len(g.accounts) != len(should.accounts) || g.promised != should.promised || g.meta != should.meta {
		out = append(out, fmt.Sprintf("%d accounts, %d blocks promised and %d of metadata, should be %d, %d, %d",
			len(g.accounts), g.promised, g.meta, len(should.accounts), should.promised, should.meta))
	}
	return out
}

// String is an account as Differs shows it.
func (a *Account) String() string {
	return fmt.Sprintf("{dir %v, %d below, gone %v, set %+v, %+v}", a.dir, a.kids, a.Gone(), a.Set(), a.n)
}

func (g *Ledger) sorted() []ID { return slices.Sorted(maps.Keys(g.accounts)) }
