package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// act is something that happens: to the model, and to the ledger by its verbs. A write is admitted, all else is tried.
type act struct {
	what  string
	model func(*model)
	verbs func(g *Ledger)
	write Write // if Blocks > 0
	vol   ID
	pays  bool
}

// acts are all that may happen to a state.
func acts(m *model) (out []act) {
	add := func(a act, what string, args ...any) {
		a.what = fmt.Sprintf(what, args...)
		out = append(out, a)
	}
	m.each(func(id ID, t *thing) {
		props := []Props{{}, {Reservation: 4}, {Quota: 6}, {Reservation: 3, Quota: 5}}
		if !t.dir {
			props = []Props{
				{},
				{Refreservation: 3},
				{Auto: true},
				{Kept: true},
				{Refreservation: 2, Kept: true},
				{Reservation: 4, Refreservation: 1},
				{Quota: 3, Auto: true},
				{Refquota: 2},
			}
		}
		for _, to := range props {
			if to != t.set {
				set := func(m *model) { m.of(id).set = to }
				add(act{model: set, verbs: func(g *Ledger) { g.Set(g.Of(id), to) }}, "set %d %+v", id, to)
			}
		}
		words := func(m *model) { m.of(id).words += 3000 }
		add(act{model: words, verbs: func(g *Ledger) { g.AddWords(g.Of(id), 3000) }}, "words %d", id)
		if free := m.freeSlot(); t.dir && free != 0 {
			add(act{model: func(m *model) {
				*m.of(free) = thing{here: true, up: id, size: 3, set: Props{Auto: true}, words: NameWords}
			}, verbs: func(g *Ledger) {
				a := g.Open(free, false, g.Of(id))
				g.Set(a, Props{Auto: true})
				g.Resize(a, 3)
			}}, "make %d in %d", free, id)
		}
		if id == 1 {
			return
		}
		m.each(func(to ID, up *thing) {
			if up.dir && to != t.up && !m.inside(to, id) {
				move := func(m *model) { m.of(id).up = to }
				add(act{model: move, verbs: func(g *Ledger) { g.Move(g.Of(id), g.Of(to)) }}, "move %d to %d", id, to)
			}
		})
		if m.sum(id, func(ID) int64 { return 1 }) == 0 {
			add(act{model: func(m *model) { *m.of(id) = thing{} }, verbs: func(g *Ledger) { g.Close(g.Of(id)) }}, "close %d", id)
		}
		if !t.dir {
			out = append(out, volumeActs(id, t)...)
		}
	})
	return out
}

func volumeActs(id ID, t *thing) (out []act) {
	add := func(what string, is func(t *thing), verbs func(g *Ledger, a *Account)) {
		out = append(out, act{
			what: fmt.Sprint(what, " ", id), model: func(m *model) { is(m.of(id)) }, verbs: func(g *Ledger) { verbs(g, g.Of(id)) },
			pays: what == "rollback",
		})
	}
	for _, w := range []Write{{Blocks: 1, Adds: 1, Refers: 1}, {Blocks: 3, Adds: 3, Refers: 2}, {Blocks: 2, Adds: 0}} {
		w.Refer = t.old + t.head
		out = append(out, act{
			what: fmt.Sprintf("write %d %+v", id, w), vol: id, write: w,
			model: func(m *model) { m.of(id).open += w.Adds; m.of(id).refer += w.Refers },
			verbs: func(g *Ledger) { g.Hold(g.Of(id), w.Adds, w.Refers) },
		})
	}
	if t.open != 0 || t.refer != 0 { // its records: what was held is owned
		add("wrote", func(t *thing) { t.head, t.open, t.refer = t.head+t.open, 0, 0 }, func(g *Ledger, a *Account) {
			g.Hold(a, -t.open, -t.refer)
			g.Own(a, t.open, true)
		})
	}
	add("snapshot", func(t *thing) { t.old, t.head = t.old+t.head, 0 }, func(g *Ledger, a *Account) { g.Freeze(a) })
	add("rollback", func(t *thing) { t.head = 0 }, func(g *Ledger, a *Account) { g.Own(a, -t.head, true) })
	add("merge", func(t *thing) { t.head, t.old = t.head+t.old, 0 }, func(g *Ledger, a *Account) {
		g.NewHead(a, t.head+t.old, t.size)
	})
	if t.gone {
		add("revive", func(t *thing) { t.gone = false }, func(g *Ledger, a *Account) { g.Revive(a) })
	} else {
		add("destroy", func(t *thing) { t.gone = true }, func(g *Ledger, a *Account) { g.Gone(a) })
	}
	for _, size := range []int64{0, 2, 300} {
		add(fmt.Sprint("size ", size), func(t *thing) { t.size = size }, func(g *Ledger, a *Account) { g.Resize(a, size) })
	}
	out = append(out, act{ // its clones hold what is old
		what: fmt.Sprintf("destroy under clones %d", id),
		model: func(m *model) {
			m.of(m.of(id).up).old += m.of(id).old
			*m.of(id) = thing{}
		},
		verbs: func(g *Ledger) {
			a := g.Of(id)
			up := a.Up()
			g.End(a)
			g.Own(a, -t.head, false)
			g.Own(a, -t.old, false)
			g.Own(up, t.old, false)
			g.Close(a)
		},
	})
	return out
}

