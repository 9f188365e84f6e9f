package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slatefs/chain/size"
)

// Admission. What promises or takes space is tried on the ledger first, under one hold of the plan lock, and refused
// whole, with the numbers, before anything changed. The same trial is what a forecast shows.

// Forecast is what an operation needs of the space outside what it concerns, and what there is. All in bytes.
type Forecast struct {
	What  string // as "snapshot vm.raw@a"
	Need  int64  // what the pool's available shrinks by, Meta included; negative: it grows
	Meta  int64  // metadata of promises, as far as the pool has no free pages for it
	Avail int64
	Why   string // where Need comes from; may be empty
	Err   error  // why it would be refused; nil: it would be done
}

// trial is a change of the ledger that can be undone.
type trial struct {
	what         string
	why          string
	at           []*account // that the change begins with; what is above follows
	change, undo func()
	pays         bool // it frees what it needs: only quotas can refuse it
}

// free is what is or can be made clean and is promised to nobody, in blocks:
//
//	clean + claimed and not named + dirty, but of jobs that are failing + freeing, but what walks fail to find
//	+ what is destroyed and kept - reserve - promises
//	- the metadata of promises, of open plans and of the next checkpoint, as far as the store has no free pages for it
func (p *Pool) free() int64 { return p.unpromised() - p.pagesLacking() }

func (p *Pool) pagesLacking() int64 {
	return max(0, p.ledger.meta+p.storeNeed()+p.room.pages+structurePages-int64(p.store.FreePages()))
}

// unpromised is free without a thought of metadata. What a promise covers does not change it.
func (p *Pool) unpromised() int64 { return p.unused() - p.reserve() - p.ledger.promised }

// unused are the blocks that could be handed out, sooner or later.
func (p *Pool) unused() int64 {
	c := p.blocks.Counts()
	return p.blocks.Findable() + p.blocks.Aside() + c.Claimed - p.namedN + p.dirtyN - p.sickN() + p.freeing - p.stranded() + p.doomedN
}

// available is what can be written below an account: zfs's AVAIL (dsl_dir_space_available, dsl_dataset_space). refer
// is what the head of a volume refers to.
func (p *Pool) available(a *account, refer int64) int64 {
	if a.up == nil {
		return max(0, p.free())
	}
	n := p.available(a.up, 0) + max(0, a.reservation-a.used)
	if a.quota > 0 {
		n = min(n, a.quota-a.bounded())
	}
	n += max(0, a.refres-a.head)
	if a.refquota > 0 {
		n = min(n, a.refquota-refer)
	}
	return max(0, n)
}

// try carries a trial out and undoes it. Errors: ErrNoSpace, ErrQuota, with the numbers. needSpace tells that a
// background step may still free something.
func (p *Pool) try(t trial) (f Forecast) {
	type bound struct {
		a    *account
		used int64
	}
	var bounds []bound
	for _, a := range t.at {
		for ; a != nil; a = a.up {
			bounds = append(bounds, bound{a, a.bounded()})
		}
	}
	before, guests := p.free(), p.unpromised()
	t.change()
	after := p.free()
	f = Forecast{What: t.what, Need: (before - after) * BlockSize, Avail: max(0, before) * BlockSize, Why: t.why}
	f.Meta = f.Need - (guests-p.unpromised())*BlockSize
	for _, b := range bounds {
		if now := b.a.bounded(); b.a.quota > 0 && now > b.a.quota && now > b.used {
			f.Err = fmt.Errorf("cannot %s: needs %s%s, the quota of %s leaves %s of %s: %w", t.what,
				size.Exact((now-b.used)*BlockSize), parens(t.why), p.nameOf(b.a.ino),
				size.Exact(max(0, b.a.quota-b.used)*BlockSize), size.Exact(b.a.quota*BlockSize), ErrQuota)
			break
		}
	}
	if f.Err == nil && after < 0 && after < before && !t.pays {
		f.Err = f.refuse()
	}
	t.undo()
	return f
}

func (f *Forecast) refuse() error {
	return fmt.Errorf("cannot %s: %s: %w", f.What, f.numbers(), ErrNoSpace)
}

