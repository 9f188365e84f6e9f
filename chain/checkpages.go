package chain

import (
	"fmt"
	"slices"
	"sort"
	"sync"

	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// page notes that a page is in use, and reads its copies. Map pages are shared by layers: shared pages are noted once.
func (c *checker) page(p meta.Ptr, who string) {
	if c.again || !c.goesOn() {
		return
	}
	defer c.read(p.Copies())
	for _, b := range []alloc.BlockID{p.Addr, p.Twin} {
		if b == 0 {
			continue
		}
		if other, ok := c.pages[b]; ok {
			c.r.bad("%s: page %d belongs to %s too", who, b, other)
		}
		c.pages[b] = who
		if !c.anew && !c.p.blocks.store.InUse(b) {
			c.r.bad("%s: page %d is free in the store", who, b)
		}
	}
	c.r.Pages++
	if p.Sum == 0 {
		return
	}
	if c.unread = append(c.unread, unreadPage{ptr: p, who: who}); len(c.unread) >= c.wide {
		c.readCopies()
	}
}

// unreadPage is a page, and what was found of it.
type unreadPage struct {
	ptr meta.Ptr
	who string
	bad []alloc.BlockID
}

// copiesAtOnce is how many pages readCopies reads at the same time.
const copiesAtOnce = 16

// readCopies reads all copies of the pages that wait, several at once, and says which are damaged, in the order in which they came.
func (c *checker) readCopies() {
	var wg sync.WaitGroup
	for i := range min(copiesAtOnce, c.wide) {
		wg.Go(func() {
			for k := i; k < len(c.unread); k += copiesAtOnce {
				c.unread[k].bad = c.p.blocks.store.Check(c.unread[k].ptr)
			}
		})
	}
	wg.Wait()
	for _, u := range c.unread {
		say := c.r.bad
		if u.ptr.Twin != 0 && len(u.bad) == 1 {
			say = c.r.lost
		}
		for _, b := range u.bad {
			say("%s: page copy at block %d is damaged", u.who, b)
		}
	}
	c.unread = c.unread[:0]
}

// ahead reads pages of parts of a map before they are asked for one after the other, from a block on, and returns where it ends.
func (c *checker) ahead(o *overlay.Storey, from int64, parts []region) int64 {
	if c.wide == 1 {
		return from + 1<<20 // to be asked again whether it goes on
	}
	m, _ := o.Bottom()
	return c.p.blocks.maps.Ahead(m, from, c.wide, func(lo, hi int64) bool {
		i := sort.Search(len(parts), func(i int) bool { return parts[i].hi > lo })
		return i < len(parts) && parts[i].lo < hi
	})
}

// mapPages notes the pages of a map that were not noted before: a page below one that was is noted too.
func (c *checker) mapPages(o *overlay.Storey, enter func(meta.Ptr) bool, who string) {
	if c.again {
		return
	}
	m, _ := o.Bottom()
	err := c.p.blocks.maps.Pages(m, func(ptr meta.Ptr, _ int64, _ uint8) (bool, error) {
		if !enter(ptr) || c.pages[ptr.Addr] == "map" {
			return false, nil
		}
		c.page(ptr, "map")
		return true, nil
	})
	if err != nil {
		c.r.bad("%s: map: %v", who, err)
	}
}

func (c *checker) walkPages(w *walk, who string) {
	if c.again {
		return
	}
	m, _ := w.source.Bottom()
	err := c.p.blocks.maps.Pages(m, func(ptr meta.Ptr, base int64, bits uint8) (bool, error) {
		if base+1<<bits <= w.pages || w.burial && ptr.Birth <= w.layer.died {
			return false, nil
		}
		if c.pages[ptr.Addr] != "map" {
			c.page(ptr, "map")
		}
		return true, nil
	})
	if err != nil {
		c.r.bad("%s: map: %v", who, err)
	}
}

func (c *checker) tree(f *meta.Family, t meta.Tree, who string) {
	err := f.Pages(t, func(ptr meta.Ptr, _ bool) error {
		c.page(ptr, who)
		return nil
	})
	if err != nil {
		c.r.bad("%s: %v", who, err)
	}
}

// tables notes the pages of everything that is not a map.
func (c *checker) tables() {
	if c.again {
		return
	}
	p := c.p
	for _, l := range p.tree.layers {
		for _, t := range l.lost.Trees {
			c.tree(p.blocks.lists, t, "dead list of layer "+l.id.String())
		}
	}
	for _, j := range p.jobs.all {
		for _, l := range []*runs.List{&j.fresh, &j.ready, &j.bad} {
			for _, t := range l.Trees {
				c.tree(p.blocks.lists, t, fmt.Sprintf("erase job %d", j.id))
			}
		}
	}
	for _, t := range p.tree.drops {
		c.tree(p.blocks.lists, t, "dropped list")
	}
	for i := range p.jobs.spent {
		for _, t := range p.jobs.spent[i].Trees {
			c.tree(p.blocks.lists, t, "worked-off list")
		}
		c.list(p.jobs.spent[i], "worked-off list", func(k omap.Key, e runs.Entry) {
			if e.Page {
				c.page(meta.Ptr{Addr: alloc.BlockID(k.Lo)}, "worked-off list")
			}
		})
	}
	c.tree(p.blocks.groups, p.blocks.groupTable, "group table")
	for g, ptr := range p.blocks.groupPtrs {
		if !ptr.IsNil() {
			c.page(ptr, fmt.Sprintf("group %d", g))
		}
	}
	c.tree(p.names.cat.Family, p.names.cat.Tree, "catalog")
	p.blocks.store.MapPages(func(ptr meta.Ptr) { c.page(ptr, "metadata store") })
}

func (c *checker) leakedPages() {
	if err := c.p.blocks.store.Err(); err != nil {
		c.r.bad("metadata store: %v", err)
	}
	if n := c.p.blocks.store.UsedPages(); n != len(c.pages) {
		c.r.leak("%d metadata pages in use, %d found", n, len(c.pages))
		for _, e := range c.p.blocks.store.Extents() {
			for b := e.Start; b < e.End(); b++ {
				if _, ok := c.pages[b]; !ok && c.p.blocks.store.InUse(b) {
					c.r.leak("metadata page %d is in use and nothing names it", b)
					if c.unnamed != nil {
						c.unnamed(b)
					}
				}
			}
		}
	}
}

// states compares what was seen with the state of every block.
func (c *checker) states(readClean bool) {
	p := c.p
	c.see(0, super.Slots+p.format.Ring/BlockSize, 0, seenMeta, 0, "superblocks and journal")
	for _, e := range p.blocks.store.Extents() {
		c.see(e.Start, e.Len, 0, seenMeta, 0, "metadata store")
	}
	for g := range p.blocks.alloc.Groups() {
		if !c.goesOn() {
			return
		}
		if first := alloc.BlockID(g * p.format.GroupBlocks); first >= c.hi || first+alloc.BlockID(p.format.GroupBlocks) <= c.lo {
			continue
		}
		if !p.blocks.alloc.Loaded(g) {
			if err := p.blocks.loadGroup(g); err != nil {
				c.r.bad("%v", err)
				continue
			}
		}
		c.group(g, readClean)
		p.blocks.trimGroups()
	}
}

// group compares the states of a group, run by run.
func (c *checker) group(g int, readClean bool) {
	p := c.p
	first := alloc.BlockID(g * p.format.GroupBlocks)
	end := min(first+alloc.BlockID(p.format.GroupBlocks), alloc.BlockID(p.blocks.alloc.Total()), c.hi)
	first = max(first, c.lo)
	for b := first; b < end; {
		st, n, err := c.p.blocks.stateRun(g, b, end)
		if err != nil {
			c.r.bad("block %d: %v", b, err)
			return
		}
		c.r.Blocks += n
		c.marked(b, n, st)
		for r := (alloc.Run{Start: b, Len: n}); readClean && st == alloc.Clean && r.Len > 0; {
			k := min(r.Len, maxIO/BlockSize)
			c.zero(alloc.Run{Start: r.Start, Len: k})
			r.Start, r.Len = r.Start+alloc.BlockID(k), r.Len-k
		}
		b += alloc.BlockID(n)
	}
}

// marked compares a run of blocks in one state with what was seen of them.
func (c *checker) marked(b alloc.BlockID, n int64, st alloc.State) {
	for end := b + alloc.BlockID(n); b < end; {
		at, m, ok := c.markAt(b)
		last := end
		if ok {
			last = min(end, at+alloc.BlockID(m.n))
		} else if k, _, ok := c.seen.Ceil(devKey(b)); ok {
			last, m = min(end, alloc.BlockID(k.Hi)), mark{}
		} else {
			m = mark{}
		}
		c.state(b, int64(last-b), st, m.as)
		b = last
	}
}

// state judges blocks in a state that were seen as something, or (0) not at all.
func (c *checker) state(b alloc.BlockID, n int64, st alloc.State, as uint8) {
	if as == seenMeta && st == alloc.Clean && c.view {
		return // granted while the checkpoint was built: the journal has it
	}
	if (as == seenMeta) != (st == alloc.Meta) {
		c.r.bad("blocks %d+%d are %v, and seen as %#x", b, n, st, as)
		return
	}
	switch st {
	case alloc.InUse:
		if as == 0 {
			c.r.leak("blocks %d+%d are in use, and neither live nor dirty", b, n)
			if c.unowned != nil {
				c.unowned(alloc.Run{Start: b, Len: n})
			}
		}
	case alloc.Claimed, alloc.Clean:
		if as != 0 {
			c.r.bad("blocks %d+%d are %v, and %#x names them", b, n, st, as)
		}
	case alloc.Meta:
	}
}

// zero reads clean blocks: clean means zero.
func (c *checker) zero(r alloc.Run) {
	if r.Len == 0 {
		return
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := (*buf)[:r.Len*BlockSize]
	if _, err := c.p.dev.ReadAt(b, int64(r.Start)*BlockSize); err != nil {
		c.r.bad("blocks %d+%d: %v", r.Start, r.Len, err)
		return
	}
	for i := int64(0); i < r.Len; i++ {
		if !allZero(b[i*BlockSize:][:BlockSize]) {
			c.r.bad("block %d is clean and not zero", int64(r.Start)+i)
		}
	}
}

// names checks that directories and inodes agree.
func (c *checker) names() {
	p := c.p
	entries := map[Ino]nameEntry{}
	count, dirs := map[Ino]uint64{}, map[Ino]uint64{}
	parent := map[Ino]Ino{}
	err := p.names.cat.Scan(catalog.Key(catalog.Name, 0), func(k meta.Key, v []byte) bool {
		if catalog.Kind(k.Hi>>56) != catalog.Name {
			return false
		}
		dir := Ino(k.Hi & (1<<56 - 1))
		es, err := parseNames(v)
		if err != nil {
			c.r.bad("directory %d: %v", dir, err)
			return true
		}
		for _, e := range es {
			if _, twice := entries[e.ino]; twice {
				c.r.bad("inode %d has two names, one is %s", e.ino, e.name)
			}
			entries[e.ino], parent[e.ino] = e, dir
			count[dir]++
			dirs[dir] += uint64(dirCount(e.typ))
			if nameKey(dir, e.name) != k {
				c.r.bad("directory %d: %s lies under another name's hash", dir, e.name)
			}
		}
		return true
	})
	if err != nil {
		c.r.bad("catalog: %v", err)
	}
	seen := map[Ino]bool{}
	err = p.names.cat.Rows(catalog.Inode, func(number uint64, v []byte, _ int) error {
		ino := Ino(number)
		seen[ino] = true
		n, err := parseInode(v)
		if err != nil {
			c.r.bad("inode %d: %v", ino, err)
			return nil
		}
		if ino > p.names.nextIno {
			c.r.bad("inode %d: above the last number given, %d", ino, p.names.nextIno)
		}
		e, named := entries[ino]
		switch {
		case ino == RootIno:
		case !named && n.parent != 0, named && (e.name != n.name || parent[ino] != n.parent || e.typ != n.typ):
			c.r.bad("inode %d: it says %s in %d, the directory says %s in %d", ino, n.name, n.parent, e.name, parent[ino])
		case !named:
			if _, ok, err := p.names.cat.Get(catalog.Key(catalog.Orphan, number)); (err != nil || !ok) && !c.keptVolume(ino) {
				c.r.leak("inode %d has no name and is no orphan", ino)
			}
		}
		if n.typ == TypeDir && (n.entries != count[ino] || n.dirs != dirs[ino]) {
			c.r.bad("directory %d: %d entries, %d directories, counted %d and %d", ino, count[ino], dirs[ino], n.entries, n.dirs)
		}
		if n.typ != TypeDir && count[ino] > 0 {
			c.r.bad("inode %d: %d names lie in it, and it is no directory", ino, count[ino])
		}
		if n.typ == TypeFile && p.tree.head(ino) == nil && p.jobs.growing[ino] == nil {
			c.r.bad("inode %d: volume without a head", ino)
		}
		return nil
	})
	if err != nil {
		c.r.bad("catalog: %v", err)
	}
	c.reachable(parent)
	c.orphans(seen)
	for ino := range entries {
		if !seen[ino] {
			c.r.bad("%s in directory %d: inode %d does not exist", entries[ino].name, parent[ino], ino)
		}
	}
	for ino, l := range p.tree.heads {
		if !seen[ino] {
			c.r.bad("layer %v: head of volume %d, which does not exist", l.id, ino)
		}
	}
}

// orphans finds what is unlinked and not there, and the root if it is not.
func (c *checker) orphans(seen map[Ino]bool) {
	if !seen[RootIno] {
		c.r.bad("inode %d, the root, does not exist", RootIno)
	}
	err := c.p.names.cat.Rows(catalog.Orphan, func(number uint64, _ []byte, _ int) error {
		if !seen[Ino(number)] {
			c.r.bad("orphan %d: the inode does not exist", number)
		}
		return nil
	})
	if err != nil {
		c.r.bad("catalog: %v", err)
	}
}

// reachable finds names that do not hang on the root: below a directory without a name, or in a circle of directories.
func (c *checker) reachable(parent map[Ino]Ino) {
	known := map[Ino]bool{RootIno: true}
	for ino := range parent {
		var path []Ino
		for at := ino; !known[at]; at = parent[at] {
			known[at] = true // reported once; what is below it is not reported again
			path = append(path, at)
			if up, named := parent[at]; !named || slices.Contains(path, up) {
				c.r.bad("directory %d does not hang on the root", at)
				break
			}
		}
	}
}
