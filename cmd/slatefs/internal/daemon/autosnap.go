package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/schedule"
)

// autosnap makes the snapshots that the property autosnap asks for, and takes away those of them that are not kept any more.
//
// Volumes that have the property from one place (a directory, the pool, or the volume itself) are frozen at one instant. One that is
// refused keeps no other from it: it is left out, is tried again by and by until the next one is due, and the log says so once.
// Nothing is kept beside the pool: that a snapshot was made, its name says. So one that was missed is made late, and none twice.
// What this process made it makes not again, either, when somebody has destroyed or renamed it.
type autosnap struct {
	pool *chain.Pool
	log  *slog.Logger
	now  func() time.Time
	poke chan struct{} // capacity 1: somebody has set the property

	chronicle *chronicle // nil: nobody notes events

	looked time.Time               // the hour in which all was done; zero: not all is
	made   map[chain.Ino]time.Time // of each volume the snapshot that was due, and is made
	told   map[chain.Ino]string    // of what the log has been told
}

func newAutosnap(p *chain.Pool, log *slog.Logger, now func() time.Time, events *chronicle) *autosnap {
	return &autosnap{
		pool: p, log: log, now: now, chronicle: events, poke: make(chan struct{}, 1),
		made: map[chain.Ino]time.Time{}, told: map[chain.Ino]string{},
	}
}

// Every look asks whether another hour has begun. What was refused is tried again so much later.
const (
	autosnapLook  = 10 * time.Second
	autosnapAgain = time.Minute
)

func (a *autosnap) run(ctx context.Context) error {
	for {
		wait := autosnapLook
		if a.due() && !a.turn(ctx) {
			wait = autosnapAgain
		}
		if err := a.pool.Failed(); err != nil {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-a.poke:
			a.looked = time.Time{}
		case <-t.C:
		}
		t.Stop()
	}
}

// changed: somebody has set the property.
func (a *autosnap) changed() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// due: there may be something to do. All that can be due is due when an hour begins, by whatever clock.
func (a *autosnap) due() bool { return !a.looked.Equal(a.now().UTC().Truncate(time.Hour)) }

// turn does what is due now, and tells whether that was all. The error of a pool that has failed is not told here.
func (a *autosnap) turn(ctx context.Context) (all bool) {
	now := a.now().UTC()
	all = true
	for _, s := range a.sets(ctx) {
		all = a.take(ctx, s, now) && all
		all = a.thin(ctx, s, now) && all
		if ctx.Err() != nil || a.pool.Failed() != nil {
			return false
		}
	}
	if all {
		a.looked = now.Truncate(time.Hour)
	}
	return all
}

// snapSet is volumes that have the property from one place.
type snapSet struct {
	plan schedule.Plan
	vols []chain.Ino
}

// sets finds the volumes that have a plan. It goes through the pool by name, a directory at a time; what cannot be read it leaves out.
func (a *autosnap) sets(ctx context.Context) (sets []*snapSet) {
	by := map[chain.Ino]*snapSet{} // by where the property is set
	there := map[chain.Ino]bool{chain.RootIno: true}
	s := Service{Pool: a.pool}
	for dirs := []chain.Ino{chain.RootIno}; len(dirs) > 0 && ctx.Err() == nil; dirs = dirs[1:] {
		entries, err := s.entries(dirs[0])
		if err != nil && !errors.Is(err, chain.ErrNotFound) {
			a.refused(dirs[0], "automatic snapshots: a directory can't be listed", err)
		}
		for _, e := range entries {
			there[e.Ino] = true
			switch e.Type {
			case chain.TypeDir:
				dirs = append(dirs, e.Ino)
			case chain.TypeFile:
				if halfMade(a.pool, e.Name, e.Ino) { // its snapshots are those of its images
					continue
				}
				if set, isNew := a.setOf(by, e.Ino); isNew {
					sets = append(sets, set)
				}
			case chain.TypeSymlink:
			}
		}
	}
	for ino := range a.told { // of what is gone nothing is remembered
		if !there[ino] {
			delete(a.told, ino)
		}
	}
	for ino := range a.made {
		if !there[ino] {
			delete(a.made, ino)
		}
	}
	return sets
}

