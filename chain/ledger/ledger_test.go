package ledger

import (
	"errors"
	"testing"
)

// small is a pool with a directory 2 in it, and a volume 3 in that.
func small(tb testing.TB) (g *Ledger, dir, vol *Account) {
	tb.Helper()
	m := model{
		{here: true, dir: true, words: NameWords},
		{here: true, dir: true, up: 1, words: NameWords},
		{here: true, up: 2, size: 10, words: NameWords},
	}
	g, err := m.load()
	if err != nil {
		tb.Fatal(err)
	}
	return g, g.Of(2), g.Of(3)
}

var plenty = Supply{Blocks: 1000, Pages: 1000}

// What happens anyway is not judged, and is taken back too.
func TestBeforeATrial(t *testing.T) {
	g, dir, vol := small(t)
	g.Set(dir, Props{Quota: 10})
	g.Own(vol, 9, true)
	other := g.Open(4, false, g.Root())
	g.Own(other, 5, true)
	replaced := func() { g.End(vol); g.Own(vol, -9, false) }
	move := func() { g.Move(other, dir) }
	if _, r := g.Try(plenty, Change{Do: move}); r != (Refusal{Lacks: LackQuota, At: dir, Need: 5, Used: 9, Bound: 10}) {
		t.Errorf("beside it: %+v", r)
	}
	if e, r := g.Try(plenty, Change{Before: replaced, Do: move}); !r.OK() || e.Need != 0 {
		t.Errorf("instead of it: %+v, %+v", e, r)
	}
	g.Set(dir, Props{Quota: 3}) // below what is used: what comes instead may not be more than that
	if _, r := g.Try(plenty, Change{Before: replaced, Do: move}); r != (Refusal{Lacks: LackQuota, At: dir, Need: 5, Bound: 3}) {
		t.Errorf("instead of it, over the quota: %+v", r)
	}
	if vol.n.Held != 9 || vol.n.Used != 9 || other.up != g.root || dir.n.Below != 9 || dir.kids != 1 {
		t.Errorf("left: %v, %v, %v", vol, other, dir)
	}
}

// Bounds agree with what is used and promised.
func TestBoundsAgree(t *testing.T) {
	g, dir, vol := small(t)
	g.Own(vol, 4, true)
	for _, c := range []struct {
		a     *Account
		to    Props
		refer int64
		than  Than
	}{
		{vol, Props{Quota: 3}, 0, ThanUsed},
		{vol, Props{Quota: 4}, 0, 0},
		{vol, Props{Quota: 5, Reservation: 6}, 0, ThanReservation},
		{vol, Props{Refquota: 5}, 6, ThanReferenced},
		{vol, Props{Refquota: 5, Refreservation: 6}, 5, ThanRefreservation},
		{vol, Props{Refquota: 9, Auto: true}, 5, ThanRefreservation}, // its size is 10
		{vol, Props{Refquota: 9, Kept: true}, 5, ThanRefreservation},
		{vol, Props{Refquota: 10, Auto: true}, 5, 0},
		{dir, Props{Quota: 3}, 0, ThanUsed},
		{dir, Props{Quota: 8, Reservation: 8}, 0, 0},
	} {
		if r := g.Agree(c.a, c.to, c.refer); r.Than != c.than || r.OK() != (c.than == 0) {
			t.Errorf("%+v, refers to %d: %+v", c.to, c.refer, r)
		}
	}
	g.Set(vol, Props{Quota: 3}) // was below before: what does not change is not looked at
	if r := g.Agree(vol, Props{Quota: 3, Refreservation: 1}, 0); !r.OK() {
		t.Errorf("of another property: %+v", r)
	}
}

// Words fit as long as the blocks that they make fit, of every directory above.
func TestWordsFit(t *testing.T) {
	g, dir, vol := small(t)
	g.Set(dir, Props{Quota: 2})
	g.Own(vol, 1, true)
	free := 2*testBlock - dir.n.Words - 1 // the second block of words would be one too many beside the volume's
	if r := g.WordsFit(vol, free); !r.OK() {
		t.Errorf("%d bytes: %+v", free, r)
	}
	if r := g.WordsFit(vol, free+1); r != (Refusal{Lacks: LackWords, At: dir, Need: free + 1, Used: 1, Bound: 2}) {
		t.Errorf("%d bytes: %+v", free+1, r)
	}
	if r := g.WordsFit(g.Root(), 1<<40); !r.OK() {
		t.Errorf("beside it: %+v", r)
	}
}

