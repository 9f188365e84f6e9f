package show

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "1.5d": 36 * time.Hour, "2w": 14 * 24 * time.Hour,
		"0": 0, "": -1, "d": -1, "-1d": -1, "1x": -1, "1e99d": -1, "NaNd": -1, "1 d": -1, "infw": -1,
	} {
		if got, err := ParseDuration(text); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestFormatTimes(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	if got := (&Format{}).Time(at); got != "Tue Nov 14 22:13 2023" {
		t.Errorf("time is %q", got)
	}
	if got := (&Format{Exact: true}).Time(at); got != "1700000000" {
		t.Errorf("exact time is %q", got)
	}
	if got := (&Format{Exact: true}).Time(time.Time{}); got != "-" {
		t.Errorf("no time is %q", got)
	}
}