// overQuota lists what a change takes further over its quota.
func overQuota(before, after *model) map[ID]bool {
	out := map[ID]bool{}
	after.each(func(id ID, t *thing) {
		if q := t.props().Quota; q > 0 && after.bounded(id) > q && after.bounded(id) > before.bounded(id) {
			out[id] = true
		}
	})
	return out
}

// refusal is what a trial should say.
func refusal(before, after *model, pages int64, pays bool) Lack {
	was, is := before.free(before.supply(pages)), after.free(after.supply(pages))
	switch {
	case len(overQuota(before, after)) > 0:
		return LackQuota
	case is < 0 && is < was && !pays:
		return LackSpace
	}
	return LackNothing
}

// writeRefusal is what the admission of a write should say: its quotas, and then what is there or promised to it.
func writeRefusal(before, after *model, a act, pages int64) Lack {
	t, s := before.of(a.vol), before.supply(pages)
	less := Supply{Blocks: s.Blocks - a.write.Blocks, Pages: pages}
	q := t.props().Refquota
	switch {
	case a.write.Refers > 0 && q > 0 && a.write.Refer+t.refer+a.write.Refers > q:
		return LackRefquota
	case len(overQuota(before, after)) > 0:
		return LackQuota
	case after.free(less) < 0 && less.Blocks-after.promised() < s.Blocks-before.promised():
		return LackSpace
	}
	return LackNothing
}

// step does what happens to the ledger of a state, tried first, and compares with the model all that it says.
func step(m *model, a act, pages int64) (after model, err error) {
	g, err := m.load()
	if err != nil {
		return after, err
	}
	if err := m.differs(g, pages); err != nil {
		return after, fmt.Errorf("loaded: %w", err)
	}
	after = *m
	a.model(&after)
	s := m.supply(pages)
	e, r := g.Try(s, Change{Do: func() { a.verbs(g) }, Gives: m.held() - after.held(), Pays: a.pays})
	if err := errors.Join(m.differs(g, pages), sense(g, m)); err != nil {
		return after, fmt.Errorf("a trial left traces: %w", err)
	}
	before := m.free(s)
	if want := refusal(m, &after, pages, a.pays); r.Lacks != want || want == LackQuota && !overQuota(m, &after)[r.At.id] {
		return after, fmt.Errorf("refused with %+v, want %d of %v", r, want, overQuota(m, &after))
	}
	if need := before - after.free(after.supply(pages)); e.Need != need || e.Avail != max(0, before) {
		return after, fmt.Errorf("effect %+v, needs %d of %d", e, need, before)
	}
	if a.write.Blocks == 0 {
		a.verbs(g)
	} else {
		r := g.Admit(g.Of(a.vol), s, a.write)
		if want := writeRefusal(m, &after, a, pages); r.Lacks != want {
			return after, fmt.Errorf("write refused with %+v, want %d", r, want)
		}
		if !r.OK() {
			after = *m
		}
	}
	if err := after.differs(g, pages); err != nil {
		return after, err
	}
	return after, sense(g, &after)
}

