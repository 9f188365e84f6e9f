package meta

import (
	"github.com/cespare/xxhash/v2"

	"slatefs/alloc"
)

// A survey is a walk over what is left of a tree or map: a page of which no copy serves costs what hangs on it, and the walk goes
// on behind that. What it comes to is verified like anything else, so it ends, and nothing wrong is told.

// Survey calls entry for every entry that can be read, in order, and lost for each page that cannot: what it held begins at
// the key from, and n entries hung on it. An error of entry or lost ends it and is returned as it is.
func (f *Family) Survey(t Tree, entry func(Key, []byte) error, lost func(from Key, n uint64, err error) error) error {
	if t.Height == 0 {
		return nil
	}
	return f.survey(t.root(), int(t.Height)-1, entry, lost)
}

func (f *Family) survey(r ref, level int, entry func(Key, []byte) error, lost func(Key, uint64, error) error) error {
	if level > 0 {
		n, err := f.inner(r, level)
		if err != nil {
			return lost(r.key, r.entries, err)
		}
		for _, c := range n.kids {
			if err := f.survey(c, level-1, entry, lost); err != nil {
				return err
			}
		}
		return nil
	}
	n, err := f.leaf(r)
	if err != nil {
		return lost(r.key, r.entries, err)
	}
	for i, k := range n.keys {
		if err := entry(k, n.val(i)); err != nil {
			return err
		}
	}
	return nil
}

// SurveyPages calls fn for every page of the tree, parents first, and lost for each of which no copy serves, beside fn. An error of
// fn or lost ends it and is returned as it is.
func (f *Family) SurveyPages(t Tree, fn func(p Ptr, leaf bool) error, lost func(p Ptr, err error) error) error {
	if t.Height == 0 {
		return nil
	}
	return f.surveyPages(t.root(), int(t.Height)-1, fn, lost)
}

func (f *Family) surveyPages(r ref, level int, fn func(Ptr, bool) error, lost func(Ptr, error) error) error {
	if err := fn(r.ptr, level == 0); err != nil {
		return err
	}
	if level == 0 {
		return nil
	}
	n, err := f.inner(r, level)
	if err != nil {
		return lost(r.ptr, err)
	}
	for _, c := range n.kids {
		if err := f.surveyPages(c, level-1, fn, lost); err != nil {
			return err
		}
	}
	return nil
}

// RootAt is the tree whose root is a page that was found at a block, for who has no pointer to it; false: the page begins no
// tree of this family. Nothing vouches for it: who reads on learns whether what hangs on it is there.
func (f *Family) RootAt(page []byte, at alloc.BlockID) (t Tree, ok bool) {
	h, err := UnmarshalHeader(page)
	if err != nil || h.Tag != f.Kind || int(h.Level) >= maxHeight {
		return Tree{}, false
	}
	t = Tree{Root: Ptr{Addr: at, Sum: xxhash.Sum64(page)}, Height: h.Level + 1}
	if h.Level == 0 {
		n, err := decodeLeaf(page)
		if err != nil {
			return Tree{}, false
		}
		t.Entries = uint64(len(n.keys))
		for i, k := range n.keys {
			t.Weight += f.weigh(k, n.val(i))
		}
		return t, true
	}
	n, err := decodeInner(page)
	if err != nil {
		return Tree{}, false
	}
	for _, c := range n.kids {
		t.Entries += c.entries
		t.Weight += c.weight
	}
	return t, true
}

// Children are the pages that an inner page of a tree names; nil: it is none.
func Children(page []byte) (out []Ptr) {
	n, err := decodeInner(page)
	if err != nil {
		return nil
	}
	for _, c := range n.kids {
		out = append(out, c.ptr)
	}
	return out
}

// Survey calls run for every mapped piece of [lo, hi) that can be read, in order, and lost for what hangs on a page that cannot: how
// many blocks at most are mapped in it is n. An error of run or lost ends it and is returned as it is.
func (ms *Maps) Survey(m Map, lo, hi int64, run func(Piece) error, lost func(lo, hi int64, n uint64, err error) error) error {
	lo, hi = max(lo, 0), min(hi, m.end())
	if lo >= hi {
		return nil
	}
	s := mapSurvey{ms, lo, hi, run, lost}
	return s.visit(&m.root, 0, m.Bits)
}

// mapSurvey is one Survey.
type mapSurvey struct {
	ms     *Maps
	lo, hi int64
	run    func(Piece) error
	lost   func(lo, hi int64, n uint64, err error) error
}

func (s *mapSurvey) visit(e *mapEntry, base int64, bits uint8) error {
	end := base + 1<<bits
	if end <= s.lo || base >= s.hi {
		return nil
	}
	if e.kind == slotInner {
		n, err := s.ms.inner(e, base, bits)
		if err != nil {
			return s.lost(max(s.lo, base), min(s.hi, end), e.count, err)
		}
		return n.each(s.visit)
	}
	runs, err := s.ms.runs(e, base, bits)
	if err != nil {
		return s.lost(max(s.lo, base), min(s.hi, end), e.count, err)
	}
	for _, r := range runs {
		p := r.piece(base)
		if p.End() <= s.lo || p.Start >= s.hi {
			continue
		}
		if err := s.run(p.clip(max(s.lo, p.Start), s.hi)); err != nil {
			return err
		}
	}
	return nil
}
