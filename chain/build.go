package chain

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

// builder turns a cut into pages. It works beside everybody but those who cut trees: what it reads nobody changes, and what
// it makes it keeps to itself until install publishes it. So an error leaves the pool as it
// was: the store takes the pages back, and the builder is forgotten.
type builder struct {
	p       *checkpointer
	c       *cut
	maps    overlay.Builder
	rowOf   map[*layer]*layerRow // of the cut
	freed   []meta.Ptr           // map pages; another stack that is built later may still stand on one
	groups  []cutGroup           // new pages
	rows    catalog.Table        // of objects, beside the frozen part, which lookups go through
	parts   map[meta.Key]int     // catalog rows of each object; 0: it is gone
	singles map[catalog.Kind][]byte
	drops   []meta.Tree  // dead lists of dead layers that are left
	damages []string     // what damaged pages touch
	spent   []*runs.List // what of the worked-off lists could not be read
	closing []LayerID    // accounts that have nothing left
}

// build makes all pages of the cut and publishes them in memory, or nothing.
func (cp *checkpointer) build(c *cut) error {
	b := &builder{
		p: cp, c: c, rowOf: map[*layer]*layerRow{},
		parts: map[meta.Key]int{}, singles: map[catalog.Kind][]byte{},
	}
	for i := range c.layers {
		b.rowOf[c.layers[i].of] = &c.layers[i]
	}
	b.maps.For = b.mapsOf
	cp.blocks.store.Begin()
	err := b.pages()
	if err == nil {
		err = b.finish()
	}
	if err != nil {
		cp.blocks.store.Undo()
	}
	return err
}

// finish makes the pages of the store's own, which end the transaction, and publishes the others in memory. Under the
// structure lock: an extent that they name was granted by a record that is durable (admission.grantHeld).
func (b *builder) finish() error {
	p := b.p
	for {
		p.structure.Lock()
		root, err := p.blocks.store.Seal()
		if err == nil {
			b.c.super.StoreRoot = root
			b.install()
			p.buildEnds()
		}
		p.structure.Unlock()
		if errors.Is(err, meta.ErrNoPages) {
			if err = p.space.refill(); err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("metadata store: %w", err)
		}
		return nil
	}
}

// pages makes the pages of the cut, but for the store's own.
func (b *builder) pages() error {
	p, c := b.p, b.c
	for i := range c.layers {
		if _, err := b.maps.Settle(c.layers[i].top); err != nil {
			return fmt.Errorf("map of layer %v: %w", c.layers[i].id, err)
		}
	}
	for i := range c.walks {
		if _, err := b.maps.Settle(c.walks[i].source); err != nil {
			return fmt.Errorf("map of walk %d: %w", c.walks[i].id, err)
		}
	}
	for _, ptr := range b.freed {
		p.blocks.store.Free(ptr)
	}
	if err := b.lists(); err != nil {
		return err
	}
	edits, err := b.writeGroups()
	if err != nil {
		return err
	}
	table, err := p.blocks.groups.Apply(p.blocks.groupTable, edits)
	if err != nil {
		return fmt.Errorf("group table: %w", err)
	}
	tree, err := b.catalog()
	if err != nil {
		return err
	}
	c.super.GroupTable, c.super.Catalog = table, tree
	return nil
}

// mapsOf are the maps in which a layer is changed. What a damaged page held is lost, and answers EIO from now on; the rest of the map is
// built, and all other maps are.
func (b *builder) mapsOf(o overlay.Owner) (*meta.Maps, LayerID, func(meta.Ptr)) {
	l := o.(*layer)
	ms := *b.p.blocks.maps
	ms.OnLost = func(base int64, bits uint8, err error) {
		b.p.mu.Lock()
		vol := l.vol
		b.p.mu.Unlock()
		b.damage("volume %d, layer %v: blocks %d to %d: %v", vol, l.id, base, base+1<<bits, err)
	}
	return &ms, l.id, func(ptr meta.Ptr) { b.pageGone(l, ptr) }
}

