package chain

import (
	"slices"
	"strings"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

// sample is a sound pool with one of everything: v with snapshots s and t, a clone c of s, dirty blocks, a directory.
type sample struct {
	p       *Pool
	v, c    *Volume
	head    *layer // of v
	s       *layer
	dev     alloc.BlockID // of a block of the head
	dirty   *job
	inDirty alloc.BlockID
}

func newSample(t *testing.T) *sample {
	t.Helper()
	p := openPool(t, newDisk(t, 2<<20))
	v := mustVolume(t, p, "v", 64<<10) // 2
	blocksAt(t, v, 'a', 0, 8)
	mustSnapshot(t, v, "s")
	blocksAt(t, v, 'b', 0, 3)
	mustSnapshot(t, v, "t")
	blocksAt(t, v, 'c', 2, 4)
	ok(t, v.Punch(4*BlockSize, BlockSize))
	c := mustClone(t, v, "s", "c") // 3
	blocksAt(t, c, 'd', 7, 1)
	plant(t, p, "d/", "d/f") // 4, 5
	ok(t, p.Checkpoint())
	x := &sample{p: p, v: v, c: c, head: v.head(), dirty: p.jobs.byVol[v.ino]}
	x.s = snapOf(t, v, "s").l
	q, _ := x.head.top.Lookup(p.blocks.maps, 2, 1)
	x.dev = q.Dev
	ok(t, x.dirty.fresh.Ascend(p.blocks.lists, omap.Key{}, func(k omap.Key, _ runs.Entry) bool { x.inDirty = alloc.BlockID(k.Lo); return false }))
	return x
}

func (x *sample) clean(t *testing.T) alloc.Run {
	t.Helper()
	runs, err := x.p.blocks.alloc.FindClean(1, 1, 0)
	ok(t, err)
	return alloc.Run{Start: runs[0].Start, Len: 1}
}

func (x *sample) inode(t *testing.T, ino Ino, change func(*inode)) {
	t.Helper()
	n, err := x.p.names.inode(ino)
	ok(t, err)
	change(n)
	x.p.names.cat.Put(catalog.Key(catalog.Inode, uint64(ino)), n.marshal())
}

type damage struct {
	name string
	do   func(t *testing.T, x *sample)
	want string
	leak bool
}

// expectFound damages a pool in each way, and expects check to say so.
func expectFound(t *testing.T, cases []damage) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := newSample(t)
			p := x.p
			mustCheck(t, p)
			p.structure.Lock()
			defer p.structure.Unlock()
			p.mu.Lock()
			c.do(t, x)
			p.mu.Unlock()
			r, err := p.checkMemory(t.Context(), true)
			p.closed = true // it must not be closed in order
			ok(t, err)
			list := slices.Concat(r.Errors, r.Lost)
			if c.leak {
				list = r.Leaks
			}
			if !slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("errors %q, leaks %q, want %q", r.Errors, r.Leaks, c.want)
			}
		})
	}
}

func TestCheckFindsCounters(t *testing.T) {
	expectFound(t, []damage{
		{"own", func(_ *testing.T, x *sample) { x.head.own++ }, "counted", false},
		{"refer", func(_ *testing.T, x *sample) { x.s.refer-- }, "refers to", false},
		{"lost of the parent", func(_ *testing.T, x *sample) { x.head.lostHere++ }, "has lost", false},
		{"dirty", func(_ *testing.T, x *sample) { x.p.jobs.dirtyN++ }, "dirty", false},
		{"unscheduled", func(_ *testing.T, x *sample) { x.p.jobs.noneN++ }, "by erase=none", false},
		{"of no volume", func(_ *testing.T, x *sample) { x.p.tree.byDir.Set(omap.Key{Hi: 7}, x.head) }, "of no volume", false},
		{"in use", func(_ *testing.T, x *sample) { x.s.held++ }, "in use, and not found", false},
		{"kept snapshots", func(_ *testing.T, x *sample) { x.p.destroyed.snaps.Set(omap.Key{Hi: 7}, 7) }, "snapshots destroyed", false},
		{"of failing walks", func(_ *testing.T, x *sample) { x.p.tree.stuck.sickN++ }, "of failing walks", false},
		{"of waiting walks", func(_ *testing.T, x *sample) { x.p.tree.stuck.waitN++ }, "of those that wait", false},
		{"failing walks", func(_ *testing.T, x *sample) { x.head.sickWalks++ }, "walks are failing", false},
		{"dead layers", func(_ *testing.T, x *sample) { x.p.tree.deadN++ }, "are dead", false},
		{"failed", func(_ *testing.T, x *sample) { x.p.jobs.failedN++ }, "failed", false},
		{"freeing", func(_ *testing.T, x *sample) { x.p.tree.freeing++ }, "free", false},
		{"freed", func(_ *testing.T, x *sample) { x.dirty.freed++ }, "do not add up", false},
		{"erased", func(_ *testing.T, x *sample) { x.dirty.erased++ }, "do not add up", false},
		{"queued", func(_ *testing.T, x *sample) { x.dirty.freshN++; x.dirty.freed++; x.p.jobs.dirtyN++ }, "dirty blocks in a part", false},
	})
}

