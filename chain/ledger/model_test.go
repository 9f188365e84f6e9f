package ledger

import (
	"fmt"
)

// The naive model: what a volume or directory is, and every number worked out anew from that each time it is asked for. It
// shares no line with the ledger.

const most = 7 // things: the root, three directories, three volumes

// thing is a volume or directory; its ID is its place in the model, from 1 for the root.
type thing struct {
	here, dir, gone bool
	up              ID
	old, head       int64 // of a volume: what its older layers own and its head; old of a directory: layers that outlived theirs
	size            int64 // of a volume
	open, refer     int64 // blocks of open plans, and what they refer to more
	set             Props
	words           int64 // its own
}

// model is comparable, so that a state that was met before is known.
type model [most]thing

const (
	testBlock = 4096
	capacity  = 14
)

func (m *model) of(id ID) *thing { return &m[id-1] }

// each calls fn for what is there.
func (m *model) each(fn func(ID, *thing)) {
	for i := range m {
		if m[i].here {
			fn(ID(i+1), &m[i])
		}
	}
}

// freeSlot is the ID that a new volume gets, or 0.
func (m *model) freeSlot() ID {
	for i := range m {
		if !m[i].here {
			return ID(i + 1)
		}
	}
	return 0
}

// sum adds fn up over what lies directly in a directory.
func (m *model) sum(id ID, fn func(ID) int64) (n int64) {
	m.each(func(k ID, t *thing) {
		if t.up == id {
			n += fn(k)
		}
	})
	return n
}

func (t *thing) props() Props {
	if t.gone {
		return Props{}
	}
	return t.set
}

func (t *thing) refres() int64 {
	p := t.props()
	switch {
	case t.dir:
		return 0
	case p.Auto, p.Kept && t.size > p.Refreservation:
		return t.size
	}
	return p.Refreservation
}

func (t *thing) held() int64 { return t.old + t.head + t.open }

// missing is usedrefreserv: max(0, refreservation - written).
func (t *thing) missing() int64 {
	if t.dir {
		return 0
	}
	return max(0, t.refres()-t.head-t.open)
}

func (m *model) used(id ID) int64 {
	t := m.of(id)
	return t.held() + m.sum(id, m.charged) + t.missing()
}

func (m *model) charged(id ID) int64 { return max(m.used(id), m.of(id).props().Reservation) }
func (m *model) sizeOf(id ID) int64  { return m.of(id).size + m.sum(id, m.sizeOf) }
func (m *model) words(id ID) int64   { return m.of(id).words + m.sum(id, m.words) }

func (m *model) bounded(id ID) int64 {
	if m.of(id).dir {
		return m.used(id) + m.words(id)/testBlock
	}
	return m.used(id)
}

func (m *model) promisedTo(id ID) int64 {
	return m.of(id).missing() + max(0, m.of(id).props().Reservation-m.used(id))
}

func (m *model) held() (n int64) {
	m.each(func(_ ID, t *thing) { n += t.held() })
	return n
}

// promised is what the root is charged beyond what is owned.
func (m *model) promised() int64 { return m.charged(1) - m.held() }

func (m *model) meta() (n int64) {
	m.each(func(id ID, _ *thing) {
		if blocks := m.promisedTo(id); blocks > 0 {
			n += min(blocks, (m.sizeOf(id)+127)/128) + (blocks+127)/128 + 8
		}
	})
	return n
}

// supply is of a pool of some blocks and pages.
func (m *model) supply(pages int64) Supply { return Supply{Blocks: capacity - m.held(), Pages: pages} }

func (m *model) free(s Supply) int64 {
	return s.Blocks - m.promised() - max(0, m.meta()-s.Pages)
}

