package alloc

import (
	"fmt"
	"slices"
)

// Load gives group g its page, the one that the last durable image of the group names,
// and applies what changed since. page is copied. An error wraps ErrCorrupt when the page
// does not have the counts that the group table gave, or ErrState when a change kept for
// it starts from another state than the page has; the group is then not loaded, as before.
// A group that is loaded or uniform is left alone: two readers of one page may race.
func (p *Pool) Load(g int, pg []byte) error {
	if g < 0 || g >= len(p.groups) {
		return fmt.Errorf("alloc: load: group %d of %d: %w", g, len(p.groups), ErrRange)
	}
	gr := &p.groups[g]
	if gr.uniform || gr.loaded() {
		return nil
	}
	own := append(page(nil), pg...)
	if err := p.catchUp(g, own); err != nil {
		return fmt.Errorf("alloc: load: group %d: %w", g, err)
	}
	p.setPage(g, own)
	if gr.shunned {
		p.gained(g)
	}
	if gr.changed != 0 {
		p.settle(g)
	}
	return nil
}

// catchUp verifies the page of group g, which is not loaded, and applies its deltas to it.
func (p *Pool) catchUp(g int, pg page) error {
	gr := &p.groups[g]
	if err := pg.validate(p.groupBlocks, p.size(g)); err != nil {
		return err
	}
	want := gr.tally() // before the deltas; blocks of a growth since are 0 in the page
	for _, d := range gr.deltas() {
		want[d.from] += int64(d.n)
		want[d.to] -= int64(d.n)
	}
	if have := pg.count(p.size(g)); have != want {
		return fmt.Errorf("counts are %+v, want %+v: %w", have.counts(), want.counts(), ErrCorrupt)
	}
	for _, d := range gr.deltas() {
		if at := pg.mismatch(int(d.lo), int(d.n), d.from); at >= 0 {
			return p.stateError(g, at, d.from, pg.state(at))
		}
		pg.fill(int(d.lo), int(d.n), d.to)
	}
	return nil
}

func (gr *group) deltas() []delta {
	if gr.body == nil {
		return nil
	}
	return gr.body.deltas
}

// Loaded reports whether the state of each block of group g, which must exist, is known:
// the group is loaded or uniform.
func (p *Pool) Loaded(g int) bool { return p.groups[g].uniform || p.groups[g].loaded() }

// Unload drops the page of group g, which must exist, unless it changed since the last durable Cut. It tells whether the
// group has none now.
func (p *Pool) Unload(g int) bool {
	gr := &p.groups[g]
	if gr.loaded() && (gr.changed != 0 || gr.cut) {
		return false
	}
	if gr.loaded() {
		p.dropBody(g)
	}
	return true
}

// HeldPages returns the number of groups whose page is in memory.
func (p *Pool) HeldPages() int { return p.held }

// Evict drops pages of groups that did not change since the last durable Cut and have nothing claimed, until most are
// left or it has looked at so many groups as steps says. It goes on where it stopped the last time, all around: what has
// just been loaded comes last.
func (p *Pool) Evict(most, steps int) {
	for ; p.held > most && steps > 0 && len(p.pages) > 0; steps-- {
		if p.hand >= len(p.pages) {
			p.hand = 0
		}
		g := p.pages[p.hand]
		gr := &p.groups[g]
		if gr.loaded() && (gr.counts[Claimed] > 0 || !p.Unload(g)) {
			p.hand++
			continue
		}
		gr.listed = false
		last := len(p.pages) - 1
		p.pages[p.hand] = p.pages[last]
		p.pages = p.pages[:last]
	}
}

// setPage gives group g, which has none, a page.
func (p *Pool) setPage(g int, pg page) {
	gr := &p.groups[g]
	gr.body = &body{page: pg}
	p.held++
	if !gr.listed {
		gr.listed = true
		p.pages = append(p.pages, g)
	}
}

// dropBody takes from group g what it has in memory beyond its counts.
func (p *Pool) dropBody(g int) {
	if gr := &p.groups[g]; gr.body != nil {
		if gr.body.page != nil {
			p.held--
		}
		gr.body = nil
	}
}

// Shun makes FindClean pass by group g, which must exist: its page cannot be read. Its
// blocks stay in Counts, and leave Findable. Load, Set to clean and SetGroup end it.
func (p *Pool) Shun(g int) {
	if !p.groups[g].shunned {
		p.groups[g].shunned = true
		p.shunned = append(p.shunned, g)
	}
}

// unshun ends a Shun of group g, if there was one.
func (p *Pool) unshun(g int) {
	if p.groups[g].shunned {
		p.groups[g].shunned = false
		p.shunned = slices.DeleteFunc(p.shunned, func(o int) bool { return o == g })
	}
}

// Findable returns the number of clean blocks that FindClean may find: all but what is set
// aside, and what lies in groups that it passes by.
func (p *Pool) Findable() int64 {
	n := p.sum[Clean] - p.asideN
	for _, g := range p.shunned {
		n -= int64(p.groups[g].counts[Clean])
	}
	return n
}

// Condemn gives group g, whose page is damaged, another one, by which nothing is clean: all blocks are in use but those of
// meta, which are metadata, and what has changed since the lost page says otherwise. So nothing that may hold anything is
// ever handed out. It returns how many clean blocks that gives up. A group that is loaded or uniform is left alone.
func (p *Pool) Condemn(g int, meta []Run) (clean int64) {
	gr := &p.groups[g]
	if gr.uniform || gr.loaded() {
		return 0
	}
	pg := newPage(p.groupBlocks, p.size(g), InUse)
	first, end := int64(p.first(g)), int64(p.first(g))+int64(p.size(g))
	for _, r := range meta {
		if lo, hi := max(int64(r.Start), first), min(int64(r.End()), end); lo < hi {
			pg.fill(int(lo-first), int(hi-lo), Meta)
		}
	}
	for _, d := range gr.deltas() {
		pg.fill(int(d.lo), int(d.n), d.to)
	}
	was, is := gr.tally(), pg.count(p.size(g))
	for s := range is {
		p.sum[s] += is[s] - was[s]
		gr.counts[s] = int32(is[s])
	}
	p.setPage(g, pg)
	p.touch(g)
	p.gained(g)
	p.settle(g)
	return was[Clean] - is[Clean]
}
