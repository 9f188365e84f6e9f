package chain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
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
	tags     []SnapTag
}

// rowOf takes the row of a layer: what is written and lost from now on is the next cut's. The plan lock is held.
func rowOf(l *layer) layerRow {
	r := plainRow(l)
	r.lost, r.top = cutOf(&l.lost), l.top
	if l.head {
		l.top = overlay.New(l.top, l)
	}
	l.need, l.mem = 0, 0
	return r
}

// plainRow is the row of a layer without what changes hands when it is taken.
func plainRow(l *layer) layerRow {
	r := layerRow{
		of: l, id: l.id, created: l.created, vol: l.vol, name: l.name, died: l.died, size: l.size, own: l.own, refer: l.refer,
		lostHere: l.lostHere, who: l.who, dir: l.dir, was: l.was, line: l.line, wrote: l.wrote,
		tags: l.tags,
	}
	if l.parent != nil {
		r.parent = l.parent.id
	}
	for _, f := range [...]struct {
		flag uint64
		on   bool
	}{{flagHead, l.head}, {flagNamed, l.named}, {flagDead, l.dead}, {flagSwept, l.swept}, {flagLayerKept, l.kept}} {
		if f.on {
			r.flags |= f.flag
		}
	}
	return r
}

// layerSeal is what of a layer nobody changes behind the gate.
func layerSeal(l *layer) any {
	s := struct {
		layerRow
		top         *overlay.Storey
		pieces      int
		fresh       int
		edits       uint64
		need, bytes int64
	}{layerRow: plainRow(l), need: l.need, bytes: l.mem}
	if l.head {
		s.top, s.pieces = l.top, l.top.Len()
	}
	if !l.dead { // what it has lost goes when a build ends
		s.fresh, s.edits = l.lost.Fresh.Len(), l.lost.Edits
	}
	return fmt.Sprintf("%+v", s)
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
	attrTags  = "tags"  // what holds a snapshot
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
	if len(r.tags) > 0 {
		as = append(as, codec.Attr{Name: attrTags, Val: marshalTags(r.tags)})
	}
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

// walkRow is a walk as the cut found it. The map comes from the build.
type walkRow struct {
	id, job     uint64
	layer       LayerID
	burial      bool
	next, pages int64
	source      *overlay.Storey
}

// rowOfWalk takes the row of a walk. The plan lock is held.
func rowOfWalk(w *walk) walkRow {
	return walkRow{w.id, w.job.id, w.layer.id, w.burial, w.next, w.pages, w.source}
}

func walkSeal(w *walk) any { return rowOfWalk(w) }

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
