package chain

import (
	"slices"
	"strings"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
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
	of       *layer // by which the build finds the row; not read
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
	line     []span
	wrote    bool
}

// rowOf cuts a layer. The plan lock is held.
func rowOf(l *layer) layerRow {
	r := layerRow{
		of: l, id: l.id, lost: cutOf(&l.lost), created: l.created, vol: l.vol, name: l.name, died: l.died, size: l.size, own: l.own, refer: l.refer,
		lostHere: l.lostHere, top: l.top, who: l.who, dir: l.dir, was: l.was, line: l.line, wrote: l.wrote,
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

// floor is layer.floor at the cut.
func (r *layerRow) floor() LayerID {
	if r.flags&flagDead != 0 {
		return r.died
	}
	return r.parent
}

// Attributes of a layer. attrDir is that of one whose volume is gone: the directory that it is charged to.
const (
	attrDir   = "dir"
	attrLine  = "line"  // whose births it may own, where that is not just its own
	attrWrote = "wrote" // something was written to its volume, of which neither it nor its map has anything
)

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
	e.Attrs(r.attrs())
	return e.B
}

func (r *layerRow) attrs() (as []codec.Attr) {
	if r.dir != 0 {
		var v codec.Encoder
		v.Uint(uint64(r.dir))
		as = append(as, codec.Attr{Name: attrDir, Val: v.B})
	}
	if !isFirst(r.line, r.id, r.owner()) {
		as = append(as, codec.Attr{Name: attrLine, Val: marshalLine(r.line)})
	}
	as = append(as, r.was.attrs()...)
	if r.wrote && r.own == 0 && r.refer == 0 { // else it is seen
		as = append(as, codec.Attr{Name: attrWrote})
	}
	slices.SortFunc(as, func(a, b codec.Attr) int { return strings.Compare(a.Name, b.Name) })
	return as
}

// owner is the volume that the layer was made for.
func (r *layerRow) owner() Ino {
	if r.vol == 0 {
		return r.was.vol
	}
	return r.vol
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
		fresh: cutOf(&j.fresh), ready: cutOf(&j.ready), bad: cutOf(&j.bad), attrs: j.attrs(),
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

// cutOf freezes what is in memory of the list, for the build to merge into the trees; what comes from now on is fresh.
func cutOf(l *runs.List) *cutList {
	return &cutList{place: l.Freeze(), trees: slices.Clone(l.Trees), frozen: l.Frozen}
}
