package main

import (
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
)

// A deadline that is going to be broken is named before it is, and after; the record of the job says what came of it.
func TestDeadlineIsTold(t *testing.T) {
	l := newLab(t)
	l.ok("set erase_deadline=1h lab")
	l.refused(show.ExitUsage, `want a time as 90s, 30m, 12h, 7d or 0`, "set erase_deadline=soon lab")
	l.ok("erase pause lab")
	l.destroyed("v.raw", 300, 'v')
	out := l.ok("erase status lab")
	if !strings.Contains(out, "\nerase_deadline of job ") || !strings.Contains(out, " will be broken: it is due ") || !strings.Contains(out, ": erasing is paused\n") {
		t.Errorf("erase status, paused:\n%s", out)
	}
	if s := l.eraseState(); s.Late.Jobs != 1 || s.Late.Broken != 0 || s.Jobs[0].Due == nil || s.Jobs[0].Due.Sub(s.Jobs[0].Since) != time.Hour {
		t.Errorf("erase status -j: %+v", s.Late)
	}
	l.clock.skip(90 * time.Minute)
	if out := l.ok("erase status lab"); !strings.Contains(out, " is broken: it was due ") || !strings.Contains(out, ", and is 30m") {
		t.Errorf("erase status, 90 minutes later:\n%s", out)
	}
	l.ok("erase resume lab")
	l.ok("erase wait lab")
	if s := l.eraseState(); s.Late.Jobs != 0 {
		t.Errorf("when all is zero: %+v", s.Late)
	}
	recs := l.records("")
	if len(recs) == 0 {
		t.Fatal("the log has no record")
	}
	r := recs[len(recs)-1]
	if kept, set := r.InTime(); kept || !set || r.Deadline != 3600 || r.Late != 300*chain.BlockSize || r.Longest < 5400 {
		t.Errorf("the record: %+v", r)
	}
}
