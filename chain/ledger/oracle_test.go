package ledger

import (
	"encoding/json"
	"os"
	"testing"
)

// The published truth about space accounting, as ../../integration/space_test.go has it, on accounts alone: the closed model
// of each step, without metadata, to the block. A block is half a mebibyte here.

// oracleRow is what zfs list shows, in MiB.
type oracleRow struct {
	Name                                                                    string
	AVAIL, USED, USEDSNAP, USEDDS, USEDREFRESERV, USEDCHILD, REFER, WRITTEN float64
}

type oracleStep struct {
	Scenario string
	Step     int
	Cmd      string
	OK       bool
	Model    []oracleRow `json:"model_mib"`
}

// place is a pool of some blocks with a volume.
type place struct {
	g     *Ledger
	v     *Account
	total int64
	refer int64
}

func newPlace(t *testing.T, mib float64, set Props) *place {
	t.Helper()
	g := Load(testBlock)
	g.Open(1, true, nil)
	if err := g.Link(1, map[ID]ID{}); err != nil {
		t.Fatal(err)
	}
	g.Ready()
	p := &place{g: g, total: int64(2 * mib)}
	p.v = g.Open(2, false, g.Root())
	g.Resize(p.v, 2048)
	if _, r := g.Try(p.supply(), Change{Do: func() { g.Set(p.v, set) }}); !r.OK() {
		t.Fatalf("%+v", r)
	}
	g.Set(p.v, set)
	return p
}

// supply has pages for everything: the model is without metadata.
func (p *place) supply() Supply {
	return Supply{Blocks: p.total - p.v.n.Held, Pages: 1 << 40}
}

// write writes so many MiB, fresh of them where nothing was, owned of them over what the head owns.
func (p *place) write(t *testing.T, mib, fresh, owned float64) {
	t.Helper()
	w := Write{Blocks: int64(2 * (mib - owned)), Adds: int64(2 * (mib - owned)), Refers: int64(2 * fresh), Refer: p.refer}
	if w.Blocks > 0 {
		if r := p.g.Admit(p.v, p.supply(), w); !r.OK() {
			t.Fatalf("write of %v MiB: %+v", mib, r)
		}
		p.g.Hold(p.v, -w.Adds, -w.Refers)
	}
	p.g.Own(p.v, w.Adds, true)
	p.refer += w.Refers
}

func (p *place) snapshot() Refusal {
	_, r := p.g.Try(p.supply(), Change{Do: func() { p.g.Freeze(p.v) }})
	if r.OK() {
		p.g.Freeze(p.v)
	}
	return r
}

func (p *place) compare(t *testing.T, s oracleStep) {
	t.Helper()
	for _, row := range s.Model {
		a, refer := p.v, p.refer
		if row.Name == "test" {
			a, refer = p.g.Root(), 0
		}
		n := a.Numbers()
		for _, c := range []struct {
			what string
			got  int64
			want float64
		}{
			{"AVAIL", p.g.Available(a, p.supply(), refer), row.AVAIL},
			{"USED", n.Used, row.USED},
			{"USEDSNAP and USEDDS", n.Held, row.USEDSNAP + row.USEDDS},
			{"USEDREFRESERV", n.Used - n.Held - n.Below, row.USEDREFRESERV},
			{"USEDCHILD", n.Below, row.USEDCHILD},
			{"WRITTEN", n.Head, row.WRITTEN},
			{"REFER", refer, row.REFER},
		} {
			if float64(c.got)/2 != c.want {
				t.Errorf("%s %d (%s): %s of %s is %vM, published %vM", s.Scenario, s.Step, s.Cmd, c.what, row.Name, float64(c.got)/2, c.want)
			}
		}
	}
}

func TestOracle(t *testing.T) {
	var o struct{ Steps []oracleStep }
	b, err := os.ReadFile("../../integration/testdata/zfs-oracle.json")
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil || len(o.Steps) != 19 {
		t.Fatalf("%d steps: %v", len(o.Steps), err)
	}
	var p *place
	snap := func() {
		if r := p.snapshot(); !r.OK() {
			t.Fatalf("snapshot: %+v", r)
		}
	}
	acts := map[string][]func(){
		"filesystem_refreservation": {
			func() { p = newPlace(t, 880, Props{}) }, func() { p = newPlace(t, 880, Props{Refreservation: 800}) },
			func() { p.write(t, 100, 100, 0) }, func() { p.write(t, 450, 350, 100) }, snap, func() { p.write(t, 50, 50, 0) },
			func() { p.g.NewHead(p.v, p.v.n.Held, p.v.n.Size) }, // the snapshot goes: all is the head's
			nil,
		},
		"filesystem_reservation": {
			func() { p = newPlace(t, 880, Props{}) }, func() { p = newPlace(t, 880, Props{Reservation: 800}) },
			func() { p.write(t, 100, 100, 0) }, func() { p.write(t, 500, 400, 100) }, snap,
		},
		"volume": { // of 404M, as zfs's own metadata is in what is published
			func() { p = newPlace(t, 880, Props{}) }, func() { p = newPlace(t, 880, Props{Refreservation: 829}) },
			func() { p.write(t, 101, 101, 0) }, snap, func() { p.write(t, 303, 303, 0) }, func() { p.write(t, 101, 0, 0) },
		},
	}
	for _, s := range o.Steps {
		if s.OK {
			acts[s.Scenario][s.Step]()
			p.compare(t, s)
		} else if r := p.snapshot(); r.Lacks != LackSpace || r.Need != 800 { // min(500, 400)
			t.Errorf("%s: %+v", s.Cmd, r)
		}
	}
}

// The cases that tell a right implementation from a plausible one.
func TestDiscriminators(t *testing.T) {
	t.Run("min-not-written", func(t *testing.T) {
		p := newPlace(t, 950, Props{Refreservation: 800})
		p.write(t, 500, 500, 0)
		if r := p.snapshot(); !r.OK() || p.g.Free(p.supply()) != 2*50 {
			t.Errorf("%+v, then %d", r, p.g.Free(p.supply()))
		}
	})
	t.Run("refer-not-used", func(t *testing.T) {
		p := newPlace(t, 1000, Props{Refreservation: 600})
		p.write(t, 300, 300, 0)
		first := p.snapshot()
		p.write(t, 50, 50, 0)
		if second := p.snapshot(); !first.OK() || !second.OK() || p.v.n.Used != 2*650 {
			t.Errorf("%+v, %+v, used %d", first, second, p.v.n.Used)
		}
	})
	t.Run("refreserv_003_pos", func(t *testing.T) {
		p := newPlace(t, 100, Props{Quota: 50, Refreservation: 20})
		for i := range 3 {
			p.write(t, 7, 7, 0)
			r := p.snapshot()
			if want := (Refusal{Lacks: LackQuota, At: p.v, Need: 14, Used: 48, Bound: 50}); i < 2 && !r.OK() || i == 2 && r != want {
				t.Errorf("snapshot %d: %+v", i, r)
			}
		}
	})
	t.Run("written-in-reserve", func(t *testing.T) { // 50M while the pool has 29M for others
		p := newPlace(t, 879, Props{Refreservation: 800})
		p.write(t, 450, 450, 0)
		r, used, free := p.snapshot(), p.g.Root().n.Used, p.g.Free(p.supply())
		p.write(t, 50, 50, 0)
		if !r.OK() || free != 2*29 || p.g.Root().n.Used != used || p.g.Free(p.supply()) != free {
			t.Errorf("%+v, used %d to %d, free %d to %d", r, used, p.g.Root().n.Used, free, p.g.Free(p.supply()))
		}
	})
}
