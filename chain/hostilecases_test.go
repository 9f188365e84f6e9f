package chain

import (
	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

var hostileLayers = map[string]func(*victim){
	"a layer is its own parent": func(h *victim) { h.layer(h.head(), func(l *layer) { l.parent = l }) },
	"layers in a circle":        func(h *victim) { h.layer(h.head().parent, func(l *layer) { l.parent = h.head() }) },
	"a parent that is not there": func(h *victim) {
		h.layer(h.head(), func(l *layer) { l.parent = &layer{id: l.id - 1}; delete(h.p.tree.layers, l.id-1) })
		h.p.names.cat.Put(catalog.Key(catalog.Layer, uint64(h.head().id-1)), nil)
	},
	"a head is a parent": func(h *victim) {
		h.layer(h.head().parent, func(l *layer) { l.head, l.named, l.name = true, false, "" })
	},
	"a volume has two heads":  func(h *victim) { h.layer(h.other(), func(l *layer) { l.vol = h.v.ino }) },
	"a named head":            func(h *victim) { h.layer(h.head(), func(l *layer) { l.named, l.name = true, "x" }) },
	"a head that is dead":     func(h *victim) { h.layer(h.head(), func(l *layer) { l.dead = true }) },
	"a dead layer with a row": func(h *victim) { h.layer(h.other(), func(l *layer) { l.head, l.dead = false, true }) },
	"a head of a volume that is not there": func(h *victim) {
		h.layer(h.other(), func(l *layer) { l.vol = 999 })
	},
	"a volume without a head":   func(h *victim) { h.layer(h.other(), func(l *layer) { l.head, l.named, l.name = false, true, "x" }) },
	"a snapshot's name with /":  func(h *victim) { h.layer(h.head().parent, func(l *layer) { l.name = "a/b" }) },
	"a snapshot without a name": func(h *victim) { h.layer(h.head().parent, func(l *layer) { l.name = "" }) },
	"a size above the largest":  func(h *victim) { h.layer(h.other(), func(l *layer) { l.size = MaxSize + 1 }) },
	"a size below zero":         func(h *victim) { h.layer(h.other(), func(l *layer) { l.size = -1 }) },
	"owns more than the pool":   func(h *victim) { h.layer(h.other(), func(l *layer) { l.own = 1 << 61 }) },
	"owns one more":             func(h *victim) { h.layer(h.other(), func(l *layer) { l.own++ }) },
	"refers to one less":        func(h *victim) { h.layer(h.other(), func(l *layer) { l.refer-- }) },
	"lost one more":             func(h *victim) { h.layer(h.head(), func(l *layer) { l.lostHere++ }) },
	"two layers share a map":    func(h *victim) { h.layer(h.other(), func(l *layer) { l.top = h.head().parent.top }) },
	"row of another kind":       func(h *victim) { h.p.names.cat.Put(catalog.Key(catalog.Layer, 3), []byte{1, 2, 3}) },
	"layer above the last given": func(h *victim) {
		l := &layer{id: 1 << 40, vol: 5, top: overlay.Settled(meta.Map{})}
		h.p.tree.layers[l.id] = l
		h.layer(l, func(*layer) {})
	},
}

func absurdWalk(h *victim, fn func(*walk)) {
	j := h.p.jobs.newJob(0, "", "", reasonVolume, "", h.p.opt.Now())
	w := h.p.tree.newWalk(h.other(), overlay.Settled(meta.Map{}), j, false)
	fn(w)
}

var hostileLists = map[string]func(*victim){
	"walk of a layer that is not there": func(h *victim) { absurdWalk(h, func(w *walk) { w.layer = &layer{id: 77} }) },
	"walk of a job that is not there":   func(h *victim) { absurdWalk(h, func(w *walk) { w.job = &job{id: 77} }) },
	"walk beyond every map":             func(h *victim) { absurdWalk(h, func(w *walk) { w.next = 1 << 60 }) },
	"walk of live blocks": func(h *victim) {
		absurdWalk(h, func(w *walk) { w.layer, w.source = h.head(), overlay.Settled(bottomOf(h.p.tree.heads[h.v.ino])) })
	},
	"job of blocks beyond the pool": func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 5000, runs.Entry{Len: 10}) }) },
	"job across the pool's end":     func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 1020, runs.Entry{Len: 10}) }) },
	"job of the superblock":         func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 0, runs.Entry{Len: 1}); j.freshN++; j.freed++ }) },
	"job of metadata":               func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 20, runs.Entry{Len: 1}); j.freshN++; j.freed++ }) },
	"job of clean blocks": func(h *victim) {
		h.job(func(j *job) { j.fresh.Add(1, 1000, runs.Entry{Len: 1}); j.freshN++; j.freed++ })
	},
	"job at block 2^63":          func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 1<<63, runs.Entry{Len: 10}) }) },
	"job at block 2^63-1":        func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 1<<63-1, runs.Entry{Len: 1 << 40}) }) },
	"job of 2^40 blocks":         func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 1, runs.Entry{Len: 1 << 40}) }) },
	"job of a page that is none": func(h *victim) { h.job(func(j *job) { j.fresh.Add(1, 900, runs.Entry{Len: 1, Page: true}) }) },
	"job of a page in use": func(h *victim) {
		h.job(func(j *job) { j.fresh.Add(1, h.p.blocks.groupPtrs[0].Addr, runs.Entry{Len: 1, Page: true}) })
	},
	"job that counts 2^62":        func(h *victim) { h.job(func(j *job) { j.freshN = 1 << 62 }) },
	"job that counts one more":    func(h *victim) { h.job(func(j *job) { j.freshN++ }) },
	"job that freed less":         func(h *victim) { h.job(func(j *job) { j.freed-- }) },
	"job that lost its list":      func(h *victim) { h.job(func(j *job) { j.fresh = runs.List{} }) },
	"dead list beyond the pool":   func(h *victim) { h.layer(h.head(), func(l *layer) { l.lost.Add(1, 5000, runs.Entry{Len: 10}) }) },
	"dead list of 2^40 blocks":    func(h *victim) { h.layer(h.head(), func(l *layer) { l.lost.Add(1, 7, runs.Entry{Len: 1 << 40}) }) },
	"dead list at block 2^64-1":   func(h *victim) { h.layer(h.head(), func(l *layer) { l.lost.Add(1, 1<<64-1, runs.Entry{Len: 2}) }) },
	"dead list of its own blocks": func(h *victim) { h.layer(h.head(), func(l *layer) { l.lost.Add(l.id, 300, runs.Entry{Len: 1}) }) },
	"dead list of births to come": func(h *victim) { h.layer(h.head(), func(l *layer) { l.lost.Add(1<<47, 300, runs.Entry{Len: 1}) }) },
	"dead list without a parent":  func(h *victim) { h.layer(h.other(), func(l *layer) { l.lost.Add(1, 300, runs.Entry{Len: 1}) }) },
	"drops a list in use": func(h *victim) {
		h.p.tree.drops = append(h.p.tree.drops, h.head().lost.Trees...)
		h.p.tree.drops = append(h.p.tree.drops, h.head().parent.lost.Trees...)
		h.p.tree.drops = append(h.p.tree.drops, h.p.blocks.groupTable)
	},
	"window of blocks in use": func(h *victim) {
		h.p.names.cat.Put(catalog.Key(catalog.Window, 3), marshalRuns([]alloc.Run{{Start: 1, Len: 9}}))
	},
	"window beyond the pool": func(h *victim) {
		h.p.names.cat.Put(catalog.Key(catalog.Window, 3), marshalRuns([]alloc.Run{{Start: 1 << 50, Len: 1 << 61}}))
	},
	"window of 2^30 runs": func(h *victim) {
		h.p.names.cat.Put(catalog.Key(catalog.Window, 3), []byte{0x80, 0x80, 0x80, 0x80, 4, 1})
	},
	"answers of 2^60": func(h *victim) {
		h.p.names.cat.Put(catalog.Key(catalog.Answer, 3), []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 16})
	},
	"job without an end": func(h *victim) {
		h.p.names.cat.Put(catalog.Key(catalog.Job, 1), []byte{1, 0xff, 0xff, 0xff, 0xff, 0x7f})
	},
}

