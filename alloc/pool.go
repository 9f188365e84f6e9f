package alloc

import (
	"fmt"
	"slices"
)

// Pool holds the states of all blocks of a pool and its window of claims. The caller's
// plan lock guards it; no method does I/O or keeps a slice that it was given.
type Pool struct {
	groupBlocks int
	total       int64 // blocks
	groups      []group
	sum         tally
	touched     []int   // groups that changed since the last cut began, each once
	unsettled   []int   // those that changed while they were not loaded, and some that are since
	waiting     []int   // of the cut that has begun: some have their image already
	early       []Image // of groups that changed when they should wait
	cut         []int   // groups whose image is not durable, each once
	gen         uint32  // of the cut that will begin next
	pages       []int   // groups that have a page, each once, and some that have none any more
	hand        int     // index in pages where Evict goes on
	held        int     // groups that have a page
	low         [2]int
	shunned     []int // groups that FindClean passes by, in no order
	aside       []Run // clean runs that callers keep for themselves, by address
	asideN      int64 // blocks of aside
	misses      int   // pages searched in vain since FindClean last returned runs
	win         window
}

// group is one group. It is kept small: a pool of 10 TiB has 163,840 of them.
type group struct {
	body    *body // of a group that is not uniform; nil: not loaded, no deltas
	counts  [states]int32
	longest int32  // upper bound of the longest clean run, or unknown
	slots   int32  // the same for runs of whole slots, in blocks
	changed uint32 // the gen in which it changed; 0: not since its last image
	uniform bool
	state   State // of a uniform group
	cut     bool  // in an image of a Cut that is not durable yet
	shunned bool  // FindClean passes it by
	listed  bool  // in pages
}

const unknown = -1

// body is what a group has in memory beyond its counts. Either the page is there, or
// deltas wait for it, never both.
type body struct {
	page   page
	shared bool // the page was given away in an Image: copy before a change
	deltas []delta
}

// delta is a change to a group that is not loaded: n blocks from lo on. With from equal
// to to it is only a check.
type delta struct {
	lo, n    int32
	from, to State
}

// New returns a pool of total blocks, all in use, in groups of groupBlocks blocks, which
// must be a power of two and at least SlotBlocks (else it panics). The last group may be
// partial. No group counts as changed: a group that was in no image is uniformly in use.
func New(groupBlocks int, total int64) *Pool {
	if groupBlocks < SlotBlocks || groupBlocks > 1<<20 || groupBlocks&(groupBlocks-1) != 0 || total < 0 {
		panic(fmt.Sprintf("alloc: new: %d blocks in groups of %d", total, groupBlocks))
	}
	p := &Pool{groupBlocks: groupBlocks, win: newWindow(), gen: 1}
	p.Grow(total)
	return p
}

// Grow extends the pool to total blocks; the new ones are in use. It panics when total is
// smaller than before. A last group that was partial counts as changed.
func (p *Pool) Grow(total int64) {
	if total < p.total {
		panic(fmt.Sprintf("alloc: grow: from %d to %d blocks", p.total, total))
	}
	old := len(p.groups)
	if rest := p.total % int64(p.groupBlocks); rest != 0 && total > p.total {
		p.growGroup(old-1, int(min(total-p.total, int64(p.groupBlocks)-rest)))
	}
	p.sum[InUse] += total - p.total
	p.total = total
	for int64(len(p.groups))*int64(p.groupBlocks) < total {
		g := group{uniform: true, longest: unknown, slots: unknown}
		p.groups = append(p.groups, g)
		k := len(p.groups) - 1
		p.groups[k].counts[InUse] = int32(p.size(k))
	}
}

// growGroup adds n blocks in use to the partial group g, before p.total is changed. A page
// has them already: its bits past the end are 0.
func (p *Pool) growGroup(g, n int) {
	gr := &p.groups[g]
	p.touch(g)
	if gr.uniform && gr.state != InUse {
		p.materialize(g)
	}
	gr.counts[InUse] += int32(n)
}