// damage notes what a damaged page keeps the build from doing for one object. Nobody else notices.
func (b *builder) damage(format string, args ...any) {
	b.damages = append(b.damages, fmt.Sprintf(format, args...))
}

// pageGone is layerTree.pageGone for the builder, at the instant of the cut: what goes to a dead list goes to that of the cut, for
// a layer that wrote pages is in it.
func (b *builder) pageGone(l *layer, ptr meta.Ptr) {
	r := b.rowOf[l.now()]
	if r == nil {
		fault.Misuse("a page of layer %v is gone, which the cut has not", l.id)
	}
	switch {
	case ptr.Birth > r.floor():
		b.freed = append(b.freed, ptr)
	case r.flags&flagDead != 0: // others show it
	default:
		for _, a := range []alloc.BlockID{ptr.Addr, ptr.Twin} {
			if a != 0 {
				r.lost.pages.Set(runs.Key(ptr.Birth, a), runs.Entry{Page: true, Len: 1})
			}
		}
	}
}

// lists merges what was frozen into the trees, and gives back the pages of what was worked off.
//
// A tree that cannot be read, now or ever, is left as it is: its neighbour in the row, or a new one, takes what is to be
// added, and its pages go back at a later checkpoint. So one damaged list stops no checkpoint. Each change of one tree
// takes place whole or not at all (meta.Family).
func (b *builder) lists() error {
	for i := range b.c.layers {
		if err := b.merge(b.c.layers[i].lost, fmt.Sprintf("dead list of layer %v", b.c.layers[i].id)); err != nil {
			return err
		}
	}
	for i := range b.c.jobs {
		r := &b.c.jobs[i]
		who := fmt.Sprintf("erase job %d", r.id)
		if err := b.trim(r.ready, r.cursor, who); err != nil {
			return err
		}
		for _, l := range []*cutList{r.fresh, r.ready, r.bad} {
			if err := b.merge(l, who); err != nil {
				return err
			}
		}
	}
	for i := range b.c.spent {
		if err := b.giveBack(b.c.spent[i]); err != nil {
			return err
		}
	}
	return b.drop()
}

// later tells whether what failed on a list is left to a later checkpoint: a page of it could not be read. Anything else
// is the checkpoint's.
func (b *builder) later(who string, err error) bool {
	if k := fault.Of(wrapCorrupt(err)); k != fault.Transient && k != fault.Object || errors.Is(err, meta.ErrNoPages) {
		return false
	}
	if damaged(err) {
		b.damage("%s: %v", who, err)
	}
	b.p.log.Warn("a list cannot be read; the checkpoint leaves it as it is", "pool", b.p.name, "list", who, "error", err)
	return true
}

// merge brings what a list had in memory, and the pages that the build found for it, into its first tree that can be read.
func (b *builder) merge(l *cutList, who string) error {
	for _, m := range []*omap.Map[runs.Entry]{l.frozen, &l.pages} {
		err := omap.InChunks(m, runs.EditOf, func(es []meta.Edit) error { return b.insert(l, es, who) })
		if err != nil {
			return fmt.Errorf("%s: %w", who, err)
		}
	}
	ts, err := b.shorten(l.trees, who)
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	l.trees = ts
	return nil
}

func (b *builder) insert(l *cutList, es []meta.Edit, who string) error {
	for i, t := range l.trees {
		t, err := b.p.blocks.lists.Apply(t, es)
		if err == nil {
			l.trees[i] = t
			return nil
		}
		if !b.later(who, err) {
			return err
		}
	}
	t, err := b.p.blocks.lists.Apply(meta.Tree{}, es)
	if err == nil {
		l.trees = append(l.trees, t)
	}
	return err
}

