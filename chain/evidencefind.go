package chain

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// errStop ends a scan, and is no error.
var errStop = errors.New("stop")

// What is left of a subject, and where it is. Of each birth it is counted once: what jobs have of it is weighed in their lists,
// and the rest is owned by the layer in whose line the birth is.

// gather sums up the accounts of the subject, and finds those that have something left.
func (q *inquiry) gather() error {
	rows := map[LayerID]account{}
	switch {
	case q.s.Pool:
		if err := q.scan(catalog.Key(catalog.Account, 0), func(k meta.Key, v []byte) error {
			var a account
			err := a.unmarshal(v)
			rows[LayerID(catalog.NumberOf(k))] = a
			return err
		}); err != nil {
			return err
		}
		if err := q.scan(beginKey, func(k meta.Key, v []byte) error {
			if k == beginKey || k.Lo != 0 {
				return nil
			}
			var a volumeAccount
			err := a.unmarshal(v)
			q.close(&a)
			return err
		}); err != nil {
			return err
		}
		q.closeChanged()
	case q.s.Layer != 0:
		rows[q.s.Layer] = account{}
	}
	for _, v := range slices.Sorted(maps.Keys(q.vols)) {
		if err := q.gatherVolume(v, rows); err != nil {
			return err
		}
	}
	if q.s.Layer != 0 {
		a, _, err := q.p.origins.stored(q.s.Layer)
		if err != nil {
			return err
		}
		rows[q.s.Layer] = a
	}
	q.addChanged(rows)
	others := map[LayerID]account{}
	if err := q.elsewhere(rows, others); err != nil {
		return err
	}
	q.add(others, true)
	q.add(rows, false)
	return nil
}

// add adds what has changed to rows, and notes what has something left. Of those of others nothing is summed up, but
// what was only released of them is left.
func (q *inquiry) add(rows map[LayerID]account, other bool) {
	births := slices.Sorted(maps.Keys(rows))
	i := 0
	q.p.tree.inPieces(func() bool {
		if i == len(births) {
			return false
		}
		birth := births[i]
		a := rows[birth]
		q.p.origins.addChanges(birth, &a)
		if !other {
			q.sum.add(&a)
		} else if a.released > 0 {
			q.remain(Remain{State: RemainReleased, UpTo: true}, a.released)
		}
		if a.left() > 0 {
			q.open[birth] = &openAccount{vol: a.vol, left: a.left(), other: other}
		}
		i++
		return true
	})
}

// gatherVolume reads the rows of a volume, its open accounts among them.
func (q *inquiry) gatherVolume(vol Ino, rows map[LayerID]account) error {
	v, err := q.volume(vol)
	if err != nil {
		return err
	}
	q.close(&v)
	var births []LayerID
	first := ofVolumeKey(vol, 1)
	err = q.scan(first, func(k meta.Key, _ []byte) error {
		if k.Hi != first.Hi {
			return errStop
		}
		births = append(births, LayerID(k.Lo))
		return nil
	})
	for _, birth := range births {
		if err == nil {
			rows[birth], _, err = q.p.origins.stored(birth)
		}
	}
	return err
}

// close adds the accounts that were closed.
func (q *inquiry) close(v *volumeAccount) {
	q.sum.add(&account{written: v.written, zeroed: v.written, from: v.from, last: v.last})
}

// closeChanged adds, of the pool, the accounts whose closing is in no row yet.
func (q *inquiry) closeChanged() {
	eachChange(q.p, changedVols, omap.Key{}, func(_ omap.Key, v *volumeAccount) bool {
		q.close(v)
		return true
	})
}

// addChanged adds the births of the subject that are in no row yet.
func (q *inquiry) addChanged(rows map[LayerID]account) {
	eachChange(q.p, changedAccounts, omap.Key{}, func(k omap.Key, a *account) bool {
		if birth := LayerID(k.Lo); q.counts(birth, a.vol) {
			if _, known := rows[birth]; !known {
				rows[birth] = account{}
			}
		}
		return true
	})
}

// eachChange calls fn for what has changed of accounts and is in no row yet, from a key on: for what a checkpoint makes rows of, then for
// what came since, of each until fn has enough. It does so in pieces, under the plan lock.
func eachChange[T any](p *Pool, of func(*originChanges) *omap.Map[T], from omap.Key, fn func(omap.Key, T) bool) {
	for _, since := range []bool{false, true} {
		at := from
		p.tree.inPieces(func() bool {
			c := p.origins.frozen
			if since {
				c = &p.origins.since
			}
			if c == nil {
				return false
			}
			k, v, ok := of(c).Ceil(at)
			at = k.Next()
			return ok && fn(k, v)
		})
	}
}

func changedAccounts(c *originChanges) *omap.Map[*account] { return &c.layers }

func changedVols(c *originChanges) *omap.Map[*volumeAccount] { return &c.vols }

func changedPlaces(c *originChanges) *omap.Map[span] { return &c.places }

func changedCopies(c *originChanges) *omap.Map[Ino] { return &c.copies }

// scan calls fn for the rows of one kind in the tree of the catalog, from a key on, until it returns errStop.
func (q *inquiry) scan(from meta.Key, fn func(meta.Key, []byte) error) error {
	cat := &q.p.names.cat
	cur := cat.Family.Seek(cat.Tree, from)
	for {
		k, v, ok, err := cur.Next()
		if err == nil && ok && catalog.KindOf(k) == catalog.KindOf(from) {
			err = fn(k, v)
		} else {
			ok = false
		}
		switch {
		case errors.Is(err, errStop):
			return nil
		case err != nil || !ok:
			return err
		}
	}
}

