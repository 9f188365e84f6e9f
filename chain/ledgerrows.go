package chain

import (
	"slatefs/chain/catalog"
	"slatefs/chain/ledger"
)

// followRow brings the ledger up to date with a row that a record put: what lies where, what is promised and bounded, what
// words there are. Together with what the tree of layers tells (treeAccounts) it is all that changes accounts for good; what
// open plans hold is of this process only (ledger.Hold, ledger.Reach). That nothing else does is asserted under the race
// detector (ledger.Seal), and that the outcome is what a mount would build is what Check looks at.
func (sp *admission) followRow(r *recPut) error {
	if sp.ledger == nil { // replay: it is built from the rows then
		return nil
	}
	ino := Ino(catalog.NumberOf(r.key))
	switch catalog.KindOf(r.key) {
	case catalog.Inode:
		return sp.followInode(ino, r)
	case catalog.Orphan:
		return sp.followOrphan(ino, r.val)
	case catalog.Property:
		return sp.followProperty(ino, r)
	case catalog.Xattr:
		if a := sp.account(ino); a != nil {
			sp.countAttr(a, r.was, -1)
			sp.countAttr(a, r.val, 1)
		}
	case catalog.Destroyed:
		if d := sp.destroyed.rows[catalog.NumberOf(r.key)]; r.val != nil && d.layer == 0 {
			if a := sp.account(d.vol); a != nil {
				sp.ledger.Gone(a)
				sp.ledger.Move(a, sp.ledger.Root())
			}
		}
	case catalog.Name, catalog.Link, catalog.Layer, catalog.Job, catalog.Walk, catalog.Drop, catalog.Window, catalog.Answer,
		catalog.Log, catalog.Daily, catalog.Chain, catalog.Signed,
		catalog.Account, catalog.OfVolume, catalog.Closing, catalog.Elsewhere, catalog.Place, catalog.Event: // nobody is charged for them
	}
	return nil
}

func (sp *admission) countAttr(a *ledger.Account, row []byte, sign int64) {
	if row != nil {
		sp.ledger.AddAttr(a, len(row), sign)
	}
}

// followInode opens, moves and closes accounts. What has a name again is not gone. A symlink has no account: its words are
// the directory's that its row names.
func (sp *admission) followInode(ino Ino, r *recPut) error {
	a, g := sp.account(ino), sp.ledger
	if r.val == nil && a != nil {
		g.Close(a)
		return nil
	}
	n := &inode{typ: TypeSymlink}
	if r.val != nil {
		var err error
		if n, err = parseInode(r.val); err != nil {
			return err
		}
	}
	if n.typ == TypeSymlink {
		return sp.followSymlink(n, r)
	}
	if a == nil {
		a = g.Open(ledger.ID(ino), n.typ == TypeDir, sp.dirAccount(n.parent))
	}
	g.Keep(a, n.kept)
	if n.parent != 0 {
		g.Revive(a)
		g.Move(a, sp.dirAccount(n.parent))
	}
	return nil
}

func (sp *admission) followSymlink(n *inode, r *recPut) error {
	was := &inode{}
	if r.was != nil {
		var err error
		if was, err = parseInode(r.was); err != nil {
			return err
		}
	}
	if was.parent == n.parent {
		return nil
	}
	if a := sp.account(was.parent); a != nil {
		sp.ledger.AddWords(a, -was.words())
	}
	if a := sp.account(n.parent); a != nil {
		sp.ledger.AddWords(a, n.words())
	}
	return nil
}

// followOrphan charges what has no name to the directory that it had it in. What is going is gone.
func (sp *admission) followOrphan(ino Ino, row []byte) error {
	a := sp.account(ino)
	if a == nil || row == nil {
		return nil
	}
	var at spot
	if err := at.unmarshal(row); err != nil {
		return err
	}
	sp.ledger.Move(a, sp.dirAccount(at.dir))
	if at.going() {
		sp.ledger.Gone(a)
	}
	return nil
}

// followProperty sets a property of an account, or with no row what it is by default.
func (sp *admission) followProperty(ino Ino, r *recPut) error {
	a := sp.account(ino)
	if a == nil {
		return nil
	}
	name, val, err := "", "none", error(nil)
	if r.val != nil {
		name, val, err = parseProp(r.val)
	} else {
		for _, n := range [...]string{propRefreservation, propReservation, propQuota, propRefquota} {
			if propKey(ino, n) == r.key {
				name = n
			}
		}
	}
	if err != nil {
		return err
	}
	to := a.Set()
	takeProp(&to, a.Dir(), name, val)
	sp.ledger.Set(a, to)
	return nil
}

// dirAccount is the account of a directory, or the root's where that is gone.
func (sp *admission) dirAccount(dir Ino) *ledger.Account {
	if a := sp.account(dir); a != nil && a.Dir() {
		return a
	}
	return sp.ledger.Root()
}
