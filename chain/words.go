package chain

import (
	"fmt"

	"slatefs/chain/size"
)

// What users' names, links and attributes take in the catalog: their words. It is metadata, so no column of zfs's counts
// it; but a directory's quota bounds it together with what the directory uses, else files without content would fill a
// pool. Each account knows its own words and those of all below it, in bytes; every row counts twice, since it lies twice.
// What is not below a quota is bounded by the pool: nothing is made where less than leastPages are available, which is long
// before the reserve is touched that destroys, erases and checkpoints live on.

const (
	inodeWords = 512 // an inode and its name, and their places in the catalog
	rowWords   = 32  // the place of a row
)

// linkWords is what a symlink to a target of n bytes takes. It is its directory's: it has no account.
func linkWords(n int64) int64 { return inodeWords + 2*n }

// attrWords is what one row of an attribute takes.
func attrWords(bytes int) int64 { return 2 * int64(bytes+rowWords) }

// addWords changes an account's own words.
func (g *ledger) addWords(a *account, n int64) {
	a.own += n
	for o := a; o != nil; o = o.up {
		o.words += n
	}
}

// addAttr adds a row of an attribute to an account, or with n -1 takes it away.
func (g *ledger) addAttr(a *account, bytes int, n int64) {
	a.attrs += n * int64(bytes)
	g.addWords(a, n*attrWords(bytes))
}

// bounded is what a quota bounds, in blocks: of a directory its words too.
func (a *account) bounded() int64 {
	if !a.dir {
		return a.used
	}
	return a.used + a.words/BlockSize
}

// roomForWords refuses words more below a directory that a quota does not allow.
func (p *Pool) roomForWords(a *account, n int64) error {
	for ; a != nil; a = a.up {
		more := (a.words+n)/BlockSize - a.words/BlockSize
		if a.dir && a.quota > 0 && more > 0 && a.bounded()+more > a.quota {
			return fmt.Errorf("%s: needs %s for names and attributes; of a quota of %s, %s are used, %s of them by names and attributes: %w",
				p.nameOf(a.ino), size.Exact(n), size.Exact(a.quota*BlockSize), size.Exact(a.used*BlockSize+a.words), size.Exact(a.words), ErrQuota)
		}
	}
	return nil
}

// roomForName refuses a name that a quota or the pool has no room for.
func (p *Pool) roomForName(dir Ino, name string, words int64) error {
	if p.free() < leastPages {
		return fmt.Errorf("%s: %w", join(p.pathOf(dir), name), ErrNoSpace)
	}
	if err := p.roomForWords(p.ledger.accounts[dir], words); err != nil {
		return fmt.Errorf("%s: %w", join(p.pathOf(dir), name), err)
	}
	return nil
}

// wordsOf is what an inode of a type takes with its name.
func (n *inode) words() int64 {
	if n.typ == TypeSymlink {
		return linkWords(n.link)
	}
	return inodeWords
}

// moveLink moves the words of a symlink from one directory, 0 for none, to another.
func (p *Pool) moveLink(n *inode, from, to Ino) {
	for dir, words := range map[Ino]int64{from: -n.words(), to: n.words()} {
		if a := p.ledger.accounts[dir]; a != nil && from != to {
			p.ledger.addWords(a, words)
		}
	}
}

// loadWords counts the words of a new ledger, when its accounts have their places: links by directory, and attributes.
func (p *Pool) loadWords(g *ledger, links map[Ino]int64) error {
	for dir, n := range links {
		if a := g.accounts[dir]; a != nil {
			g.addWords(a, n)
		}
	}
	err := p.cat.each(rowXattr, func(ino Ino, row []byte) error {
		if a := g.accounts[ino]; a != nil {
			g.addAttr(a, len(row), 1)
		}
		return nil
	})
	return wrapCorrupt(err)
}
