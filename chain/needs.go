package chain

import "slatefs/chain/meta"

// Need says what keeps a plan from being made. Zero: nothing, it is made.
type Need struct {
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
func (n Need) None() bool { return n.kind == needNothing }

// fetching is what a hold needs that has missed pages: those, and if it was a map's, the way to it in one go.
func (n Need) fetching(er *errand) Need {
	if n.kind != needPage {
		n = Need{kind: needFetch}
	}
	n.errand = er
	return n
}

// of is what a need is of, whoever has it.
func (n Need) of() Need {
	n.errand = nil
	return n
}

const (
	needNothing needKind = iota
	needPage
	needPlan
	needBlocks
	needRoom
	needSpace
	needExtension
	needStore
	needFetch
)