// sense holds in every state, whatever the model says.
func sense(g *Ledger, m *model) error {
	var promised, meta int64
	for _, a := range g.accounts {
		promised, meta = promised+a.n.Promised, meta+a.n.Meta
		if a.first != nil && a.first.prev != nil || a.next != nil && (a.next.prev != a || a.next.up != a.up) ||
			a.prev != nil && (a.prev.next != a || a.prev.up != a.up) {
			return fmt.Errorf("account %d: it does not know those beside it", a.id)
		}
		if a.n.Promised < 0 || a.n.Charged < a.n.Used || a.n.Used < a.n.Held {
			return fmt.Errorf("account %d: %v", a.id, a)
		}
	}
	if promised != g.promised || meta != g.meta || g.root.n.Charged != promised+m.held() {
		return fmt.Errorf("promised %d and %d of metadata, the accounts say %d and %d; the root is charged %d", g.promised, g.meta,
			promised, meta, g.root.n.Charged)
	}
	return nil
}

// search does everything that may happen, in every order, up to a length, and no state twice.
type search struct {
	t     *testing.T
	pages int64
	seen  map[model]int // by what is left of the length
	steps int
	path  []string
}

func (s *search) from(m *model, left int) {
	if s.t.Failed() || left == 0 || s.seen[*m] >= left {
		return
	}
	s.seen[*m] = left
	for _, a := range acts(m) {
		s.steps++
		s.path = append(s.path, a.what)
		after, err := step(m, a, s.pages)
		if err != nil {
			s.t.Errorf("%s: %v\nfrom %+v", strings.Join(s.path, "; "), err, *m)
			return
		}
		s.from(&after, left-1)
		s.path = s.path[:len(s.path)-1]
	}
}

// trees calls fn with all trees of up to so many directories below the root, and volumes in them.
func trees(dirs, vols int, fn func(m model)) {
	var volumes func(m model, from, n, left int)
	volumes = func(m model, from, n, left int) {
		fn(m)
		if left == 0 {
			return
		}
		for up := from; up <= n; up++ { // volumes are all alike: none but sorted
			m[most-left] = thing{here: true, up: ID(up), size: int64(2 + left), head: int64(left % 2), words: NameWords}
			volumes(m, up, n, left-1)
		}
	}
	var directories func(m model, n int)
	directories = func(m model, n int) {
		volumes(m, 1, n, vols)
		if n > dirs {
			return
		}
		for up := 1; up <= n; up++ {
			m[n] = thing{here: true, dir: true, up: ID(up), words: NameWords}
			directories(m, n+1)
		}
	}
	m := model{{here: true, dir: true, words: NameWords}}
	directories(m, 1)
}

// All trees of up to three directories below the root and three volumes, and on them all that may happen, in all orders: the
// ledger is at every moment what the naive model says and what a mount would build; a trial leaves no trace, tells what
// doing it brings, and is refused just when a quota or the space says so. Few pages: promises need metadata that the pool
// has to find.
func TestAllSmallTrees(t *testing.T) {
	for _, c := range []struct {
		dirs, vols, length int
		pages              int64
	}{{3, 3, 1, 60}, {3, 3, 1, 4}, {1, 2, 2, 4}, {2, 1, 2, 60}, {1, 1, 3, 60}, {0, 1, 4, 4}} {
		t.Run(fmt.Sprintf("dirs=%d,vols=%d,length=%d,pages=%d", c.dirs, c.vols, c.length, c.pages), func(t *testing.T) {
			s, n := &search{t: t, pages: c.pages, seen: map[model]int{}}, 0
			trees(c.dirs, c.vols, func(m model) {
				n++
				s.from(&m, c.length)
			})
			t.Logf("%d trees, %d steps, %d states", n, s.steps, len(s.seen))
		})
	}
}
