// Package ledger says who is charged and promised what. It turns what layers own into what is used, promised and
// available. It is a tree of accounts: the pool's root directory, directories, volumes. All numbers are blocks, guest
// blocks only, but for words, which are bytes; metadata is the pool's.
//
// Of a volume, used = what its layers own + what its refreservation lacks of what its head owns. Of a directory, used =
// what its volumes and directories are charged + nameless layers whose volume is gone. What an account is charged to
// the directory above is max(used, reservation). So the sum of all promises is what the root is charged beyond what is
// owned, and that is kept as one number. The model is OpenZFS's (dsl_dir.c, dsl_dataset.c: parent_delta).
//
// Nothing here does I/O, and nothing locks: the caller holds a lock. Nothing is stored: who opens a pool loads the
// accounts (Load, Ready), and then tells of each change by a verb, in O(depth of the directory). Nobody writes a field
// of an account from outside.
//
// # Invariants
//
//   - What an account shows follows from its own numbers and from the accounts directly below it: after each verb the
//     ledger is what it would be if it were loaded anew (Differs; the test of all small trees).
//   - Try leaves no trace, whatever the change does, and tells what doing it brings.
//   - What is admitted under a promise takes nothing from what others can have: Admit.
package ledger

// ID is the number of an account: its inode's.
type ID uint64

// Ledger is a tree of accounts. Not safe for concurrent use.
type Ledger struct {
	accounts       map[ID]*Account
	root           *Account
	promised, meta int64 // sums over all accounts
	block          int64 // bytes of a block
	loading        bool  // nothing is derived before Ready
	sealed         bool  // accounts change by Hold and Reach only
	trial          trial
}

// Account is a volume or directory in the ledger. It belongs to its ledger: outside it is only read.
type Account struct {
	id     ID
	dir    bool
	up     *Account // nil: the root
	kids   int      // of a directory: accounts directly below it
	first  *Account // of them, and each knows those beside it, in no order
	next   *Account
	prev   *Account
	asleep *Props // of what is gone: what was set, and holds again when it is revived
	trial  uint64 // the trial that has noted it
	n      Numbers
}

// Numbers are what an account counts. All are blocks, where nothing else is said.
type Numbers struct {
	Held  int64 // of a volume: what its layers own; of a directory: nameless layers whose volume is gone
	Head  int64 // part of Held: what the head owns
	Below int64 // of a directory: what is charged by what is in it
	Size  int64 // of a volume, or of all volumes below a directory
	// What names and attributes take, in bytes: its own, with those of all below it, and of its own attributes.
	OwnWords, Words, Attrs int64
	// What open plans have been admitted for. It is in Held and Head already.
	Open, OpenRefer int64
	Ahead           bool // its head is about to be frozen, and its refreservation is the next one's

	Props        // that hold
	Refres int64 // effective refreservation: a number, or the size for Auto and for Kept ones

	Used, Charged  int64
	Promised, Meta int64 // own promises, and the metadata that they may need
}

// Props are the properties that the ledger acts on, in blocks; 0 is none.
type Props struct {
	Refreservation, Reservation, Quota, Refquota int64
	Auto, Kept                                   bool // refreservation=auto; preallocated
}

// Of is the account of that number, or nil.
func (g *Ledger) Of(id ID) *Account { return g.accounts[id] }

// Root is the account of the root directory.
func (g *Ledger) Root() *Account { return g.root }

// Len is the number of accounts.
func (g *Ledger) Len() int { return len(g.accounts) }

// Promised is the sum of all promises, and of the metadata that they may need, in blocks.
func (g *Ledger) Promised() (blocks, meta int64) { return g.promised, g.meta }

// Each calls fn for every account, in no order. fn may use the ledger, but not open or close accounts.
func (g *Ledger) Each(fn func(*Account)) {
	for _, a := range g.accounts {
		fn(a)
	}
}

