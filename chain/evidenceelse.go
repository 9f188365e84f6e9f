package chain

import (
	"maps"
	"slices"

	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// A block is of the birth with which it was made; but not all bytes in it need be. A write of less than a block that makes a new
// one takes the rest along, from a block of an older birth: of a clone's origin, it may be. And a head writes in place
// to what it owns, where that has the births of a layer that was merged into it. So it is noted where bytes of a volume may be besides
// its own blocks (recCopied, layerTree.mergeDown): births of other volumes, of which those are not all. They are looked at as
// the subject's are, and what is left of them keeps it from being complete, as "up to".

// elsewhere finds births of others that may have bytes of the subject.
func (q *inquiry) elsewhere(rows, others map[LayerID]account) error {
	if q.s.Pool {
		return nil
	}
	todo := slices.Sorted(maps.Keys(q.vols))
	if q.s.Layer != 0 {
		a, _, err := q.account(q.s.Layer)
		if err != nil || !a.mixed && !a.copied {
			return err
		}
		todo = append(todo, a.vol)
		if err := q.around(a, rows, others); err != nil {
			return err
		}
	}
	done := map[Ino]bool{}
	for len(todo) > 0 {
		vol := todo[0]
		if todo = todo[1:]; done[vol] {
			continue
		}
		done[vol] = true
		spans, err := q.places(vol)
		if err != nil {
			return err
		}
		for _, s := range spans {
			if err := q.fromThere(s, rows, others); err != nil {
				return err
			}
			todo = append(todo, s.vol) // and from there on
		}
	}
	return nil
}

// fromThere adds the births of a place, and where bytes were taken along from one of them the later ones of its volume, in which they may
// be, too: within
// a volume it is not noted in which.
func (q *inquiry) fromThere(s span, rows, others map[LayerID]account) error {
	on, err := q.birthsIn(s, rows, others)
	if err == nil && on {
		_, err = q.birthsIn(span{vol: s.vol, from: s.from, to: maxLayer}, rows, others)
	}
	return err
}

// around are births of the volume of a layer in which bytes of the layer may be.
func (q *inquiry) around(a account, rows, others map[LayerID]account) error {
	id := q.s.Layer
	if a.mixed && id > 1 {
		if err := q.fromThere(span{vol: a.vol, from: 1, to: id - 1}, rows, others); err != nil {
			return err
		}
	}
	if a.copied {
		_, err := q.birthsIn(span{vol: a.vol, from: id + 1, to: maxLayer}, rows, others)
		return err
	}
	return nil
}

// maxLayer is above all layers.
const maxLayer = 1<<48 - 1

// places are where bytes of a volume may be.
func (q *inquiry) places(vol Ino) (out []span, err error) {
	first := elsewhereKey(vol, 0)
	err = q.scan(first, func(k meta.Key, v []byte) error {
		if k.Hi != first.Hi {
			return errStop
		}
		s, err := parseElsewhere(k, v)
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	type copied struct {
		from LayerID
		to   span
	}
	var copies []copied
	eachChange(q.p, changedPlaces, omap.Key{Hi: uint64(vol)}, func(k omap.Key, s span) bool {
		if k.Hi != uint64(vol) {
			return false
		}
		out = append(out, s)
		return true
	})
	eachChange(q.p, changedCopies, omap.Key{}, func(k omap.Key, v Ino) bool {
		copies = append(copies, copied{LayerID(k.Hi), span{vol: v, from: LayerID(k.Lo), to: LayerID(k.Lo)}})
		return true
	})
	for _, c := range copies {
		a, _, err := q.account(c.from)
		if err != nil {
			return nil, err
		}
		if a.vol == vol && c.to.vol != vol {
			out = append(out, c.to)
		}
	}
	return out, nil
}

// birthsIn adds the births of a span that have an account, and are not of the subject. copied: bytes were taken along from one of them.
func (q *inquiry) birthsIn(s span, rows, others map[LayerID]account) (copied bool, err error) {
	var births []LayerID
	first := ofVolumeKey(s.vol, s.from)
	err = q.scan(first, func(k meta.Key, _ []byte) error {
		if k.Hi != first.Hi || LayerID(k.Lo) > s.to {
			return errStop
		}
		births = append(births, LayerID(k.Lo))
		return nil
	})
	if err != nil {
		return false, err
	}
	eachChange(q.p, changedAccounts, omap.Key{Lo: uint64(s.from)}, func(k omap.Key, a *account) bool {
		if k.Lo > uint64(s.to) {
			return false
		}
		if a.vol == s.vol {
			births = append(births, LayerID(k.Lo))
		}
		return true
	})
	for _, birth := range births {
		if _, mine := rows[birth]; mine {
			continue
		}
		a, _, err := q.p.origins.stored(birth)
		if err != nil {
			return false, err
		}
		others[birth] = a
		now, _, err := q.account(birth)
		if err != nil {
			return false, err
		}
		copied = copied || now.copied
	}
	return copied, nil
}
