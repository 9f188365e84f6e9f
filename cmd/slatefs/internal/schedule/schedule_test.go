package schedule

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/property"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func plan(t testing.TB, text string) Plan {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	for val, want := range map[string]string{
		"none": "none", "hourly:24": "hourly:24", "weekly:4,hourly:24,daily:7": "hourly:24,daily:7,weekly:4",
		"yearly:1000,monthly:01": "monthly:1,yearly:1000",
		"":                       "", "hourly": "", "hourly:": "", "hourly:0": "", "hourly:-1": "", "hourly:1001": "", "hourly:1,": "",
		"minutely:1":        "",
		"hourly:1,hourly:2": "", "none,hourly:1": "", "Hourly:1": "", "hourly:1 ": "", "hourly:99999999999999999999": "",
	} {
		p, err := Parse(val)
		switch {
		case want == "" && !errors.Is(err, property.ErrInvalid):
			t.Errorf("%q is %v, %v", val, p, err)
		case want != "" && (err != nil || p.String() != want || plan(t, p.String()).String() != want):
			t.Errorf("%q is %q, %v, want %q", val, p, err, want)
		}
	}
	if words := Properties[0].Words(property.OnPool); !slices.Contains(words, "none") || !slices.Contains(words, "hourly:24") {
		t.Errorf("a shell offers %q", words)
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct{ plan, now, due string }{
		{"hourly:1", "2026-11-29 12:00:00", "2026-11-29 12:00:00"},
		{"hourly:1", "2026-11-29 12:59:59", "2026-11-29 12:00:00"},
		{"daily:1", "2026-11-29 23:59:59", "2026-11-29 00:00:00"},
		{"weekly:1", "2026-11-29 23:59:59", "2026-11-23 00:00:00"}, // a Sunday
		{"weekly:1", "2026-11-30 00:00:00", "2026-11-30 00:00:00"},
		{"weekly:1,monthly:1", "2026-12-03 12:00:00", "2026-12-01 00:00:00"},
		{"weekly:1,monthly:1", "2026-12-08 12:00:00", "2026-12-07 00:00:00"},
		{"yearly:1", "2026-12-08 12:00:00", "2026-01-01 00:00:00"},
		{"monthly:1", "2024-02-29 12:00:00", "2024-02-01 00:00:00"},
	} {
		if got := plan(t, c.plan).Due(at(t, c.now)); !got.Equal(at(t, c.due)) {
			t.Errorf("%s at %s: due is %v, want %s", c.plan, c.now, got, c.due)
		}
	}
	if due := Plan(nil).Due(time.Now()); !due.IsZero() {
		t.Errorf("of no plan something is due at %v", due)
	}
}

// TestLocalTime: hours that the clock on the wall has twice, or leaves out, are nothing to it.
func TestLocalTime(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		p := plan(t, "hourly:24,daily:7,weekly:4,monthly:3,yearly:2")
		for _, day := range []string{"2026-03-08", "2026-03-29", "2026-04-05", "2026-10-25", "2026-11-01"} {
			for m := range 26 * 60 {
				now := at(t, day+" 00:00:00").Add(time.Duration(m) * time.Minute)
				if got, want := p.Due(now.In(zone)), p.Due(now); !got.Equal(want) || Name(got) != Name(want) {
					t.Fatalf("%v: due is %v, want %v", now.In(zone), got, want)
				}
			}
		}
	}
}

func TestName(t *testing.T) {
	due := at(t, "2026-11-29 12:00:00")
	if got := Name(due.In(time.FixedZone("x", 5400))); got != "auto-2026-11-29T1200Z" {
		t.Errorf("the name is %s", got)
	}
	for name, want := range map[string]bool{
		"auto-2026-11-29T1200Z": true, "auto-2026-11-29T1230Z": true, "auto-2026-11-29": false, "auto-": false, "auto-x": false,
		"2026-11-29T1200Z": false, "auto-2026-11-29T1200Zx": false, "auto-2026-13-29T1200Z": false, "auto-2026-11-29T2500Z": false,
	} {
		if _, ok := TimeOf(name); ok != want {
			t.Errorf("%s is one: %v, want %v", name, ok, want)
		}
	}
}

