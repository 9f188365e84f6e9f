package chain

import (
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
)

// Rows of objects that live in memory: written by checkpoints, read at mount.

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
	top      *overlay.Storey
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
	e := codec.Encoder{}
	e.Uint(uint64(r.parent))
	e.Uint(uint64(r.vol))
	e.Str(r.name)
	e.Uint(r.flags)
	e.Uint(uint64(r.died))
	e.Int(r.size)
	e.Int(r.own)
	e.Int(r.refer)
	e.Int(r.lostHere)
	e.Time(r.created)
	e.Str(r.who)
	e.Map(m)
	e.Trees(r.lost.trees)
	as := r.was.attrs()
	if r.dir != 0 {
		var v codec.Encoder
		v.Uint(uint64(r.dir))
		as = append([]codec.Attr{{Name: attrDir, Val: v.B}}, as...)
	}
	e.Attrs(as)
	return e.B
}

// loadLayer reads a row. The parent is given as a number: layers are linked when all are read.
func (p *Pool) loadLayer(id LayerID, b []byte) (parent LayerID, err error) {
	d := codec.Decoder{B: b}
	l := &layer{id: id}
	parent = LayerID(d.Uint())
	l.vol, l.name = Ino(d.Uint()), d.Str()
	flags := d.Uint()
	l.head, l.named, l.dead = flags&flagHead != 0, flags&flagNamed != 0, flags&flagDead != 0
	l.swept, l.kept = flags&flagSwept != 0, flags&flagLayerKept != 0
	l.died, l.size, l.own, l.refer, l.lostHere = LayerID(d.Uint()), d.Int(), d.Int(), d.Int(), d.Int()
	l.created, l.who = d.Time(), d.Str()
	m := d.Map()
	l.top = overlay.Settled(m)
	l.lost.trees = d.Trees()
	d.Attrs(map[string]func(*codec.Decoder){attrWas: l.was.decode, attrDir: func(d *codec.Decoder) { l.dir = Ino(d.Uint()) }})
	if err := wrapCorrupt(d.Done()); err != nil {
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
		l.top = overlay.New(l.top, l)
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
	attrs                      []codec.Attr
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
	e := codec.Encoder{}
	e.Uint(uint64(r.vol))
	e.Str(r.volume)
	e.Str(r.layer)
	e.Str(r.reason)
	e.Str(r.who)
	e.Time(r.since)
	for _, n := range []int64{r.freshN, r.readyN, r.badN, r.freed, r.erased} {
		e.Int(n)
	}
	e.Key(meta.Key(r.cursor))
	e.Trees(r.fresh.trees)
	e.Trees(r.ready.trees)
	e.Trees(r.bad.trees)
	e.Attrs(r.attrs)
	return e.B
}

func (p *Pool) loadJob(id uint64, b []byte) error {
	d := codec.Decoder{B: b}
	j := &job{id: id}
	j.vol, j.volume, j.layer, j.reason, j.who, j.since = Ino(d.Uint()), d.Str(), d.Str(), d.Str(), d.Str(), d.Time()
	for _, n := range []*int64{&j.freshN, &j.readyN, &j.badN, &j.freed, &j.erased} {
		*n = d.Int()
	}
	j.cursor = omap.Key(d.Key())
	j.fresh.trees, j.ready.trees, j.bad.trees = d.Trees(), d.Trees(), d.Trees()
	d.Attrs(j.loads())
	if err := wrapCorrupt(d.Done()); err != nil {
		return err
	}
	if total := p.blocks.Total(); id > p.nextJob || j.freshN > total || j.readyN > total || j.badN > total || j.kept > total || j.rank > maxRank {
		return fmt.Errorf("erase job %d above %d, or of %d+%d+%d blocks: %w", id, p.nextJob, j.freshN, j.readyN, j.badN, ErrCorrupt)
	}
	p.jobs[id] = j
	p.place(j, func() {})
	p.addDirty(j, j.dirtyBlocks())
	p.failedN += j.badN
	if j.reason == reasonOverwritten {
		p.volJobs[j.vol] = j
	}
	return nil
}

func (w *walkRow) marshal(m meta.Map) []byte {
	e := codec.Encoder{}
	e.Uint(uint64(w.layer))
	e.Uint(w.job)
	e.Bool(w.burial)
	e.Int(w.next)
	e.Int(w.pages)
	e.Map(m)
	e.Attrs(nil)
	return e.B
}

func (p *Pool) loadWalk(id uint64, b []byte) error {
	d := codec.Decoder{B: b}
	layer, jobID := LayerID(d.Uint()), d.Uint()
	w := &walk{id: id, burial: d.Bool(), next: d.Int(), pages: d.Int()}
	w.source = overlay.Settled(d.Map())
	d.Attrs(nil)
	if err := wrapCorrupt(d.Done()); err != nil {
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
	e := codec.Encoder{}
	e.Trees(ts)
	return e.B
}

func marshalRuns(rs []alloc.Run) []byte {
	e := codec.Encoder{}
	e.Runs(rs)
	return e.B
}

func (a *answers) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(len(a.ring)))
	for i := range a.ring {
		a.ring[(a.next+i)%len(a.ring)].encode(&e)
	}
	return e.B
}

func (a *answers) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	for range d.Len() {
		var r recAnswer
		r.decode(&d)
		a.add(r)
	}
	return wrapCorrupt(d.Done())
}
