package chain

import (
	"encoding/binary"
	"errors"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
)

// An image is hostile when every checksum is good and what it says cannot be. It is made by a pool whose memory was
// changed before a checkpoint.

// hostile is a pool with a volume of two snapshots, another volume, directories, and a job, as fn left it.
func hostile(t testing.TB, fn func(h *victim)) *devtest.Disk {
	t.Helper()
	d := newDisk(t, 4<<20)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	h := &victim{t: t, p: p, v: mustVolume(t, p, "disk.raw", 256<<10), w: mustVolume(t, p, "other", 256<<10)}
	write(t, h.v, fill('a', 64<<10), 0)
	takeSnapshot(t, p, "one", h.v)
	write(t, h.v, fill('b', 16<<10), 0)
	takeSnapshot(t, p, "two", h.v)
	write(t, h.v, fill('c', 16<<10), 8192)
	write(t, h.w, fill('e', 16<<10), 0)
	for _, v := range []*Volume{h.v, h.w} { // each has a job
		if err := v.Punch(8192, 8192); err != nil {
			t.Fatal(err)
		}
	}
	for i, dir := range []*Ino{&h.dir, &h.sub} {
		a, err := p.Mkdir(Req{}, []Ino{RootIno, h.dir}[i], "dir", 0o755)
		if err != nil {
			t.Fatal(err)
		}
		*dir = a.Ino
	}
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	fn(h)
	p.mu.Unlock()
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	return d
}

type victim struct {
	t        testing.TB
	p        *Pool
	v, w     *Volume
	dir, sub Ino
}

func (h *victim) head() *layer  { return h.p.tree.heads[h.v.ino] }
func (h *victim) other() *layer { return h.p.tree.heads[h.w.ino] }

// layer writes a changed row of l.
func (h *victim) layer(l *layer, fn func(*layer)) { h.p.tree.touch(l); fn(l) }

func (h *victim) job(fn func(*job)) {
	j := h.p.jobs.byVol[h.v.ino]
	h.p.jobs.touchJob(j)
	fn(j)
}

// inode changes a row of the catalog behind the pool's back.
func (h *victim) inode(ino Ino, fn func(*inode)) {
	n, err := h.p.names.inode(ino)
	if err != nil {
		h.t.Fatal(err)
	}
	fn(n)
	h.p.names.cat.Put(catalog.Key(catalog.Inode, uint64(ino)), n.marshal())
}

func (h *victim) name(dir Ino, as string, e nameEntry) {
	h.p.names.cat.Put(nameKey(dir, as), marshalNames([]nameEntry{e}))
}

// leaf gives a layer a map of one leaf page with these runs: start, blocks, device block, birth.
func (h *victim) leaf(l *layer, birth LayerID, count uint64, runs ...[4]uint64) {
	page := blockdev.Aligned(BlockSize)
	meta.Header{Kind: meta.KindMapLeaf, Count: uint16(len(runs)), Tag: 13}.Marshal(page)
	for i, r := range runs {
		b := page[meta.HeaderSize+16*i:]
		binary.LittleEndian.PutUint64(b, r[0]|(r[1]-1)<<13|r[2]<<26)
		binary.LittleEndian.PutUint64(b[8:], r[2]>>38|r[3]<<2|1<<50)
	}
	ptr, err := h.p.blocks.store.Put(page, false, birth, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	var b [meta.MapSize]byte
	b[0], b[8] = 13, 3
	binary.LittleEndian.PutUint64(b[16:], count)
	ptr.Marshal(b[24:])
	m, err := meta.UnmarshalMap(b[:])
	if err != nil {
		h.t.Fatal(err)
	}
	h.p.tree.touch(l)
	l.top = overlay.Settled(m)
}

// root gives a layer a map that is one run, without a page.
func (h *victim) root(l *layer, dev uint64) {
	var b [meta.MapSize]byte
	b[0], b[8], b[16] = 13, 2, 8
	binary.LittleEndian.PutUint64(b[24:], 7<<13|dev<<26)
	binary.LittleEndian.PutUint64(b[32:], uint64(l.id)<<2|1<<50)
	m, err := meta.UnmarshalMap(b[:])
	if err != nil {
		h.t.Fatal(err)
	}
	h.p.tree.touch(l)
	l.top = overlay.Settled(m)
}

// group changes a row of the group table that the checkpoint does not write.
func (h *victim) group(fn func(*groupRow)) {
	p := h.p
	g := len(p.blocks.groupPtrs) - 1
	row := groupRow{n: 1, state: alloc.Clean, counts: p.blocks.alloc.GroupCounts(g), ptr: p.blocks.groupPtrs[g]}
	fn(&row)
	var err error
	p.blocks.groupTable, err = p.blocks.groups.Apply(p.blocks.groupTable, []meta.Edit{{Key: meta.Key{Hi: uint64(g), Lo: 1}, Val: row.marshal()}})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestHostileImages(t *testing.T) {
	if found, err := examine(hostile(t, func(*victim) {})); found || err != nil {
		t.Fatalf("the pool as it should be: found %v, %v", found, err)
	}
	useIt(hostile(t, func(*victim) {}))
	for _, cases := range []map[string]func(*victim){hostileLayers, hostileLists, hostileMaps, hostileNames, hostileGroups} {
		for name, fn := range cases {
			refused(t, name, hostile(t, fn))
		}
	}
}

// refused: the pool does not open, with ErrCorrupt, or its check finds something. Nothing panics or hangs, opened for
// writing or not.
func refused(t testing.TB, name string, d *devtest.Disk) {
	t.Helper()
	found, err := false, error(nil)
	within(t, name, func() { found, err = examine(d.Clone()) })
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotPool) {
		t.Errorf("%s: error of the wrong kind: %v", name, err)
	}
	if err == nil && !found {
		t.Errorf("%s: opened, and check finds nothing", name)
	}
	within(t, name+", for writing", func() { useIt(d.Clone()) })
	within(t, name+", as a wreck", func() { anyWreck(t, d) })
}

// bottomOf is the settled map of a layer.
func bottomOf(l *layer) meta.Map {
	m, _ := l.top.Bottom()
	return m
}
