package chain

// The ledger turns what layers own into what is used, promised and available. It is a tree of accounts: the pool's root
// directory, directories, volumes. All numbers are blocks, guest blocks only; metadata is the pool's.
//
// Of a volume, used = what its layers own + what its refreservation lacks of what its head owns. Of a directory, used =
// what its volumes and directories are charged + nameless layers whose volume is gone. What an account is charged to
// the directory above is max(used, reservation). So the sum of all promises is what the root is charged beyond what is
// owned, and that is kept as one number. The model is OpenZFS's (dsl_dir.c, dsl_dataset.c: parent_delta).
//
// Nothing of it is stored: it is built from layers, inodes and properties at mount, and each record that moves a block
// changes it in O(depth of the directory). Check builds it anew and compares. The plan lock guards it.
type ledger struct {
	accounts       map[Ino]*account
	root           *account
	promised, meta int64 // sums over all accounts
}

// account is a volume or directory in the ledger.
type account struct {
	ino Ino
	dir bool
	up  *account // nil: the root

	held  int64 // of a volume: what its layers own; of a directory: nameless layers whose volume is gone
	head  int64 // part of held: what the head owns
	below int64 // of a directory: what is charged by what is in it
	size  int64 // of a directory: of all volumes below it
	kids  int   // of a directory: accounts directly below it
	// What names and attributes take, in bytes: its own (words.go), with those of all below it, and of its own attributes.
	own, words, attrs int64
	// What open plans have been admitted for. It is in held and head already.
	open, openRefer int64

	props
	refres int64 // effective refreservation: a number, or the size for auto and for preallocated volumes

	used, charged  int64
	promised, meta int64 // own promises, and the metadata that they may need
}

// props are the properties that the ledger acts on, in blocks; 0 is none.
type props struct {
	refreservation, reservation, quota, refquota int64
	auto, kept                                   bool // refreservation=auto; preallocated
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
func (g *ledger) derive(a *account) bool {
	short := int64(0)
	if !a.dir {
		a.refres = a.refreservation
		if a.auto {
			a.refres = a.size
		}
		if a.kept {
			a.refres = max(a.refres, a.size)
		}
		short = max(0, a.refres-a.head)
	}
	was := a.charged
	a.used = a.held + a.below + short
	a.charged = max(a.used, a.reservation)
	g.promised -= a.promised
	g.meta -= a.meta
	a.promised = short + a.charged - a.used
	a.meta = metaFor(a.promised, a.size)
	g.promised += a.promised
	g.meta += a.meta
	if a.up != nil {
		a.up.below += a.charged - was
	}
	return a.charged != was
}

// settle derives an account after a change, and those above as far as they follow.
func (g *ledger) settle(a *account) {
	for a != nil && g.derive(a) {
		a = a.up
	}
}

// resize sets the size of a volume's account, and adds the difference to those above.
func (g *ledger) resize(a *account, size int64) {
	d := size - a.size
	if d == 0 {
		return
	}
	for o := a; o != nil; o = o.up {
		o.size += d
		g.derive(o)
	}
}

// move puts an account below another directory.
func (g *ledger) move(a, up *account) {
	a.up.kids--
	a.up.below -= a.charged
	for o := a.up; o != nil; o = o.up {
		o.words -= a.words
		o.size -= a.size
		g.derive(o)
	}
	a.up = up
	up.kids++
	up.below += a.charged
	for o := up; o != nil; o = o.up {
		o.words += a.words
		o.size += a.size
		g.derive(o)
	}
}

// hold adds blocks that open plans were admitted for; negative ones end that.
func (g *ledger) hold(a *account, blocks, refer int64) {
	a.open += blocks
	a.openRefer += refer
	if blocks != 0 {
		a.held += blocks
		a.head += blocks
		g.settle(a)
	}
}

// open makes the account of a volume or directory.
func (g *ledger) open(ino Ino, dir bool, up *account) *account {
	a := &account{ino: ino, dir: dir, up: up}
	g.accounts[ino] = a
	if up != nil {
		up.kids++
		g.addWords(a, inodeWords)
	}
	return a
}

// close ends the account of what was removed. What open plans still hold ends with it.
func (g *ledger) close(a *account) {
	a.props, a.held, a.head, a.below = props{}, 0, 0, 0
	g.addWords(a, -a.own)
	g.resize(a, 0)
	g.settle(a)
	a.up.kids--
	delete(g.accounts, a.ino)
}

// closed: the account is no longer in the ledger.
func (g *ledger) closed(a *account) bool { return g.accounts[a.ino] != a }

// charge changes what the account of a layer holds, without a change of what the layer owns. During replay there is no
// ledger yet.
func (p *Pool) charge(l *layer, blocks int64) {
	if p.ledger == nil || blocks == 0 {
		return
	}
	a := p.ledger.payer(l)
	a.held += blocks
	if l.head {
		a.head += blocks
	}
	p.ledger.settle(a)
}

// payer is the account that a layer is charged to: its volume's; without one the directory's that it was destroyed in.
func (g *ledger) payer(l *layer) *account {
	at := l.vol
	if at == 0 {
		at = l.dir
	}
	if a := g.accounts[at]; a != nil {
		return a
	}
	return g.root
}

// owns changes the number of blocks that a layer owns.
func (p *Pool) owns(l *layer, blocks int64) {
	l.own += blocks
	p.charge(l, blocks)
}

// headChanged follows a volume's new head, the head's new size, and the end of a write that was to extend it.
func (p *Pool) headChanged(vol Ino) {
	if p.ledger == nil {
		return
	}
	a, h := p.ledger.accounts[vol], p.heads[vol]
	if a == nil || h == nil {
		return
	}
	a.head = h.own + a.open
	p.ledger.resize(a, p.sizeWithPlans(vol, a))
	p.ledger.settle(a)
}

// sizeWithPlans is the size of a volume, in blocks; of one whose promise moves with it, when its open writes have ended.
func (p *Pool) sizeWithPlans(vol Ino, a *account) int64 {
	size := p.heads[vol].size
	if v := p.vols[vol]; v != nil && (a.auto || a.kept) {
		for _, pl := range v.active {
			size = max(size, pl.end)
		}
	}
	return blocksOf(size)
}

// endPromises: a volume that is being destroyed is promised nothing.
func (p *Pool) endPromises(vol Ino) {
	if p.ledger == nil {
		return
	}
	if a := p.ledger.accounts[vol]; a != nil {
		a.props, a.head = props{}, a.open
		p.ledger.settle(a)
	}
}
