package chain

import (
	"fmt"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// recPut: a row of the catalog; nil deletes it.
type recPut struct {
	key meta.Key
	val []byte
	was []byte // the row before, of a symlink's inode and of an attribute, for the ledger; not written: replay has no ledger
}

func (r *recPut) encode(e *codec.Encoder) {
	e.Key(r.key)
	e.Bool(r.val != nil)
	if r.val != nil {
		e.Bytes(r.val)
	}
}

func (r *recPut) decode(d *codec.Decoder) {
	r.key = d.Key()
	if d.Bool() {
		r.val = append([]byte{}, d.Bytes()...)
	}
}

func (r *recPut) apply(p *Pool) error {
	kind := catalog.KindOf(r.key)
	switch kind {
	case catalog.Inode, catalog.Name, catalog.Link, catalog.Xattr, catalog.Property, catalog.Orphan, catalog.Place:
	case catalog.Destroyed:
		if err := p.tree.noteDestroyed(r.key.Hi&(1<<56-1), r.val); err != nil {
			return err
		}
	case catalog.Layer, catalog.Job, catalog.Walk, catalog.Drop, catalog.Window, catalog.Answer, catalog.Log, catalog.Daily, catalog.Chain,
		catalog.Signed, catalog.Account, catalog.OfVolume, catalog.Closing, catalog.Elsewhere, catalog.Event: // the checkpoint's, and the logs'
		return fmt.Errorf("row %x of kind %d in a record: %w", r.key, kind, ErrCorrupt)
	default:
		return fmt.Errorf("row %x of kind %d in a record: %w", r.key, kind, ErrCorrupt)
	}
	if len(r.val) > meta.MaxValue {
		return fmt.Errorf("row %x of %d bytes: %w", r.key, len(r.val), ErrCorrupt)
	}
	p.names.cat.Put(r.key, r.val)
	if kind == catalog.Inode { // its number is taken, whatever becomes of it
		p.tree.snaps.follow(Ino(r.key.Hi&(1<<56-1)), r.val)
		p.names.nextIno = max(p.names.nextIno, Ino(r.key.Hi&(1<<56-1)))
	}
	return p.space.followRow(r)
}

// recAnswer: the request with this FUSE unique was carried out with this errno. A successor of the daemon answers
// it from here instead of doing it again.
type recAnswer struct {
	unique uint64
	errno  uint32
	ino    Ino
}

func (r *recAnswer) encode(e *codec.Encoder) {
	e.Uint(r.unique)
	e.Uint(uint64(r.errno))
	e.Uint(uint64(r.ino))
}

func (r *recAnswer) decode(d *codec.Decoder) {
	r.unique, r.errno, r.ino = d.Uint(), d.Uint32(), Ino(d.Uint())
}

func (r *recAnswer) apply(p *Pool) error {
	p.names.answers.add(*r)
	return nil
}
