package chain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// What says where blocks are free follows from what says where they are used. So of these a repair needs no copy: the group table, the
// pages of groups, and the free map of the metadata store. It loads the pool without them and makes them of the maps, lists and jobs
// that it finds (reachability), all of which must be whole: a block that something unreadable names would be taken for free.
//
// What was clean is not known any more. A block that nothing names is dirty, whatever it was: it goes to a job of its own,
// which zeroes it, and is available after that. So this makes no block clean, and costs what erasing costs.
//
// The order: the state of the checkpoint is made first, then the journal is applied to it as ever. A block that nothing names at the
// checkpoint was clean or claimed then: the first record of the journal that touches it says which. What is still clean
// at the end, and what nothing names then, is dirty. All of that is in memory. One checkpoint publishes it, beside the old one: a crash
// before its superblock leaves the pool as it was, to be repaired again, and after it there is nothing left to do.

// mending makes anew what can be derived, while a pool is loaded.
type mending struct {
	p      *Pool
	ctx    context.Context
	report *RepairReport

	noMap   error           // why the free map of the store cannot be read; nil: it is
	noTable error           // the same of the group table, or a part of it
	rows    int             // of the catalog that are made anew
	noRows  error           // why
	lost    map[int]bool    // groups of which no state is known
	freed   []meta.Ptr      // pages of the group table and of groups that are given up
	early   journalTouch    // what the journal says of the checkpoint
	spare   []alloc.Run     // blocks that nothing names, before the journal and in it
	unowned []alloc.Run     // blocks in use that nothing names, by address
	unnamed []alloc.BlockID // pages that nothing names
	blocks  int64           // of unowned
}

var _ mender = (*mending)(nil)

func (m *mending) store(err error) error {
	if !damaged(err) {
		return err
	}
	m.noMap = err
	return nil
}

// table takes the rows that can be read, and tells which groups are lost: those without a row, if pages of the table are,
// and those without a page.
func (m *mending) table() error {
	bs, rows := m.p.blocks, map[int]bool{}
	err := bs.groups.Survey(bs.groupTable, func(k meta.Key, v []byte) error {
		rows[int(k.Hi)] = true
		return bs.takeRow(k, v)
	}, func(_ meta.Key, _ uint64, err error) error {
		if !damaged(err) {
			return err
		}
		m.noTable = cmp.Or(m.noTable, err)
		return nil
	})
	for g := 0; g < bs.alloc.Groups() && err == nil; g++ {
		if m.noTable != nil && !rows[g] {
			m.lost[g] = true
			continue
		}
		err = m.probe(g)
	}
	if m.noTable == nil || err != nil {
		return err
	}
	err = bs.groups.SurveyPages(bs.groupTable, func(p meta.Ptr, _ bool) error {
		m.freed = append(m.freed, p)
		return nil
	}, func(meta.Ptr, error) error { return nil })
	bs.groupTable = meta.Tree{}
	return err
}

// probe tells whether the page of a group is lost: then the group is as one that has no row.
func (m *mending) probe(g int) error {
	bs := m.p.blocks
	ptr := bs.groupPtrs[g]
	if ptr.IsNil() {
		return nil
	}
	_, err := bs.store.Get(ptr, wholePage)
	if !damaged(err) {
		return err
	}
	m.lost[g] = true
	m.freed = append(m.freed, ptr)
	bs.groupPtrs[g] = meta.Ptr{}
	return bs.alloc.SetGroup(g, alloc.Counts{InUse: bs.alloc.GroupCounts(g).Total()}, true, alloc.InUse)
}

func (m *mending) window(claimed []alloc.Run) error {
	for _, r := range claimed {
		m.early.touch(r, true)
	}
	var known []alloc.Run
	for _, r := range claimed {
		m.eachPart(r, func(g int, part alloc.Run) {
			if !m.lost[g] {
				known = append(known, part)
			}
		})
	}
	return m.p.blocks.restoreWindow(known)
}

// eachPart calls fn for what a run has of each group.
func (m *mending) eachPart(r alloc.Run, fn func(g int, part alloc.Run)) {
	for r.Len > 0 {
		g := m.p.blocks.alloc.Group(r.Start)
		n := min(r.Len, int64(g+1)*int64(m.p.format.GroupBlocks)-int64(r.Start))
		fn(g, alloc.Run{Start: r.Start, Len: n})
		r.Start, r.Len = r.Start+alloc.BlockID(n), r.Len-n
	}
}

// loaded makes the store, and the states of the groups that are lost, as the checkpoint had them.
func (m *mending) loaded() error {
	if m.noMap == nil && len(m.lost) == 0 {
		return nil
	}
	if err := m.early.read(m.p); err != nil {
		return err
	}
	c := newChecker(m.ctx, m.p, Pace{})
	c.anew = m.noMap != nil
	var err error
	c.passes(func() {
		for _, step := range []func(){c.layers, c.jobs, c.walks, c.tables} {
			if c.goesOn() {
				step()
			}
		}
		if len(c.r.Errors) > 0 || err != nil || !c.goesOn() {
			return
		}
		if c.anew && !c.again {
			err = m.makeStore(c)
		}
		if err == nil {
			err = m.fill(c)
		}
	})
	return cmp.Or(c.err, err, underivable(c.r))
}

