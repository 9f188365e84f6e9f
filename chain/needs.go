package chain

import "slatefs/chain/meta"

// Need says what keeps a plan from being made. Zero: nothing, it is made. It is a pointer, since each layer of a plan that is
// made returns one that is zero. What it points to is never changed.
type Need struct{ *obstacle }

type obstacle struct {
	kind   needKind
	m      meta.Map
	lb     int64
	blocks int64
	room   credit
	wait   <-chan struct{}
	errand *errand
	why    error // of needExtension: what who asks would be refused with
}

type needKind uint8

// None tells that the plan is made and pinned.
func (n Need) None() bool { return n.obstacle == nil }

// is tells whether n is of a kind. None is of none.
func (n Need) is(kind needKind) bool { return n.obstacle != nil && n.kind == kind }

// fetching is what a hold needs that has missed pages: those, and if it was a map's, the way to it in one go.
func (n Need) fetching(er *errand) Need {
	w := obstacle{kind: needFetch}
	if n.is(needPage) {
		w = *n.obstacle
	}
	w.errand = er
	return Need{&w}
}

// same tells whether two needs are of one thing, whoever has them.
func (n Need) same(o Need) bool {
	if n.None() || o.None() {
		return n.None() && o.None()
	}
	a, b := *n.obstacle, *o.obstacle
	a.errand, b.errand = nil, nil
	return a == b
}

const (
	needPage needKind = iota
	needPlan
	needBlocks
	needRoom
	needSpace
	needExtension
	needStore
	needFetch
)
