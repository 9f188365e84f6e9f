package progress

import (
	"testing"
	"time"
)

// TestWatch: what hangs, and what is only slow.
func TestWatch(t *testing.T) {
	const stall = 10 * time.Minute
	type look struct {
		after  time.Duration // since the start
		output time.Duration // when the last output was
		cpu    time.Duration
		hangs  bool
	}
	for name, looks := range map[string][]look{
		"silent and idle":    {{5 * time.Minute, 0, 0, false}, {9 * time.Minute, 0, time.Second, false}, {10 * time.Minute, 0, 2 * time.Second, true}},
		"output is progress": {{9 * time.Minute, 8 * time.Minute, 0, false}, {17 * time.Minute, 8 * time.Minute, 0, false}, {18 * time.Minute, 8 * time.Minute, 0, true}},
		"slow, but at work": {
			{9 * time.Minute, 0, 30 * time.Second, false}, {18 * time.Minute, 0, time.Minute, false},
			{27 * time.Minute, 0, 90 * time.Second, false}, {36 * time.Minute, 36 * time.Minute, 2 * time.Minute, false},
		},
		"a loop without end": {
			{20 * time.Minute, 0, 20 * time.Minute, false}, {40 * time.Minute, 0, 40 * time.Minute, false},
			{59 * time.Minute, 0, 59 * time.Minute, false}, {60 * time.Minute, 0, 60 * time.Minute, true},
		},
		"children that ended take their time along": {
			{5 * time.Minute, 0, 2 * time.Minute, false}, {6 * time.Minute, 0, 0, false},
			{14 * time.Minute, 0, 31 * time.Second, false}, {23 * time.Minute, 0, 32 * time.Second, false},
			{24 * time.Minute, 0, 33 * time.Second, true},
		},
	} {
		start := time.Now()
		w := New(stall, start)
		for _, l := range looks {
			if got := w.Hangs(start.Add(l.after), start.Add(l.output), l.cpu); got != l.hangs {
				t.Errorf("%s: after %s: hangs: %v, want %v", name, l.after, got, l.hangs)
			}
		}
	}
}

// TestParseStat: a process may be named anything.
func TestParseStat(t *testing.T) {
	s, ok := parseStat("12 (a) b) (c) S 7 5 5 0 -1 4194304 1 2 3 4 100 20 3 1 20 0 1 0 5 6 7\n")
	if want := (stat{parent: 7, group: 5, cpu: 1240 * time.Millisecond}); !ok || s != want {
		t.Errorf("%+v, %v; want %+v", s, ok, want)
	}
	if _, ok := parseStat("12 (a)"); ok {
		t.Error("half a line was read")
	}
}
