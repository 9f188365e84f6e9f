package chain

import (
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Rows of objects that live in memory: written by checkpoints, read at mount.

func (e *encoder) tree(t meta.Tree) {
	var b [meta.TreeSize]byte
	t.Marshal(b[:])
	e.b = append(e.b, b[:]...)
}

func (d *decoder) tree() meta.Tree {
	if len(d.b) < meta.TreeSize {
		d.fail("short tree")
		return meta.Tree{}
	}
	t, err := meta.UnmarshalTree(d.b[:meta.TreeSize])
	if err != nil && d.err == nil {
		d.err = err
	}
	d.b = d.b[meta.TreeSize:]
	return t
}

func (e *encoder) mapRoot(m meta.Map) {
	b := m.Marshal()
	e.b = append(e.b, b[:]...)
}

func (d *decoder) mapRoot() meta.Map {
	if len(d.b) < meta.MapSize {
		d.fail("short map")
		return meta.Map{}
	}
	m, err := meta.UnmarshalMap(d.b[:meta.MapSize])
	if err != nil && d.err == nil {
		d.err = err
	}
	d.b = d.b[meta.MapSize:]
	return m
}

func (e *encoder) trees(ts []meta.Tree) {
	e.u(uint64(len(ts)))
	for _, t := range ts {
		e.tree(t)
	}
}

func (d *decoder) trees() []meta.Tree {
	n := d.len()
	if n > len(d.b)/meta.TreeSize {
		d.fail("count of trees past the end")
		return nil
	}
	var ts []meta.Tree
	for range n {
		ts = append(ts, d.tree())
	}
	return ts
}

const (
	flagHead = 1 << iota
	flagNamed
	flagDead
	flagSwept
	flagLayerKept
)

// layerRow is a layer as the cut of a checkpoint found it. The map and the dead list come from the build.
type layerRow struct {
	of       *layer // by which the build finds the row's dead list; not read
	id       LayerID
	lost     *cutList
	created  time.Time
	parent   LayerID
	vol      Ino
	name     string
	flags    uint64
	died     LayerID
	size     int64
	own      int64
	refer    int64
	lostHere int64
	top      *overlay
	who      string
	dir      Ino
	was      origin
}

// rowOf cuts a layer. The plan lock is held.
func rowOf(l *layer) layerRow {
	r := layerRow{
		of: l, id: l.id, lost: l.lost.cut(), created: l.created, vol: l.vol, name: l.name, died: l.died, size: l.size, own: l.own, refer: l.refer,
		lostHere: l.lostHere, top: l.top, who: l.who, dir: l.dir, was: l.was,
	}
	if l.parent != nil {
		r.parent = l.parent.id
	}
	for f, on := range map[uint64]bool{flagHead: l.head, flagNamed: l.named, flagDead: l.dead, flagSwept: l.swept, flagLayerKept: l.kept} {
		if on {
			r.flags |= f
		}
	}
	return r
}

// attrDir is the attribute of a layer whose volume is gone: the directory that it is charged to.
const attrDir = "dir"

// marshal ends with the layer's attributes: there is room for a key, a seal.
func (r *layerRow) marshal(m meta.Map) []byte {
	e := encoder{}
	e.u(uint64(r.parent))
	e.u(uint64(r.vol))
	e.str(r.name)
	e.u(r.flags)
	e.u(uint64(r.died))
	e.i(r.size)
	e.i(r.own)
	e.i(r.refer)
	e.i(r.lostHere)
	e.time(r.created)
	e.str(r.who)
	e.mapRoot(m)
	e.trees(r.lost.trees)
	as := r.was.attrs()
	if r.dir != 0 {
		var v encoder
		v.u(uint64(r.dir))
		as = append([]attr{{attrDir, v.b}}, as...)
	}
	e.attrs(as)
	return e.b
}

// loadLayer reads a row. The parent is given as a number: layers are linked when all are read.
func (p *Pool) loadLayer(id LayerID, b []byte) (parent LayerID, err error) {
	d := decoder{b: b}
	l := &layer{id: id}
	parent = LayerID(d.u())
	l.vol, l.name = Ino(d.u()), d.str()
	flags := d.u()
	l.head, l.named, l.dead = flags&flagHead != 0, flags&flagNamed != 0, flags&flagDead != 0
	l.swept, l.kept = flags&flagSwept != 0, flags&flagLayerKept != 0
	l.died, l.size, l.own, l.refer, l.lostHere = LayerID(d.u()), d.i(), d.i(), d.i(), d.i()
	l.created, l.who = d.time(), d.str()
	m := d.mapRoot()
	l.top = settledMap(m)
	l.lost.trees = d.trees()
	d.attrs(map[string]func(*decoder){attrWas: l.was.decode, attrDir: func(d *decoder) { l.dir = Ino(d.u()) }})
	if err := d.done(); err != nil {
		return 0, err
	}
	switch {
	case parent >= id, l.head && l.dead, l.head && l.named, l.size > MaxSize, id > p.nextLayer:
		return 0, fmt.Errorf("layer %v: parent %v, size %d, flags %x: %w", id, parent, l.size, flags, ErrCorrupt)
	case flags&^(flagHead|flagNamed|flagDead|flagSwept|flagLayerKept) != 0:
		return 0, fmt.Errorf("layer %v: flags %#x: %w", id, flags, ErrCorrupt)
	case l.own > p.blocks.Total(), l.refer > mapEnd, l.lostHere > p.blocks.Total():
		return 0, fmt.Errorf("layer %v: owns %d blocks, refers to %d, lost %d: %w", id, l.own, l.refer, l.lostHere, ErrCorrupt)
	case l.named:
		if err := checkSnapName(l.name); err != nil {
			return 0, fmt.Errorf("layer %v: %w: %w", id, err, ErrCorrupt)
		}
	}
	if l.head { // what is written goes over the settled map
		l.top = &overlay{layer: l, under: l.top}
	}
	p.layers[id] = l
	return parent, nil
}

// jobRow is an erase job as the cut of a checkpoint found it.
type jobRow struct {
	id                         uint64
	vol                        Ino
	volume, layer, reason, who string
	since                      time.Time
	freshN, readyN, badN       int64
	freed, erased              int64
	cursor                     omap.Key
	fresh, ready, bad          *cutList
	attrs                      []attr
}

// rowOfJob cuts a job. The plan lock is held.
func rowOfJob(j *job) jobRow {
	return jobRow{
		id: j.id, vol: j.vol, volume: j.volume, layer: j.layer, reason: j.reason, who: j.who, since: j.since,
		freshN: j.freshN, readyN: j.readyN, badN: j.badN, freed: j.freed, erased: j.erased, cursor: j.cursor,
		fresh: j.fresh.cut(), ready: j.ready.cut(), bad: j.bad.cut(), attrs: j.attrs(),
	}
}

func (r *jobRow) marshal() []byte {
	e := encoder{}
	e.u(uint64(r.vol))
	e.str(r.volume)
	e.str(r.layer)
	e.str(r.reason)
	e.str(r.who)
	e.time(r.since)
	for _, n := range []int64{r.freshN, r.readyN, r.badN, r.freed, r.erased} {
		e.i(n)
	}
	e.key(meta.Key(r.cursor))
	e.trees(r.fresh.trees)
	e.trees(r.ready.trees)
	e.trees(r.bad.trees)
	e.attrs(r.attrs)
	return e.b
}

func (p *Pool) loadJob(id uint64, b []byte) error {
	d := decoder{b: b}
	j := &job{id: id}
	j.vol, j.volume, j.layer, j.reason, j.who, j.since = Ino(d.u()), d.str(), d.str(), d.str(), d.str(), d.time()
	for _, n := range []*int64{&j.freshN, &j.readyN, &j.badN, &j.freed, &j.erased} {
		*n = d.i()
	}
	j.cursor = omap.Key(d.key())
	j.fresh.trees, j.ready.trees, j.bad.trees = d.trees(), d.trees(), d.trees()
	d.attrs(j.loads())
	if err := d.done(); err != nil {
		return err
	}
	if total := p.blocks.Total(); id > p.nextJob || j.freshN > total || j.readyN > total || j.badN > total || j.kept > total || j.rank > maxRank {
		return fmt.Errorf("erase job %d above %d, or of %d+%d+%d blocks: %w", id, p.nextJob, j.freshN, j.readyN, j.badN, ErrCorrupt)
	}
	p.jobs[id] = j
	p.place(j, func() {})
	p.dirtyN += j.dirtyBlocks()
	p.failedN += j.badN
	if j.reason == reasonOverwritten {
		p.volJobs[j.vol] = j
	}
	return nil
}

func (w *walkRow) marshal(m meta.Map) []byte {
	e := encoder{}
	e.u(uint64(w.layer))
	e.u(w.job)
	e.bool(w.burial)
	e.i(w.next)
	e.i(w.pages)
	e.mapRoot(m)
	e.attrs(nil)
	return e.b
}

func (p *Pool) loadWalk(id uint64, b []byte) error {
	d := decoder{b: b}
	layer, jobID := LayerID(d.u()), d.u()
	w := &walk{id: id, burial: d.bool(), next: d.i(), pages: d.i()}
	w.source = settledMap(d.mapRoot())
	d.attrs(nil)
	if err := d.done(); err != nil {
		return err
	}
	w.layer, w.job = p.layers[layer], p.jobs[jobID]
	if w.layer == nil || w.job == nil || id > p.nextJob || max(w.next, w.pages) > mapEnd {
		return fmt.Errorf("walk %d of layer %v, erase job %d: %w", id, layer, jobID, ErrCorrupt)
	}
	w.job.walks++
	p.walks[id] = w
	return nil
}

func marshalTrees(ts []meta.Tree) []byte {
	e := encoder{}
	e.trees(ts)
	return e.b
}

func marshalRuns(rs []alloc.Run) []byte {
	e := encoder{}
	e.runs(rs)
	return e.b
}

func (a *answers) marshal() []byte {
	e := encoder{}
	e.u(uint64(len(a.ring)))
	for i := range a.ring {
		a.ring[(a.next+i)%len(a.ring)].encode(&e)
	}
	return e.b
}

func (a *answers) unmarshal(b []byte) error {
	d := decoder{b: b}
	for range d.len() {
		var r recAnswer
		r.decode(&d)
		a.add(r)
	}
	return d.done()
}
