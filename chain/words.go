package chain

import (
	"fmt"

	"slatefs/chain/ledger"
	"slatefs/chain/size"
)

// What users' names, links and attributes take in the catalog, their words, is in the ledger: a directory's quota bounds it.
// What is not below a quota is bounded by the pool: nothing is made where less than leastPages are available, which is long
// before the reserve is touched that destroys, erases and checkpoints live on. As for whoever takes space, that is said when the
// background can make nothing more available, and the pool cannot grow.

// roomForWords refuses so many bytes of words more below a directory that a quota does not allow.
func (sp *admission) roomForWords(a *ledger.Account, n int64) error {
	r := sp.ledger.WordsFit(a, n)
	if r.OK() {
		return nil
	}
	at := r.At.Numbers()
	return fmt.Errorf("%s: needs %s for names and attributes; of a quota of %s, %s are used, %s of them by names and attributes: %w",
		sp.names.nameOf(Ino(r.At.ID())), size.Exact(n), size.Exact(r.Bound*BlockSize), size.Exact(at.Used*BlockSize+at.Words),
		size.Exact(at.Words), ErrQuota)
}

// roomForName refuses a name that a quota or the pool has no room for, or says what is to be waited for.
func (sp *admission) roomForName(dir Ino, name string, words int64) (Need, error) {
	if lack := sp.rowsLack(); lack > 0 {
		return sp.orMore(fmt.Errorf("%s: %w", join(sp.names.pathOf(dir), name), ErrNoSpace), false, lack)
	}
	if err := sp.roomForWords(sp.account(dir), words); err != nil {
		return Need{}, fmt.Errorf("%s: %w", join(sp.names.pathOf(dir), name), err)
	}
	return Need{}, nil
}

// rowsLack is how many blocks the pool lacks for another row of users' words; 0 or less: none.
func (sp *admission) rowsLack() int64 { return leastPages - sp.free() }

// words is what an inode takes with its name, in bytes.
func (n *inode) words() int64 {
	if n.typ == TypeSymlink {
		return ledger.LinkWords(n.link)
	}
	return ledger.NameWords
}
