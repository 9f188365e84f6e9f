package runs

import (
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Weigh is the number of guest blocks with births in (lo, hi].
func (l *List) Weigh(f *meta.Family, lo, hi meta.Birth) (int64, error) {
	var n int64
	for _, t := range l.Trees {
		w, err := f.Weigh(t, meta.Key{Hi: uint64(lo) + 1}, meta.Key{Hi: uint64(hi) + 1})
		if err != nil {
			return 0, err
		}
		n += int64(w)
	}
	l.AscendMemory(omap.Key{Hi: uint64(lo) + 1}, func(k omap.Key, e Entry) bool {
		if k.Hi > uint64(hi) {
			return false
		}
		n += e.Blocks()
		return true
	})
	return n, nil
}

// AscendMemory calls fn for the entries that are in memory, from a key on: those that came since, then those that are frozen,
// each in order, until fn returns false.
func (l *List) AscendMemory(from omap.Key, fn func(omap.Key, Entry) bool) {
	l.Fresh.Ascend(from, fn)
	if l.Frozen != nil {
		l.Frozen.Ascend(from, fn)
	}
}

// Ascend calls fn for every entry from the key from on, in order, until fn returns false. fn changes nothing.
func (l *List) Ascend(f *meta.Family, from omap.Key, fn func(omap.Key, Entry) bool) error {
	type source struct {
		key  omap.Key
		e    Entry
		ok   bool
		next func() (omap.Key, Entry, bool, error)
	}
	var srcs []*source
	for _, t := range l.Trees {
		c := f.Seek(t, meta.Key(from))
		srcs = append(srcs, &source{next: func() (omap.Key, Entry, bool, error) {
			k, v, ok, err := c.Next()
			if err != nil || !ok {
				return omap.Key{}, Entry{}, false, err
			}
			e, err := ParseEntry(v)
			return omap.Key(k), e, err == nil, err
		}})
	}
	for _, m := range []*omap.Map[Entry]{&l.Fresh, l.Frozen} {
		if m == nil {
			continue
		}
		pos := from
		srcs = append(srcs, &source{next: func() (omap.Key, Entry, bool, error) {
			k, e, ok := m.Ceil(pos)
			pos = k.Next()
			return k, e, ok, nil
		}})
	}
	step := func(s *source) (err error) { s.key, s.e, s.ok, err = s.next(); return err }
	for _, s := range srcs {
		if err := step(s); err != nil {
			return err
		}
	}
	for {
		var least *source
		for _, s := range srcs {
			if s.ok && (least == nil || s.key.Less(least.key)) {
				least = s
			}
		}
		if least == nil || !fn(least.key, least.e) {
			return nil
		}
		if err := step(least); err != nil {
			return err
		}
	}
}

// Before is the last entry below k of the same birth, if any: it may reach past k.
func (l *List) Before(f *meta.Family, k omap.Key) (best omap.Key, ok bool, err error) {
	if k.Lo == 0 {
		return best, false, nil
	}
	prev := omap.Key{Hi: k.Hi, Lo: k.Lo - 1}
	see := func(o omap.Key, found bool) {
		if found && o.Hi == k.Hi && (!ok || best.Less(o)) {
			best, ok = o, true
		}
	}
	for _, t := range l.Trees {
		o, _, found, err := f.Floor(t, meta.Key(prev))
		if err != nil {
			return best, false, err
		}
		see(omap.Key(o), found)
	}
	for _, m := range []*omap.Map[Entry]{&l.Fresh, l.Frozen} {
		if m != nil {
			o, _, found := m.Floor(prev)
			see(o, found)
		}
	}
	return best, ok, nil
}

// SplitAt splits the trees of the list so that none has births on both sides of b. On error some are split.
func (l *List) SplitAt(f *meta.Family, b meta.Birth) (below, upper []meta.Tree, err error) {
	for i, t := range l.Trees {
		lo, hi, err := f.Cut(t, meta.Key{Hi: uint64(b)})
		if err != nil {
			l.Trees = slices.Concat(below, upper, l.Trees[i:])
			return nil, nil, err
		}
		if lo.Entries > 0 {
			below = append(below, lo)
		}
		if hi.Entries > 0 {
			upper = append(upper, hi)
		}
	}
	l.Trees = slices.Concat(below, upper)
	return below, upper, nil
}

// Gather brings what the trees have of runs to memory. moved: some tree changed, on error too.
func (l *List) Gather(f *meta.Family, runs []Run) (moved bool, err error) {
	for i := range l.Trees {
		t, had, err := l.GatherTree(f, i, runs)
		if err != nil {
			return moved, err
		}
		if len(had) > 0 {
			l.Set(had)
			l.Trees[i], moved = t, true
		}
	}
	return moved, nil
}

// GatherTree is the part of Gather that reads and makes pages, for one tree of the list, and changes nothing of it: had are the
// runs that are not in the new tree any more, none if it is the old one. They are for Set.
func (l *List) GatherTree(f *meta.Family, i int, runs []Run) (t meta.Tree, had []Run, err error) {
	t = l.Trees[i]
	one := List{Trees: []meta.Tree{t}}
	es, had, err := one.Without(f, runs)
	if err != nil || len(es) == 0 {
		return t, nil, err
	}
	t, err = f.Apply(t, es)
	return t, had, err
}

// Set puts runs, which are in no tree, into memory as they are.
func (l *List) Set(runs []Run) {
	for _, r := range runs {
		l.Fresh.Set(Key(r.Birth, r.Dev), Entry{Len: r.Len})
	}
}

// Without makes the edits that take runs out of a list: the entries that they touch are loaded, carved and compared. had is
// what the list had of the runs.
func (l *List) Without(f *meta.Family, runs []Run) (es []meta.Edit, had []Run, err error) {
	var was, is omap.Map[Entry]
	for _, r := range runs {
		from := Key(r.Birth, r.Dev)
		if k, ok, err := l.Before(f, from); err != nil {
			return nil, nil, err
		} else if ok {
			from = k
		}
		end := uint64(r.Dev) + uint64(r.Len)
		err := l.Ascend(f, from, func(k omap.Key, e Entry) bool {
			if k.Hi != uint64(r.Birth) || k.Lo >= end {
				return false
			}
			if _, loaded := was.Get(k); !loaded && !e.Page {
				was.Set(k, e)
				is.Set(k, e)
			}
			return true
		})
		if err != nil {
			return nil, nil, err
		}
		Carve(&is, r)
	}
	var all []Run
	was.Ascend(omap.Key{}, func(k omap.Key, e Entry) bool {
		all = append(all, Run{alloc.BlockID(k.Lo), e.Len, meta.Birth(k.Hi)})
		if _, ok := is.Get(k); !ok {
			es = append(es, meta.Edit{Key: meta.Key(k), Delete: true})
		}
		return true
	})
	is.Ascend(omap.Key{}, func(k omap.Key, e Entry) bool {
		if old, ok := was.Get(k); !ok || old != e {
			es = append(es, meta.Edit{Key: meta.Key(k), Val: e.Marshal()})
		}
		return true
	})
	slices.SortFunc(es, func(a, b meta.Edit) int {
		if a.Key.Less(b.Key) {
			return -1
		}
		return 1
	})
	return es, Intersect(all, runs), nil
}
