package chain

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// builder turns a cut into pages. It works beside readers and writers: what it reads nobody changes (frozen, or under
// the structure lock), and what it makes it keeps to itself until install publishes it. So an error leaves the pool as it
// was: the store takes the pages back, and the builder is forgotten.
type builder struct {
	p       *Pool
	c       *cut
	maps    map[*overlay]meta.Map // what a storey settles to
	lost    map[*layer]*cutList   // the dead lists of the cut
	freed   []meta.Ptr            // map pages; another stack that is built later may still stand on one
	groups  map[int]meta.Ptr      // new pages
	rows    catalog               // of objects, beside the frozen part, which lookups go through
	parts   map[meta.Key]int      // catalog rows of each object; 0: it is gone
	singles map[rowKind][]byte
	drops   []meta.Tree // dead lists of dead layers that are left
}

// build makes all pages of the cut and publishes them in memory, or nothing. The structure lock is held.
func (p *Pool) build(c *cut) error {
	b := &builder{
		p: p, c: c, maps: map[*overlay]meta.Map{}, lost: map[*layer]*cutList{},
		groups: map[int]meta.Ptr{}, parts: map[meta.Key]int{}, singles: map[rowKind][]byte{},
	}
	for i := range c.layers {
		b.lost[c.layers[i].of] = c.layers[i].lost
	}
	p.store.Begin()
	if err := b.pages(); err != nil {
		p.store.Undo()
		return err
	}
	b.install()
	return nil
}

// pages makes all pages of the cut; the last of them, the store's own, end the transaction.
func (b *builder) pages() error {
	p, c := b.p, b.c
	for i := range c.layers {
		if _, err := b.settle(c.layers[i].top); err != nil {
			return fmt.Errorf("map of layer %v: %w", c.layers[i].id, err)
		}
	}
	for i := range c.walks {
		if _, err := b.settle(c.walks[i].source); err != nil {
			return fmt.Errorf("map of walk %d: %w", c.walks[i].id, err)
		}
	}
	for _, ptr := range b.freed {
		p.store.Free(ptr)
	}
	if err := b.lists(); err != nil {
		return err
	}
	edits, err := b.writeGroups()
	if err != nil {
		return err
	}
	table, err := p.groups.Apply(p.groupTable, edits)
	if err != nil {
		return fmt.Errorf("group table: %w", err)
	}
	tree, err := b.catalog()
	if err != nil {
		return err
	}
	root, err := p.store.Seal()
	for errors.Is(err, meta.ErrNoPages) {
		if err = p.refill(); err == nil {
			root, err = p.store.Seal()
		}
	}
	if err != nil {
		return fmt.Errorf("metadata store: %w", err)
	}
	c.super.storeRoot, c.super.groupTable, c.super.catalog = root, table, tree
	return nil
}

// settle builds the storeys of a stack from below and returns the map of the top one.
func (b *builder) settle(o *overlay) (meta.Map, error) {
	if o.settled {
		return o.base, nil
	}
	if m, ok := b.maps[o]; ok {
		return m, nil
	}
	m, err := b.settle(o.under)
	if err != nil {
		return m, err
	}
	dead := func(ptr meta.Ptr) { b.pageGone(o.layer, ptr) }
	switch o.kind {
	case storeyEntries:
		if o.entries.Len() == 0 {
			break
		}
		pieces := make([]meta.Piece, 0, o.entries.Len())
		o.entries.Ascend(omap.Key{}, func(k omap.Key, q piece) bool {
			pieces = append(pieces, meta.Piece{Start: start(k), Len: q.n, Dev: q.dev, Birth: uint64(q.birth), Mapped: q.dev != 0})
			return true
		})
		if m, err = b.p.maps.Apply(m, pieces, uint64(o.layer.id), dead); err != nil {
			return m, err
		}
	case storeyRest, storeyWindow:
		rest, window, err := b.p.maps.Cut(m, o.lo, o.hi, uint64(o.layer.id), dead)
		if err != nil {
			return m, err
		}
		if m = rest; o.kind == storeyWindow {
			m = window
			rest, window = window, rest
		}
		b.maps[o.pair] = window
		b.maps[o] = rest
		return m, nil
	}
	b.maps[o] = m
	return m, nil
}

