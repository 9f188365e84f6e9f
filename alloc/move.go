package alloc

import "fmt"

// Set moves every block of r from one state to another: clean to in use (mapped by
// fallocate) or metadata (granted to the store), in use to clean (erased, and the record
// of it durable), in use to metadata, metadata to in use (given back, dirty). Any other
// change is an error that wraps ErrMove; claims move by Claim, Use and Unclaim.
//
// A block that is not in from is an error that wraps ErrState and names the block, and
// nothing changes. In a group that is not loaded only the counts are verified now, the
// blocks by Load.
func (p *Pool) Set(r Run, from, to State) error {
	if !maySet(from, to) {
		return fmt.Errorf("alloc: set: %v: %v to %v: %w", r, from, to, ErrMove)
	}
	return p.move("set", r, from, to)
}

func maySet(from, to State) bool {
	switch from {
	case InUse:
		return to == Clean || to == Meta
	case Clean:
		return to == InUse || to == Meta
	case Meta:
		return to == InUse
	case Claimed:
	}
	return false
}

// move verifies all of r, then changes it. With from equal to to it only verifies, now or
// at Load.
func (p *Pool) move(op string, r Run, from, to State) error {
	if err := p.check(r); err != nil {
		return fmt.Errorf("alloc: %s: %w", op, err)
	}
	if a := p.asideIn(r); a.Len > 0 {
		return fmt.Errorf("alloc: %s: %v, of which %v: %w", op, r, a, ErrAside)
	}
	err := p.each(r, func(g, lo, n int) error { return p.verify(g, lo, n, from) })
	if err != nil {
		return fmt.Errorf("alloc: %s: %v to %v: %w", op, from, to, err)
	}
	return p.each(r, func(g, lo, n int) error {
		p.change(g, delta{lo: int32(lo), n: int32(n), from: from, to: to})
		return nil
	})
}

// each calls fn for the part of r in each group: n blocks from block lo of group g on.
func (p *Pool) each(r Run, fn func(g, lo, n int) error) error {
	for r.Len > 0 {
		lo := int(r.Start % BlockID(p.groupBlocks))
		n := int(min(r.Len, int64(p.groupBlocks-lo)))
		if err := fn(p.Group(r.Start), lo, n); err != nil {
			return err
		}
		r.Start += BlockID(n)
		r.Len -= int64(n)
	}
	return nil
}

// verify checks that n blocks from lo on of group g are in st, as far as that is known.
func (p *Pool) verify(g, lo, n int, st State) error {
	gr := &p.groups[g]
	at, have := -1, gr.state
	switch {
	case gr.uniform:
		if gr.state != st {
			at = lo
		}
	case gr.loaded():
		if at = gr.body.page.mismatch(lo, n, st); at >= 0 {
			have = gr.body.page.state(at)
		}
	case int(gr.counts[st]) < n:
		return fmt.Errorf("group %d: %d blocks are %v, want %d: %w", g, gr.counts[st], st, n, ErrState)
	}
	if at >= 0 {
		return p.stateError(g, at, st, have)
	}
	return nil
}

func (p *Pool) stateError(g, at int, want, have State) error {
	return fmt.Errorf("block %d: want %v, have %v: %w", p.first(g)+BlockID(at), want, have, ErrState)
}

// change applies a verified delta to group g.
func (p *Pool) change(g int, d delta) {
	gr := &p.groups[g]
	if !p.Loaded(g) {
		gr.keep(d)
	}
	if d.from == d.to {
		return
	}
	p.touch(g)
	if gr.uniform && int(d.n) < p.size(g) {
		p.materialize(g)
	}
	if gr.loaded() {
		gr.body.own().fill(int(d.lo), int(d.n), d.to)
	}
	gr.counts[d.from] -= d.n
	gr.counts[d.to] += d.n
	p.sum[d.from] -= int64(d.n)
	p.sum[d.to] += int64(d.n)
	if p.Loaded(g) {
		p.settle(g)
	}
	if d.to == Clean {
		p.gained(g)
	}
}

// settle drops the page of group g, whose blocks are all known, if they are in one state.
func (p *Pool) settle(g int) {
	gr := &p.groups[g]
	for s, n := range gr.counts {
		if int(n) == p.size(g) {
			p.dropBody(g)
			gr.uniform, gr.state = true, State(s)
		}
	}
}

// gained is called when group g may have new clean blocks.
func (p *Pool) gained(g int) {
	gr := &p.groups[g]
	gr.longest, gr.slots = unknown, unknown
	p.unshun(g)
	for c := range p.low {
		p.low[c] = min(p.low[c], g)
	}
}

// keep adds d to the deltas of a group that is not loaded.
func (gr *group) keep(d delta) {
	if gr.body == nil {
		gr.body = &body{}
	}
	if k := len(gr.body.deltas) - 1; k >= 0 {
		l := &gr.body.deltas[k]
		if l.from == d.from && l.to == d.to && l.lo+l.n == d.lo {
			l.n += d.n
			return
		}
	}
	gr.body.deltas = append(gr.body.deltas, d)
}

// own returns the page for a change, a copy of it where an Image has the old one.
func (b *body) own() page {
	if b.shared {
		b.page = append(page(nil), b.page...)
		b.shared = false
	}
	return b.page
}

// Renew makes group g, whose blocks are all known, one that has changed: the next cut has its image. It panics when the group is
// not loaded.
func (p *Pool) Renew(g int) {
	if !p.Loaded(g) {
		panic(fmt.Sprintf("alloc: renew: group %d is not loaded", g))
	}
	p.touch(g)
}