// queued finds what jobs have of the subject.
func (q *inquiry) queued() error {
	if len(q.open) == 0 {
		return nil
	}
	births := slices.Sorted(maps.Keys(q.open))
	var all []*job
	q.p.jobs.eachJob(func(j *job) { all = append(all, j) }, func() {})
	slices.SortFunc(all, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	for _, j := range slices.Compact(all) { // one whose place has changed was met twice
		part := &weighing{p: q.p.tree, births: births, found: map[LayerID]int64{}}
		if err := part.fresh(&j.fresh); err != nil {
			return err
		}
		if err := part.sealed(&j.ready, j); err != nil {
			return err
		}
		q.inJob(j, part.found, false)
		failed := &weighing{p: q.p.tree, births: births, found: map[LayerID]int64{}}
		if err := failed.sealed(&j.bad, nil); err != nil {
			return err
		}
		q.inJob(j, failed.found, true)
	}
	return nil
}

// inJob notes what one part of a job has of each birth.
func (q *inquiry) inJob(j *job, found map[LayerID]int64, failed bool) {
	var n [2]int64 // and of others
	for birth, k := range found {
		o := q.open[birth]
		k = min(k, o.left-o.jobs) // it may have come since
		o.jobs += k
		if o.other {
			n[1] += k
		} else {
			n[0] += k
		}
	}
	r := Remain{State: RemainQueued, ID: j.id}
	switch {
	case j.ofCrash():
		r.State = RemainCrash
	case j.reason == reasonInitial:
		r.State = RemainInitial
	case failed:
		r.State = RemainFailed
	case j.none:
		r.State = RemainUnscheduled
	}
	for i, k := range n {
		if r.UpTo = i == 1; k > 0 {
			q.remain(r, k)
		}
	}
}

// weighing counts the blocks of some births in lists. Of a list and the births each is passed over by the other, so it costs
// the shorter of the two.
type weighing struct {
	p      *layerTree
	births []LayerID // ascending
	found  map[LayerID]int64
}

// next is the first of the births from one on.
func (w *weighing) next(birth LayerID) (LayerID, bool) {
	i, _ := slices.BinarySearch(w.births, birth)
	if i == len(w.births) {
		return 0, false
	}
	return w.births[i], true
}

// fresh counts in a list that grows: what it has in memory is looked at in pieces.
func (w *weighing) fresh(l *runs.List) error {
	if err := w.trees(l.Trees, omap.Key{}); err != nil {
		return err
	}
	if l.Frozen != nil {
		w.memory(l.Frozen, omap.Key{}, func(next func() bool) {
			for next() {
			}
		})
	}
	w.memory(&l.Fresh, omap.Key{}, w.p.inPieces)
	return nil
}

// sealed counts in a list that nobody changes, of a job's ready part what is not worked off.
func (w *weighing) sealed(l *runs.List, j *job) error {
	var from omap.Key
	if j != nil {
		from = j.cursor
	}
	if err := w.trees(l.Trees, from); err != nil {
		return err
	}
	for _, m := range []*omap.Map[runs.Entry]{&l.Fresh, l.Frozen} {
		if m != nil {
			w.memory(m, from, func(next func() bool) {
				for next() {
				}
			})
		}
	}
	if j == nil {
		return nil
	}
	k, ok, err := l.Before(w.p.blocks.lists, from) // the entry that the cursor divides
	if err != nil {
		return err
	}
	if birth, is := w.next(LayerID(from.Hi)); ok && is && uint64(birth) == from.Hi {
		one := runs.List{Trees: l.Trees, Frozen: l.Frozen, Fresh: l.Fresh}
		err = one.Ascend(w.p.blocks.lists, k, func(_ omap.Key, e runs.Entry) bool {
			if end := k.Lo + uint64(e.Len); !e.Page && end > from.Lo {
				w.found[birth] += int64(end - from.Lo)
			}
			return false
		})
	}
	j.apart.Ascend(from, func(k omap.Key, n int64) bool {
		if birth, is := w.next(LayerID(k.Hi)); is && uint64(birth) == k.Hi {
			w.found[birth] -= n
		}
		return true
	})
	return err
}

// trees counts in what lies on the device.
func (w *weighing) trees(ts []meta.Tree, from omap.Key) error {
	f := w.p.blocks.lists
	for _, t := range ts {
		for at := LayerID(from.Hi); ; {
			birth, ok := w.next(at)
			if !ok {
				break
			}
			lo := omap.Key{Hi: uint64(birth)}
			if lo.Less(from) {
				lo = from
			}
			cur := f.Seek(t, meta.Key(lo))
			k, _, ok, err := cur.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if at = LayerID(k.Hi); at > birth {
				continue
			}
			n, err := f.Weigh(t, meta.Key(lo), meta.Key{Hi: uint64(birth) + 1})
			if err != nil {
				return err
			}
			w.found[birth] += int64(n)
			at = birth + 1
		}
	}
	return nil
}

// memory counts in a map, entry by entry.
func (w *weighing) memory(m *omap.Map[runs.Entry], from omap.Key, each func(func() bool)) {
	each(func() bool {
		birth, ok := w.next(LayerID(from.Hi))
		if !ok {
			return false
		}
		if lo := (omap.Key{Hi: uint64(birth)}); from.Less(lo) {
			from = lo
		}
		k, e, ok := m.Ceil(from)
		if ok && k.Hi == uint64(birth) {
			w.found[birth] += e.Blocks()
		}
		if from = k; ok && k.Hi == uint64(birth) {
			from = k.Next()
		}
		return ok
	})
}