var hostileMaps = map[string]func(*victim){
	"overlapping runs":         func(h *victim) { h.leaf(h.other(), 4, 16, [4]uint64{0, 8, 300, 4}, [4]uint64{4, 8, 320, 4}) },
	"runs out of order":        func(h *victim) { h.leaf(h.other(), 4, 16, [4]uint64{100, 8, 300, 4}, [4]uint64{4, 8, 320, 4}) },
	"a run on block 0":         func(h *victim) { h.leaf(h.other(), 4, 8, [4]uint64{0, 8, 0, 4}) },
	"a run on the superblocks": func(h *victim) { h.leaf(h.other(), h.other().id, 1, [4]uint64{0, 1, 1, uint64(h.other().id)}) },
	"a run beyond the pool": func(h *victim) {
		h.leaf(h.other(), h.other().id, 8, [4]uint64{0, 8, 5000, uint64(h.other().id)})
	},
	"a run across the end": func(h *victim) {
		h.leaf(h.other(), h.other().id, 8, [4]uint64{0, 8, 1020, uint64(h.other().id)})
	},
	"a run beyond its region": func(h *victim) {
		h.leaf(h.other(), h.other().id, 8, [4]uint64{8190, 8, 300, uint64(h.other().id)})
	},
	"a run younger than layer": func(h *victim) { h.leaf(h.other(), 1<<40, 8, [4]uint64{0, 8, 300, 1 << 40}) },
	"a run younger than page":  func(h *victim) { h.leaf(h.other(), 1, 8, [4]uint64{0, 8, 300, 5}) },
	"a run born in no layer":   func(h *victim) { h.leaf(h.other(), h.other().id, 8, [4]uint64{0, 8, 300, 0}) },
	"a count that is not so": func(h *victim) {
		h.leaf(h.other(), h.other().id, 9, [4]uint64{0, 8, 300, uint64(h.other().id)})
	},
	"a leaf of no run": func(h *victim) { h.leaf(h.other(), h.other().id, 1) },
	"a block twice in a map": func(h *victim) {
		h.leaf(h.other(), h.other().id, 16, [4]uint64{0, 8, 300, 4}, [4]uint64{8, 8, 304, 4})
	},
	"a root run beyond":         func(h *victim) { h.root(h.other(), 5000) },
	"a root run far beyond":     func(h *victim) { h.root(h.other(), 1<<37) },
	"a root run over metadata":  func(h *victim) { h.root(h.other(), 10) },
	"a root run over others":    func(h *victim) { h.root(h.other(), 64) },
	"a map that is a tree leaf": func(h *victim) { h.wrongPage(h.p.names.cat.Tree.Root) },
	"a map that is a group":     func(h *victim) { h.wrongPage(h.p.blocks.groupPtrs[0]) },
	"a map on block 0 of 2^40":  func(h *victim) { h.wrongPage(meta.Ptr{Addr: 1 << 40, Birth: 1, Sum: 1}) },
}

