package chain

import "slatefs/chain/fault"

// gate is the one way by which layers, jobs or walks change: who is about to change one passes the gate with it first.
//
// The cut of a checkpoint takes all that has changed as it is at one instant, and costs the same however many there are
// (begin). Their rows are taken afterwards: of what changes before its turn has come, at the gate, and of all others in pieces
// (some). Until then they wait. What ends passes too, so nothing that waits can end before it has its row.
//
// A build with invariants proves that nothing goes around the gate: what has not passed since its row was taken, or waits for
// it, is when it passes what it was (seals).
type gate[T gated, R any] struct {
	mu    *planLock    // const
	row   func(T) R    // const: takes the row; what comes from now on is fresh
	there func(T) bool // const: it has not ended
	plain func(T) any  // const: what may not change behind the gate, to be compared

	gen     uint64    // mu: of the cut that will begin next, above 0
	changed []T       // mu: since the last cut began, each once; some have ended
	n       int       // mu: of them, those that have not
	waiting []T       // mu: of the cut that has begun; some have their row already
	rows    [][]R     // mu: of that cut, some at a time, so that nothing long is copied
	seals   map[T]any // mu: with invariants, what they were when nobody was to change them any more
}

// gated is what passes a gate. Its mark is the gen of the cut that will have its next row; 0: it has not changed since its last.
type gated interface {
	comparable
	mark() *uint64
}

// gateMark is the mark of one thing. The plan lock guards it.
type gateMark struct{ gen uint64 }

func (m *gateMark) mark() *uint64 { return &m.gen }

func newGate[T gated, R any](mu *planLock, row func(T) R, there func(T) bool, plain func(T) any) gate[T, R] {
	return gate[T, R]{mu: mu, row: row, there: there, plain: plain, gen: 1, seals: map[T]any{}}
}

// pass lets t be changed: its row differs from the last checkpoint's from now on.
func (g *gate[T, R]) pass(t T) {
	g.mu.assertHeld()
	m := t.mark()
	if *m == g.gen {
		return
	}
	g.take(t)
	g.open(t)
	*m = g.gen
	g.changed = append(g.changed, t)
	g.n++
}

// end lets t end: it gets no row any more but that of the cut which waits for it.
func (g *gate[T, R]) end(t T) {
	g.mu.assertHeld()
	m := t.mark()
	g.take(t)
	g.open(t)
	if *m == g.gen {
		*m = 0
		g.n--
	}
}

// take takes the row of t if the cut that has begun waits for it.
func (g *gate[T, R]) take(t T) {
	m := t.mark()
	if *m == 0 || *m == g.gen {
		return
	}
	g.mu.step(1)
	g.open(t)
	if *m = 0; !g.there(t) {
		return
	}
	last := len(g.rows) - 1
	if last < 0 || len(g.rows[last]) == cap(g.rows[last]) {
		g.rows = append(g.rows, make([]R, 0, gateRows))
		last++
	}
	g.rows[last] = append(g.rows[last], g.row(t))
	g.seal(t)
}

// gateRows is how many rows are kept in one piece.
const gateRows = 16

// begin is the instant of a cut: all that has changed waits for its row. The rows of the cut before have been given away.
func (g *gate[T, R]) begin() {
	if len(g.waiting) > 0 || len(g.rows) > 0 {
		fault.Misuse("a cut begins, and the one before has not all its rows")
	}
	g.waiting, g.changed, g.n = g.changed, nil, 0
	g.gen++
	if invariants {
		for _, t := range g.waiting {
			g.seal(t)
		}
	}
}

// first is what next takes, if it has no row yet.
func (g *gate[T, R]) first() (t T, waits bool) {
	if last := len(g.waiting) - 1; last >= 0 {
		t = g.waiting[last]
		waits = *t.mark() != 0 && *t.mark() != g.gen && g.there(t)
	}
	return t, waits
}

// next takes one row of the cut that has begun, and tells whether there are more.
func (g *gate[T, R]) next() (more bool) {
	if last := len(g.waiting) - 1; last >= 0 {
		g.take(g.waiting[last])
		g.waiting = g.waiting[:last]
	}
	return len(g.waiting) > 0
}

// give gives the rows of a cut away. There is nothing that waits.
func (g *gate[T, R]) give() [][]R {
	rows := g.rows
	g.rows, g.waiting = nil, nil
	return rows
}

// seal notes what t is, which it has to be when it passes the next time.
func (g *gate[T, R]) seal(t T) {
	if invariants && *t.mark() != g.gen && g.there(t) {
		g.seals[t] = g.plain(t)
	}
}

// open compares t with its seal.
func (g *gate[T, R]) open(t T) {
	if !invariants {
		return
	}
	if was, sealed := g.seals[t]; sealed {
		if is := g.plain(t); is != was {
			fault.Misuse("something has gone around the gate: it was %+v, and is %+v", was, is)
		}
		delete(g.seals, t)
	}
}
