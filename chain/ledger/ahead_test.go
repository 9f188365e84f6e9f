package ledger

import "testing"

// What is promised ahead is what a freeze promises, whatever is written until then; and it goes as it came.
func TestAhead(t *testing.T) {
	g, _, vol := small(t)
	g.Set(vol, Props{Refreservation: 10})
	g.Own(vol, 6, true)
	before, was := vol.Numbers(), g.promised
	g.Ahead(vol, true)
	if got := g.promised - was; got != 6 {
		t.Errorf("%d blocks are promised ahead, want 6", got)
	}
	s := Supply{Blocks: g.promised + 3, Pages: 1 << 20}
	if r := g.Admit(vol, s, Write{Blocks: 4, Adds: 4}); r.Lacks != LackSpace {
		t.Errorf("a write takes what is promised to the next head: %+v", r)
	}
	if n := g.Available(vol, s, 0); n != 3 {
		t.Errorf("%d blocks are available, want 3", n)
	}
	g.Ahead(vol, false)
	if vol.Numbers() != before || g.promised != was {
		t.Errorf("taken back: %+v, was %+v", vol.Numbers(), before)
	}
	if r := g.Admit(vol, s, Write{Blocks: 4, Adds: 4}); !r.OK() {
		t.Errorf("a write that its promise covers: %+v", r)
	}
	g.Ahead(vol, true)
	promised := g.promised
	g.Hold(vol, -4, 0)
	g.Own(vol, 4, true)
	g.Freeze(vol)
	if g.promised != promised || vol.Numbers().Ahead {
		t.Errorf("%d blocks are promised, %d were ahead", g.promised, promised)
	}
}
