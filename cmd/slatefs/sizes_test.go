package main

import (
	"errors"
	"testing"
	"time"
)

// A bad size is a usage error that says what is wanted, and nothing of the engine's.
func TestParseSize(t *testing.T) {
	_, err := parseSize("20GB")
	var u *usageError
	if !errors.As(err, &u) || err.Error() != `size "20GB": sizes are binary, use 20G` {
		t.Errorf("20GB: %v", err)
	}
	if n, err := parseSize("20G"); err != nil || n != 20<<30 {
		t.Errorf("20G: %d, %v", n, err)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "1.5d": 36 * time.Hour, "2w": 14 * 24 * time.Hour, "0": 0,
		"": -1, "d": -1, "-1d": -1, "1x": -1, "1e99d": -1, "NaNd": -1, "1 d": -1, "infw": -1,
	} {
		if got, err := parseDuration(text); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// What is wrong with a size is said in sizes, and what else there may be.
func TestSizeTexts(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.refused(exitUsage, "sizes are binary, use 10G, or auto or none\n", "set refreservation=10GB /lab/v")
	l.refused(exitUsage, "as 20G, or auto or none\n", "set refreservation=maybe /lab/v")
	l.refused(exitUsage, "use 10G, or none\n", "set quota=10GB /lab")
	l.refused(exitUsage, "use 10G, or 0 for unlimited (per second, as 50M)\n", "set erase_throughput=10GB lab")
	l.refused(exitUsage, "want a time as 90s, 24h, 7d or 2w\n", "erase wait --timeout soon lab")
	l.ok("erase wait --timeout 1d lab")
	l.refused(exitUsage, "as 20G, or a share as 10%\n", "set low_space=some lab")
	l.refused(exitFailed, "a size of 600T, the largest is 512T: too big\n", "create --size 600T /lab/w")
	l.refused(exitFailed, "a size of 600T, the largest is 512T: too big\n", "resize /lab/v 600T")
	l.refused(exitFailed, "5P is too big for a pool, which has at most 4P\n", "pool create --sparse --size 5P two /nowhere/two.pool")
}

// A create that was refused has destroyed nothing, whatever it had to take back.
func TestRefusedCreateDestroysNothing(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.ok("set destroy_delay=7d lab")
	l.refused(exitFailed, "needs 100.0G", "create -o refreservation=100G --size 1M /lab/w")
	l.refused(exitFailed, "needs 100.0G", "clone -o refreservation=100G /lab/v /lab/w")
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