// A sealed ledger takes what open plans hold, and trials; every other verb is a bug.
func TestSealed(t *testing.T) {
	for name, verb := range map[string]func(g *Ledger, dir, vol *Account){
		"open":    func(g *Ledger, dir, _ *Account) { g.Open(9, false, dir) },
		"close":   func(g *Ledger, _, vol *Account) { g.Close(vol) },
		"move":    func(g *Ledger, _, vol *Account) { g.Move(vol, g.Root()) },
		"set":     func(g *Ledger, _, vol *Account) { g.Set(vol, Props{Quota: 1}) },
		"keep":    func(g *Ledger, _, vol *Account) { g.Keep(vol, true) },
		"gone":    func(g *Ledger, _, vol *Account) { g.Gone(vol) },
		"revive":  func(g *Ledger, _, vol *Account) { g.Revive(vol) },
		"end":     func(g *Ledger, _, vol *Account) { g.End(vol) },
		"own":     func(g *Ledger, _, vol *Account) { g.Own(vol, 1, true) },
		"newhead": func(g *Ledger, _, vol *Account) { g.NewHead(vol, 1, 1) },
		"freeze":  func(g *Ledger, _, vol *Account) { g.Freeze(vol) },
		"resize":  func(g *Ledger, _, vol *Account) { g.Resize(vol, 1) },
		"words":   func(g *Ledger, _, vol *Account) { g.AddWords(vol, 1) },
		"attr":    func(g *Ledger, _, vol *Account) { g.AddAttr(vol, 1, 1) },
	} {
		g, dir, vol := small(t)
		g.Seal(true)
		g.Hold(vol, 2, 2)
		g.Reach(vol, 20)
		g.Try(plenty, Change{Do: func() { verb(g, dir, vol) }})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			verb(g, dir, vol)
		}()
		g.Seal(false)
		verb(g, dir, vol)
	}
}

// What is held ends with the account.
func TestHeldOfClosed(t *testing.T) {
	g, dir, vol := small(t)
	g.Hold(vol, 3, 3)
	g.Reach(vol, 20)
	g.Close(vol)
	g.Hold(vol, -3, -3)
	g.Reach(vol, 0)
	if n := dir.n; n.Used != 0 || n.Size != 0 || n.Words != NameWords || dir.kids != 0 || g.Len() != 2 {
		t.Errorf("left: %v", dir)
	}
}

// Accounts that are no tree are refused; what lies nowhere lies in the root.
func TestHostileTrees(t *testing.T) {
	for name, c := range map[string]struct {
		above map[ID]ID
		bad   bool
	}{
		"cycle":          {map[ID]ID{2: 3, 3: 2}, true},
		"in itself":      {map[ID]ID{2: 2}, true},
		"nowhere":        {map[ID]ID{2: 77}, false},
		"below a volume": {map[ID]ID{2: 4, 3: 4}, false},
	} {
		g := Load(testBlock)
		for id := range ID(4) {
			g.Open(id+1, id < 3, nil)
		}
		err := g.Link(1, c.above)
		if errors.Is(err, ErrTree) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && g.Of(2).Up() != g.Root() {
			t.Errorf("%s: 2 lies in %v", name, g.Of(2).Up())
		}
	}
	if err := Load(testBlock).Link(1, nil); !errors.Is(err, ErrTree) {
		t.Errorf("no root: %v", err)
	}
}

// Differs sees every number.
func TestDiffers(t *testing.T) {
	for name, change := range map[string]func(g *Ledger, vol *Account){
		"owned":   func(_ *Ledger, vol *Account) { vol.n.Held++ },
		"words":   func(_ *Ledger, vol *Account) { vol.n.Words++ },
		"kids":    func(g *Ledger, _ *Account) { g.root.kids++ },
		"gone":    func(_ *Ledger, vol *Account) { vol.asleep = &Props{} },
		"place":   func(g *Ledger, vol *Account) { vol.up = g.root },
		"total":   func(g *Ledger, _ *Account) { g.promised++ },
		"missing": func(g *Ledger, vol *Account) { delete(g.accounts, vol.id) },
	} {
		g, _, vol := small(t)
		should, _, _ := small(t)
		if d := g.Differs(should); d != nil {
			t.Fatal(d)
		}
		if change(g, vol); len(g.Differs(should)) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
}

// The admission of a write and a trial allocate nothing.
func TestAdmissionAllocatesNothing(t *testing.T) {
	g, _, vol := small(t)
	g.Set(vol, Props{Auto: true, Quota: 900})
	g.Try(plenty, Change{Do: func() { g.Resize(vol, 11) }}) // the log has its room
	if n := testing.AllocsPerRun(100, func() {
		w := Write{Blocks: 4, Adds: 3, Refers: 2}
		if _, r := g.Try(plenty, Change{Do: func() { g.Resize(vol, 20) }}); !r.OK() {
			t.Fatal(r)
		}
		g.Reach(vol, 20)
		if r := g.Admit(vol, plenty, w); !r.OK() {
			t.Fatal(r)
		}
		g.Hold(vol, -w.Adds, -w.Refers)
		g.Reach(vol, 10)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAdmit is the admission of a write of one block in a directory of some depth.
func BenchmarkAdmit(b *testing.B) {
	g, dir, _ := small(b)
	for id := ID(10); id < 16; id++ {
		dir = g.Open(id, true, dir)
	}
	v := g.Open(99, false, dir)
	g.Set(v, Props{Auto: true})
	b.ReportAllocs()
	for b.Loop() {
		g.Try(plenty, Change{Do: func() { g.Resize(v, 20) }})
		g.Admit(v, plenty, Write{Blocks: 1, Adds: 1, Refers: 1})
		g.Hold(v, -1, -1)
	}
}