func TestCheckFindsOwners(t *testing.T) {
	expectFound(t, []damage{
		{"in use by nobody", func(t *testing.T, x *sample) {
			ok(t, x.p.blocks.alloc.Set(x.clean(t), alloc.Clean, alloc.InUse))
		}, "neither live nor dirty", true},
		{"live and dirty", func(_ *testing.T, x *sample) {
			x.p.jobs.addToJob(x.dirty, runs.Run{Dev: x.dev, Len: 1, Birth: x.head.id})
		}, "another owner", false},
		{"dirty twice", func(_ *testing.T, x *sample) {
			j := x.p.jobs.newJob(0, "", "", "test", "", newClock().now())
			x.p.jobs.addToJob(j, runs.Run{Dev: x.inDirty, Len: 1, Birth: 0})
		}, "another owner", false},
		{"of two births", func(_ *testing.T, x *sample) {
			x.c.head().top.Set(9, overlay.Piece{Len: 1, Dev: x.dev, Birth: x.c.head().id})
			x.c.head().own++
			x.c.head().refer++
		}, "born in", false},
		{"born after its layer", func(_ *testing.T, x *sample) { x.head.top.Set(2, overlay.Piece{Len: 1, Dev: x.dev, Birth: 9999}) }, "born in", false},
		{"of no birth", func(_ *testing.T, x *sample) { x.head.top.Set(2, overlay.Piece{Len: 1, Dev: x.dev, Birth: 0}) }, "born in", false},
		{"outside", func(_ *testing.T, x *sample) {
			x.head.top.Set(2, overlay.Piece{Len: 1, Dev: 1 << 30, Birth: x.head.id})
		}, "outside the pool", false},
		{"clean and live", func(t *testing.T, x *sample) {
			x.head.top.Set(12, overlay.Piece{Len: 1, Dev: x.clean(t).Start, Birth: x.head.id})
			x.head.own++
			x.head.refer++
		}, "names", false},
		{"clean and not zero", func(t *testing.T, x *sample) {
			b := blockdev.Aligned(BlockSize)
			b[4095] = 1
			_, err := x.p.dev.WriteAt(b, int64(x.clean(t).Start)*BlockSize)
			ok(t, err)
		}, "clean and not zero", false},
		{"metadata outside the store", func(t *testing.T, x *sample) {
			ok(t, x.p.blocks.alloc.Set(x.clean(t), alloc.Clean, alloc.Meta))
		}, "metadata", false},
		{"live in the store", func(_ *testing.T, x *sample) {
			x.head.top.Set(12, overlay.Piece{Len: 1, Dev: x.p.blocks.store.Extents()[0].Start, Birth: x.head.id})
		}, "another owner", false},
	})
}

func TestCheckFindsLists(t *testing.T) {
	expectFound(t, []damage{
		{"too much lost", func(_ *testing.T, x *sample) {
			q, _ := x.s.top.Lookup(x.p.blocks.maps, 6, 1) // the clone shows it
			x.c.head().lost.Add(q.Birth, q.Dev, runs.Entry{Len: 1})
		}, "dead list", false},
		{"lost by nobody", func(t *testing.T, x *sample) {
			l := x.head.parent // t, which lost three blocks of s
			ok(t, l.lost.Ascend(x.p.blocks.lists, omap.Key{}, func(omap.Key, runs.Entry) bool { return true }))
			l.lost = runs.List{}
			l.lostHere = 0
		}, "not in the dead list", false},
		{"lost and its own", func(_ *testing.T, x *sample) { x.head.lost.Add(x.head.id, x.dev, runs.Entry{Len: 1}) }, "dead list", false},
		{"a list that cannot be read", func(_ *testing.T, x *sample) {
			x.head.lost.Trees = append(x.head.lost.Trees, meta.Tree{Root: meta.Ptr{Addr: 99, Sum: 1}, Height: 1, Entries: 1})
		}, "dead list", false},
		{"a page twice", func(_ *testing.T, x *sample) { x.p.tree.drops = append(x.p.tree.drops, x.p.names.cat.Tree) }, "belongs to", false},
		{"a page of nobody", func(t *testing.T, x *sample) {
			_, err := x.p.blocks.store.Put(blockdev.Aligned(BlockSize), false, 1, nil)
			ok(t, err)
		}, "nothing names", true},
		{"a page that is free", func(_ *testing.T, x *sample) { x.p.blocks.store.Free(x.p.names.cat.Tree.Root) }, "is free in the store", false},
		{"a rotten copy", func(_ *testing.T, x *sample) {
			x.p.dev.(*devtest.Disk).Flip(int64(x.p.names.cat.Tree.Root.Twin)*BlockSize+50, 1)
		}, "damaged", false},
	})
}

