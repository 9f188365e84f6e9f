package ledger

// What may happen to an account. Each verb leaves the ledger derived. But for Hold and Reach they are for records.

// Seal says whether a verb other than Hold and Reach, outside a trial, is a bug: who keeps a pool lets records change its
// accounts only, and seals the ledger beside them where that is to be asserted. Such a verb panics. It returns what held before.
func (g *Ledger) Seal(on bool) (was bool) {
	was, g.sealed = g.sealed, on
	return was
}

func (g *Ledger) byRecord() {
	if g.sealed && g.trial.number == 0 {
		panic("ledger: an account changes outside of records")
	}
}

// Open makes the account of a volume or directory in a directory. While the ledger is loaded up is nil: Link says it.
func (g *Ledger) Open(id ID, dir bool, up *Account) *Account {
	g.byRecord()
	a := &Account{id: id, dir: dir, up: up}
	g.noteOpened(a)
	g.accounts[id] = a
	if up != nil {
		g.join(a, up)
		g.AddWords(a, NameWords)
	}
	return a
}

// Close ends the account of what was removed. What open plans still hold ends with it.
func (g *Ledger) Close(a *Account) {
	g.byRecord()
	g.note(a)
	a.asleep = nil
	a.n.Props, a.n.Held, a.n.Head, a.n.Below = Props{}, 0, 0, 0
	g.AddWords(a, -a.n.OwnWords)
	g.Resize(a, 0)
	g.settle(a)
	g.leave(a)
	g.noteClosed(a)
	delete(g.accounts, a.id)
}

// Move puts an account below another directory. One of its own directories must not be in it.
func (g *Ledger) Move(a, up *Account) {
	g.byRecord()
	if a.up == up {
		return
	}
	g.leave(a)
	g.takeIn(a, a.up, -1)
	a.up = up
	g.join(a, up)
	g.takeIn(a, up, 1)
}

// join puts an account among those of a directory.
func (g *Ledger) join(a, up *Account) {
	g.note(a)
	g.note(up)
	if a.prev, a.next = nil, up.first; a.next != nil {
		g.note(a.next)
		a.next.prev = a
	}
	up.first = a
	up.kids++
}

// leave takes an account from among those of its directory.
func (g *Ledger) leave(a *Account) {
	g.note(a)
	g.note(a.up)
	if a.prev == nil {
		a.up.first = a.next
	} else {
		g.note(a.prev)
		a.prev.next = a.next
	}
	if a.next != nil {
		g.note(a.next)
		a.next.prev = a.prev
	}
	a.up.kids--
}

// takeIn adds what an account counts to a directory, or with sign -1 takes it away.
func (g *Ledger) takeIn(a, up *Account, sign int64) {
	g.note(up)
	up.n.Below += sign * a.n.Charged
	for o := up; o != nil; o = o.up {
		g.note(o)
		o.n.Words += sign * a.n.Words
		o.n.Size += sign * a.n.Size
		g.derive(o)
	}
}

// Set gives an account its properties. Those of what is gone do not hold before it is revived.
func (g *Ledger) Set(a *Account, to Props) {
	g.byRecord()
	g.note(a)
	if a.asleep != nil {
		a.asleep = &to
		return
	}
	a.n.Props = to
	g.settle(a)
}

// Keep says whether a volume is promised its size, as one that is preallocated.
func (g *Ledger) Keep(a *Account, on bool) {
	if to := a.Set(); to.Kept != on {
		to.Kept = on
		g.Set(a, to)
	}
}

// Gone says that it was destroyed and is kept for a while, or goes in steps: it is promised nothing, and nothing bounds it.
func (g *Ledger) Gone(a *Account) {
	g.byRecord()
	if a.asleep != nil {
		return
	}
	g.note(a)
	set := a.n.Props
	a.asleep, a.n.Props = &set, Props{}
	g.settle(a)
}

// Revive ends Gone.
func (g *Ledger) Revive(a *Account) {
	g.byRecord()
	if a.asleep == nil {
		return
	}
	g.note(a)
	a.n.Props, a.asleep = *a.asleep, nil
	g.settle(a)
}

// End says that a volume is being destroyed: it has no head any more and is promised nothing. What its layers own stays.
func (g *Ledger) End(a *Account) {
	g.byRecord()
	g.note(a)
	a.asleep, a.n.Props, a.n.Head = nil, Props{}, a.n.Open
	g.settle(a)
}

// Own changes what the layers of an account own; head: those blocks are the head's.
func (g *Ledger) Own(a *Account, blocks int64, head bool) {
	g.byRecord()
	g.own(a, blocks, head)
}

func (g *Ledger) own(a *Account, blocks int64, head bool) {
	g.note(a)
	a.n.Held += blocks
	if head {
		a.n.Head += blocks
	}
	g.settle(a)
}

// NewHead says what the head of a volume owns now, and its size. What it owned before stays the volume's.
func (g *Ledger) NewHead(a *Account, owns, size int64) {
	g.byRecord()
	g.note(a)
	a.n.Head, a.n.Ahead = owns+a.n.Open, false
	g.Resize(a, size)
	g.settle(a)
}

// Ahead promises a volume what Freeze will, before it, whatever is written until then: its refreservation is the next head's, and
// covers no write. Off, or a new head, ends that. It is of this process only, as what plans hold.
func (g *Ledger) Ahead(a *Account, on bool) {
	if !g.Closed(a) && a.n.Ahead != on {
		g.note(a)
		a.n.Ahead = on
		g.settle(a)
	}
}

// Freeze makes what is written now a snapshot's: the head owns nothing but what open plans will write.
func (g *Ledger) Freeze(a *Account) { g.NewHead(a, 0, a.n.Size) }

// Resize sets the size of a volume, and adds the difference to the directories above.
func (g *Ledger) Resize(a *Account, size int64) {
	g.byRecord()
	g.resize(a, size)
}

func (g *Ledger) resize(a *Account, size int64) {
	d := size - a.n.Size
	if d == 0 {
		return
	}
	for o := a; o != nil; o = o.up {
		g.note(o)
		o.n.Size += d
		g.derive(o)
	}
}

// Hold adds blocks that an open plan was admitted for, and what it will refer to more; negative ones end that. What is
// held is of this process only: no record tells of it. Of an account that is closed nothing is held any more.
func (g *Ledger) Hold(a *Account, blocks, refer int64) {
	if g.Closed(a) {
		return
	}
	g.note(a)
	a.n.Open += blocks
	a.n.OpenRefer += refer
	if blocks != 0 {
		g.own(a, blocks, true)
	}
}

// Reach is the size that a volume will have when its open plans have ended, if its promise grows with it. It is of this
// process only, as what they hold.
func (g *Ledger) Reach(a *Account, size int64) {
	if !g.Closed(a) {
		g.resize(a, size)
	}
}
