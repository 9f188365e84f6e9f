package chain

import (
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// A record is one change of the pool. There is one way to change it: encode the record into the batch that waits
// for the next commit, and apply it to memory. Replay applies the same records in the same order to the state of
// the last checkpoint, so what is rebuilt is what was.
//
// A record starts with its kind; zero is none. Records carry everything that apply needs but the state itself:
// numbers of layers, jobs and walks that it makes are counted up by apply.
type record interface {
	kind() byte
	encode(e *encoder)
	decode(d *decoder)
	apply(p *Pool) error
}

const (
	kindClaim byte = iota + 1
	kindUnclaim
	kindMap
	kindDirty
	kindErased
	kindSeal
	kindGrant
	kindPut
	kindHead
	kindFreeze
	kindRollback
	kindUnname
	kindDestroy
	kindDetach
	kindWalk
	kindResize
	kindRename
	kindRecover
	kindReap
	kindAnswer
	kindSweep
	kindJob
	kindHome
	kindForget
	kindFirst
	kindRevive
)

// Numbers of their own, apart from the row above.
const (
	kindExtend byte = iota + 32
	kindReduce
	kindApart
)

func newRecord(kind byte) record {
	switch kind {
	case kindClaim:
		return &recClaim{}
	case kindUnclaim:
		return &recUnclaim{}
	case kindMap:
		return &recMap{}
	case kindDirty:
		return &recDirty{}
	case kindErased:
		return &recErased{}
	case kindApart:
		return &recApart{}
	case kindSeal:
		return &recSeal{}
	case kindGrant:
		return &recGrant{}
	case kindPut:
		return &recPut{}
	case kindHead:
		return &recHead{}
	case kindFreeze:
		return &recFreeze{}
	case kindRollback:
		return &recRollback{}
	case kindUnname:
		return &recUnname{}
	case kindDestroy:
		return &recDestroy{}
	case kindDetach:
		return &recDetach{}
	case kindWalk:
		return &recWalk{}
	case kindResize:
		return &recResize{}
	case kindRename:
		return &recRename{}
	case kindRecover:
		return &recRecover{}
	case kindReap:
		return &recReap{}
	case kindAnswer:
		return &recAnswer{}
	case kindSweep:
		return &recSweep{}
	case kindJob:
		return &recJob{}
	case kindHome:
		return &recHome{}
	case kindForget:
		return &recForget{}
	case kindFirst:
		return &recFirst{}
	case kindRevive:
		return &recRevive{}
	case kindExtend:
		return &recExtend{}
	case kindReduce:
		return &recReduce{}
	}
	return nil
}

// decodeRecords takes a batch apart.
func decodeRecords(b []byte, fn func(record) error) error {
	d := &decoder{b: b}
	for len(d.b) > 0 {
		k := d.byte()
		r := newRecord(k)
		if r == nil {
			return fmt.Errorf("record kind %d: %w", k, ErrCorrupt)
		}
		r.decode(d)
		if d.err != nil {
			return fmt.Errorf("record kind %d: %w", k, d.err)
		}
		if err := fn(r); err != nil {
			return fmt.Errorf("record kind %d: %w", k, err)
		}
	}
	return nil
}

// oldRun is a run that a map no longer shows.
type oldRun struct {
	dev   alloc.BlockID
	n     int64
	birth LayerID
}

func (e *encoder) old(rs []oldRun) {
	e.u(uint64(len(rs)))
	for _, r := range rs {
		e.u(uint64(r.dev))
		e.i(r.n)
		e.u(uint64(r.birth))
	}
}

func (d *decoder) old() []oldRun {
	n := d.lenOf(3)
	if n == 0 {
		return nil
	}
	rs := make([]oldRun, 0, n)
	for range n {
		rs = append(rs, oldRun{alloc.BlockID(d.u()), d.i(), LayerID(d.u())})
	}
	return rs
}

type (
	// recClaim: clean blocks are handed to the window.
	recClaim struct{ runs []alloc.Run }
	// recUnclaim: blocks of the window that no plan ever named are clean again.
	recUnclaim struct{ runs []alloc.Run }
	// recMap: n logical blocks of a head from lb on now lie at dev (0: they are a hole). clean: they came straight
	// from clean, as fallocate maps them, not through the window. What they showed before is in old.
	recMap struct {
		layer LayerID
		lb, n int64
		dev   alloc.BlockID
		clean bool
		old   []oldRun
		size  int64 // the layer's size afterwards, if larger; bytes
	}
	// recDirty: claimed blocks that a plan named and did not map are dirty.
	recDirty struct {
		vol  Ino
		runs []alloc.Run
	}
	// recJob: the job that collects what a volume overwrites and discards.
	recJob struct {
		vol  Ino
		when time.Time
	}
	// recErased: runs of a job are zero, others failed; the job has been worked off up to the key. How they were zeroed
	// is told when it is not as this process told before.
	recErased struct {
		job            uint64
		upTo           meta.Key
		zeroed, failed []alloc.Run
		when           time.Time
		told           bool
		how            How
	}
	// recApart: the same of runs that lie above the cursor, which stays where it is. They are named by their births, too.
	recApart struct {
		job            uint64
		zeroed, failed []oldRun
		when           time.Time
		told           bool
		how            How
	}
	// recSeal: what a job collected (or what failed) is the next to be erased.
	recSeal struct {
		job uint64
		bad bool
	}
	// recGrant: clean blocks go to the metadata store.
	recGrant struct{ run alloc.Run }
	// recPut: a row of the catalog; nil deletes it.
	recPut struct {
		key meta.Key
		val []byte
	}
	// recHead: a new volume's first layer; its parent is the snapshot that it is cloned from, or 0.
	recHead struct {
		vol    Ino
		parent LayerID
		size   int64
		when   time.Time
	}
	// recFreeze: heads become snapshots at one instant, each with a new head above it. No name: nameless, for a clone.
	recFreeze struct {
		vols []Ino
		name string
		when time.Time
		who  string
	}
	// recRollback: a new head on a snapshot; the old head is dead.
	recRollback struct {
		vol  Ino
		snap LayerID
		when time.Time
		who  string
	}
	// recUnname: a snapshot loses its name and goes as far as its children let it; held: not before recReap.
	recUnname struct {
		layer LayerID
		held  bool
		when  time.Time
		who   string
	}
	// recDestroy: a volume goes with all its snapshots.
	recDestroy struct {
		vol  Ino
		held []LayerID // open .snap files
		dir  Ino       // that layers which clones hold are charged to from then on
		when time.Time
		who  string
	}
	// recHome: nameless layers that are charged to a directory are charged to another.
	recHome struct{ dir, to Ino }
	// recDetach: blocks [lo, hi) of a head are cut off in one piece, mapped of them; a walk sorts them.
	recDetach struct {
		layer          LayerID
		lo, hi, mapped int64
		when           time.Time
	}
	// recWalk: a walk has taken runs from what was cut off, and stands at next.
	recWalk struct {
		walk uint64
		next int64
		runs []oldRun
		done bool
	}
	// recResize: size of a head, bytes.
	recResize struct {
		layer LayerID
		size  int64
	}
	// recRename: name of a snapshot.
	recRename struct {
		layer LayerID
		name  string
	}
	// recRecover: after a crash, all that is claimed is dirty.
	recRecover struct{ when time.Time }
	// recReap: a nameless layer that nothing holds any more goes.
	recReap struct {
		layer LayerID
		when  time.Time
	}
	// recAnswer: the request with this FUSE unique was carried out with this errno. A successor of the daemon answers
	// it from here instead of doing it again.
	recAnswer struct {
		unique uint64
		errno  uint32
		ino    Ino
	}
)

func (*recClaim) kind() byte    { return kindClaim }
func (*recUnclaim) kind() byte  { return kindUnclaim }
func (*recMap) kind() byte      { return kindMap }
func (*recDirty) kind() byte    { return kindDirty }
func (*recErased) kind() byte   { return kindErased }
func (*recApart) kind() byte    { return kindApart }
func (*recSeal) kind() byte     { return kindSeal }
func (*recGrant) kind() byte    { return kindGrant }
func (*recPut) kind() byte      { return kindPut }
func (*recHead) kind() byte     { return kindHead }
func (*recFreeze) kind() byte   { return kindFreeze }
func (*recRollback) kind() byte { return kindRollback }
func (*recUnname) kind() byte   { return kindUnname }
func (*recDestroy) kind() byte  { return kindDestroy }
func (*recDetach) kind() byte   { return kindDetach }
func (*recWalk) kind() byte     { return kindWalk }
func (*recResize) kind() byte   { return kindResize }
func (*recRename) kind() byte   { return kindRename }
func (*recRecover) kind() byte  { return kindRecover }
func (*recReap) kind() byte     { return kindReap }
func (*recAnswer) kind() byte   { return kindAnswer }
func (*recSweep) kind() byte    { return kindSweep }
func (*recJob) kind() byte      { return kindJob }
func (*recHome) kind() byte     { return kindHome }

func (r *recClaim) encode(e *encoder)   { e.runs(r.runs) }
func (r *recClaim) decode(d *decoder)   { r.runs = d.runs() }
func (r *recUnclaim) encode(e *encoder) { e.runs(r.runs) }
func (r *recUnclaim) decode(d *decoder) { r.runs = d.runs() }

func (r *recMap) encode(e *encoder) {
	e.u(uint64(r.layer))
	e.i(r.lb)
	e.i(r.n)
	e.u(uint64(r.dev))
	e.bool(r.clean)
	e.old(r.old)
	e.i(r.size)
}

func (r *recMap) decode(d *decoder) {
	r.layer, r.lb, r.n, r.dev, r.clean = LayerID(d.u()), d.i(), d.i(), alloc.BlockID(d.u()), d.bool()
	r.old, r.size = d.old(), d.i()
}

func (r *recDirty) encode(e *encoder) { e.u(uint64(r.vol)); e.runs(r.runs) }
func (r *recDirty) decode(d *decoder) { r.vol, r.runs = Ino(d.u()), d.runs() }

func (r *recJob) encode(e *encoder) { e.u(uint64(r.vol)); e.time(r.when) }
func (r *recJob) decode(d *decoder) { r.vol, r.when = Ino(d.u()), d.time() }

func (r *recErased) encode(e *encoder) {
	e.u(r.job)
	e.key(r.upTo)
	e.runs(r.zeroed)
	e.runs(r.failed)
	e.told(r.when, r.told, r.how)
}

func (r *recErased) decode(d *decoder) {
	r.job, r.upTo, r.zeroed, r.failed = d.u(), d.key(), d.runs(), d.runs()
	r.when, r.told, r.how = d.told()
}

func (r *recApart) encode(e *encoder) {
	e.u(r.job)
	e.old(r.zeroed)
	e.old(r.failed)
	e.told(r.when, r.told, r.how)
}

func (r *recApart) decode(d *decoder) {
	r.job, r.zeroed, r.failed = d.u(), d.old(), d.old()
	r.when, r.told, r.how = d.told()
}

func (r *recSeal) encode(e *encoder) { e.u(r.job); e.bool(r.bad) }
func (r *recSeal) decode(d *decoder) { r.job, r.bad = d.u(), d.bool() }

func (r *recGrant) encode(e *encoder) { e.u(uint64(r.run.Start)); e.i(r.run.Len) }
func (r *recGrant) decode(d *decoder) {
	r.run = alloc.Run{Start: alloc.BlockID(d.u()), Len: d.i()}
}

func (r *recPut) encode(e *encoder) {
	e.key(r.key)
	e.bool(r.val != nil)
	if r.val != nil {
		e.bytes(r.val)
	}
}

func (r *recPut) decode(d *decoder) {
	r.key = d.key()
	if d.bool() {
		r.val = append([]byte{}, d.bytes()...)
	}
}

func (r *recHead) encode(e *encoder) {
	e.u(uint64(r.vol))
	e.u(uint64(r.parent))
	e.i(r.size)
	e.time(r.when)
}

func (r *recHead) decode(d *decoder) {
	r.vol, r.parent, r.size, r.when = Ino(d.u()), LayerID(d.u()), d.i(), d.time()
}

func (r *recFreeze) encode(e *encoder) {
	e.u(uint64(len(r.vols)))
	for _, v := range r.vols {
		e.u(uint64(v))
	}
	e.str(r.name)
	e.time(r.when)
	e.str(r.who)
}

func (r *recFreeze) decode(d *decoder) {
	for range d.len() {
		r.vols = append(r.vols, Ino(d.u()))
	}
	r.name, r.when, r.who = d.str(), d.time(), d.str()
}

func (r *recRollback) encode(e *encoder) {
	e.u(uint64(r.vol))
	e.u(uint64(r.snap))
	e.time(r.when)
	e.str(r.who)
}

func (r *recRollback) decode(d *decoder) {
	r.vol, r.snap, r.when, r.who = Ino(d.u()), LayerID(d.u()), d.time(), d.str()
}

func (r *recUnname) encode(e *encoder) {
	e.u(uint64(r.layer))
	e.bool(r.held)
	e.time(r.when)
	e.str(r.who)
}

func (r *recUnname) decode(d *decoder) {
	r.layer, r.held, r.when, r.who = LayerID(d.u()), d.bool(), d.time(), d.str()
}

func (r *recDestroy) encode(e *encoder) {
	e.u(uint64(r.vol))
	e.u(uint64(len(r.held)))
	for _, l := range r.held {
		e.u(uint64(l))
	}
	e.u(uint64(r.dir))
	e.time(r.when)
	e.str(r.who)
}

func (r *recDestroy) decode(d *decoder) {
	r.vol = Ino(d.u())
	for range d.len() {
		r.held = append(r.held, LayerID(d.u()))
	}
	r.dir, r.when, r.who = Ino(d.u()), d.time(), d.str()
}

func (r *recHome) encode(e *encoder) { e.u(uint64(r.dir)); e.u(uint64(r.to)) }
func (r *recHome) decode(d *decoder) { r.dir, r.to = Ino(d.u()), Ino(d.u()) }

func (r *recDetach) encode(e *encoder) {
	e.u(uint64(r.layer))
	e.i(r.lo)
	e.i(r.hi)
	e.i(r.mapped)
	e.time(r.when)
}

func (r *recDetach) decode(d *decoder) {
	r.layer, r.lo, r.hi, r.mapped, r.when = LayerID(d.u()), d.i(), d.i(), d.i(), d.time()
}

func (r *recWalk) encode(e *encoder) { e.u(r.walk); e.i(r.next); e.old(r.runs); e.bool(r.done) }
func (r *recWalk) decode(d *decoder) {
	r.walk, r.next, r.runs, r.done = d.u(), d.i(), d.old(), d.bool()
}

func (r *recResize) encode(e *encoder)  { e.u(uint64(r.layer)); e.i(r.size) }
func (r *recResize) decode(d *decoder)  { r.layer, r.size = LayerID(d.u()), d.i() }
func (r *recRename) encode(e *encoder)  { e.u(uint64(r.layer)); e.str(r.name) }
func (r *recRename) decode(d *decoder)  { r.layer, r.name = LayerID(d.u()), d.str() }
func (r *recRecover) encode(e *encoder) { e.time(r.when) }
func (r *recRecover) decode(d *decoder) { r.when = d.time() }
func (r *recReap) encode(e *encoder)    { e.u(uint64(r.layer)); e.time(r.when) }
func (r *recReap) decode(d *decoder)    { r.layer, r.when = LayerID(d.u()), d.time() }
func (r *recAnswer) encode(e *encoder)  { e.u(r.unique); e.u(uint64(r.errno)); e.u(uint64(r.ino)) }
func (r *recAnswer) decode(d *decoder) {
	r.unique, r.errno, r.ino = d.u(), d.u32(), Ino(d.u())
}