// TestYears runs plans over two years, with hours in which nothing was made: what is kept is what the plan says, and
// what is thinned at once or by and by is the same.
func TestYears(t *testing.T) {
	for _, text := range []string{"hourly:24,daily:7,weekly:4", "daily:3", "weekly:2,monthly:12,yearly:3", "hourly:1", "monthly:2,daily:1"} {
		p, rng := plan(t, text), rand.New(rand.NewPCG(1, uint64(len(text))))
		var have, all []time.Time
		now := at(t, "2026-01-01 00:00:00")
		for now.Before(at(t, "2028-01-01 00:00:00")) {
			now = now.Add(time.Duration(1+rng.IntN(12)*rng.IntN(2)) * time.Hour)
			due := p.Due(now)
			if rng.IntN(10) > 0 && (len(have) == 0 || !have[len(have)-1].Equal(due)) {
				have, all = append(have, due), append(all, due)
			}
			goes := p.Goes(now, have)
			have = slices.DeleteFunc(have, func(t time.Time) bool { return slices.ContainsFunc(goes, t.Equal) })
			if len(have) > 0 && len(goes) > 0 && !slices.IsSortedFunc(have, time.Time.Compare) {
				t.Fatal("not in order")
			}
		}
		goes := p.Goes(now, all)
		left := slices.DeleteFunc(slices.Clone(all), func(t time.Time) bool { return slices.ContainsFunc(goes, t.Equal) })
		if !slices.EqualFunc(left, have, time.Time.Equal) {
			t.Errorf("%s: thinned at once there are %v, by and by %v", text, left, have)
		}
		for _, r := range p {
			periods := map[time.Time]bool{}
			for _, h := range have {
				periods[r.begin(h)] = true
			}
			possible := map[time.Time]bool{}
			for _, h := range all {
				possible[r.begin(h)] = true
			}
			if len(periods) < min(r.keep, len(possible)) {
				t.Errorf("%s: of %s there are %d periods, want %d", text, r.name, len(periods), r.keep)
			}
		}
		sum := 0
		for _, r := range p {
			sum += r.keep
		}
		if len(have) > sum {
			t.Errorf("%s: %d are kept", text, len(have))
		}
	}
}

// TestGoes: what is not there counts for nothing, what has not come yet stays, and nothing goes of no plan.
func TestGoes(t *testing.T) {
	now := at(t, "2026-11-29 12:30:00")
	times := func(texts string) (list []time.Time) {
		for text := range strings.SplitSeq(texts, ",") {
			if text != "" {
				list = append(list, at(t, text+":00:00"))
			}
		}
		return list
	}
	for _, c := range []struct{ plan, have, goes string }{
		{"hourly:2", "2026-11-29 12,2026-11-29 11,2026-11-29 10", "2026-11-29 10"},
		{"hourly:2", "2026-11-29 12,2026-10-01 11,2025-11-29 10", "2025-11-29 10"},
		{"hourly:2", "2027-11-29 12,2026-11-29 13,2026-11-29 12,2026-11-29 10", ""},
		{"hourly:1,daily:2", "2026-11-29 12,2026-11-29 01,2026-11-28 07,2026-11-28 05,2026-11-27 00", "2026-11-27 00,2026-11-28 07"},
		{"none", "2026-11-29 12,2026-11-29 11", ""},
		{"daily:1", "", ""},
	} {
		got := plan(t, c.plan).Goes(now, times(c.have))
		if !slices.EqualFunc(got, times(c.goes), time.Time.Equal) {
			t.Errorf("%s of %s: %v go, want %s", c.plan, c.have, got, c.goes)
		}
	}
}