func (f *Forecast) numbers() string {
	guests := f.Need - f.Meta
	text := "needs " + size.Exact(guests) + parens(f.Why)
	switch {
	case f.Need < 0:
		text = "gives back " + size.Exact(-f.Need) + parens(f.Why)
	case f.Meta > 0:
		text += fmt.Sprintf(" and %s for metadata", size.Exact(f.Meta))
	}
	return fmt.Sprintf("%s, %s available", text, size.Exact(f.Avail))
}

// String is a forecast as people read it.
func (f *Forecast) String() string {
	if f.Err != nil {
		return f.Err.Error()
	}
	return fmt.Sprintf("would %s: %s", f.What, f.numbers())
}

func parens(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// promise tells what a promised account is promised, for messages.
func (a *account) promise() string {
	switch {
	case a.refres == 0:
		return "no refreservation"
	case a.auto:
		return size.Exact(a.refres*BlockSize) + " refreservation, its size"
	case a.refres > a.refreservation:
		return size.Exact(a.refres*BlockSize) + " preallocated"
	}
	return size.Exact(a.refres*BlockSize) + " refreservation"
}

// trySnapshot: what is written now is promised once more, up to the refreservation (dsl_dataset_snapshot_reserve_space:
// min(written, refreservation)).
func (p *Pool) trySnapshot(vols []Ino, name string) Forecast {
	t := trial{what: fmt.Sprintf("snapshot %s@%s", p.pathOf(vols[0]), name)}
	if name == "" {
		t.what = "clone " + p.pathOf(vols[0])
	}
	was := make([]int64, len(vols))
	var written int64
	for _, ino := range vols {
		a := p.ledger.accounts[ino]
		t.at = append(t.at, a)
		written += a.head
		t.why = a.promise()
		if a.refres > 0 {
			t.why = fmt.Sprintf("min of %s written, %s", size.Exact(a.head*BlockSize), a.promise())
		}
	}
	if len(vols) > 1 {
		t.what = fmt.Sprintf("snapshot %d volumes at @%s", len(vols), name)
		t.why = fmt.Sprintf("of each the smaller one of what is written, %s in all, and its refreservation", size.Exact(written*BlockSize))
	}
	t.change = func() {
		for i, a := range t.at {
			was[i], a.head = a.head, a.open
			p.ledger.settle(a)
		}
	}
	t.undo = func() {
		for i, a := range t.at {
			a.head = was[i]
			p.ledger.settle(a)
		}
	}
	return p.try(t)
}

// tryRollback: what the old head owned pays for the promise to the new one, which has written nothing. Only a snapshot
// of another size, under refreservation=auto, can need more.
func (p *Pool) tryRollback(v *Volume, snap *layer) Forecast {
	a, g := v.account, p.ledger
	was, frees := *a, v.head().own
	size := blocksOf(snap.size)
	return p.try(trial{
		what: fmt.Sprintf("roll back %s@%s", p.pathOf(v.ino), snap.name), why: a.promise(), at: []*account{a}, pays: size <= a.size,
		change: func() {
			a.head -= frees
			a.held -= frees
			p.freeing += frees
			g.resize(a, size)
			g.settle(a)
		},
		undo: func() {
			a.head, a.held = was.head, was.held
			p.freeing -= frees
			g.resize(a, was.size)
			g.settle(a)
		},
	})
}

// tryResize: a promise of the size moves with it.
func (p *Pool) tryResize(v *Volume, bytes int64) Forecast {
	a, was, why := v.account, v.account.size, ""
	if a.auto || a.kept {
		why = "its refreservation moves with its size"
	}
	return p.try(trial{
		what: fmt.Sprintf("resize %s to %s", p.pathOf(v.ino), size.Exact(bytes)), why: why, at: []*account{a},
		change: func() { p.ledger.resize(a, blocksOf(bytes)) },
		undo:   func() { p.ledger.resize(a, was) },
	})
}

// tryMove: what an account is charged moves from one directory to another.
func (p *Pool) tryMove(what string, a, up *account) Forecast {
	was := a.up
	return p.try(trial{
		what: what, at: []*account{a, was, up},
		change: func() { p.ledger.move(a, up) },
		undo:   func() { p.ledger.move(a, was) },
	})
}

// tryProps: the account with other properties.
func (p *Pool) tryProps(what string, a *account, to props) Forecast {
	was := a.props
	f := p.try(trial{
		what: what, at: []*account{a},
		change: func() { a.props = to; p.ledger.settle(a) },
		undo:   func() { a.props = was; p.ledger.settle(a) },
	})
	if f.Err == nil {
		f.Err = p.boundsAgree(what, a, to)
	}
	return f
}

// boundsAgree refuses bounds below what is used or promised already (dsl_dir_set_quota_check,
// dsl_dataset_set_refquota_check).
func (p *Pool) boundsAgree(what string, a *account, to props) error {
	var refer int64
	if h := p.heads[a.ino]; h != nil {
		refer = h.refer
	}
	refres := to.refreservation
	if to.auto || to.kept {
		refres = max(refres, a.size)
	}
	for _, c := range []struct {
		changed     bool
		bound, than int64
		boundName   string
		name        string
	}{
		{to.quota != a.quota, to.quota, a.bounded(), "a quota", "used"},
		{to.quota != a.quota || to.reservation != a.reservation, to.quota, to.reservation, "a quota", "its reservation"},
		{to.refquota != a.refquota, to.refquota, refer, "a refquota", "referenced"},
		{to.refquota != a.refquota || refres != a.refres, to.refquota, refres, "a refquota", "its refreservation"},
	} {
		if c.changed && c.bound > 0 && c.bound < c.than {
			return fmt.Errorf("cannot %s: %s of %s is less than %s, %s: %w", what, c.boundName, size.Exact(c.bound*BlockSize),
				c.name, size.Exact(c.than*BlockSize), ErrQuota)
		}
	}
	return nil
}

// moreSpace tells whether a step of the background could still make something available. transient: an asker needs
// blocks only until what it replaces is freed, or writes in place once the records of its layer are durable. What the
// next checkpoint may need is an estimate from above, so taking it gives some back.
func (p *Pool) moreSpace(transient bool) bool {
	return p.needN > 0 || p.walkWaits() || p.walkReady(true) != nil || p.sweepable(true) != nil ||
		transient && (p.durable < p.lsn || len(p.epochs.open) > 0)
}

// findSpace takes one step that may make something available: a walk, a sweep, a checkpoint, a flush, or the end of
// another plan.
func (p *Pool) findSpace(ctx context.Context) error {
	p.mu.Lock()
	waits, walk, sweep := p.walkWaits() || p.needN > 0, p.walkReady(true), p.sweepable(true) != nil
	flush, moved := p.durable < p.lsn, p.movedLocked()
	plans := len(p.epochs.open) > 0
	p.mu.Unlock()
	switch {
	case walk != nil:
		return p.walkStep(walk)
	case waits:
		return p.checkpointUnless(never)
	case sweep:
		did, err := p.sweepStep(true)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err == nil && !did && p.sweepable(true) != nil { // it cannot be done now; else others have done it
			err = fmt.Errorf("pool %s: %w", p.name, ErrNoSpace)
		}
		return err
	case flush:
		return p.Flush()
	case plans:
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// admitted turns a trial's result into what a caller in until does: go on, wait for space, or give up.
func (p *Pool) admitted(f Forecast) (Need, error) {
	return p.orMore(f.Err, false, blocksOf(f.Need-f.Avail))
}

// orMore tells what who was refused is to wait for, or gives err back: the background may free something, and where
// blocks are what lacks the pool may grow.
func (p *Pool) orMore(err error, transient bool, lack int64) (Need, error) {
	switch {
	case err == nil:
	case p.moreSpace(transient):
		return Need{kind: needSpace}, nil
	case p.growable && errors.Is(err, ErrNoSpace):
		return Need{kind: needExtension, blocks: max(1, lack), why: err}, nil
	}
	return Need{}, err
}

// changeWithSpace is change for what may be refused for want of space: as long as the background can free something
// it does, and then it is tried again. It has room for bytes of records.
func (p *Pool) changeWithSpace(bytes int64, fn func(now time.Time) (Need, error)) error {
	for {
		var need Need
		err := p.pagesForChange()
		if err == nil {
			err = p.changeIn(credit{bytes: bytes, pages: changePages}, func(now time.Time) (err error) {
				need, err = fn(now)
				return err
			})
		}
		if err != nil || need.None() {
			return err
		}
		if err := p.Fulfil(context.Background(), need); err != nil {
			return err
		}
	}
}
