// Package overlay is the map of a layer in storeys: what one head changed, over what was there before, over a complete map in
// pages. So a map record changes memory only, when it is made and when it is replayed alike, and no page is read for it. A
// checkpoint settles storeys from below, by a Builder; until then a lookup goes down the stack.
//
// The caller locks: only the top storey of a head changes (Set, SwallowSome), and Install changes those that it settles; nobody
// looks meanwhile. All other storeys are immutable, and a Builder reads them without a lock. A Storey has no end of its own:
// who asks beyond the volume's is shown holes.
package overlay

import (
	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Storey is one storey of a map. The lowest one of every stack is settled: a complete map in pages.
type Storey struct {
	owner   Owner
	under   *Storey
	entries omap.Map[Piece] // by first logical block; disjoint
	kind    kind
	lo, hi  int64    // of a window and its rest
	pair    *Storey  // the other one of the two
	base    meta.Map // when settled
	settled bool
}

// Owner is the layer that was head when a storey was written: the births of its pages are the layer's. This package compares
// it and gives it back.
type Owner any

type kind uint8

const (
	entries kind = iota
	rest         // the map below with a hole in [lo, hi)
	window       // the map below, seen in [lo, hi) only
)

// Piece is a run of logical blocks: mapped to the device, or a hole (Dev 0). Where it begins is told apart from it.
type Piece struct {
	Len   int64         // blocks
	Dev   alloc.BlockID // the first one
	Birth meta.Birth
}

// Tail is what is left of p after its first k blocks.
func (p Piece) Tail(k int64) Piece {
	p.Len -= k
	if p.Dev != 0 {
		p.Dev += alloc.BlockID(k)
	}
	return p
}

// Head is the first k blocks of p.
func (p Piece) Head(k int64) Piece { p.Len = k; return p }

func (p Piece) continuedBy(q Piece) bool {
	if p.Birth != q.Birth {
		return false
	}
	if p.Dev == 0 || q.Dev == 0 {
		return p.Dev == q.Dev
	}
	return p.Dev+alloc.BlockID(p.Len) == q.Dev
}

func at(lb int64) omap.Key   { return omap.Key{Hi: uint64(lb)} }
func start(k omap.Key) int64 { return int64(k.Hi) }

// Settled is a storey that is a map in pages.
func Settled(m meta.Map) *Storey { return &Storey{base: m, settled: true} }

// New is an empty storey on another.
func New(under *Storey, o Owner) *Storey { return &Storey{owner: o, under: under} }

// Cut are two storeys on another: what is left of it without the logical blocks [lo, hi), and these alone. They are settled
// together.
func Cut(under *Storey, o Owner, lo, hi int64) (left, out *Storey) {
	left = &Storey{owner: o, under: under, kind: rest, lo: lo, hi: hi}
	out = &Storey{owner: o, under: under, kind: window, lo: lo, hi: hi, pair: left}
	left.pair = out
	return left, out
}

// Settled tells whether it is a map in pages.
func (o *Storey) Settled() bool { return o.settled }

// Base is the map of a settled storey.
func (o *Storey) Base() meta.Map { return o.base }

// Len is how many entries the storey has: a settled one has none.
func (o *Storey) Len() int { return o.entries.Len() }

// Set lays p over [lb, lb+p.n). Neighbours that continue each other are joined.
func (o *Storey) Set(lb int64, p Piece) {
	end := lb + p.Len
	if k, q, ok := o.entries.Floor(at(lb)); ok && start(k)+q.Len > lb {
		if s := start(k); s < lb {
			o.entries.Set(k, q.Head(lb-s))
		}
		if start(k)+q.Len > end {
			o.entries.Set(at(end), q.Tail(end-start(k)))
		}
	}
	for {
		k, q, ok := o.entries.Ceil(at(lb))
		if !ok || start(k) >= end {
			break
		}
		o.entries.Delete(k)
		if start(k)+q.Len > end {
			o.entries.Set(at(end), q.Tail(end-start(k)))
		}
	}
	if k, q, ok := o.entries.Floor(at(lb)); ok && start(k)+q.Len == lb && q.continuedBy(p) {
		lb, p = start(k), Piece{q.Len + p.Len, q.Dev, q.Birth}
	}
	if q, ok := o.entries.Get(at(end)); ok && p.continuedBy(q) {
		o.entries.Delete(at(end))
		p.Len += q.Len
	}
	o.entries.Set(at(lb), p)
}

// SwallowSome makes the storey below part of this one, so that cuts which come to nothing leave no storeys behind, after n
// pieces that are moved at most. more: it is to be called again; lookups find the same meanwhile. The one below belongs to
// the same head, and nothing else stands on it.
func (o *Storey) SwallowSome(below *Storey, n int) (more bool) {
	if o.under != below || o.settled || below.settled || o.owner != below.owner || o.kind != entries || below.kind != entries {
		return false
	}
	for ; n > 0; n-- {
		k, q, ok := o.entries.Ceil(omap.Key{})
		if !ok {
			o.under, o.entries = below.under, below.entries
			return false
		}
		below.Set(start(k), q)
		o.entries.Delete(k)
	}
	return true
}
