package chain

import (
	"encoding/binary"
	"fmt"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// list holds runs of blocks and single map pages in the order (birth, device block): the dead list of a layer, the
// content of an erase job. It is a short row of trees on disk and what came since in memory. A block stands in one
// list only, once; so the parts never overlap.
//
// Adding is O(log n) and reads nothing. splitAt, gather and join change trees: the structure lock is held.
type list struct {
	trees  []meta.Tree
	fresh  omap.Map[entry]
	frozen *omap.Map[entry] // what a checkpoint is merging into the trees; nil otherwise
	edits  uint64           // changes of what it holds, by this process
}

// entry is the value in a list: a run of n blocks, or one map page.
type entry struct {
	n    int64
	page bool
}

const (
	entryBlocks = 1
	entryPage   = 2
)

func entryKey(birth LayerID, b alloc.BlockID) omap.Key {
	return omap.Key{Hi: uint64(birth), Lo: uint64(b)}
}

func (e entry) marshal() []byte {
	if e.page {
		return []byte{entryPage}
	}
	return binary.AppendUvarint([]byte{entryBlocks}, uint64(e.n))
}

func parseEntry(b []byte) (entry, error) {
	if len(b) == 1 && b[0] == entryPage {
		return entry{n: 1, page: true}, nil
	}
	if len(b) > 1 && b[0] == entryBlocks {
		if n, k := binary.Uvarint(b[1:]); k == len(b)-1 && b[k] != 0 && n > 0 && n <= 1<<40 {
			return entry{n: int64(n)}, nil
		}
	}
	return entry{}, fmt.Errorf("list entry % x: %w", b, ErrCorrupt)
}

// weighEntry is the weight of an entry in a tree: its guest blocks.
func weighEntry(_ meta.Key, val []byte) uint64 {
	e, err := parseEntry(val)
	if err != nil || e.page {
		return 0
	}
	return uint64(e.n)
}

// blocks is the weight of an entry in memory.
func (e entry) blocks() int64 {
	if e.page {
		return 0
	}
	return e.n
}

// add puts a run or a page into the list, joined to the run before it where that ends there.
func (l *list) add(birth LayerID, b alloc.BlockID, e entry) {
	l.edits++
	if !e.page {
		if k, q, ok := l.fresh.Floor(entryKey(birth, b)); ok && !q.page && k.Hi == uint64(birth) && k.Lo+uint64(q.n) == uint64(b) {
			l.fresh.Set(k, entry{n: q.n + e.n})
			return
		}
	}
	l.fresh.Set(entryKey(birth, b), e)
}

func (l *list) empty() bool { return len(l.trees) == 0 && l.fresh.Len() == 0 && l.frozen == nil }

// cutAt takes the entries with births from b on out of the list and returns them. The trees were split by splitAt.
func (l *list) cutAt(b LayerID, below, above []meta.Tree) (upper list) {
	l.edits++
	l.trees, upper.trees = below, above
	upper.fresh = *l.fresh.CutAt(omap.Key{Hi: uint64(b)})
	return upper
}

// join moves all of o into l.
func (l *list) join(o *list) {
	l.trees = append(l.trees, o.trees...)
	l.fresh.Join(&o.fresh)
	l.edits += 1 + o.edits
	*o = list{}
}

// weigh is the number of guest blocks with births in (lo, hi].
func (l *list) weigh(f *meta.Family, lo, hi LayerID) (int64, error) {
	var n int64
	for _, t := range l.trees {
		w, err := f.Weigh(t, meta.Key{Hi: uint64(lo) + 1}, meta.Key{Hi: uint64(hi) + 1})
		if err != nil {
			return 0, err
		}
		n += int64(w)
	}
	l.ascendMemory(omap.Key{Hi: uint64(lo) + 1}, func(k omap.Key, e entry) bool {
		if k.Hi > uint64(hi) {
			return false
		}
		n += e.blocks()
		return true
	})
	return n, nil
}

func (l *list) ascendMemory(from omap.Key, fn func(omap.Key, entry) bool) {
	l.fresh.Ascend(from, fn)
	if l.frozen != nil {
		l.frozen.Ascend(from, fn)
	}
}

// ascend calls fn for every entry from the key from on, in order.
func (l *list) ascend(f *meta.Family, from omap.Key, fn func(omap.Key, entry) bool) error {
	type source struct {
		key  omap.Key
		e    entry
		ok   bool
		next func() (omap.Key, entry, bool, error)
	}
	var srcs []*source
	for _, t := range l.trees {
		c := f.Seek(t, meta.Key(from))
		srcs = append(srcs, &source{next: func() (omap.Key, entry, bool, error) {
			k, v, ok, err := c.Next()
			if err != nil || !ok {
				return omap.Key{}, entry{}, false, err
			}
			e, err := parseEntry(v)
			return omap.Key(k), e, err == nil, err
		}})
	}
	for _, m := range []*omap.Map[entry]{&l.fresh, l.frozen} {
		if m == nil {
			continue
		}
		pos := from
		srcs = append(srcs, &source{next: func() (omap.Key, entry, bool, error) {
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

// edits turns entries in memory into edits of a tree.
func edits(m *omap.Map[entry]) []meta.Edit {
	out := make([]meta.Edit, 0, m.Len())
	m.Ascend(omap.Key{}, func(k omap.Key, e entry) bool {
		out = append(out, meta.Edit{Key: meta.Key(k), Val: e.marshal()})
		return true
	})
	return out
}

// oldRun is a run that a map no longer shows.
type oldRun struct {
	dev   alloc.BlockID
	n     int64
	birth LayerID
}

func encodeOld(e *codec.Encoder, rs []oldRun) {
	e.Uint(uint64(len(rs)))
	for _, r := range rs {
		e.Uint(uint64(r.dev))
		e.Int(r.n)
		e.Uint(uint64(r.birth))
	}
}

func decodeOld(d *codec.Decoder) []oldRun {
	n := d.LenOf(3)
	if n == 0 {
		return nil
	}
	rs := make([]oldRun, 0, n)
	for range n {
		rs = append(rs, oldRun{alloc.BlockID(d.Uint()), d.Int(), LayerID(d.Uint())})
	}
	return rs
}

func runBlocks(rs []alloc.Run) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}

// cut freezes what is in memory of the list, for the build to merge into the trees; what comes from now on is fresh.
func (l *list) cut() *cutList {
	f := l.fresh
	l.frozen, l.fresh = &f, omap.Map[entry]{}
	return &cutList{of: l, trees: slices.Clone(l.trees), frozen: l.frozen}
}

func (l *list) thaw() {
	if l.frozen != nil {
		l.fresh.Join(l.frozen)
		l.frozen = nil
	}
}