// wrongPage makes the map of the other volume begin at a page of another kind.
func (h *victim) wrongPage(ptr meta.Ptr) {
	var b [meta.MapSize]byte
	b[0], b[8], b[16] = 13, 3, 4
	ptr.Marshal(b[24:])
	m, err := meta.UnmarshalMap(b[:])
	if err != nil {
		h.t.Fatal(err)
	}
	h.p.tree.touch(h.other())
	h.other().top = overlay.Settled(m)
}

func rename(as string) func(*victim) {
	return func(h *victim) {
		h.inode(h.w.ino, func(n *inode) { n.name = as })
		h.p.names.cat.Put(nameKey(RootIno, "other"), nil)
		h.name(RootIno, as, nameEntry{as, h.w.ino, TypeFile})
	}
}

var hostileNames = map[string]func(*victim){
	"name ..":             rename(".."),
	"name .":              rename("."),
	"name with a slash":   rename("a/b"),
	"name with a NUL":     rename("a\x00b"),
	"name .snap":          rename(SnapDir),
	"no name":             rename(""),
	"name of 300 bytes":   rename(string(fill('n', 300))),
	"name in wrong place": func(h *victim) { h.name(RootIno, "another", nameEntry{"name", h.w.ino, TypeFile}) },
	"two names":           func(h *victim) { h.name(RootIno, "again", nameEntry{"again", h.w.ino, TypeFile}) },
	"name of nothing":     func(h *victim) { h.name(RootIno, "ghost", nameEntry{"ghost", 777, TypeFile}) },
	"file as directory":   func(h *victim) { h.name(RootIno, "other", nameEntry{"other", h.w.ino, TypeDir}) },
	"directory in itself": func(h *victim) {
		h.move(h.dir, RootIno, "dir", h.dir, "self")
	},
	"directories in a circle": func(h *victim) { h.move(h.dir, RootIno, "dir", h.sub, "back") },
	"name below a file":       func(h *victim) { h.move(h.sub, h.dir, "dir", h.w.ino, "sub") },
	"name below nothing":      func(h *victim) { h.move(h.sub, h.dir, "dir", 778, "sub") },
	"entries 2^62":            func(h *victim) { h.inode(h.dir, func(n *inode) { n.entries = 1 << 62 }) },
	"inode of no type":        func(h *victim) { h.inode(h.w.ino, func(n *inode) { n.typ = 9 }) },
	"inode cut short":         func(h *victim) { h.p.names.cat.Put(catalog.Key(catalog.Inode, uint64(h.w.ino)), []byte{1, 2}) },
	"root is a file":          func(h *victim) { h.inode(RootIno, func(n *inode) { n.typ = TypeFile }) },
	"no root":                 func(h *victim) { h.p.names.cat.Put(catalog.Key(catalog.Inode, 1), nil) },
	"orphan without an inode": func(h *victim) { h.p.names.cat.Put(catalog.Key(catalog.Orphan, 555), []byte{1}) },
	"volume is a symlink":     func(h *victim) { h.inode(h.w.ino, func(n *inode) { n.typ = TypeSymlink }) },
}

