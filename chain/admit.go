package chain

import (
	"errors"
	"fmt"

	"slatefs/chain/ledger"
	"slatefs/chain/size"
)

// Admission. What promises or takes space is tried on the ledger first, under one hold of the plan lock, and refused
// whole, with the numbers, before anything changed (ledger.Try). The same trial is what a forecast shows. What is refused is
// the ledger's matter; here is what there is, what there may be soon, and what people are told.

// Forecast is what an operation needs of the space outside what it concerns, and what there is. All in bytes.
type Forecast struct {
	What  string // as "snapshot vm.raw@a"
	Need  int64  // what the pool's available shrinks by, Meta included; negative: it grows
	Meta  int64  // metadata of promises, as far as the pool has no free pages for it
	Avail int64
	Why   string // where Need comes from; may be empty
	Err   error  // why it would be refused; nil: it would be done
}

// trial is a change of the ledger that is tried, and how people are told of it.
type trial struct {
	ledger.Change
	what, why string
	frees     int64 // blocks that come into the supply with what happens before it
}

// free is what is or can be made clean and is promised to nobody, in blocks:
//
//	clean + claimed and not named + dirty, but of jobs that are failing + freeing, but what walks fail to find
//	+ what is destroyed and kept - reserve - promises
//	- the metadata of promises, of open plans and of the next checkpoint, as far as the store has no free pages for it
func (sp *admission) free() int64 { return sp.ledger.Free(sp.supply()) }

// supply is what there is to hand out and to promise.
func (sp *admission) supply() ledger.Supply {
	return ledger.Supply{
		Blocks: sp.unused() - sp.blocks.reserve(),
		Pages:  int64(sp.blocks.store.FreePages()) - sp.blocks.storeNeed() - sp.commits.room.pages - structurePages,
	}
}

// unpromised is free without a thought of metadata. What a promise covers does not change it.
func (sp *admission) unpromised() int64 {
	promised, _ := sp.ledger.Promised()
	return sp.unused() - sp.blocks.reserve() - promised
}

// unused are the blocks that could be handed out, sooner or later.
func (sp *admission) unused() int64 {
	c := sp.blocks.alloc.Counts()
	return sp.blocks.alloc.Findable() + sp.blocks.alloc.Aside() + c.Claimed - sp.namedN + sp.jobs.dirtyN - sp.jobs.sickN +
		sp.tree.freeing - sp.tree.stranded() +
		sp.destroyed.blocks
}

// available is what can be written below an account, in blocks. refer is what the head of a volume refers to.
func (sp *admission) available(a *ledger.Account, refer int64) int64 {
	return sp.ledger.Available(a, sp.supply(), refer)
}

// try tells what a change would bring, and why it would be refused: ErrNoSpace, ErrQuota, with the numbers.
func (sp *admission) try(t trial) Forecast {
	s := sp.supply()
	s.Blocks += t.frees
	e, r := sp.ledger.Try(s, t.Change)
	f := Forecast{What: t.what, Need: e.Need * BlockSize, Meta: e.Meta * BlockSize, Avail: e.Avail * BlockSize, Why: t.why}
	f.Err = sp.tellRefusal(&f, r)
	return f
}

