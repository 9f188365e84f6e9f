package ledger

// Admission: what promises or takes space is tried first, and refused before anything changed.

// Supply is what there is, beside the promises.
type Supply struct {
	Blocks int64 // that could be handed out, sooner or later, without the reserve
	Pages  int64 // free pages of metadata that nothing else needs; negative: so many lack
}

// Lack says what an admission lacks.
type Lack uint8

// The lacks.
const (
	LackNothing  Lack = iota // it is admitted
	LackSpace                // the pool has not what it needs
	LackQuota                // the quota of At does not leave what it needs
	LackRefquota             // a volume would refer to more than it may
	LackWords                // the quota of At does not leave what names and attributes need
	LackSense                // a bound would be below what it bounds: Than
)

// Than says what a bound must not be less than.
type Than uint8

// What a bound is compared with.
const (
	ThanUsed Than = iota + 1
	ThanReservation
	ThanReferenced
	ThanRefreservation
)

// Refusal says whether something is admitted, and what it lacks. The zero value admits it.
type Refusal struct {
	Lacks Lack
	At    *Account // whose bound; nil with LackSpace
	// In blocks, but with LackWords Need is bytes: what it needs, what is used of the bound or available, and the bound.
	Need, Used, Bound int64
	Than              Than // with LackSense: what Used is; those of quotas are ThanUsed and ThanReservation
}

// OK tells whether it is admitted.
func (r Refusal) OK() bool { return r.Lacks == LackNothing }

// Effect is what a change brings, in blocks.
type Effect struct {
	Need  int64 // what is available shrinks by so much, Meta included; negative: it grows
	Meta  int64 // metadata of promises, as far as the store has no free pages for it
	Avail int64 // what is available before it
}

// Change is something that is tried. The functions use the ledger's verbs.
type Change struct {
	Before func() // what happens anyway, and is not judged; may be nil
	Do     func() // may be nil: only what can be supplied changes
	Gives  int64  // blocks that it adds to what can be supplied; negative: takes
	Pays   bool   // it frees what it needs: only quotas can refuse it
}

// trial is a change that is taken back: what it touched first, as it was.
type trial struct {
	number uint64 // of the trial that runs; 0: none
	log    []noted
}

type noted struct {
	a              *Account
	was            Account
	opened, closed bool
}

// note keeps an account as it is, for the trial that runs. Every verb calls it before it writes to one.
func (g *Ledger) note(a *Account) {
	if g.trial.number == 0 || a.trial == g.trial.number {
		return
	}
	g.trial.log = append(g.trial.log, noted{a: a, was: *a})
	a.trial = g.trial.number
}

func (g *Ledger) noteOpened(a *Account) {
	if g.trial.number != 0 {
		g.trial.log = append(g.trial.log, noted{a: a, opened: true})
		a.trial = g.trial.number
	}
}

func (g *Ledger) noteClosed(a *Account) {
	if g.trial.number != 0 {
		g.trial.log = append(g.trial.log, noted{a: a, closed: true})
	}
}

// Try makes a change, looks what comes of it, and takes it back. A quota refuses what lets it be exceeded by more than
// before; what is available must not fall below zero. It allocates nothing but what the change opens.
func (g *Ledger) Try(s Supply, c Change) (e Effect, r Refusal) {
	if g.trial.number != 0 {
		panic("ledger: a trial within a trial")
	}
	promised, meta := g.promised, g.meta
	g.trial.number = 1
	defer g.takeBack(promised, meta)
	if c.Before != nil {
		c.Before()
	}
	judged := len(g.trial.log)
	g.trial.number = 2 // what is touched is noted again
	before, guests := g.Free(s), s.Blocks-g.promised
	if c.Do != nil {
		c.Do()
	}
	s.Blocks += c.Gives
	after := g.Free(s)
	e = Effect{Need: before - after, Avail: max(0, before)}
	e.Meta = e.Need - (guests - (s.Blocks - g.promised))
	switch r = g.overQuota(g.trial.log[judged:]); {
	case !r.OK():
	case after < 0 && after < before && !c.Pays:
		r = Refusal{Lacks: LackSpace, Need: e.Need, Used: e.Avail}
	}
	return e, r
}

// overQuota finds the first account that a change takes further over its quota.
func (g *Ledger) overQuota(log []noted) Refusal {
	for i := range log {
		if l := &log[i]; !l.opened && !l.closed && l.a.n.Quota > 0 {
			was, now := g.Bounded(&l.was), g.Bounded(l.a)
			if now > l.a.n.Quota && now > was {
				return Refusal{Lacks: LackQuota, At: l.a, Need: now - was, Used: was, Bound: l.a.n.Quota}
			}
		}
	}
	return Refusal{}
}