// underivable: what a check found that no state follows from.
func underivable(r *CheckReport) error {
	if len(r.Errors) == 0 {
		return nil
	}
	return fmt.Errorf("what is used cannot be told: %s: %w", r.Errors[0], ErrCorrupt)
}

// makeStore gives the store the pages that were seen, and the extents that they lie in: what known groups have of metadata, what the
// journal grants later and was used already, and elsewhere just the pages.
func (m *mending) makeStore(c *checker) error {
	bs := m.p.blocks
	used := slices.Collect(maps.Keys(c.pages))
	for _, p := range m.freed {
		for _, b := range []alloc.BlockID{p.Addr, p.Twin} {
			if _, twice := c.pages[b]; b != 0 && !twice {
				used = append(used, b)
			}
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	ext, err := m.knownExtents()
	if err != nil {
		return err
	}
	for _, r := range m.early.grants {
		if i, _ := slices.BinarySearch(used, r.Start); i < len(used) && used[i] < r.End() {
			ext = append(ext, r)
		}
	}
	slices.SortFunc(ext, func(a, b alloc.Run) int { return cmp.Compare(a.Start, b.Start) })
	in := func(b alloc.BlockID) bool {
		i, found := slices.BinarySearchFunc(ext, b, func(r alloc.Run, b alloc.BlockID) int { return cmp.Compare(r.Start, b) })
		return found || i > 0 && ext[i-1].End() > b
	}
	var alone []alloc.Run
	for _, b := range used {
		if !in(b) {
			alone = joinRun(alone, alloc.Run{Start: b, Len: 1})
		}
	}
	return bs.store.Rebuild(append(ext, alone...), slices.Values(used))
}

// knownExtents are the runs of metadata of the groups that are known, but for superblocks and journal.
func (m *mending) knownExtents() (out []alloc.Run, err error) {
	bs := m.p.blocks
	first := bs.firstBlock()
	for g := 0; g < bs.alloc.Groups() && err == nil; g++ {
		if m.lost[g] || bs.alloc.GroupCounts(g).Meta == 0 {
			continue
		}
		err = bs.groupRuns(g, func(r alloc.Run, st alloc.State) {
			if end := r.End(); st == alloc.Meta && end > first {
				r.Start = max(r.Start, first)
				r.Len = int64(end - r.Start)
				out = joinRun(out, r)
			}
		})
		bs.trimGroups()
	}
	return out, err
}

// joinRun adds a run to a list that ends before it.
func joinRun(list []alloc.Run, r alloc.Run) []alloc.Run {
	if k := len(list) - 1; k >= 0 && list[k].End() == r.Start {
		list[k].Len += r.Len
		return list
	}
	return append(list, r)
}

// fill gives the blocks of lost groups the states that they had at the checkpoint, of those that this pass has seen.
func (m *mending) fill(c *checker) error {
	bs := m.p.blocks
	c.see(0, int64(bs.firstBlock()), 0, seenMeta, 0, "superblocks and journal")
	for _, e := range bs.store.Extents() {
		granted := slices.ContainsFunc(m.early.grants, func(g alloc.Run) bool { return g.Start <= e.Start && e.End() <= g.End() })
		if !granted {
			c.see(e.Start, e.Len, 0, seenMeta, 0, "metadata store")
		}
	}
	if err := underivable(c.r); err != nil {
		return err
	}
	for _, g := range slices.Sorted(maps.Keys(m.lost)) {
		first := alloc.BlockID(g * m.p.format.GroupBlocks)
		end := min(first+alloc.BlockID(bs.alloc.GroupCounts(g).Total()), c.hi)
		for b := max(first, c.lo); b < end; {
			r, as := c.markRun(b, end)
			var err error
			switch {
			case as&seenMeta != 0:
				err = bs.alloc.Set(r, alloc.InUse, alloc.Meta)
			case as == 0:
				err = m.fillFree(r)
			}
			if err != nil {
				return err
			}
			b = r.End()
		}
	}
	return nil
}

// markRun is how far what was seen of a block goes.
func (c *checker) markRun(b, end alloc.BlockID) (r alloc.Run, as uint8) {
	at, m, ok := c.markAt(b)
	if ok {
		end = min(end, at+alloc.BlockID(m.n))
	} else if k, _, more := c.seen.Ceil(devKey(b)); more {
		end = min(end, alloc.BlockID(k.Hi))
	}
	if !ok {
		m.as = 0
	}
	return alloc.Run{Start: b, Len: int64(end - b)}, m.as
}

// fillFree: nothing names these blocks, which were clean or claimed.
func (m *mending) fillFree(r alloc.Run) error {
	bs := m.p.blocks
	if err := bs.alloc.Set(r, alloc.InUse, alloc.Clean); err != nil {
		return err
	}
	m.spare = append(m.spare, m.early.untouchedIn(r)...)
	for _, claimed := range m.early.claimedIn(r) {
		if err := bs.alloc.Claim(claimed); err != nil {
			return err
		}
	}
	return nil
}