// Shrink cuts the pool to total blocks. Those behind must be in use, and the group of the last one that stays must be
// loaded unless it stays whole, else an error that wraps ErrState or an *UnloadedError, and nothing changes. Of a group
// that goes and is not loaded only the counts are verified.
func (p *Pool) Shrink(total int64) error {
	if total <= 0 || total > p.total {
		return fmt.Errorf("alloc: shrink: from %d to %d blocks: %w", p.total, total, ErrRange)
	}
	tail := Run{Start: BlockID(total), Len: p.total - total}
	if tail.Len == 0 {
		return nil
	}
	keep := p.Group(BlockID(total-1)) + 1
	part := p.first(keep-1)+BlockID(p.size(keep-1)) > BlockID(total)
	if part && !p.Loaded(keep-1) {
		return &UnloadedError{Group: keep - 1}
	}
	if err := p.each(tail, func(g, lo, n int) error { return p.verify(g, lo, n, InUse) }); err != nil {
		return fmt.Errorf("alloc: shrink: %w", err)
	}
	if part {
		gone := p.size(keep-1) - int(total-int64(p.first(keep-1)))
		p.touch(keep - 1)
		p.groups[keep-1].counts[InUse] -= int32(gone)
	}
	p.sum[InUse] -= tail.Len
	p.total = total
	for g := keep; g < len(p.groups); g++ {
		p.dropBody(g)
	}
	p.groups = p.groups[:keep]
	for _, list := range []*[]int{&p.touched, &p.unsettled, &p.waiting, &p.cut} {
		*list = slices.DeleteFunc(*list, func(g int) bool { return g >= keep })
	}
	p.pages = slices.DeleteFunc(p.pages, func(g int) bool { return g >= keep })
	p.shunned = slices.DeleteFunc(p.shunned, func(g int) bool { return g >= keep })
	for c := range p.low {
		p.low[c] = min(p.low[c], keep)
	}
	if part {
		p.settle(keep - 1)
		p.gained(keep - 1)
	}
	return nil
}

// SetGroup gives group g the counts of the group table at mount. Unless uniform (all
// blocks in st), the group has a page that is not loaded. It is not changed by that.
// Counts that do not fit the group are an error that wraps ErrCorrupt.
func (p *Pool) SetGroup(g int, c Counts, uniform bool, st State) error {
	if g < 0 || g >= len(p.groups) {
		return fmt.Errorf("alloc: set group: group %d of %d: %w", g, len(p.groups), ErrRange)
	}
	t, size := c.tally(), int64(p.size(g))
	ok := c.Total() == size && st < states && (!uniform || t[st] == size)
	for _, n := range t {
		ok = ok && n >= 0 && n <= size
	}
	if !ok {
		return fmt.Errorf("alloc: set group: group %d of %d blocks: counts %+v, uniform %t %v: %w",
			g, size, c, uniform, st, ErrCorrupt)
	}
	gr := &p.groups[g]
	for s := range t {
		p.sum[s] += t[s] - int64(gr.counts[s])
		gr.counts[s] = int32(t[s])
	}
	p.dropBody(g)
	gr.uniform, gr.state = uniform, st
	p.gained(g)
	return nil
}

// Groups returns the number of groups.
func (p *Pool) Groups() int { return len(p.groups) }

// Total returns the number of blocks of the pool.
func (p *Pool) Total() int64 { return p.total }

// Counts returns the blocks per state of the pool.
func (p *Pool) Counts() Counts { return p.sum.counts() }

// GroupCounts returns the blocks per state of group g, which must exist.
func (p *Pool) GroupCounts(g int) Counts { return p.groups[g].tally().counts() }

// Group returns the group of block b.
func (p *Pool) Group(b BlockID) int { return int(b / BlockID(p.groupBlocks)) }

// State returns the state of block b, an *UnloadedError when its group must be loaded,
// or an error that wraps ErrRange.
func (p *Pool) State(b BlockID) (State, error) {
	if err := p.check(Run{Start: b, Len: 1}); err != nil {
		return InUse, fmt.Errorf("alloc: state: %w", err)
	}
	g := p.Group(b)
	gr := &p.groups[g]
	switch {
	case gr.uniform:
		return gr.state, nil
	case gr.loaded():
		return gr.body.page.state(int(b % BlockID(p.groupBlocks))), nil
	}
	return InUse, &UnloadedError{Group: g}
}

// size returns the number of blocks of group g, less than groupBlocks in a partial one.
func (p *Pool) size(g int) int {
	return int(min(int64(p.groupBlocks), p.total-int64(g)*int64(p.groupBlocks)))
}

// first returns the first block of group g.
func (p *Pool) first(g int) BlockID { return BlockID(g) * BlockID(p.groupBlocks) }

// check returns an error that wraps ErrRange unless r is a run of blocks of the pool.
func (p *Pool) check(r Run) error {
	if r.Len <= 0 || r.Start >= BlockID(p.total) || r.Len > p.total-int64(r.Start) {
		return fmt.Errorf("%d blocks at %d of %d: %w", r.Len, r.Start, p.total, ErrRange)
	}
	return nil
}

// materialize gives the uniform group g a page.
func (p *Pool) materialize(g int) {
	p.setPage(g, newPage(p.groupBlocks, p.size(g), p.groups[g].state))
	p.groups[g].uniform = false
}

// touch is called before group g changes. It remembers that, and where the group still waits for its image that is made now.
func (p *Pool) touch(g int) {
	gr := &p.groups[g]
	switch gr.changed {
	case p.gen:
		return
	case 0:
	default:
		p.early = append(p.early, p.image(g))
		if gr.changed == p.gen { // it is pending
			return
		}
	}
	p.changes(g)
}

func (gr *group) loaded() bool { return gr.body != nil && gr.body.page != nil }

func (gr *group) tally() tally {
	var t tally
	for s, n := range gr.counts {
		t[s] = int64(n)
	}
	return t
}
