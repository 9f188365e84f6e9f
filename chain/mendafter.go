package chain

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
)

// replayed makes dirty what nothing names, and gives pages back that nothing names.
func (m *mending) replayed() error {
	bs := m.p.blocks
	if err := m.doubt(); err != nil {
		return err
	}
	c := newChecker(m.ctx, m.p, Pace{})
	c.unowned = func(r alloc.Run) { m.unowned = joinRun(m.unowned, r); m.blocks += r.Len }
	c.unnamed = func(b alloc.BlockID) { m.unnamed = append(m.unnamed, b) }
	r, err := c.check(false)
	if err = cmp.Or(err, underivable(r)); err != nil {
		return err
	}
	if m.idle() {
		return nil
	}
	for _, b := range m.unnamed {
		bs.store.FreeSensitive(meta.Ptr{Addr: b})
	}
	if err := m.room(); err != nil {
		return err
	}
	m.tell()
	return bs.store.Err()
}

// idle: there is nothing to make anew.
func (m *mending) idle() bool {
	return m.noMap == nil && m.noTable == nil && m.rows == 0 && len(m.lost)+len(m.unowned)+len(m.unnamed) == 0
}

// doubt: what is clean in a group that was lost is so by assumption. All groups that are to be written are.
func (m *mending) doubt() error {
	bs := m.p.blocks
	for g := range bs.alloc.Groups() {
		if m.noTable == nil && !m.lost[g] {
			continue
		}
		var clean []alloc.Run
		if err := bs.groupRuns(g, func(r alloc.Run, st alloc.State) {
			if st == alloc.Clean {
				clean = append(clean, r)
			}
		}); err != nil {
			return err
		}
		for _, r := range clean {
			if !m.lost[g] {
				break
			}
			if err := bs.alloc.Set(r, alloc.Clean, alloc.InUse); err != nil {
				return err
			}
		}
		bs.alloc.Renew(g)
	}
	return nil
}

// room gives the store the pages that the checkpoint needs, of blocks that nothing names, which are zeroed before: where all groups
// are lost nothing is clean.
func (m *mending) room() error {
	bs := m.p.blocks
	short := int64(2*bs.alloc.Changed()+bs.alloc.Groups()/8+4*len(bs.store.Extents())/64+m.p.format.ExtentBlocks) - int64(bs.store.FreePages())
	var left []alloc.Run
	for _, r := range m.unowned {
		n := min(r.Len, short)
		if n < minExtent {
			left = append(left, r)
			continue
		}
		piece := alloc.Run{Start: r.Start, Len: n}
		if err := m.grant(piece, alloc.InUse); err != nil {
			return err
		}
		short, m.blocks = short-n, m.blocks-n
		if r.Start, r.Len = piece.End(), r.Len-n; r.Len > 0 {
			left = append(left, r)
		}
	}
	m.unowned = left
	return nil
}

// tell makes the job of what nothing names, and a record of the erase log, and tells what was done.
func (m *mending) tell() {
	p, now := m.p, m.p.opt.Now()
	say := func(format string, a ...any) { note(&m.report.Did, format, a...) }
	if m.noMap != nil {
		say("the free map of the metadata store is made anew, of the pages in use: %v", m.noMap)
	}
	if m.noTable != nil {
		say("the group table is made anew: %v", m.noTable)
	}
	if m.rows > 0 {
		say("%d rows of the catalog are made anew, which follow from others: %v", m.rows, m.noRows)
	}
	if n := len(m.lost); n > 0 {
		say("the states of the blocks of %d groups are made anew, of what names them; none of them is clean", n)
	}
	if n := len(m.unnamed); n > 0 {
		say("%d metadata pages that nothing names are given back", n)
	}
	if len(m.unowned) > 0 {
		j := p.jobs.newJob(0, "", "", reasonRepair, "", now)
		for _, r := range m.unowned {
			p.jobs.addToJob(j, runs.Run{Dev: r.Start, Len: r.Len})
			p.origins.wrote(0, 0, r.Len)
		}
		say("%d blocks that nothing names are dirty, and erase job %d zeroes them before they are used", m.blocks, j.id)
	}
	m.log(now)
}

// log notes the repair in the erase log.
func (m *mending) log(now time.Time) {
	jq := m.p.jobs
	jq.commits.nextJob++
	jq.appendRow(&evidence.Row{
		Kind: evidence.Job, Number: jq.commits.nextJob, Reason: fmt.Sprintf("%s: %d blocks that nothing named are dirty", reasonRepair, m.blocks),
		Since: now, First: now, Last: now,
	})
}

// mend makes anew what can be derived, and tells whether that was all: nothing is known to be wrong then.
func (r *repairer) mend() (whole bool, err error) {
	o := r.opt
	o.ReadOnly = false
	p := newPool(r.dev, o, r.super, r.slot)
	m := &mending{p: p, ctx: r.ctx, report: &RepairReport{}, lost: map[int]bool{}}
	p.persist.mends = m
	refill := p.blocks.store.Refill
	p.blocks.store.Refill = m.refill
	if err := mount(p); err != nil {
		if errors.Is(err, ErrCorrupt) {
			return false, nil // what is left says so
		}
		if errors.Is(err, ErrNoSpace) { // a record that cuts trees wants pages, and there is no spare run for the store
			r.report.Left = append(r.report.Left, fmt.Sprintf("what says where blocks are free: %v", err))
			return false, nil
		}
		return false, err
	}
	if m.idle() {
		p.commits.journal.Close()
		return false, nil
	}
	p.blocks.store.Refill = refill
	p.tree.settleFalls()
	p.blocks.store.Distrust()
	p.blocks.prepareOwn()
	if o.Host != nil {
		err = p.supers.setHost(*o.Host)
	}
	if err == nil {
		err = p.Checkpoint()
	}
	if err == nil {
		err = p.recover()
	}
	if err = errors.Join(err, p.Close()); err != nil {
		return false, fmt.Errorf("pool %s: %w", r.super.Name, err)
	}
	r.report.Did = append(r.report.Did, m.report.Did...)
	return true, nil
}