// shorten merges a row of trees that joins made long into its largest one.
func (b *builder) shorten(row []meta.Tree, who string) ([]meta.Tree, error) {
	if len(row) <= maxRow/2 {
		return row, nil
	}
	ts := slices.Clone(row)
	slices.SortFunc(ts, func(x, y meta.Tree) int { return cmp.Compare(y.Entries, x.Entries) })
	rest := runs.List{Trees: ts[1:]}
	var es []meta.Edit
	err := rest.Ascend(b.p.blocks.lists, omap.Key{}, func(k omap.Key, e runs.Entry) bool {
		es = append(es, meta.Edit{Key: meta.Key(k), Val: e.Marshal()})
		return true
	})
	var one meta.Tree
	if err == nil {
		one, err = b.p.blocks.lists.Apply(ts[0], es)
	}
	switch {
	case err == nil:
	case b.later(who, err):
		return row, nil
	default:
		return nil, err
	}
	b.drops = append(b.drops, ts[1:]...) // their entries are in one; the pages go back
	return []meta.Tree{one}, nil
}

// trim takes what lies below the cursor out of a job's list; an entry that the cursor divides loses its front.
func (b *builder) trim(l *cutList, cursor omap.Key, who string) error {
	keep := &omap.Map[runs.Entry]{}
	b.free(split(l.frozen.Ascend, cursor, keep, true))
	var ts []meta.Tree
	for _, t := range l.trees {
		var front omap.Map[runs.Entry]
		row, short := runs.List{Trees: []meta.Tree{t}}, t
		var err error
		pages := split(func(from omap.Key, fn func(omap.Key, runs.Entry) bool) { err = row.Ascend(b.p.blocks.lists, from, fn) }, cursor, &front, false)
		if err == nil {
			short, err = b.p.blocks.lists.TrimBelow(t, meta.Key(cursor))
		}
		switch {
		case err == nil:
			b.free(pages)
			keep.Join(&front)
		case b.later(who, err): // the cursor says what of it is worked off
			short = t
		default:
			return fmt.Errorf("%s: %w", who, err)
		}
		if short.Entries > 0 {
			ts = append(ts, short)
		}
	}
	l.frozen, l.trees = keep, ts
	return nil
}

// split lists the map pages below a cursor, and puts into keep what the cursor leaves of the entry that it divides; and,
// if all, what lies above.
func split(ascend func(omap.Key, func(omap.Key, runs.Entry) bool), cursor omap.Key, keep *omap.Map[runs.Entry], all bool) (pages []alloc.BlockID) {
	ascend(omap.Key{}, func(k omap.Key, e runs.Entry) bool {
		switch {
		case !k.Less(cursor):
			if all {
				keep.Set(k, e)
			}
			return all
		case e.Page:
			pages = append(pages, alloc.BlockID(k.Lo))
		case k.Hi == cursor.Hi && k.Lo+uint64(e.Len) > cursor.Lo:
			keep.Set(cursor, runs.Entry{Len: e.Len - int64(cursor.Lo-k.Lo)})
		}
		return true
	})
	return pages
}

func (b *builder) free(pages []alloc.BlockID) {
	for _, a := range pages {
		b.p.blocks.store.FreeAddr(a)
	}
}

// giveBack gives back the map pages in a list that nobody needs any more, and then the pages of the list itself. Of a tree
// that cannot be read that is tried again by the next checkpoint of this process. After that its pages are leaks, which
// check finds.
func (b *builder) giveBack(l *runs.List) error {
	b.free(split(l.AscendMemory, lastKey, &omap.Map[runs.Entry]{}, false))
	for _, t := range l.Trees {
		row, err := runs.List{Trees: []meta.Tree{t}}, error(nil)
		pages := split(func(from omap.Key, fn func(omap.Key, runs.Entry) bool) { err = row.Ascend(b.p.blocks.lists, from, fn) }, lastKey, &omap.Map[runs.Entry]{}, false)
		if err == nil {
			_, err = b.p.blocks.lists.TrimBelow(t, meta.Key(lastKey))
		}
		switch {
		case err == nil:
			b.free(pages)
		case b.later("worked off", err):
			b.spent = append(b.spent, &runs.List{Trees: []meta.Tree{t}})
		default:
			return fmt.Errorf("worked-off list: %w", err)
		}
	}
	return nil
}

// dropPages bounds the list pages that one checkpoint gives back for dead lists of dead layers.
const dropPages = 4096

