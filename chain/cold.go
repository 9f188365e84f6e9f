package chain

import (
	"errors"

	"slatefs/chain/fault"
	"slatefs/chain/meta"
)

// Who holds the plan lock reads no device: pages of trees and groups come from memory. One that is not there is missed: the
// look-up fails by errMissed, the holder gives the lock up, has it fetched, and begins anew, as long as he misses any. What was
// fetched is his own until he is done, so it needs no place in the cache and cannot be pushed out of it: each turn knows more.
//
// A change must not begin before it knows what it needs: commitLog.do makes no first record of a hold in which a page was
// missed, whatever became of the error. What is looked up after the first record must have been looked up before; else it is
// read with the lock held after all, since half a change is worse, and a build for the race detector fails for it.

// errMissed is for no caller of the package: whoever began the hold fetches the page.
var errMissed = fault.Mark(fault.Transient, errors.New("a page is not in memory"))

// errand is the pages that somebody missed under the plan lock, and those that were fetched for him. The zero errand is ready.
// Its holder passes it from hold to hold; fetch is called without the lock.
type errand struct {
	missed []func() // fetch one each
	got    map[meta.Ptr]fetchedPage
}

// fetchedPage is a page, or why there is none: that is told to who missed it, and to nobody else.
type fetchedPage struct {
	val any
	err error
}

// fetch reads what was missed.
func (er *errand) fetch() {
	for _, one := range er.missed {
		one()
	}
	er.missed = nil
}

// miss notes a page that is to be fetched.
func (er *errand) miss(store *meta.Store, p meta.Ptr, decode func([]byte) (any, error)) {
	er.missed = append(er.missed, func() {
		val, err := store.Get(p, decode)
		er.take(p, fetchedPage{val, err})
	})
}

func (er *errand) take(p meta.Ptr, f fetchedPage) {
	if er.got == nil {
		er.got = map[meta.Ptr]fetchedPage{}
	}
	er.got[p] = f
}

// coldHold is what is known of a hold of the plan lock that reads nothing.
type coldHold struct {
	on   bool
	er   *errand // nil: nothing was missed yet, and nothing is kept
	made bool    // a record
	keep bool    // pages that were in the cache: what is looked up again after a record is still there
}

// beginCold: this hold of the plan lock reads no page, until endCold. er is what was fetched for it; nil: nothing yet.
func (cl *commitLog) beginCold(er *errand) {
	cl.mu.assertHeld()
	if cl.cold.on {
		fault.Misuse("a hold of the plan lock that reads nothing began within another")
	}
	if er != nil {
		er.missed = nil
	}
	cl.cold = coldHold{on: true, er: er}
}

// endCold returns what was missed, with what was fetched before; nil: nothing was missed.
func (cl *commitLog) endCold() (er *errand) {
	cl.mu.assertHeld()
	if cl.missed() {
		er = cl.cold.er
	}
	cl.cold = coldHold{}
	return er
}

// leaveCold is endCold, deferred, for a hold that a panic may end before.
func (cl *commitLog) leaveCold() { cl.cold = coldHold{} }

// missed: what this hold found out is not to be believed, and it has changed nothing. The plan lock is held.
func (cl *commitLog) missed() bool { return cl.cold.er != nil && len(cl.cold.er.missed) > 0 }

// underPlan runs fn under the plan lock, until it misses no page. fn makes no record before it has looked up all that it needs,
// and changes nothing else that a second call does not change alike.
func (cl *commitLog) underPlan(fn func() error) error {
	var er *errand
	for {
		err := cl.tryCold(&er, fn)
		if er == nil {
			return err
		}
		er.fetch()
	}
}

// tryCold is one turn of underPlan. Unless er is nil then, it missed pages.
func (cl *commitLog) tryCold(er **errand, fn func() error) error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.beginCold(*er)
	defer func() { *er = cl.endCold() }()
	return fn()
}

// fetchMissed gives the plan lock up in the middle of a hold and fetches what it missed; false: it missed nothing. What was
// known may be true no more.
func (cl *commitLog) fetchMissed() bool {
	if !cl.missed() {
		return false
	}
	cl.unlocked(cl.cold.er.fetch)
	return true
}

// page is meta.Store.Get for who holds the plan lock.
func (cl *commitLog) page(store *meta.Store, p meta.Ptr, decode func([]byte) (any, error)) (any, error) {
	h := &cl.cold
	if !h.on {
		return store.Get(p, decode)
	}
	if h.er != nil {
		if f, ok := h.er.got[p]; ok {
			return f.val, f.err
		}
	}
	val, ok := store.Cached(p)
	switch {
	case ok && !h.keep:
		return val, nil
	case !ok && h.made:
		return store.Get(p, decode)
	case h.er == nil:
		h.er = &errand{}
	}
	if ok {
		h.er.take(p, fetchedPage{val, nil})
		return val, nil
	}
	h.er.miss(store, p, decode)
	return nil, errMissed
}

// keepPages keeps what this hold looks up: a change looks up more after its first record, when it may not begin anew.
func (cl *commitLog) keepPages() { cl.cold.keep = true }

// renewCold: what follows is a change by itself, though it is in one hold with others before it.
func (cl *commitLog) renewCold() { cl.cold.made = false }

// mapPage gets pages of maps for look-ups, which never read: outside of a hold that reads nothing, and after its first record,
// what is not there is missed, and the caller has a Need for it.
func (cl *commitLog) mapPage(store *meta.Store) func(meta.Ptr, func([]byte) (any, error)) (any, error) {
	return func(p meta.Ptr, decode func([]byte) (any, error)) (any, error) {
		h := &cl.cold
		if !h.on {
			return nil, errMissed
		}
		if h.er != nil {
			f, ok := h.er.got[p]
			switch {
			case ok && f.err != nil: // who fulfils the Need says so, or reads it after all
				delete(h.er.got, p)
				return nil, errMissed
			case ok:
				return f.val, nil
			}
		}
		if h.made {
			return nil, errMissed
		}
		return cl.page(store, p, decode)
	}
}

// family is a family of trees for who holds the plan lock.
func (cl *commitLog) family(f meta.Family) *meta.Family {
	f.Fetch = func(p meta.Ptr, decode func([]byte) (any, error)) (any, error) { return cl.page(f.Store, p, decode) }
	return &f
}

// lookUp is underPlan for who returns something.
func lookUp[T any](cl *commitLog, fn func() (T, error)) (out T, err error) {
	err = cl.underPlan(func() (err error) {
		out, err = fn()
		return err
	})
	return out, err
}