// tellRefusal tells why a trial is refused; nil: it is not.
func (sp *admission) tellRefusal(f *Forecast, r ledger.Refusal) error {
	switch r.Lacks {
	case ledger.LackNothing:
	case ledger.LackQuota:
		return fmt.Errorf("cannot %s: needs %s%s, the quota of %s leaves %s of %s: %w", f.What, size.Exact(r.Need*BlockSize),
			parens(f.Why), sp.names.nameOf(Ino(r.At.ID())), size.Exact(max(0, r.Bound-r.Used)*BlockSize), size.Exact(r.Bound*BlockSize), ErrQuota)
	case ledger.LackSpace:
		return f.refuse()
	case ledger.LackRefquota, ledger.LackWords, ledger.LackSense: // no trial lacks them
		return fmt.Errorf("cannot %s: %w", f.What, ErrQuota)
	}
	return nil
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

// promise tells what an account of those numbers is promised, for messages.
func promise(n ledger.Numbers) string {
	switch {
	case n.Refres == 0:
		return "no refreservation"
	case n.Auto:
		return size.Exact(n.Refres*BlockSize) + " refreservation, its size"
	case n.Refres > n.Refreservation:
		return size.Exact(n.Refres*BlockSize) + " preallocated"
	}
	return size.Exact(n.Refres*BlockSize) + " refreservation"
}

// tryFreeze tries a new head of one volume: what is written now is promised once more, up to the refreservation
// (dsl_dataset_snapshot_reserve_space: min(written, refreservation)). For many volumes see ahead.
func (sp *admission) tryFreeze(what string, a *ledger.Account) Forecast {
	return sp.try(trial{what: what, why: whyFreeze(a.Numbers()), Change: ledger.Change{Do: func() { sp.ledger.Freeze(a) }}})
}

// whyFreeze tells where the need of a new head comes from.
func whyFreeze(n ledger.Numbers) string {
	if n.Refres > 0 {
		return fmt.Sprintf("min of %s written, %s", size.Exact(n.Head*BlockSize), promise(n))
	}
	return promise(n)
}

// tryRollback: what the old head owned pays for the promise to the new one, which has written nothing. Only a snapshot
// of another size, under refreservation=auto, can need more.
func (sp *admission) tryRollback(v *Volume, snap *layer) Forecast {
	head := sp.tree.head(v.ino)
	a, frees, size := v.account, head.own, blocksOf(snap.size)
	if head.behindSwept() { // it goes later
		frees = 0
	}
	return sp.try(trial{
		what: fmt.Sprintf("roll back %s@%s", sp.names.pathOf(v.ino), snap.name), why: promise(a.Numbers()),
		Change: ledger.Change{Gives: frees, Pays: size <= a.Size(), Do: func() {
			sp.ledger.Own(a, -frees, true)
			sp.ledger.Resize(a, size)
		}},
	})
}

// tryResize: a promise of the size moves with it.
func (sp *admission) tryResize(v *Volume, bytes int64) Forecast {
	t := trial{what: fmt.Sprintf("resize %s to %s", sp.names.pathOf(v.ino), size.Exact(bytes)), Change: sp.resizing(v.account, bytes)}
	if v.account.Grows() {
		t.why = "its refreservation moves with its size"
	}
	return sp.try(t)
}

// resizing is the change to a size in bytes.
func (sp *admission) resizing(a *ledger.Account, bytes int64) ledger.Change {
	return ledger.Change{Do: func() { sp.ledger.Resize(a, blocksOf(bytes)) }}
}

// moving is a move of what an account is charged to another directory.
func (sp *admission) moving(what string, a, up *ledger.Account) trial {
	return trial{what: what, Change: ledger.Change{Do: func() { sp.ledger.Move(a, up) }}}
}

// tryProps: the account with other properties.
func (sp *admission) tryProps(what string, a *ledger.Account, to ledger.Props) Forecast {
	f := sp.try(trial{what: what, Change: ledger.Change{Do: func() { sp.ledger.Set(a, to) }}})
	if f.Err == nil {
		f.Err = sp.boundsAgree(what, a, to)
	}
	return f
}

// boundsAgree refuses bounds below what is used or promised already.
func (sp *admission) boundsAgree(what string, a *ledger.Account, to ledger.Props) error {
	var refer int64
	if h := sp.tree.head(Ino(a.ID())); h != nil {
		refer = h.refer
	}
	r := sp.ledger.Agree(a, to, refer)
	if r.OK() {
		return nil
	}
	bound, than := "a quota", "used"
	switch r.Than {
	case ledger.ThanUsed:
	case ledger.ThanReservation:
		than = "its reservation"
	case ledger.ThanReferenced:
		bound, than = "a refquota", "referenced"
	case ledger.ThanRefreservation:
		bound, than = "a refquota", "its refreservation"
	}
	return fmt.Errorf("cannot %s: %s of %s is less than %s, %s: %w", what, bound, size.Exact(r.Bound*BlockSize), than,
		size.Exact(r.Used*BlockSize), ErrQuota)
}

// moreSpace tells whether a step of the background could still make something available. transient: an asker needs
// blocks only until what it replaces is freed, or writes in place once the records of its layer are durable. What the
// next checkpoint may need is an estimate from above, so taking it gives some back.
func (sp *admission) moreSpace(transient bool) bool {
	return sp.goes() || sp.tree.fallsStale() || sp.blocks.needN > 0 || sp.tree.walkWaits() ||
		sp.tree.walkReady(true) != nil || sp.tree.sweepable(true) != nil ||
		transient && (sp.commits.durable < sp.commits.lsn || sp.plans.epochs.first() != nil)
}

// admitted turns a trial's result into what a caller in until does: go on, wait for space, or give up.
func (sp *admission) admitted(f Forecast) (Need, error) {
	return sp.orMore(f.Err, false, blocksOf(f.Need-f.Avail))
}

// orMore tells what who was refused is to wait for, or gives err back: the background may free something, and where
// blocks are what lacks the pool may grow.
func (sp *admission) orMore(err error, transient bool, lack int64) (Need, error) {
	switch {
	case err == nil:
	case sp.ahead != nil: // what lacks may be promised to a snapshot that does not come
		return Need{&obstacle{kind: needPlan, wait: sp.ahead.over}}, nil
	case sp.moreSpace(transient):
		return Need{&obstacle{kind: needSpace}}, nil
	case sp.growable && errors.Is(err, ErrNoSpace):
		return Need{&obstacle{kind: needExtension, blocks: max(1, lack), why: err}}, nil
	}
	return Need{}, err
}
