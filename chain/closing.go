package chain

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Accounts that have nothing left are closed, without anybody asking: a record adds them to what is known of their volume, takes
// their rows away, and is in the erase log. The last one of a volume that is gone says that all of it is zero.

// closeAtOnce bounds the accounts of one record, and those that a checkpoint has looked at again.
const closeAtOnce = 32

// closeSome closes accounts that a checkpoint found to have nothing left, of one volume. did: there may be more.
func (hk *keeper) closeSome(context.Context) (did bool, err error) {
	hk.mu.Lock()
	births := slices.Clone(hk.origins.closing[:min(len(hk.origins.closing), closeAtOnce)])
	hk.mu.Unlock()
	if len(births) == 0 {
		return false, nil
	}
	c, err := hk.closable(births)
	if err != nil {
		return false, err
	}
	if len(c.layers) > 0 {
		credit := credit{bytes: 64 + maxLogPath + closeAtOnce*24, frees: true}
		if err := hk.works.changeIn(credit, func(time.Time) error { return hk.commits.do(&c.recClosed) }); err != nil {
			return false, err
		}
	}
	hk.mu.Lock()
	defer hk.mu.Unlock()
	hk.origins.closing = append(c.others, hk.origins.closing[len(births):]...)
	hk.origins.unclosed = append(hk.origins.unclosed, c.later...)
	return len(hk.origins.closing) > 0 || len(c.layers) > 0, nil
}

// closable is the record of accounts that can be closed now, of one volume, and what becomes of the rest.
type closable struct {
	recClosed
	later  []LayerID // of that volume: they cannot be closed yet
	others []LayerID // of other volumes: they are the next
}

// closable finds the record of those that can be closed now, of the volume of the first. One that is not there any more was closed.
func (hk *keeper) closable(births []LayerID) (c closable, err error) {
	hk.structure.Lock()
	defer hk.structure.Unlock()
	q, seen := hk.inquire(Subject{}), map[LayerID]bool{}
	for _, birth := range births {
		a, there, err := q.account(birth)
		switch {
		case err != nil:
			return c, err
		case !there || a.closed || seen[birth]:
			continue
		case c.vol != 0 && a.vol != c.vol:
			c.others = append(c.others, birth)
			continue
		}
		seen[birth], c.vol = true, a.vol
		if a.closes() && !hk.writing(a.vol, birth) {
			c.add(birth, a)
		}
	}
	if c.vol == 0 {
		return c, nil
	}
	if err := hk.closeAll(&c.recClosed); err != nil {
		return c, err
	}
	closed := map[LayerID]bool{}
	for _, l := range c.layers {
		closed[l.id] = true
	}
	c.later = slices.DeleteFunc(slices.Sorted(maps.Keys(seen)), func(birth LayerID) bool { return closed[birth] })
	return c, nil
}

// writing: a write may still come to an account: it was planned when that was the account of the volume's head, and if nothing
// comes of it what it wrote was born there.
func (hk *keeper) writing(vol Ino, birth LayerID) bool {
	hk.mu.Lock()
	defer hk.mu.Unlock()
	return hk.plans.bornIn(vol, birth)
}

func (r *recClosed) add(birth LayerID, a account) {
	r.layers = append(r.layers, closedAccount{birth, a.written})
	r.from, r.last = earliest(r.from, a.from), latest(r.last, a.last)
}

// closeAll closes all accounts of a volume that is gone, if all that was written to it is zero; and says in the record where it is, or
// was. Of more accounts than one record closes some are closed first.
func (hk *keeper) closeAll(r *recClosed) error {
	q := hk.inquire(Subject{Volumes: []Ino{r.vol}})
	v, err := q.volume(r.vol)
	if err != nil {
		return err
	}
	if r.path = v.path; v.end == 0 {
		r.path = hk.names.path(r.vol)
		r.path = r.path[max(0, len(r.path)-maxLogPath):]
	}
	if v.end == 0 {
		return nil
	}
	if err := q.find(); err != nil || !q.result().Complete {
		return err
	}
	rows := map[LayerID]account{}
	if err := q.gatherVolume(r.vol, rows); err != nil {
		return err
	}
	q.addChanged(rows)
	r.layers = nil
	for _, birth := range slices.Sorted(maps.Keys(rows)) {
		a, there, err := q.account(birth)
		if err != nil {
			return err
		}
		if there && !a.closed {
			if len(r.layers) == closeAtOnce {
				return nil
			}
			r.add(birth, a)
		}
	}
	r.all = true
	return nil
}