func (b *builder) drop() error {
	var left []meta.Tree
	room := dropPages
	for _, t := range slices.Concat(b.c.drops, b.drops) {
		if room > 0 {
			short, n, err := b.p.blocks.lists.DropSome(t, room)
			switch {
			case err == nil:
				t = short
				room -= n
			case !b.later("dropped", err):
				return fmt.Errorf("dropped list: %w", err)
			}
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
		b.storeRow(catalog.Key(catalog.Layer, uint64(r.id)), r.marshal(b.maps.Map(r.top)))
	}
	for i := range b.c.jobs {
		r := &b.c.jobs[i]
		b.storeRow(catalog.Key(catalog.Job, r.id), r.marshal())
	}
	for i := range b.c.walks {
		r := &b.c.walks[i]
		b.storeRow(catalog.Key(catalog.Walk, r.id), r.marshal(b.maps.Map(r.source)))
	}
	for kind, v := range map[catalog.Kind][]byte{
		catalog.Drop: marshalTrees(b.drops), catalog.Window: marshalRuns(b.c.window.Runs()), catalog.Answer: marshalAnswers(b.c.answers),
		catalog.Log: b.c.logCount, catalog.Chain: b.c.logChain,
	} {
		if last, ok := p.names.singles[kind]; !ok || !bytes.Equal(last, v) {
			b.storeRow(catalog.Key(kind, 0), v)
			b.singles[kind] = v
		}
	}
	if err := b.originRows(); err != nil {
		return meta.Tree{}, err
	}
	return p.names.cat.Merge(&b.rows) // objects and names have keys of their own kinds
}

// storeRow writes an object's row outside the journal: at a checkpoint, whose records describe it already. More parts
// in the last checkpoint's row are deleted.
func (b *builder) storeRow(k meta.Key, v []byte) {
	rows := catalog.Parts(k, v)
	for _, r := range rows {
		b.rows.Put(r.Key, r.Val)
	}
	for i := len(rows); i < b.p.names.parts[k]; i++ {
		b.rows.Put(meta.Key{Hi: k.Hi, Lo: k.Lo + uint64(i)}, nil)
	}
	b.parts[k] = len(rows)
}

func (b *builder) dropRow(k meta.Key) {
	for i := range b.p.names.parts[k] {
		b.rows.Put(meta.Key{Hi: k.Hi, Lo: k.Lo + uint64(i)}, nil)
	}
	b.parts[k] = 0
}

// install publishes what was built: roots change, nothing else. Each by itself shows what it showed before, so that is done in
// pieces, for which it takes the plan lock; the structure lock is held.
func (b *builder) install() {
	p, c := b.p, b.c
	p.tree.inPieces(b.maps.InstallOne)
	p.tree.eachRow(len(c.layers), func(i int) {
		l := c.layers[i].lost
		l.place.List().Install(l.trees)
		p.dropBuried(c.layers[i].of)
	})
	p.tree.eachRow(len(c.jobs), func(i int) {
		for _, l := range []*cutList{c.jobs[i].fresh, c.jobs[i].ready, c.jobs[i].bad} {
			l.place.List().Install(l.trees)
		}
	})
	p.tree.eachRow(len(b.groups), func(i int) { p.blocks.groupPtrs[b.groups[i].group] = b.groups[i].page })
	for k, n := range b.parts { // the builder's
		if p.names.parts[k] = n; n == 0 {
			delete(p.names.parts, k)
		}
	}
	maps.Copy(p.names.singles, b.singles)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.step(len(b.damages))
	p.names.cat.Install(c.super.Catalog)
	p.origins.frozen = nil
	p.origins.mayClose(b.closing)
	for _, d := range b.damages {
		p.health.noteDamage(d)
	}
	p.blocks.groupTable, p.blocks.groupsCut = c.super.GroupTable, nil
	p.tree.drops = append(b.drops, p.tree.drops...)
	p.jobs.spent = append(b.spent, p.jobs.spent...)
}

// errNoPages is what the store's refill answers when the pool has no clean blocks for it.
var errNoPages = errors.New("no clean blocks for metadata")