// Below lists accounts directly below a directory, up to most, in no order. It looks at no other.
func (g *Ledger) Below(a *Account, most int) (out []*Account) {
	for o := a.first; o != nil && len(out) < most; o = o.next {
		out = append(out, o)
	}
	return out
}

// Closed tells whether the account is no longer in the ledger.
func (g *Ledger) Closed(a *Account) bool { return g.accounts[a.id] != a }

// ID is its number.
func (a *Account) ID() ID { return a.id }

// Dir tells whether it is a directory's.
func (a *Account) Dir() bool { return a.dir }

// Up is the account of the directory that it is charged to; nil of the root.
func (a *Account) Up() *Account { return a.up }

// Kids is the number of accounts directly below it.
func (a *Account) Kids() int { return a.kids }

// Gone tells whether it was destroyed and is kept, or is being removed. It is promised nothing then, and nothing bounds it.
func (a *Account) Gone() bool { return a.asleep != nil }

// Set is the properties that are set; of what is gone they do not hold.
func (a *Account) Set() Props {
	if a.asleep != nil {
		return *a.asleep
	}
	return a.n.Props
}

// Size is the size of a volume, or of all volumes below a directory.
func (a *Account) Size() int64 { return a.n.Size }

// Numbers is a copy of what it counts.
func (a *Account) Numbers() Numbers { return a.n }

// Grows tells whether its promise grows with its size.
func (a *Account) Grows() bool { return a.n.Auto || a.n.Kept }

// Confined tells whether it or a directory above it has a quota or a reservation: they say what statfs(2) shows.
func (g *Ledger) Confined(a *Account) bool {
	for ; a != nil; a = a.up {
		if a.n.Quota > 0 || a.n.Reservation > 0 {
			return true
		}
	}
	return false
}

// metaFor bounds the metadata that n promised blocks of a volume of size blocks may need: map leaves, one entry of 16
// bytes for each block and half full at worst, of which there are no more than the size needs; entries of dead lists,
// with their twins; and the few pages that a map and a list have at least.
func metaFor(n, size int64) int64 {
	if n <= 0 {
		return 0
	}
	return min(n, (size+127)/128) + (n+127)/128 + leastMeta
}

const leastMeta = 8

// derive brings what follows from an account's numbers up to date, and what it is charged to the one above. It tells
// whether that changed.
func (g *Ledger) derive(a *Account) bool {
	if g.loading {
		return false
	}
	g.note(a)
	n, short := &a.n, int64(0)
	if !a.dir {
		n.Refres = n.refres(n.Size)
		short = n.lacks()
	}
	was := n.Charged
	n.Used = n.Held + n.Below + short
	n.Charged = max(n.Used, n.Reservation)
	g.promised -= n.Promised
	g.meta -= n.Meta
	n.Promised = short + n.Charged - n.Used
	n.Meta = metaFor(n.Promised, n.Size)
	g.promised += n.Promised
	g.meta += n.Meta
	if n.Charged == was {
		return false
	}
	if a.up != nil {
		g.note(a.up)
		a.up.n.Below += n.Charged - was
	}
	return true
}

// lacks is what the refreservation lacks of what the head owns, or of nothing, if the head is about to be another.
func (n *Numbers) lacks() int64 {
	if n.Ahead {
		return n.Refres
	}
	return max(0, n.Refres-n.Head)
}

// covers is what a write may take of the refreservation.
func (n *Numbers) covers() int64 {
	if n.Ahead { // it is the next head's
		return 0
	}
	return n.lacks()
}

// refres is the effective refreservation of a volume of size blocks.
func (p *Props) refres(size int64) int64 {
	r := p.Refreservation
	if p.Auto {
		r = size
	}
	if p.Kept {
		r = max(r, size)
	}
	return r
}

// settle derives an account after a change, and those above as far as they follow.
func (g *Ledger) settle(a *Account) {
	for a != nil && g.derive(a) {
		a = a.up
	}
}
