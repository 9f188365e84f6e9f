package ledger

// What users' names, links and attributes take in the catalog: their words. It is metadata, so no column of zfs's counts
// it; but a directory's quota bounds it together with what the directory uses, else files without content would fill a
// pool. Each account knows its own words and those of all below it, in bytes; every row counts twice, since it lies twice.

const (
	// NameWords is what an inode and its name take, and their places in the catalog, in bytes.
	NameWords = 512

	rowWords = 32 // the place of a row
)

// LinkWords is what a symlink to a target of n bytes takes. It is its directory's: it has no account.
func LinkWords(n int64) int64 { return NameWords + 2*n }

// AttrWords is what one row of an attribute takes.
func AttrWords(bytes int) int64 { return 2 * int64(bytes+rowWords) }

// AddWords changes an account's own words, by bytes.
func (g *Ledger) AddWords(a *Account, n int64) {
	g.byRecord()
	g.note(a)
	a.n.OwnWords += n
	for o := a; o != nil; o = o.up {
		g.note(o)
		o.n.Words += n
	}
}

// AddAttr adds rows of attributes of so many bytes each to an account, n of them, or takes them away.
func (g *Ledger) AddAttr(a *Account, bytes int, n int64) {
	g.byRecord()
	g.note(a)
	a.n.Attrs += n * int64(bytes)
	g.AddWords(a, n*AttrWords(bytes))
}

// Bounded is what a quota bounds, in blocks: of a directory its words too.
func (g *Ledger) Bounded(a *Account) int64 {
	if !a.dir {
		return a.n.Used
	}
	return a.n.Used + a.n.Words/g.block
}

// WordsFit refuses so many bytes of words more below a directory that a quota does not allow.
func (g *Ledger) WordsFit(a *Account, n int64) Refusal {
	for ; a != nil; a = a.up {
		more := (a.n.Words+n)/g.block - a.n.Words/g.block
		if a.dir && a.n.Quota > 0 && more > 0 && g.Bounded(a)+more > a.n.Quota {
			return Refusal{Lacks: LackWords, At: a, Need: n, Used: g.Bounded(a), Bound: a.n.Quota}
		}
	}
	return Refusal{}
}