func TestCheckFindsStructure(t *testing.T) {
	expectFound(t, []damage{
		{"two heads", func(_ *testing.T, x *sample) { x.s.head = true }, "does not know", false},
		{"nameless with one child", func(_ *testing.T, x *sample) { x.head.parent.named = false }, "nameless with", true},
		{"no parent", func(_ *testing.T, x *sample) { delete(x.p.tree.layers, x.head.parent.id) }, "does not exist", false},
		{"a volume without a head", func(_ *testing.T, x *sample) { delete(x.p.tree.heads, x.v.ino) }, "volume without a head", false},
		{"a head without a volume", func(_ *testing.T, x *sample) {
			x.p.names.cat.Put(catalog.Key(catalog.Inode, uint64(x.v.ino)), nil)
		}, "does not exist", false},
	})
}

func TestCheckFindsNames(t *testing.T) {
	name := func(dir Ino, es ...nameEntry) func(*testing.T, *sample) {
		return func(_ *testing.T, x *sample) { x.p.names.cat.Put(nameKey(dir, es[0].name), marshalNames(es)) }
	}
	expectFound(t, []damage{
		{"no name", func(_ *testing.T, x *sample) { x.p.names.cat.Put(nameKey(4, "f"), nil) }, "the directory says", false},
		{"no inode", name(4, nameEntry{"g", 77, TypeFile}), "inode 77 does not exist", false},
		{"two names", name(4, nameEntry{"g", 2, TypeFile}), "has two names", false},
		{"another type", name(4, nameEntry{"f", 5, TypeSymlink}), "the directory says", false},
		{"another name", func(t *testing.T, x *sample) { x.inode(t, 5, func(n *inode) { n.name = "g" }) }, "the directory says", false},
		{"another parent", func(t *testing.T, x *sample) { x.inode(t, 5, func(n *inode) { n.parent = 1 }) }, "the directory says", false},
		{"under another's hash", func(_ *testing.T, x *sample) {
			x.p.names.cat.Put(nameKey(4, "f"), nil)
			x.p.names.cat.Put(nameKey(4, "z"), marshalNames([]nameEntry{{"f", 5, TypeFile}}))
		}, "another name's hash", false},
		{"entries", func(t *testing.T, x *sample) { x.inode(t, 4, func(n *inode) { n.entries = 7 }) }, "counted", false},
		{"directories", func(t *testing.T, x *sample) { x.inode(t, 1, func(n *inode) { n.dirs = 0 }) }, "counted", false},
		{"a row of a directory", func(_ *testing.T, x *sample) { x.p.names.cat.Put(nameKey(4, "f"), []byte{9, 9}) }, "directory 4", false},
		{"a row of an inode", func(_ *testing.T, x *sample) { x.p.names.cat.Put(catalog.Key(catalog.Inode, 5), []byte{1}) }, "inode 5", false},
		{"no name and no orphan", func(t *testing.T, x *sample) {
			x.p.names.cat.Put(nameKey(4, "f"), nil)
			x.inode(t, 5, func(n *inode) { n.parent, n.name = 0, "" })
		}, "is no orphan", true},
	})
}

// The lists of findings are bounded.
func TestCheckFindings(t *testing.T) {
	var r CheckReport
	for i := range 3 * findings {
		r.bad("error %d", i)
		r.leak("leak %d", i)
		r.lost("lost %d", i)
	}
	for _, l := range [][]string{r.Errors, r.Leaks, r.Lost} {
		if len(l) != findings+1 || l[findings] != "and more" {
			t.Errorf("%d findings, the last is %q", len(l), l[len(l)-1])
		}
	}
}
