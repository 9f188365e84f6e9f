package alloc

import "math"

// searchPages is how many pages FindClean searches in vain before it is content with
// smaller pieces: a pool in crumbs must not be read whole for one claim.
const searchPages = 32

// pass is one way to search: pieces of at least need blocks, of whole slots if aligned.
type pass struct {
	need    int64
	aligned bool
	last    bool // takes anything, whatever was searched in vain before
}

// search is one pass under way.
type search struct {
	pass
	want int64 // blocks still wanted
	most int   // runs
	out  []Run
}

// FindClean returns clean runs, up to n blocks in all and none twice, and changes no
// state. Whole slots come first where n is a slot or more, then pieces of at least least
// blocks, and only where neither exists smaller ones; pieces of one kind may be less than n
// blocks in all. Of each kind those at near and after it in its group come first, then low
// addresses. No piece is found across the border of two groups. Groups known to be in
// crumbs are not searched again; after searchPages further ones in vain, groups not
// searched yet are left for the next call.
//
// An *UnloadedError names a group that must be loaded (or shunned) first; then the call is
// repeated. No runs and no error: nothing is clean.
func (p *Pool) FindClean(n, least int64, near BlockID) ([]Run, error) {
	return p.FindCleanRuns(n, least, near, math.MaxInt)
}

// FindCleanRuns is FindClean of at most most runs.
func (p *Pool) FindCleanRuns(n, least int64, near BlockID, most int) ([]Run, error) {
	least = max(1, min(least, n, int64(p.groupBlocks)))
	slots := (least + SlotBlocks - 1) / SlotBlocks * SlotBlocks
	passes := []pass{{need: slots, aligned: true}, {need: least}, {need: 1, last: true}}
	if slots > n {
		passes = passes[1:]
	}
	for _, ps := range passes {
		s := search{pass: ps, want: n, most: most}
		if err := p.search(&s, near); err != nil {
			return nil, err
		}
		if len(s.out) > 0 {
			p.misses = 0
			return s.out, nil
		}
	}
	return nil, nil
}

// search runs one pass: the group of near, then all others by address.
func (p *Pool) search(s *search, near BlockID) error {
	home := -1
	if near < BlockID(p.total) {
		home = p.Group(near)
		if err := p.visit(s, home, near+1); err != nil {
			return err
		}
	}
	for g := p.lowest(s.pass); g < len(p.groups) && s.want >= s.need; g++ {
		if g == home {
			continue
		}
		if err := p.visit(s, g, 0); err != nil {
			return err
		}
	}
	return nil
}

// lowest returns a group below which no other can serve ps. Crumbs below the first slot
// are not stepped over again and again when slots are wanted, hence two cursors.
func (p *Pool) lowest(ps pass) int {
	c, least := 0, pass{need: 1}
	if ps.need >= SlotBlocks {
		c, least = 1, pass{need: SlotBlocks}
	}
	for p.low[c] < len(p.groups) && p.groups[p.low[c]].bound(least) < least.need {
		p.low[c]++
	}
	return p.low[c]
}

// bound returns an upper bound of the longest piece that gr has for ps.
func (gr *group) bound(ps pass) int64 {
	known := gr.longest
	if ps.aligned {
		known = gr.slots
	}
	if known == unknown || known > gr.counts[Clean] {
		known = gr.counts[Clean]
	}
	if gr.shunned {
		known = 0
	}
	return int64(known)
}

// visit adds the pieces of group g to s, those from block from on first.
func (p *Pool) visit(s *search, g int, from BlockID) error {
	gr := &p.groups[g]
	if gr.bound(s.pass) < s.need {
		return nil
	}
	if !gr.uniform && !s.last && gr.longest == unknown && p.misses >= searchPages {
		return nil
	}
	if !p.Loaded(g) {
		if len(s.out) > 0 {
			s.want = 0 // good enough: no wait for a page
			return nil
		}
		return &UnloadedError{Group: g}
	}
	before := s.want
	if from == 0 {
		p.pieces(g, s.pass, s.add)
	} else {
		p.pick(s, g, from)
	}
	if s.want == before && len(s.out) == 0 {
		p.misses++
		p.measure(g)
	}
	return nil
}

// pick adds the pieces of group g in the order from block from on, then the rest.
func (p *Pool) pick(s *search, g int, from BlockID) {
	if s.aligned {
		from = (from + SlotBlocks - 1) / SlotBlocks * SlotBlocks
	}
	var after, rest []Run
	p.pieces(g, s.pass, func(r Run) bool {
		switch head := int64(from - r.Start); {
		case r.Start >= from:
			after = append(after, r)
		case r.End() <= from || r.Len-head < s.need:
			rest = append(rest, r)
		default:
			after = append(after, Run{Start: from, Len: r.Len - head})
			if head >= s.need {
				rest = append(rest, Run{Start: r.Start, Len: head})
			}
		}
		return true
	})
	for _, r := range append(after, rest...) {
		if !s.add(r) {
			return
		}
	}
}

// add takes what is still wanted of a piece, and reports whether more is. A tail shorter
// than need is not wanted.
func (s *search) add(r Run) bool {
	r.Len = min(r.Len, s.want)
	if s.aligned {
		r.Len -= r.Len % SlotBlocks
	}
	if r.Len >= s.need {
		s.out = appendRun(s.out, r)
		s.want -= r.Len
	}
	if len(s.out) >= s.most {
		s.want = 0
	}
	return s.want >= s.need
}

// pieces calls fn for each piece of group g, whose states are known, that ps wants.
func (p *Pool) pieces(g int, ps pass, fn func(Run) bool) {
	p.cleanIn(g, func(r Run) bool {
		if ps.aligned {
			r = slotsOf(r)
		}
		return r.Len < ps.need || fn(r)
	})
}

// measure finds the longest pieces of group g.
func (p *Pool) measure(g int) {
	gr := &p.groups[g]
	gr.longest, gr.slots = 0, 0
	p.cleanIn(g, func(r Run) bool {
		gr.longest = max(gr.longest, int32(r.Len))
		gr.slots = max(gr.slots, int32(slotsOf(r).Len))
		return true
	})
}

// runsIn calls fn for the runs of blocks in st of group g, whose states must be known.
func (p *Pool) runsIn(g int, st State, fn func(Run) bool) {
	gr, first := &p.groups[g], p.first(g)
	if gr.uniform {
		if gr.state == st {
			fn(Run{Start: first, Len: int64(p.size(g))})
		}
		return
	}
	gr.body.page.runs(p.size(g), st, func(lo, n int) bool {
		return fn(Run{Start: first + BlockID(lo), Len: int64(n)})
	})
}

// slotsOf returns the whole slots in r, with Len 0 or less where there is none.
func slotsOf(r Run) Run {
	lo := (r.Start + SlotBlocks - 1) / SlotBlocks * SlotBlocks
	hi := r.End() / SlotBlocks * SlotBlocks
	return Run{Start: lo, Len: int64(hi) - int64(lo)}
}
