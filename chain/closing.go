package chain

import (
	"context"
	"slices"
	"time"
)

// Accounts that have nothing left are closed, without anybody asking: a record adds them to what is known of their volume, takes
// their rows away, and is in the erase log. The last one of a volume that is gone says that all of it is zero.

// closeAtOnce bounds the accounts of one record.
const closeAtOnce = 32

// closeSome closes accounts that a checkpoint found to have nothing left, of one volume. did: there may be more.
func (hk *keeper) closeSome(context.Context) (did bool, err error) {
	hk.mu.Lock()
	births := slices.Clone(hk.origins.closing[:min(len(hk.origins.closing), closeAtOnce)])
	hk.mu.Unlock()
	if len(births) == 0 {
		return false, nil
	}
	r, left, err := hk.closable(births)
	if err != nil {
		return false, err
	}
	if len(r.layers) > 0 {
		credit := credit{bytes: 64 + maxLogPath + closeAtOnce*24, frees: true}
		if err := hk.works.changeIn(credit, func(time.Time) error { return hk.commits.do(r) }); err != nil {
			return false, err
		}
	}
	hk.mu.Lock()
	defer hk.mu.Unlock()
	hk.origins.closing = append(left, hk.origins.closing[len(births):]...)
	return len(hk.origins.closing) > 0 || r.all, nil
}

// closable is the record of those that can be closed now, of the volume of the first. left are of other volumes. What cannot be
// closed is found again when it changes.
func (hk *keeper) closable(births []LayerID) (r *recClosed, left []LayerID, err error) {
	hk.structure.Lock()
	defer hk.structure.Unlock()
	q := hk.inquire(Subject{})
	r = &recClosed{}
	for _, birth := range births {
		a, _, err := q.account(birth)
		switch {
		case err != nil:
			return r, nil, err
		case r.vol != 0 && a.vol != r.vol:
			left = append(left, birth)
			continue
		case !a.idle():
			continue
		}
		if r.vol = a.vol; !a.closes() {
			continue
		}
		r.add(birth, a)
	}
	if r.vol == 0 {
		return r, left, nil
	}
	if err := hk.closeAll(r); err != nil {
		return r, nil, err
	}
	return r, left, nil
}

func (r *recClosed) add(birth LayerID, a account) {
	r.layers = append(r.layers, closedAccount{birth, a.written})
	r.from, r.last = earliest(r.from, a.from), latest(r.last, a.last)
}

// closeAll closes all accounts of a volume that is gone, if all that was written to it is zero; and says in the record where it is, or
// was. Nothing is closed that a write may still come to.
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
	hk.mu.Lock()
	writing := hk.plans.inFlight(r.vol) > 0
	hk.mu.Unlock()
	if writing {
		r.layers = nil
		return nil
	}
	if v.end == 0 {
		return nil
	}
	if err := q.find(); err != nil || !q.result().Complete {
		return err
	}
	rows := map[LayerID]account{}
	if err := q.gatherVolume(r.vol, rows); err != nil || len(rows) > closeAtOnce {
		return err // some are closed now, and the others the next time
	}
	r.layers, r.all = nil, true
	for birth := range rows {
		a, _, err := q.account(birth)
		if err != nil {
			return err
		}
		r.add(birth, a)
	}
	slices.SortFunc(r.layers, func(a, b closedAccount) int { return int(a.id) - int(b.id) })
	return nil
}