// takeBack ends a trial: all is as it was.
func (g *Ledger) takeBack(promised, meta int64) {
	t := &g.trial
	for i := len(t.log) - 1; i >= 0; i-- {
		switch l := &t.log[i]; {
		case l.opened:
			delete(g.accounts, l.a.id)
		case l.closed:
			g.accounts[l.a.id] = l.a
		default:
			*l.a = l.was
		}
	}
	g.promised, g.meta, t.number = promised, meta, 0
	clear(t.log) // it holds no account
	if t.log = t.log[:0]; cap(t.log) > maxLog {
		t.log = nil
	}
}

// maxLog is how much of a large trial's room is kept for the next ones.
const maxLog = 64

// Free is what is promised to nobody, in blocks; negative: promises are short of it. It is without the metadata that
// promises may need, as far as the store has no free pages for it.
func (g *Ledger) Free(s Supply) int64 { return s.Blocks - g.promised - g.PagesLacking(s) }

// PagesLacking is the metadata that promises may need beyond the store's free pages.
func (g *Ledger) PagesLacking(s Supply) int64 { return max(0, g.meta-s.Pages) }

// Short is by how many blocks promises are not covered.
func (g *Ledger) Short(s Supply) int64 {
	if g.promised == 0 {
		return 0
	}
	return max(0, g.promised-s.Blocks)
}

// Available is what can be written below an account: zfs's AVAIL (dsl_dir_space_available, dsl_dataset_space). refer is
// what the head of a volume refers to.
func (g *Ledger) Available(a *Account, s Supply, refer int64) int64 {
	if a.up == nil {
		return max(0, g.Free(s))
	}
	n := g.Available(a.up, s, 0) + max(0, a.n.Reservation-a.n.Used)
	if a.n.Quota > 0 {
		n = min(n, a.n.Quota-g.Bounded(a))
	}
	n += a.n.covers()
	if a.n.Refquota > 0 {
		n = min(n, a.n.Refquota-refer)
	}
	return max(0, n)
}

// Write is what a write would take, in blocks.
type Write struct {
	Blocks int64 // it names so many of the supply
	Adds   int64 // the head owns so many more; less than Blocks where it replaces its own
	Refers int64 // and refers to so many more
	Refer  int64 // what the head refers to now
}

// Admit holds what a write takes (Hold), or refuses it: by a quota, or by want of space, of which Used is what is
// available to it. A promise that covers it admits it whatever there is. It allocates nothing.
func (g *Ledger) Admit(a *Account, s Supply, w Write) Refusal {
	if r := g.underQuota(a, w); !r.OK() {
		return r
	}
	before := s.Blocks - g.promised
	g.Hold(a, w.Adds, w.Refers)
	after := s
	after.Blocks -= w.Blocks
	if after.Blocks-g.promised >= before || g.Free(after) >= 0 {
		return Refusal{}
	}
	g.Hold(a, -w.Adds, -w.Refers)
	return Refusal{Lacks: LackSpace, Need: w.Blocks, Used: g.Available(a, s, w.Refer)}
}

// underQuota refuses what a quota above the volume, or its own, does not allow.
func (g *Ledger) underQuota(a *Account, w Write) Refusal {
	if bound, shows := a.n.Refquota, w.Refer+a.n.OpenRefer; w.Refers > 0 && bound > 0 && shows+w.Refers > bound {
		return Refusal{Lacks: LackRefquota, At: a, Need: w.Refers, Used: shows, Bound: bound}
	}
	grows := w.Adds - a.n.covers() // of used, at most; at each level a promise may cover a part
	for ; a != nil && grows > 0; a = a.up {
		if a.n.Quota > 0 && g.Bounded(a)+grows > a.n.Quota {
			return Refusal{Lacks: LackQuota, At: a, Need: grows, Used: g.Bounded(a), Bound: a.n.Quota}
		}
		grows -= max(0, a.n.Reservation-a.n.Used)
	}
	return Refusal{}
}

// Agree refuses bounds below what is used or promised already (dsl_dir_set_quota_check, dsl_dataset_set_refquota_check).
// refer is what the head of a volume refers to.
func (g *Ledger) Agree(a *Account, to Props, refer int64) Refusal {
	refres := to.Refreservation
	if to.Auto || to.Kept {
		refres = max(refres, a.n.Size)
	}
	is := &a.n
	for _, c := range [...]struct {
		changed     bool
		bound, used int64
		of          Lack
		than        Than
	}{
		{to.Quota != is.Quota, to.Quota, g.Bounded(a), LackQuota, ThanUsed},
		{to.Quota != is.Quota || to.Reservation != is.Reservation, to.Quota, to.Reservation, LackQuota, ThanReservation},
		{to.Refquota != is.Refquota, to.Refquota, refer, LackRefquota, ThanReferenced},
		{to.Refquota != is.Refquota || refres != is.Refres, to.Refquota, refres, LackRefquota, ThanRefreservation},
	} {
		if c.changed && c.bound > 0 && c.bound < c.used {
			return Refusal{Lacks: LackSense, At: a, Need: c.used, Used: c.used, Bound: c.bound, Than: c.than}
		}
	}
	return Refusal{}
}
