package chain

import (
	"slatefs/chain/ledger"
)

// Who is charged for what the tree of layers owns. The tree tells what changes (accountant), and knows no account; the
// ledger knows no layer. The plan lock guards both. During replay there is no ledger yet: it is built from what is there then.

// account is the account of a volume or directory, or nil.
func (sp *admission) account(ino Ino) *ledger.Account { return sp.ledger.Of(ledger.ID(ino)) }

// treeAccounts is the accountant of the tree.
type treeAccounts struct{ p *admission }

func (t treeAccounts) charge(l *layer, blocks int64) {
	if g := t.p.ledger; g != nil && blocks != 0 {
		g.Own(payer(g, l), blocks, l.head)
	}
}

func (t treeAccounts) headChanged(vol Ino) {
	if t.p.ledger == nil {
		return
	}
	switch a, h := t.p.account(vol), t.p.tree.head(vol); {
	case a == nil:
	case h == nil:
		t.p.ledger.NewHead(a, 0, 0)
	default:
		t.p.ledger.NewHead(a, h.own, t.p.sizeWithPlans(vol, a))
	}
}

func (t treeAccounts) late(fn func()) {
	if g := t.p.ledger; invariants && g != nil {
		was := g.Seal(false)
		defer g.Seal(was)
	}
	fn()
}

func (t treeAccounts) ended(vol Ino) {
	if g := t.p.ledger; g != nil {
		if a := t.p.account(vol); a != nil {
			g.End(a)
		}
	}
}

// payer is the account that a layer is charged to: its volume's; without one the directory's that it was destroyed in.
func payer(g *ledger.Ledger, l *layer) *ledger.Account {
	at := l.vol
	if at == 0 {
		at = l.dir
	}
	if a := g.Of(ledger.ID(at)); a != nil {
		return a
	}
	return g.Root()
}

// reachChanged follows the end of a write that was to extend a volume.
func (sp *admission) reachChanged(vol Ino) {
	if a := sp.account(vol); a != nil && sp.tree.head(vol) != nil {
		sp.ledger.Reach(a, sp.sizeWithPlans(vol, a))
	}
}

// sizeWithPlans is the size of a volume, in blocks; of one whose promise moves with it, when its open writes have ended.
func (sp *admission) sizeWithPlans(vol Ino, a *ledger.Account) int64 {
	size := sp.tree.head(vol).size
	if v := sp.plans.vols[vol]; v != nil && a.Grows() {
		for _, pl := range v.active {
			size = max(size, pl.end)
		}
	}
	return blocksOf(size)
}
