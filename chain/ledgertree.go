package chain

import (
	"slatefs/chain/ledger"
)

// Who is charged for what the tree of layers owns. The tree tells what changes (accountant), and knows no account; the
// ledger knows no layer. The plan lock guards both. During replay there is no ledger yet: it is built from what is there then.

// account is the account of a volume or directory, or nil.
func (p *Pool) account(ino Ino) *ledger.Account { return p.ledger.Of(ledger.ID(ino)) }

// treeAccounts is the accountant of the tree.
type treeAccounts struct{ p *Pool }

func (t treeAccounts) charge(l *layer, blocks int64) {
	if g := t.p.ledger; g != nil && blocks != 0 {
		g.Own(payer(g, l), blocks, l.head)
	}
}

func (t treeAccounts) headChanged(vol Ino) {
	if t.p.ledger == nil {
		return
	}
	if a, h := t.p.account(vol), t.p.heads[vol]; a != nil && h != nil {
		t.p.ledger.NewHead(a, h.own, t.p.sizeWithPlans(vol, a))
	}
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
func (p *Pool) reachChanged(vol Ino) {
	if a := p.account(vol); a != nil && p.heads[vol] != nil {
		p.ledger.Reach(a, p.sizeWithPlans(vol, a))
	}
}

// sizeWithPlans is the size of a volume, in blocks; of one whose promise moves with it, when its open writes have ended.
func (p *Pool) sizeWithPlans(vol Ino, a *ledger.Account) int64 {
	size := p.heads[vol].size
	if v := p.vols[vol]; v != nil && a.Grows() {
		for _, pl := range v.active {
			size = max(size, pl.end)
		}
	}
	return blocksOf(size)
}
