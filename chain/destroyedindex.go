package chain

import (
	"time"

	"slatefs/chain/codec"
	"slatefs/chain/fault"
	"slatefs/chain/omap"
)

// destroyedIndex finds what was destroyed and is kept for undestroy, by its number, its volume or its layer. The rows are in the
// catalog; the plan lock guards it.
type destroyedIndex struct {
	*core
	health *health

	rows        map[uint64]*destroyed // mu: destroyed, and kept
	vols        map[Ino]uint64        // mu: their IDs
	layers      map[LayerID]uint64    // mu
	snaps       omap.Map[uint64]      // mu: IDs of snapshots, by volume and ID
	ends        destroyedEnds         // mu
	blocks      int64                 // mu: blocks that the end of all that would free: of all parts together (falling)
	sacrificing workLock              // self: one of them; before all other locks
	sacrificed  int64                 // mu: that went before their time, by this process
}

// destroyed is something that was destroyed and is kept. Exactly one volume, or one snapshot of one.
type destroyed struct {
	vol   Ino
	layer LayerID // of a snapshot; 0: the volume with all it has
	dir   Ino     // where the volume was
	name  string  // the volume's, or the snapshot's
	path  string  // the volume's
	size  int64   // bytes
	when  time.Time
	until time.Time
	who   string
	try   fault.Backoff     // to end it
	falls map[*falling]bool // of a volume: those that its layers are in
}

func (d *destroyed) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(d.vol))
	e.Uint(uint64(d.layer))
	e.Uint(uint64(d.dir))
	e.Str(d.name)
	e.Str(d.path)
	e.Int(d.size)
	e.Time(d.when)
	e.Time(d.until)
	e.Str(d.who)
	return e.B
}

func (d *destroyed) unmarshal(b []byte) error {
	r := codec.Decoder{B: b}
	d.vol, d.layer, d.dir, d.name, d.path = Ino(r.Uint()), LayerID(r.Uint()), Ino(r.Uint()), r.Str(), r.Str()
	d.size, d.when, d.until, d.who = r.Int(), r.Time(), r.Time(), r.Str()
	return r.Done()
}

// what names it: a path, or path@name.
func (d *destroyed) what() string {
	if d.layer != 0 {
		return d.path + "@" + d.name
	}
	return d.path
}

// destroyedVolume is the destroyed volume of that inode, or nil.
func (di *destroyedIndex) destroyedVolume(ino Ino) (uint64, *destroyed) {
	id := di.vols[ino]
	return id, di.rows[id]
}

// destroyedLayer: the layer is a destroyed snapshot's.
func (di *destroyedIndex) destroyedLayer(l *layer) bool { return di.layers[l.id] != 0 }

// firstDestroyed is what goes first by an order, or 0. Of what failed to end it is one whose time has come, when nothing else is
// there.
func (di *destroyedIndex) firstDestroyed(order *omap.Map[uint64]) uint64 {
	if _, id, ok := order.Ceil(omap.Key{}); ok {
		return id
	}
	if _, id, ok := di.ends.sick.Ceil(omap.Key{}); ok && di.health.mayTry(&di.rows[id].try) {
		return id
	}
	return 0
}

// overdue is what is destroyed and has had its time, or 0.
func (di *destroyedIndex) overdue() (id uint64) {
	now := di.opt.Now()
	if _, id, ok := di.ends.byEnd.Ceil(omap.Key{}); ok && !now.Before(di.rows[id].until) {
		return id
	}
	n := 0
	di.ends.sick.Ascend(omap.Key{}, func(_ omap.Key, o uint64) bool {
		d := di.rows[o]
		if n++; !d.try.Due(now) || n > pieceLen/4 {
			return false
		}
		if !now.Before(d.until) {
			id = o
		}
		return id == 0
	})
	return id
}

// untilOverdue is how long the first of what is destroyed is kept. The plan lock is held.
func (di *destroyedIndex) untilOverdue() (d time.Duration, any bool) {
	di.mu.assertHeld()
	_, id, ok := di.ends.byEnd.Ceil(omap.Key{})
	if !ok {
		return 0, false
	}
	return max(di.rows[id].until.Sub(di.opt.Now()), time.Second), true
}

// spot is where an inode without a name had it.
type spot struct {
	dir        Ino
	name, path string
	who        string // took the name away
}

// going: it is removed in steps.
func (o *spot) going() bool { return o.name == "" }

func (o spot) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(o.dir))
	e.Str(o.name)
	e.Str(o.path)
	e.Str(o.who)
	return e.B
}

func (o *spot) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	o.dir, o.name, o.path, o.who = Ino(d.Uint()), d.Str(), d.Str(), d.Str()
	return wrapCorrupt(d.Done())
}

// destroyedEnds tells what goes first. What is failing to end is apart: it keeps nothing else.
type destroyedEnds struct {
	byEnd   omap.Map[uint64] // numbers of things, by when their time is over
	byBegin omap.Map[uint64] // the same, by when they were destroyed
	sick    omap.Map[uint64] // failing, by the time of the next try
}

// inOrder lists all, what goes first first, and last what fails.
func (q *destroyedEnds) inOrder() (ids []uint64) {
	add := func(_ omap.Key, id uint64) bool { ids = append(ids, id); return true }
	q.byEnd.Ascend(omap.Key{}, add)
	q.sick.Ascend(omap.Key{}, add)
	return ids
}

func (q *destroyedEnds) put(id uint64, d *destroyed) {
	if d.try.Failing() {
		q.sick.Set(dueKey(d.try.At, id), id)
		return
	}
	q.byEnd.Set(timeKey(d.until, id), id)
	q.byBegin.Set(timeKey(d.when, id), id)
}

func (q *destroyedEnds) drop(id uint64, d *destroyed) {
	q.sick.Delete(dueKey(d.try.At, id))
	q.byEnd.Delete(timeKey(d.until, id))
	q.byBegin.Delete(timeKey(d.when, id))
}