// move puts a directory into another one, with counts that agree.
func (h *victim) move(ino, from Ino, name string, to Ino, as string) {
	h.p.names.cat.Put(nameKey(from, name), nil)
	h.inode(from, func(n *inode) { n.entries--; n.dirs-- })
	if _, err := h.p.names.inode(to); err == nil {
		h.inode(to, func(n *inode) { n.entries++; n.dirs++ })
	}
	h.inode(ino, func(n *inode) { n.parent, n.name = to, as })
	h.name(to, as, nameEntry{as, ino, TypeDir})
}

var hostileGroups = map[string]func(*victim){
	"counts of another group": func(h *victim) { h.group(func(r *groupRow) { r.counts.Clean--; r.counts.InUse++ }) },
	"counts too large":        func(h *victim) { h.group(func(r *groupRow) { r.counts.Clean += 1000 }) },
	"counts of 2^62":          func(h *victim) { h.group(func(r *groupRow) { r.counts.Clean, r.counts.InUse = 1<<62, 1<<62 }) },
	"counts of nothing":       func(h *victim) { h.group(func(r *groupRow) { r.counts = alloc.Counts{} }) },
	"another state":           func(h *victim) { h.group(func(r *groupRow) { r.state, r.ptr = alloc.InUse, meta.Ptr{} }) },
	"state 9":                 func(h *victim) { h.group(func(r *groupRow) { r.state, r.ptr = 9, meta.Ptr{} }) },
	"all clean": func(h *victim) {
		h.group(func(r *groupRow) { r.ptr, r.counts = h.p.blocks.groupPtrs[0], alloc.Counts{Clean: 256} })
	},
	"page of another group": func(h *victim) { h.group(func(r *groupRow) { r.ptr = h.p.blocks.groupPtrs[0] }) },
	"row of several groups": func(h *victim) { h.group(func(r *groupRow) { r.n = 4 }) },
	"page beyond the pool":  func(h *victim) { h.group(func(r *groupRow) { r.ptr = meta.Ptr{Addr: 1 << 40, Twin: 1 << 63, Sum: 1} }) },
	"extent over the journal": func(h *victim) {
		if err := h.p.blocks.store.AddExtent(alloc.Run{Start: 4, Len: 4}); err != nil {
			h.t.Fatal(err)
		}
	},
	"extent of guest blocks": func(h *victim) {
		if err := h.p.blocks.store.AddExtent(alloc.Run{Start: 1000, Len: 4}); err != nil {
			h.t.Fatal(err)
		}
	},
}
