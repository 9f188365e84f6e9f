package chain

import (
	"slatefs/alloc"
	"slatefs/chain/journal"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// journalTouch is what the journal says of blocks as the checkpoint before it had them: whether one that nothing names there was claimed,
// by the first record that touches it, and which are granted to the store later.
type journalTouch struct {
	first  omap.Map[firstTouch] // by block; disjoint
	grants []alloc.Run          // in order
}

type firstTouch struct {
	n       int64
	claimed bool
}

// read reads the journal behind the checkpoint, and applies nothing.
func (t *journalTouch) read(p *Pool) error {
	j, err := journal.Open(p.persist.journalConfig(), p.supers.super.At, func(b journal.Batch) error {
		return decodeRecords(b.Payload, func(r record) error {
			t.record(r)
			return nil
		})
	})
	if err == nil {
		j.Close()
	}
	return wrapCorrupt(err)
}

func (t *journalTouch) record(r record) {
	all := func(rs []alloc.Run, claimed bool) {
		for _, run := range rs {
			t.touch(run, claimed)
		}
	}
	old := func(rs []runs.Run) {
		for _, run := range rs {
			t.touch(alloc.Run{Start: run.Dev, Len: run.Len}, true)
		}
	}
	switch r := r.(type) {
	case *recClaim:
		all(r.runs, false)
	case *recUnclaim:
		all(r.runs, true)
	case *recGrant:
		t.touch(r.run, false)
		t.grants = append(t.grants, r.run)
	case *recMap:
		if r.dev != 0 {
			t.touch(alloc.Run{Start: r.dev, Len: r.n}, !r.clean)
		}
	case *recDirty:
		all(r.runs, true)
	case *recDirtyPlain:
		all(r.runs, true)
	case *recErased: // of what was claimed, and is dirty since a crash
		old(r.zeroed)
		old(r.failed)
	case *recApart:
		old(r.zeroed)
		old(r.failed)
	}
}

// touch notes what was not touched before.
func (t *journalTouch) touch(r alloc.Run, claimed bool) {
	for b, end := r.Start, r.End(); b < end; {
		if k, m, ok := t.first.Floor(devKey(b)); ok && alloc.BlockID(k.Hi)+alloc.BlockID(m.n) > b {
			b = alloc.BlockID(k.Hi) + alloc.BlockID(m.n)
			continue
		}
		to := end
		if k, _, ok := t.first.Ceil(devKey(b)); ok {
			to = min(to, alloc.BlockID(k.Hi))
		}
		t.first.Set(devKey(b), firstTouch{int64(to - b), claimed})
		b = to
	}
}

// claimedIn is what of a run was claimed.
func (t *journalTouch) claimedIn(r alloc.Run) (out []alloc.Run) {
	from := devKey(r.Start)
	if k, _, ok := t.first.Floor(from); ok {
		from = k
	}
	t.first.Ascend(from, func(k omap.Key, m firstTouch) bool {
		lo, hi := max(alloc.BlockID(k.Hi), r.Start), min(alloc.BlockID(k.Hi)+alloc.BlockID(m.n), r.End())
		if m.claimed && lo < hi {
			out = append(out, alloc.Run{Start: lo, Len: int64(hi - lo)})
		}
		return alloc.BlockID(k.Hi) < r.End()
	})
	return out
}

// untouchedIn are the runs of a run that the journal does not touch, of minExtent and more.
func (t *journalTouch) untouchedIn(r alloc.Run) (out []alloc.Run) {
	add := func(to alloc.BlockID) {
		if n := int64(min(to, r.End())) - int64(r.Start); n >= minExtent {
			out = append(out, alloc.Run{Start: r.Start, Len: n})
		}
	}
	from := devKey(r.Start)
	if k, _, ok := t.first.Floor(from); ok {
		from = k
	}
	end := r.End()
	t.first.Ascend(from, func(k omap.Key, m firstTouch) bool {
		add(alloc.BlockID(k.Hi))
		if to := alloc.BlockID(k.Hi) + alloc.BlockID(m.n); to > r.Start {
			r = alloc.Run{Start: to, Len: int64(end) - int64(to)}
		}
		return r.Len > 0
	})
	add(end)
	return out
}