// avail is the oracle's rule: what the directory has and what is still promised here, then the bounds.
func (m *model) avail(id ID, s Supply, refer int64) int64 {
	if id == 1 {
		return max(0, m.free(s))
	}
	t := m.of(id)
	p := t.props()
	n := m.avail(t.up, s, 0) + max(0, p.Reservation-m.used(id))
	if p.Quota > 0 {
		n = min(n, p.Quota-m.bounded(id))
	}
	if n += t.missing(); p.Refquota > 0 {
		n = min(n, p.Refquota-refer)
	}
	return max(0, n)
}

// inside: id is top or lies below it.
func (m *model) inside(id, top ID) bool {
	for ; id != 0; id = m.of(id).up {
		if id == top {
			return true
		}
	}
	return false
}

// lists tells whether those are what lies directly in a directory.
func (m *model) lists(id ID, below []*Account) bool {
	seen := map[ID]bool{}
	for _, a := range below {
		seen[a.id] = m.of(a.id).here && m.of(a.id).up == id
	}
	n := m.sum(id, func(k ID) int64 {
		if seen[k] {
			return 1
		}
		return 2
	})
	return n == int64(len(below)) && n == int64(len(seen))
}

// differs compares a ledger with the model, the totals and what is available too.
func (m *model) differs(g *Ledger, pages int64) (err error) {
	s, n := m.supply(pages), 0
	m.each(func(id ID, t *thing) {
		n++
		a := g.Of(id)
		if a == nil {
			err = fmt.Errorf("no account %d", id)
			return
		}
		want := Numbers{
			Held: t.held(), Below: m.sum(id, m.charged), Size: m.sizeOf(id), OwnWords: t.words, Words: m.words(id), Open: t.open,
			OpenRefer: t.refer, Props: t.props(), Refres: t.refres(), Used: m.used(id), Charged: m.charged(id), Promised: m.promisedTo(id),
			Head: t.head + t.open, Meta: a.n.Meta, // of their sum
		}
		kids := m.sum(id, func(ID) int64 { return 1 })
		switch {
		case a.Numbers() != want || a.dir != t.dir || a.Gone() != t.gone || a.Set() != t.set || int64(a.kids) != kids || a.trial != 0:
			err = fmt.Errorf("account %d: %v, want %+v, %d below, set %+v", id, a, want, kids, t.set)
		case id == 1 && a.up != nil || id > 1 && (a.up == nil || a.up.id != t.up):
			err = fmt.Errorf("account %d lies in %v, want %d", id, a.up, t.up)
		case !m.lists(id, g.Below(a, most)):
			err = fmt.Errorf("account %d: below it are %v", id, g.Below(a, most))
		case g.Bounded(a) != m.bounded(id):
			err = fmt.Errorf("account %d: bounded %d, want %d", id, g.Bounded(a), m.bounded(id))
		case g.Available(a, s, t.head) != m.avail(id, s, t.head):
			err = fmt.Errorf("account %d: available %d, want %d", id, g.Available(a, s, t.head), m.avail(id, s, t.head))
		}
	})
	if p, meta := g.Promised(); err == nil && (p != m.promised() || meta != m.meta() || g.Len() != n) {
		err = fmt.Errorf("%d accounts, %d promised, %d of metadata, want %d, %d and %d", g.Len(), p, meta, n, m.promised(), m.meta())
	}
	return err
}

// load is the ledger that a mount would build; what open plans hold comes later.
func (m *model) load() (*Ledger, error) {
	g, above := Load(testBlock), map[ID]ID{}
	m.each(func(id ID, t *thing) {
		a := g.Open(id, t.dir, nil)
		g.Set(a, t.set)
		above[id] = t.up
		if t.gone {
			g.Gone(a)
		}
	})
	if err := g.Link(1, above); err != nil {
		return nil, err
	}
	m.each(func(id ID, t *thing) {
		a := g.Of(id)
		g.Own(a, t.old+t.head, false)
		if !t.dir {
			g.NewHead(a, t.head, t.size)
		}
		g.AddWords(a, t.words-NameWords)
	})
	g.Ready()
	m.each(func(id ID, t *thing) { g.Hold(g.Of(id), t.open, t.refer) })
	return g, nil
}
