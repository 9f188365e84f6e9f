package chain

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"slatefs/chain/codec"
)

// doomedIndex finds what was destroyed and is kept for undestroy, by its number, its volume or its layer. The rows are in the
// catalog; the plan lock guards it.
type doomedIndex struct {
	*core
	health *health

	rows        map[uint64]*doomed // destroyed, and kept
	vols        map[Ino]uint64     // their IDs
	layers      map[LayerID]uint64
	blocks      int64    // blocks that the end of all that would free: of all parts together (falling)
	sacrificing workLock // one of them; before all other locks
	sacrificed  int64    // that went before their time, by this process
}

// doomed is something that was destroyed and is kept. Exactly one volume, or one snapshot of one.
type doomed struct {
	vol   Ino
	layer LayerID // of a snapshot; 0: the volume with all it has
	dir   Ino     // where the volume was
	name  string  // the volume's, or the snapshot's
	path  string  // the volume's
	size  int64   // bytes
	when  time.Time
	until time.Time
	who   string
	try   backoff           // to end it
	falls map[*falling]bool // of a volume: those that its layers are in
}

func (d *doomed) marshal() []byte {
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

func (d *doomed) unmarshal(b []byte) error {
	r := codec.Decoder{B: b}
	d.vol, d.layer, d.dir, d.name, d.path = Ino(r.Uint()), LayerID(r.Uint()), Ino(r.Uint()), r.Str(), r.Str()
	d.size, d.when, d.until, d.who = r.Int(), r.Time(), r.Time(), r.Str()
	return r.Done()
}

// what names it: a path, or path@name.
func (d *doomed) what() string {
	if d.layer != 0 {
		return d.path + "@" + d.name
	}
	return d.path
}

func (d *doomed) end() time.Time { return d.until }

func (d *doomed) begin() time.Time { return d.when }

// doomedVolume is the doomed volume of that inode, or nil.
func (di *doomedIndex) doomedVolume(ino Ino) (uint64, *doomed) {
	id := di.vols[ino]
	return id, di.rows[id]
}

// doomedLayer: the layer is a doomed snapshot's.
func (di *doomedIndex) doomedLayer(l *layer) bool { return di.layers[l.id] != 0 }

// doomedInOrder lists the IDs of what is doomed, what goes first first.
func (di *doomedIndex) doomedInOrder() []uint64 {
	di.mu.step(len(di.rows))
	return slices.SortedFunc(maps.Keys(di.rows), func(a, b uint64) int {
		return cmp.Or(di.rows[a].until.Compare(di.rows[b].until), cmp.Compare(a, b))
	})
}

// firstDoomed is the first of what is doomed by a time, and may be tried; 0: there is none.
func (di *doomedIndex) firstDoomed(by func(*doomed) time.Time) (first uint64, at time.Time) {
	for id, d := range di.rows {
		di.mu.step(1)
		if !di.health.mayTry(&d.try) {
			continue
		}
		if t := by(d); first == 0 || t.Before(at) || t.Equal(at) && id < first {
			first, at = id, t
		}
	}
	return first, at
}

// overdue is what is doomed and has had its time, or 0.
func (di *doomedIndex) overdue() uint64 {
	if id, at := di.firstDoomed((*doomed).end); id != 0 && !di.opt.Now().Before(at) {
		return id
	}
	return 0
}

// untilOverdue is how long the first of what is doomed is kept. The plan lock is held.
func (di *doomedIndex) untilOverdue() (d time.Duration, any bool) {
	id, at := di.firstDoomed((*doomed).end)
	if id == 0 {
		return 0, false
	}
	return max(at.Sub(di.opt.Now()), time.Second), true
}

// spot is where an inode without a name had it.
type spot struct {
	dir        Ino
	name, path string
	who        string // took the name away
}

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

// going: it is removed in steps.
func (o *spot) going() bool { return o.name == "" }
