package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

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
func (p *Pool) free() int64 { return p.ledger.Free(p.supply()) }

// supply is what there is to hand out and to promise.
func (p *Pool) supply() ledger.Supply {
	return ledger.Supply{
		Blocks: p.unused() - p.reserve(),
		Pages:  int64(p.store.FreePages()) - p.storeNeed() - p.room.pages - structurePages,
	}
}

// unpromised is free without a thought of metadata. What a promise covers does not change it.
func (p *Pool) unpromised() int64 {
	promised, _ := p.ledger.Promised()
	return p.unused() - p.reserve() - promised
}

// unused are the blocks that could be handed out, sooner or later.
func (p *Pool) unused() int64 {
	c := p.blocks.Counts()
	return p.blocks.Findable() + p.blocks.Aside() + c.Claimed - p.namedN + p.dirtyN - p.sickN + p.freeing - p.stranded() +
		p.doomedN
}

// available is what can be written below an account, in blocks. refer is what the head of a volume refers to.
func (p *Pool) available(a *ledger.Account, refer int64) int64 {
	return p.ledger.Available(a, p.supply(), refer)
}

// try tells what a change would bring, and why it would be refused: ErrNoSpace, ErrQuota, with the numbers.
func (p *Pool) try(t trial) Forecast {
	s := p.supply()
	s.Blocks += t.frees
	e, r := p.ledger.Try(s, t.Change)
	f := Forecast{What: t.what, Need: e.Need * BlockSize, Meta: e.Meta * BlockSize, Avail: e.Avail * BlockSize, Why: t.why}
	switch r.Lacks {
	case ledger.LackNothing:
	case ledger.LackQuota:
		f.Err = fmt.Errorf("cannot %s: needs %s%s, the quota of %s leaves %s of %s: %w", t.what, size.Exact(r.Need*BlockSize),
			parens(t.why), p.nameOf(Ino(r.At.ID())), size.Exact(max(0, r.Bound-r.Used)*BlockSize), size.Exact(r.Bound*BlockSize), ErrQuota)
	case ledger.LackSpace:
		f.Err = f.refuse()
	case ledger.LackRefquota, ledger.LackWords, ledger.LackSense: // no trial lacks them
		f.Err = fmt.Errorf("cannot %s: %w", t.what, ErrQuota)
	}
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

// trySnapshot: what is written now is promised once more, up to the refreservation (dsl_dataset_snapshot_reserve_space:
// min(written, refreservation)).
func (p *Pool) trySnapshot(vols []Ino, name string) Forecast {
	t := trial{what: fmt.Sprintf("snapshot %s@%s", p.pathOf(vols[0]), name)}
	if name == "" {
		t.what = "clone " + p.pathOf(vols[0])
	}
	var written int64
	for _, ino := range vols {
		n := p.account(ino).Numbers()
		written += n.Head
		t.why = promise(n)
		if n.Refres > 0 {
			t.why = fmt.Sprintf("min of %s written, %s", size.Exact(n.Head*BlockSize), promise(n))
		}
	}
	if len(vols) > 1 {
		t.what = fmt.Sprintf("snapshot %d volumes at @%s", len(vols), name)
		t.why = fmt.Sprintf("of each the smaller one of what is written, %s in all, and its refreservation",
			size.Exact(written*BlockSize))
	}
	t.Do = func() {
		for _, ino := range vols {
			p.ledger.Freeze(p.account(ino))
		}
	}
	return p.try(t)
}

// tryRollback: what the old head owned pays for the promise to the new one, which has written nothing. Only a snapshot
// of another size, under refreservation=auto, can need more.
func (p *Pool) tryRollback(v *Volume, snap *layer) Forecast {
	a, frees, size := v.account, v.head().own, blocksOf(snap.size)
	return p.try(trial{
		what: fmt.Sprintf("roll back %s@%s", p.pathOf(v.ino), snap.name), why: promise(a.Numbers()),
		Change: ledger.Change{Gives: frees, Pays: size <= a.Size(), Do: func() {
			p.ledger.Own(a, -frees, true)
			p.ledger.Resize(a, size)
		}},
	})
}

// tryResize: a promise of the size moves with it.
func (p *Pool) tryResize(v *Volume, bytes int64) Forecast {
	t := trial{what: fmt.Sprintf("resize %s to %s", p.pathOf(v.ino), size.Exact(bytes)), Change: p.resizing(v.account, bytes)}
	if v.account.Grows() {
		t.why = "its refreservation moves with its size"
	}
	return p.try(t)
}

// resizing is the change to a size in bytes.
func (p *Pool) resizing(a *ledger.Account, bytes int64) ledger.Change {
	return ledger.Change{Do: func() { p.ledger.Resize(a, blocksOf(bytes)) }}
}

// moving is a move of what an account is charged to another directory.
func (p *Pool) moving(what string, a, up *ledger.Account) trial {
	return trial{what: what, Change: ledger.Change{Do: func() { p.ledger.Move(a, up) }}}
}

// tryProps: the account with other properties.
func (p *Pool) tryProps(what string, a *ledger.Account, to ledger.Props) Forecast {
	f := p.try(trial{what: what, Change: ledger.Change{Do: func() { p.ledger.Set(a, to) }}})
	if f.Err == nil {
		f.Err = p.boundsAgree(what, a, to)
	}
	return f
}

// boundsAgree refuses bounds below what is used or promised already.
func (p *Pool) boundsAgree(what string, a *ledger.Account, to ledger.Props) error {
	var refer int64
	if h := p.heads[Ino(a.ID())]; h != nil {
		refer = h.refer
	}
	r := p.ledger.Agree(a, to, refer)
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
func (p *Pool) moreSpace(transient bool) bool {
	return p.fallsStale() || p.needN > 0 || p.walkWaits() || p.walkReady(true) != nil || p.sweepable(true) != nil ||
		transient && (p.durable < p.lsn || len(p.epochs.open) > 0)
}

// findSpace takes one step that may make something available: what was destroyed is counted, a walk, a sweep, a checkpoint, a flush, or the end of
// another plan.
func (p *Pool) findSpace(ctx context.Context) error {
	p.mu.Lock()
	waits, walk, sweep := p.walkWaits() || p.needN > 0, p.walkReady(true), p.sweepable(true) != nil
	flush, moved := p.durable < p.lsn, p.movedLocked()
	plans, stale := len(p.epochs.open) > 0, p.fallsStale()
	p.mu.Unlock()
	switch {
	case stale:
		p.settleFalls()
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
// it does, and then it is tried again. It has room for bytes of records. look is called before, under the structure lock alone.
func (p *Pool) changeWithSpace(bytes int64, look func(), fn func(now time.Time) (Need, error)) error {
	for {
		var need Need
		err := p.pagesForChange()
		if err == nil {
			err = p.changeAfter(credit{bytes: bytes, pages: changePages}, look, func(now time.Time) (err error) {
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
