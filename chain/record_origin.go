package chain

import (
	"fmt"
	"time"

	"slatefs/chain/codec"
	"slatefs/chain/evidence"
)

// recBegin: accounts by origin are kept from a birth on: of a pool that an older program made, of layers to come, and
// all that is known of volumes up to an inode is incomplete.
type recBegin struct {
	first  LayerID
	before Ino
}

func (r *recBegin) encode(e *codec.Encoder) { e.Uint(uint64(r.first)); e.Uint(uint64(r.before)) }

func (r *recBegin) decode(d *codec.Decoder) { r.first, r.before = LayerID(d.Uint()), Ino(d.Uint()) }

func (r *recBegin) apply(p *Pool) error {
	if p.origins.begun || r.first != p.tree.nextLayer+1 || r.before > p.names.nextIno {
		return fmt.Errorf("accounts begin at layer %v, the last one is %v: %w", r.first, p.tree.nextLayer, ErrCorrupt)
	}
	p.origins.begin(r.first, r.before)
	return nil
}

// recEnded: a volume is about to be gone: where it was, and whose.
type recEnded struct {
	vol  Ino
	uid  uint32
	dir  Ino
	path string
	who  string
	when time.Time
	late bool // writes were under way that have not ended: a crash may leave what they wrote
}

func (r *recEnded) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Uint(uint64(r.uid))
	e.Uint(uint64(r.dir))
	e.Str(r.path)
	e.Str(r.who)
	e.Time(r.when)
	e.Bool(r.late)
}

func (r *recEnded) decode(d *codec.Decoder) {
	r.vol, r.uid, r.dir, r.path, r.who = Ino(d.Uint()), d.Uint32(), Ino(d.Uint()), d.Str(), d.Str()
	r.when, r.late = d.Time(), d.Bool()
}

func (r *recEnded) apply(p *Pool) error {
	if len(r.path) > maxLogPath || len(r.who) > maxWho || r.vol == 0 || r.vol > p.names.nextIno {
		return fmt.Errorf("volume %d ends, path of %d bytes: %w", r.vol, len(r.path), ErrCorrupt)
	}
	if p.origins.begun {
		end := max(1, p.commits.nextJob)
		if r.late {
			end = endedLate
		}
		p.origins.volume(r.vol).add(&volumeAccount{
			end: end, ended: r.when, path: r.path, dir: r.dir, uid: r.uid, who: r.who,
		})
	}
	return nil
}

// recCopied: a write of less than a block has taken bytes along that were written with one birth, into a block of another one.
type recCopied struct {
	from, to LayerID
	vol      Ino // whose the second is
}

func (r *recCopied) encode(e *codec.Encoder) {
	e.Uint(uint64(r.from))
	e.Uint(uint64(r.to))
	e.Uint(uint64(r.vol))
}

func (r *recCopied) decode(d *codec.Decoder) {
	r.from, r.to, r.vol = LayerID(d.Uint()), LayerID(d.Uint()), Ino(d.Uint())
}

func (r *recCopied) apply(p *Pool) error {
	if r.from == 0 || max(r.from, r.to) > p.tree.nextLayer || r.vol == 0 {
		return fmt.Errorf("bytes born in layer %v copied to %v: %w", r.from, r.to, ErrCorrupt)
	}
	p.origins.copied(r.from, r.to, r.vol)
	return nil
}

// recClosed: accounts of a volume are closed. Numbers are blocks.
type recClosed struct {
	vol    Ino
	path   string
	all    bool // that there are: the volume is gone, and all that was ever written to it is zero
	layers []closedAccount
	from   time.Time
	last   time.Time
}

// closedAccount is one of them: so much was written, and all of that is zero.
type closedAccount struct {
	id      LayerID
	written int64
}

func (r *recClosed) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Str(r.path)
	e.Bool(r.all)
	e.Uint(uint64(len(r.layers)))
	for _, l := range r.layers {
		e.Uint(uint64(l.id))
		e.Int(l.written)
	}
	e.Time(r.from)
	e.Time(r.last)
}

func (r *recClosed) decode(d *codec.Decoder) {
	r.vol, r.path, r.all = Ino(d.Uint()), d.Str(), d.Bool()
	for range d.LenOf(2) {
		r.layers = append(r.layers, closedAccount{LayerID(d.Uint()), d.Int()})
	}
	r.from, r.last = d.Time(), d.Time()
}

func (r *recClosed) apply(p *Pool) error {
	if len(r.path) > maxLogPath || r.vol == 0 || r.vol > p.names.nextIno {
		return fmt.Errorf("accounts of volume %d are closed, path of %d bytes: %w", r.vol, len(r.path), ErrCorrupt)
	}
	var sum int64
	p.mu.step(len(r.layers))
	for _, l := range r.layers {
		if !p.origins.covers(l.id) || l.id > p.tree.nextLayer || l.written > evidence.MaxBlocks {
			return fmt.Errorf("account of layer %v is closed, %d blocks: %w", l.id, l.written, ErrCorrupt)
		}
		a := p.origins.of(l.id)
		a.closed = true
		a.written -= l.written
		a.zeroed -= l.written
		sum += l.written
	}
	p.origins.volume(r.vol).add(&volumeAccount{closed: int64(len(r.layers)), written: sum, from: r.from, last: r.last})
	p.jobs.logClosed(r, sum)
	return nil
}
