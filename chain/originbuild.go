package chain

import (
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// A checkpoint adds the changes of accounts to their rows. An account that has come to nothing left is named in a row of its
// own until a record closes it: so it is found after a crash.

// originRows makes the rows of the accounts that changed. The builder reads rows of the last checkpoint, which nobody changes.
func (b *builder) originRows() (err error) {
	c, ot := b.c.origins, b.p.origins
	if c.begins {
		b.rows.Put(beginKey, marshalBegin(ot.first, ot.before, c.nobodys)) // the two are not changed again
	}
	c.layers.Ascend(omap.Key{}, func(k omap.Key, change *account) bool {
		err = b.accountRow(LayerID(k.Lo), change)
		return err == nil
	})
	if err != nil {
		return err
	}
	c.copies.Ascend(omap.Key{}, func(k omap.Key, vol Ino) bool {
		var of Ino
		if of, err = b.volumeOf(LayerID(k.Hi)); err == nil && of != 0 && of != vol {
			b.elsewhere(of, span{vol: vol, from: LayerID(k.Lo), to: LayerID(k.Lo)})
		}
		return err == nil
	})
	c.places.Ascend(omap.Key{}, func(k omap.Key, s span) bool {
		b.elsewhere(Ino(k.Hi), s)
		return true
	})
	if err != nil {
		return err
	}
	c.vols.Ascend(omap.Key{}, func(k omap.Key, change *volumeAccount) bool {
		var v volumeAccount
		if v, _, err = ot.storedVolume(Ino(k.Lo)); err == nil {
			v.add(change)
			b.rows.Put(ofVolumeKey(Ino(k.Lo), 0), v.marshal())
		}
		return err == nil
	})
	return err
}

// elsewhere makes the row that says where bytes of a volume may be, too. One that is there already says so of fewer births, or
// of the same: what was merged stays together.
func (b *builder) elsewhere(of Ino, s span) {
	b.rows.Put(elsewhereKey(of, s.from), marshalElsewhere(s))
}

// volumeOf is the volume that a birth is of; 0: it has no account.
func (b *builder) volumeOf(birth LayerID) (Ino, error) {
	a, _, err := b.p.origins.stored(birth)
	if change, ok := b.c.origins.layers.Get(omap.Key{Lo: uint64(birth)}); ok && err == nil {
		a.add(change)
	}
	return a.vol, err
}

// accountRow makes the rows of one account: it, its name at its volume, and whether it waits to be closed.
func (b *builder) accountRow(birth LayerID, change *account) error {
	a, had, err := b.p.origins.stored(birth)
	if err != nil {
		return err
	}
	idle := had && a.idle()
	a.add(change)
	if a.wrong() { // as it stands there it would not be read again
		b.damage("account of layer %v: written %d, zeroed %d, released %d blocks", birth, a.written, a.zeroed, a.released)
		return nil
	}
	put := func(k meta.Key, row []byte, on, was bool) {
		switch {
		case on:
			b.rows.Put(k, row)
		case was:
			b.rows.Put(k, nil)
		}
	}
	there := !a.empty() && (!a.closed || a.written != 0)
	put(accountKey(birth), a.marshal(), there, had)
	if birth != 0 && there != had {
		put(ofVolumeKey(a.vol, birth), []byte{1}, there, had)
	}
	closes := there && birth != 0 && a.idle()
	put(catalog.Key(catalog.Closing, uint64(birth)), []byte{1}, closes && !idle, idle && !closes)
	if closes && !idle {
		b.closing = append(b.closing, birth)
	}
	return nil
}