// pageGone is Pool.pageGone for the builder: what goes to a dead list goes to that of the cut, for a layer that wrote
// pages is in it.
func (b *builder) pageGone(l *layer, ptr meta.Ptr) {
	l = l.now()
	switch {
	case LayerID(ptr.Birth) > l.floor():
		b.freed = append(b.freed, ptr)
	case l.dead: // others show it
	default:
		for _, a := range []alloc.BlockID{ptr.Addr, ptr.Twin} {
			if a != 0 {
				b.lost[l].pages.Set(entryKey(LayerID(ptr.Birth), a), entry{page: true, n: 1})
			}
		}
	}
}

// lists merges what was frozen into the trees, and gives back the pages of what was worked off.
func (b *builder) lists() error {
	for i := range b.c.layers {
		if err := b.merge(b.c.layers[i].lost); err != nil {
			return fmt.Errorf("dead list of layer %v: %w", b.c.layers[i].id, err)
		}
	}
	for i := range b.c.jobs {
		r := &b.c.jobs[i]
		err := b.trim(r.ready, r.cursor)
		for _, l := range []*cutList{r.fresh, r.ready, r.bad} {
			if err == nil {
				err = b.merge(l)
			}
		}
		if err != nil {
			return fmt.Errorf("erase job %d: %w", r.id, err)
		}
	}
	for i := range b.c.spent {
		if err := b.p.jobPages(&b.c.spent[i]); err != nil {
			return fmt.Errorf("worked-off list: %w", err)
		}
	}
	return b.drop()
}

// merge brings what a list had in memory, and the pages that the build found for it, into its first tree.
func (b *builder) merge(l *cutList) (err error) {
	if es := mergedEdits(edits(l.frozen), edits(&l.pages)); len(es) > 0 {
		if len(l.trees) == 0 {
			l.trees = append(l.trees, meta.Tree{})
		}
		if l.trees[0], err = b.p.lists.Apply(l.trees[0], es); err != nil {
			return err
		}
	}
	l.trees, err = b.shorten(l.trees)
	return err
}

// mergedEdits merges two sorted rows of edits that have no key in common: a block or page stands in a list once.
func mergedEdits(x, y []meta.Edit) []meta.Edit {
	if len(y) == 0 {
		return x
	}
	out := append(x, y...)
	slices.SortFunc(out, func(a, b meta.Edit) int { return compareKeys(a.Key, b.Key) })
	return out
}

func compareKeys(a, b meta.Key) int { return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo)) }

// shorten merges a row of trees that joins made long into its largest one.
func (b *builder) shorten(ts []meta.Tree) ([]meta.Tree, error) {
	if len(ts) <= maxRow/2 {
		return ts, nil
	}
	slices.SortFunc(ts, func(x, y meta.Tree) int { return cmp.Compare(y.Entries, x.Entries) })
	rest := list{trees: ts[1:]}
	var es []meta.Edit
	err := rest.ascend(b.p.lists, omap.Key{}, func(k omap.Key, e entry) bool {
		es = append(es, meta.Edit{Key: meta.Key(k), Val: e.marshal()})
		return true
	})
	if err != nil {
		return ts, err
	}
	one, err := b.p.lists.Apply(ts[0], es)
	if err != nil {
		return ts, err
	}
	for _, t := range ts[1:] {
		if _, err := b.p.lists.TrimBelow(t, meta.Key(lastKey)); err != nil {
			return ts, err
		}
	}
	return []meta.Tree{one}, nil
}

// trim takes what lies below the cursor out of a job's list; an entry that the cursor divides loses its front.
func (b *builder) trim(l *cutList, cursor omap.Key) error {
	p := b.p
	part := func(k omap.Key, e entry) (omap.Key, entry, bool) {
		if !e.page && k.Hi == cursor.Hi && k.Lo+uint64(e.n) > cursor.Lo {
			return cursor, entry{n: e.n - int64(cursor.Lo-k.Lo)}, true
		}
		return k, e, false
	}
	keep := &omap.Map[entry]{}
	l.frozen.Ascend(omap.Key{}, func(k omap.Key, e entry) bool {
		if k.Less(cursor) {
			if e.page {
				p.store.FreeAddr(alloc.BlockID(k.Lo))
				return true
			}
			var ok bool
			if k, e, ok = part(k, e); !ok {
				return true
			}
		}
		keep.Set(k, e)
		return true
	})
	var ts []meta.Tree
	for _, t := range l.trees {
		row := list{trees: []meta.Tree{t}}
		err := row.ascend(p.lists, omap.Key{}, func(k omap.Key, e entry) bool {
			if !k.Less(cursor) {
				return false
			}
			if e.page {
				p.store.FreeAddr(alloc.BlockID(k.Lo))
			} else if k, e, ok := part(k, e); ok {
				keep.Set(k, e)
			}
			return true
		})
		if err != nil {
			return err
		}
		if t, err = p.lists.TrimBelow(t, meta.Key(cursor)); err != nil {
			return err
		}
		if t.Entries > 0 {
			ts = append(ts, t)
		}
	}
	l.frozen, l.trees = keep, ts
	return nil
}

