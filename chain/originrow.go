package chain

import (
	"fmt"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// Rows of accounts. They are in the tree of the catalog only, never among the rows that changed: what changes is in memory as
// changes, and only a checkpoint makes rows of them. So who reads one adds what has changed since.

const (
	flagSealed = 1 << iota
	flagMixed
	flagCopied
)

func (a *account) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(a.vol))
	e.Int(a.written)
	e.Int(a.zeroed)
	e.Int(a.released)
	flags := uint64(0)
	for f, on := range map[uint64]bool{flagSealed: a.sealed, flagMixed: a.mixed, flagCopied: a.copied} {
		if on {
			flags |= f
		}
	}
	e.Uint(flags)
	e.Time(a.from)
	e.Time(a.last)
	e.Attrs(nil)
	return e.B
}

func (a *account) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	a.vol, a.written, a.zeroed, a.released = Ino(d.Uint()), d.Int(), d.Int(), d.Int()
	flags := d.Uint()
	a.sealed, a.mixed, a.copied = flags&flagSealed != 0, flags&flagMixed != 0, flags&flagCopied != 0
	a.from, a.last = d.Time(), d.Time()
	d.Attrs(nil)
	if flags&^(flagSealed|flagMixed|flagCopied) != 0 || a.wrong() {
		d.Fail("account of blocks that were not written")
	}
	return wrapCorrupt(d.Done())
}

// volumeAccount is what is known of a volume beside its open accounts: the sum of those that were closed and, when it is gone,
// where it was, whose, and since when.
type volumeAccount struct {
	closed  int64 // accounts
	written int64 // blocks in them, all of which are zero
	from    time.Time
	last    time.Time
	end     uint64 // not 0: it is gone; the last number of a job or walk before that
	ended   time.Time
	path    string
	dir     Ino
	uid     uint32
	who     string
}

// endedLate is the end of a volume that had writes under way then: no crash is known to have come after them.
const endedLate = 1 << 62

// add adds a change.
func (v *volumeAccount) add(o *volumeAccount) {
	v.closed += o.closed
	v.written += o.written
	v.from, v.last = earliest(v.from, o.from), latest(v.last, o.last)
	if o.end != 0 {
		v.end, v.ended, v.path, v.dir, v.uid, v.who = o.end, o.ended, o.path, o.dir, o.uid, o.who
	}
}

func (v *volumeAccount) marshal() []byte {
	e := codec.Encoder{}
	e.Int(v.closed)
	e.Int(v.written)
	e.Time(v.from)
	e.Time(v.last)
	e.Uint(v.end)
	e.Time(v.ended)
	e.Str(v.path)
	e.Uint(uint64(v.dir))
	e.Uint(uint64(v.uid))
	e.Str(v.who)
	e.Attrs(nil)
	return e.B
}

func (v *volumeAccount) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	v.closed, v.written, v.from, v.last = d.Int(), d.Int(), d.Time(), d.Time()
	v.end, v.ended, v.path, v.dir = d.Uint(), d.Time(), d.Str(), Ino(d.Uint())
	v.uid, v.who = d.Uint32(), d.Str()
	d.Attrs(nil)
	return wrapCorrupt(d.Done())
}

// elsewhereKey is where it is told that blocks with births from one on may have bytes of a volume.
func elsewhereKey(vol Ino, from LayerID) meta.Key {
	return meta.Key{Hi: catalog.Key(catalog.Elsewhere, uint64(vol)).Hi, Lo: uint64(from)}
}

// marshalElsewhere is the value there: whose births they are, and up to which.
func marshalElsewhere(s span) []byte {
	e := codec.Encoder{}
	e.Uint(uint64(s.vol))
	e.Uint(uint64(s.to))
	e.Attrs(nil)
	return e.B
}

func parseElsewhere(k meta.Key, b []byte) (s span, err error) {
	d := codec.Decoder{B: b}
	s = span{vol: Ino(d.Uint()), from: LayerID(k.Lo), to: LayerID(d.Uint())}
	d.Attrs(nil)
	if s.to < s.from {
		d.Fail("births out of order")
	}
	return s, wrapCorrupt(d.Done())
}

func accountKey(birth LayerID) meta.Key { return catalog.Key(catalog.Account, uint64(birth)) }

// ofVolumeKey is where a volume's row is, with birth 0, and where its open accounts are named.
func ofVolumeKey(vol Ino, birth LayerID) meta.Key {
	return meta.Key{Hi: catalog.Key(catalog.OfVolume, uint64(vol)).Hi, Lo: uint64(birth)}
}

// beginKey is the row that says from which birth on there are accounts.
var beginKey = catalog.Key(catalog.OfVolume, 0)

// stored is an account as the last checkpoint wrote it. Who calls holds the structure lock, or builds a checkpoint.
func (ot *originTable) stored(birth LayerID) (a account, ok bool, err error) {
	v, ok, err := ot.names.cat.Family.Get(ot.names.cat.Tree, accountKey(birth))
	if err == nil && ok {
		err = a.unmarshal(v)
	}
	if err != nil {
		return a, false, fmt.Errorf("catalog: account of layer %v: %w", birth, wrapCorrupt(err))
	}
	return a, ok, nil
}

// storedVolume is a volume's row as the last checkpoint wrote it; the locks are those of stored.
func (ot *originTable) storedVolume(vol Ino) (a volumeAccount, ok bool, err error) {
	v, ok, err := ot.names.cat.Family.Get(ot.names.cat.Tree, ofVolumeKey(vol, 0))
	if err == nil && ok {
		err = a.unmarshal(v)
	}
	if err != nil {
		return a, false, fmt.Errorf("catalog: account of volume %d: %w", vol, wrapCorrupt(err))
	}
	return a, ok, nil
}

// load reads what is kept in memory: whether there are accounts, and which have nothing left.
func (ot *originTable) load() error {
	v, ok, err := ot.names.cat.Get(beginKey)
	if err != nil || !ok {
		return err
	}
	ot.begun = true
	if ot.first, ot.before, ot.nobodys, err = parseBegin(v); err != nil {
		return err
	}
	if ot.nobodys == 0 { // a program may have written it that did not count them
		a, _, err := ot.stored(0)
		if err != nil {
			return err
		}
		ot.nobodys = a.released
	}
	return ot.names.cat.Each(catalog.Closing, func(birth uint64, _ []byte) error {
		ot.closing = append(ot.closing, LayerID(birth))
		return nil
	})
}

// attrNobodys is how many blocks of births that nobody knows were only released.
const attrNobodys = "nobodys"

func marshalBegin(first LayerID, before Ino, nobodys int64) []byte {
	var e, n codec.Encoder
	e.Uint(uint64(first))
	e.Uint(uint64(before))
	var attrs []codec.Attr
	if nobodys > 0 {
		n.Int(nobodys)
		attrs = []codec.Attr{{Name: attrNobodys, Val: n.B}}
	}
	e.Attrs(attrs)
	return e.B
}

func parseBegin(b []byte) (first LayerID, before Ino, nobodys int64, err error) {
	d := codec.Decoder{B: b}
	first, before = LayerID(d.Uint()), Ino(d.Uint())
	d.Attrs(map[string]func(*codec.Decoder){attrNobodys: func(d *codec.Decoder) { nobodys = d.Int() }})
	return first, before, nobodys, wrapCorrupt(d.Done())
}
