package chain

import (
	"cmp"
	"slices"
	"time"

	"slatefs/chain/fault"
	"slatefs/chain/omap"
)

// troubles is what is failing, in the orders in which it is asked for, so that nobody looks at all of it. The zero value has
// none. The plan lock guards it.
type troubles struct {
	all     map[*fault.Backoff]*trouble
	due     omap.Map[*trouble] // what the housekeeping tries, by the time of the next try
	byTries omap.Map[*trouble] // all, the most often tried first
	last    uint64             // number given
}

type trouble struct {
	what         string
	b            *fault.Backoff
	id           uint64 // tells apart what has the same time, or was tried as often
	due, byTries omap.Key
}

// set notes that something is failing, or failed again; timed: it is the housekeeping that tries it.
func (ts *troubles) set(b *fault.Backoff, what string, timed bool) {
	t := ts.all[b]
	if t == nil {
		ts.last++
		t = &trouble{b: b, id: ts.last}
		if ts.all == nil {
			ts.all = map[*fault.Backoff]*trouble{}
		}
		ts.all[b] = t
	}
	ts.due.Delete(t.due)
	ts.byTries.Delete(t.byTries)
	t.what, t.due, t.byTries = what, dueKey(b.At, t.id), omap.Key{Hi: ^uint64(b.Tries), Lo: t.id}
	if timed {
		ts.due.Set(t.due, t)
	}
	ts.byTries.Set(t.byTries, t)
}

// drop: it is well, or no more.
func (ts *troubles) drop(b *fault.Backoff) {
	if t := ts.all[b]; t != nil {
		ts.due.Delete(t.due)
		ts.byTries.Delete(t.byTries)
		delete(ts.all, b)
	}
}

// until is how long it is until the housekeeping tries something. What could not be tried though its time has come is tried
// again soon.
func (ts *troubles) until(now time.Time) (d time.Duration, any bool) {
	_, t, any := ts.due.Ceil(omap.Key{})
	if !any {
		return 0, false
	}
	if d = t.b.At.Sub(now); d > 0 {
		return d, true
	}
	d = fault.FirstRetry
	if _, t, later := ts.due.Ceil(timeKey(now, ^uint64(0))); later && t.b.At.After(now) {
		d = min(d, t.b.At.Sub(now))
	}
	return d, true
}

// troublesShown bounds what Usage lists of what is failing, and of what is damaged.
const troublesShown = 16

// troubleList lists what is failing, the most often tried first, as much as Usage shows. The plan lock is held.
func (he *health) troubleList() (out []Trouble) {
	he.troubles.byTries.Ascend(omap.Key{}, func(_ omap.Key, t *trouble) bool {
		he.mu.step(1)
		out = append(out, Trouble{t.what, t.b.Tries, t.b.At, fault.Of(t.b.Err).String(), t.b.Err.Error()})
		return len(out) < troublesShown
	})
	slices.SortFunc(out, func(a, b Trouble) int { return cmp.Or(cmp.Compare(b.Tries, a.Tries), cmp.Compare(a.What, b.What)) })
	return out
}