// dropPages bounds the list pages that one checkpoint gives back for dead lists of dead layers.
const dropPages = 4096

func (b *builder) drop() error {
	var left []meta.Tree
	room := dropPages
	for _, t := range b.c.drops {
		if room > 0 {
			n, err := 0, error(nil)
			if t, n, err = b.p.lists.DropSome(t, room); err != nil {
				return fmt.Errorf("dropped list: %w", err)
			}
			room -= n
		}
		if t.Entries > 0 {
			left = append(left, t)
		}
	}
	b.drops = left
	return nil
}

// catalog merges the rows of the cut and what was frozen of the others into the tree.
func (b *builder) catalog() (meta.Tree, error) {
	p := b.p
	for _, k := range b.c.gone {
		b.dropRow(k)
	}
	for i := range b.c.layers {
		r := &b.c.layers[i]
		b.storeRow(rowKey(rowLayer, uint64(r.id)), r.marshal(b.mapOf(r.top)))
	}
	for i := range b.c.jobs {
		r := &b.c.jobs[i]
		b.storeRow(rowKey(rowJob, r.id), r.marshal())
	}
	for i := range b.c.walks {
		r := &b.c.walks[i]
		b.storeRow(rowKey(rowWalk, r.id), r.marshal(b.mapOf(r.source)))
	}
	for kind, v := range map[rowKind][]byte{
		rowDrop: marshalTrees(b.drops), rowWindow: marshalRuns(b.c.window), rowAnswer: b.c.answers,
		rowLog: b.c.logCount,
	} {
		if last, ok := p.singles[kind]; !ok || !bytes.Equal(last, v) {
			b.storeRow(rowKey(kind, 0), v)
			p.singles[kind] = v
		}
	}
	var es []meta.Edit
	add := func(k omap.Key, v []byte) bool {
		es = append(es, meta.Edit{Key: meta.Key(k), Val: v, Delete: v == nil})
		return true
	}
	p.cat.frozen.Ascend(omap.Key{}, add)
	b.rows.fresh.Ascend(omap.Key{}, add)
	slices.SortFunc(es, func(a, b meta.Edit) int { return compareKeys(a.Key, b.Key) }) // objects and names have keys of their own kinds
	t, err := p.cat.family.Apply(p.cat.tree, es)
	if err != nil {
		return t, fmt.Errorf("catalog: %w", err)
	}
	return t, nil
}

func (b *builder) mapOf(o *overlay) meta.Map {
	if o.settled {
		return o.base
	}
	return b.maps[o]
}

// install publishes what was built: under the plan lock roots change, nothing else.
func (b *builder) install() {
	p := b.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for o, m := range b.maps {
		o.base, o.settled = m, true
		o.under, o.pair, o.entries = nil, nil, omap.Map[piece]{}
	}
	for _, l := range b.c.lists() {
		l.of.trees, l.of.frozen = l.trees, nil
	}
	for g, ptr := range b.groups {
		p.groupPtrs[g] = ptr
	}
	for k, n := range b.parts {
		if p.parts[k] = n; n == 0 {
			delete(p.parts, k)
		}
	}
	maps.Copy(p.singles, b.singles)
	p.cat.tree, p.cat.frozen = b.c.super.catalog, nil
	p.groupTable, p.groupsCut = b.c.super.groupTable, nil
	p.drops = append(b.drops, p.drops...)
}

// errNoPages is what the store's refill answers when the pool has no clean blocks for it.
var errNoPages = errors.New("no clean blocks for metadata")