// setOf puts a volume into the set of its plan, if it has one. isNew: it is the first in that set.
func (a *autosnap) setOf(by map[chain.Ino]*snapSet, ino chain.Ino) (set *snapSet, isNew bool) {
	v, err := a.pool.Prop(ino, schedule.PropAutosnap)
	if errors.Is(err, chain.ErrNotFound) {
		return nil, false
	}
	at := v.From
	if v.Set {
		at = ino
	}
	if set = by[at]; set != nil {
		set.vols = append(set.vols, ino)
		return set, false
	}
	var plan schedule.Plan
	if err == nil {
		plan, err = schedule.Parse(v.Value)
	}
	if err != nil {
		a.refused(ino, "automatic snapshots: what is asked for is not known", err)
	}
	if len(plan) == 0 {
		return nil, false
	}
	by[at] = &snapSet{plan: plan, vols: []chain.Ino{ino}}
	return by[at], true
}

// take makes the snapshot of a set that was due last, of those that have none. all: none was refused.
func (a *autosnap) take(ctx context.Context, s *snapSet, now time.Time) (all bool) {
	due := s.plan.Due(now)
	name := schedule.Name(due)
	var todo []chain.Ino
	for _, ino := range s.vols {
		if !a.made[ino].Equal(due) && !a.pool.HasSnapshot(ino, name) && !a.younger(ino, due, now) {
			todo = append(todo, ino)
		}
	}
	if len(todo) == 0 {
		return true
	}
	done, instants, all := a.freeze(ctx, todo, name)
	for _, ino := range done {
		a.made[ino] = due
		delete(a.told, ino)
	}
	if len(done) > 0 {
		a.log.Info("automatic snapshot", "pool", a.pool.Name(), "name", name, "volumes", len(done), "instants", instants,
			"refused", len(todo)-len(done))
		text, numbers := fmt.Sprintf("%s of %d volumes", name, len(done)), []chain.EventNumber{{Name: "volumes", Value: int64(len(done))}}
		if instants > 1 {
			text += fmt.Sprintf(", at %d instants: together they were refused", instants)
			numbers = append(numbers, chain.EventNumber{Name: "instants", Value: int64(instants)})
		}
		a.chronicle.note(control.EventAutosnap, subject{}, text, numbers...)
	}
	return all
}

// younger: a volume was made after a snapshot was due.
func (a *autosnap) younger(ino chain.Ino, due, now time.Time) bool {
	attr, err := a.pool.GetAttr(ino)
	return err == nil && attr.Btime.After(due) && !attr.Btime.After(now) // else the clock was set back since
}

// freeze freezes volumes, all at one instant but for those that are refused by themselves. Where all others together are refused,
// halves of them are tried: these are frozen at so many instants.
func (a *autosnap) freeze(ctx context.Context, vols []chain.Ino, name string) (done []chain.Ino, instants int, all bool) {
	if len(vols) == 0 || ctx.Err() != nil {
		return nil, 0, len(vols) == 0
	}
	err := a.pool.Snapshot(chain.Req{Auto: true}, vols, name)
	if err == nil {
		return vols, 1, true
	}
	if a.pool.Failed() != nil || errors.Is(err, chain.ErrClosed) {
		return nil, 0, false
	}
	if len(vols) == 1 {
		return nil, 0, a.refusedOne(vols[0], name, err)
	}
	all = true
	rest := slices.DeleteFunc(slices.Clone(vols), func(ino chain.Ino) bool {
		f := a.pool.ForecastSnapshot([]chain.Ino{ino}, name)
		if f.Err != nil {
			all = a.refusedOne(ino, name, f.Err) && all
		}
		return f.Err != nil
	})
	if len(rest) < len(vols) {
		done, instants, ok := a.freeze(ctx, rest, name)
		return done, instants, ok && all
	}
	half := len(vols) / 2
	done, instants, one := a.freeze(ctx, vols[:half], name)
	more, later, other := a.freeze(ctx, vols[half:], name)
	return append(slices.Clone(done), more...), instants + later, one && other
}

// refusedOne: a volume got no snapshot. gone: there is none to get it.
func (a *autosnap) refusedOne(ino chain.Ino, name string, err error) (gone bool) {
	if errors.Is(err, chain.ErrNotFound) {
		return true
	}
	a.refused(ino, "automatic snapshot "+name+" was refused, and is tried again", err)
	return false
}

// refused tells the log of what could not be done to something, once.
func (a *autosnap) refused(ino chain.Ino, what string, err error) {
	text := what + ": " + err.Error()
	if a.told[ino] == text {
		return
	}
	a.told[ino] = text
	of := subject{a.pool.VolumeUUID(ino), a.pool.Path(ino)}
	if ino == chain.RootIno {
		of = subject{}
	}
	a.chronicle.note(control.EventAutosnapNot, of, text)
	a.log.Warn(what, "pool", a.pool.Name(), "volume", of.path, "error", err)
}
