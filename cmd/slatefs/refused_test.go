package main

import (
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

// What is wrong with a size is said in sizes, and what else there may be.
func TestSizeTexts(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.refused(show.ExitUsage, "sizes are binary, use 10G, or auto or none\n", "set refreservation=10GB /lab/v")
	l.refused(show.ExitUsage, "as 20G, or auto or none\n", "set refreservation=maybe /lab/v")
	l.refused(show.ExitUsage, "use 10G, or none\n", "set quota=10GB /lab")
	l.refused(show.ExitUsage, "use 10G, or 0 for unlimited (per second, as 50M)\n", "set erase_throughput=10GB lab")
	l.refused(show.ExitUsage, "want a time as 90s, 24h, 7d or 2w\n", "erase wait --timeout soon lab")
	l.ok("erase wait --timeout 1d lab")
	l.refused(show.ExitUsage, "as 20G, or a share as 10%\n", "set low_space=some lab")
	l.refused(show.ExitFailed, "a size of 600T, the largest is 512T: too big\n", "create --size 600T /lab/w")
	l.refused(show.ExitFailed, "a size of 600T, the largest is 512T: too big\n", "resize /lab/v 600T")
	l.refused(show.ExitFailed, "5P is too big for a pool, which has at most 4P\n", "pool create --sparse --size 5P two /nowhere/two.pool")
}

// A create that was refused has destroyed nothing, whatever it had to take back.
func TestRefusedCreateDestroysNothing(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.ok("set destroy_delay=7d lab")
	l.refused(show.ExitFailed, "needs 100.0G", "create -o refreservation=100G --size 1M /lab/w")
	l.refused(show.ExitFailed, "needs 100.0G", "clone -o refreservation=100G /lab/v /lab/w")
	l.ok("erase wait lab")
	if recs := l.records(""); len(recs) != 0 {
		t.Errorf("the erase log has %+v", recs)
	}
	if out := l.ok("list -H -t destroyed lab"); out != "" {
		t.Errorf("kept: %s", out)
	}
	if told := l.pool.Told(); len(told) != 0 {
		t.Errorf("the log will say %+v", told)
	}
}
