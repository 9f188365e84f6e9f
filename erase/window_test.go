package erase

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"slatefs/chain/blockdev"
)

// west is a zone five hours behind, without summer time.
var west = time.FixedZone("west", -5*3600)

func mustWindow(t *testing.T, s string, loc *time.Location) *Window {
	t.Helper()
	w, err := ParseWindow(s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestParseWindow(t *testing.T) {
	for in, want := range map[string]string{
		"none": "none", "01:00-05:00": "01:00-05:00", "22:30-04:15": "22:30-04:15", "00:00-24:00": "", "18:00-24:00": "18:00-00:00",
		"00:00-23:59": "00:00-23:59", "1:00-5:00": "", "01:00": "", "01:00-01:00": "", "25:00-26:00": "", "01:60-02:00": "", "": "",
		"-1:00-05:00": "", "01:00-05:00 ": "", "01:00-05:000": "", "24:00-05:00": "", "01:00 - 05:00": "",
	} {
		w, err := ParseWindow(in, time.UTC)
		if (err == nil) != (want != "") || err == nil && w.String() != want || err != nil && !errors.Is(err, ErrWindow) {
			t.Errorf("%q is read as %v, %v; want %q", in, w, err, want)
		}
	}
}

func TestWindowOpens(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zones here: %v", err)
	}
	for _, c := range []struct {
		window    string
		loc       *time.Location
		now, want string
	}{
		{"01:00-05:00", time.UTC, "2026-03-01T00:59:59Z", "2026-03-01T01:00:00Z"},
		{"01:00-05:00", time.UTC, "2026-03-01T01:00:00Z", "2026-03-01T01:00:00Z"},
		{"01:00-05:00", time.UTC, "2026-03-01T04:59:59Z", "2026-03-01T04:59:59Z"},
		{"01:00-05:00", time.UTC, "2026-03-01T05:00:00Z", "2026-03-02T01:00:00Z"},
		{"22:00-04:00", time.UTC, "2026-03-01T23:59:59Z", "2026-03-01T23:59:59Z"},
		{"22:00-04:00", time.UTC, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"22:00-04:00", time.UTC, "2026-03-01T04:00:00Z", "2026-03-01T22:00:00Z"},
		{"01:00-05:00", west, "2026-03-01T05:30:00Z", "2026-03-01T06:00:00Z"},
		{"01:00-05:00", west, "2026-03-01T06:30:00Z", "2026-03-01T06:30:00Z"},
		{"18:00-24:00", west, "2026-03-01T04:59:00Z", "2026-03-01T04:59:00Z"},
		{"18:00-24:00", west, "2026-03-01T05:00:00Z", "2026-03-01T23:00:00Z"},
		// The clock goes from 02:00 to 03:00 on March 29th, and from 03:00 back to 02:00 on October 25th.
		{"02:30-05:00", berlin, "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"},
		{"04:00-05:00", berlin, "2026-03-29T00:59:00Z", "2026-03-29T02:00:00Z"},
		{"04:00-05:00", berlin, "2026-10-25T00:59:00Z", "2026-10-25T03:00:00Z"},
		{"23:00-02:00", berlin, "2026-10-24T23:59:59Z", "2026-10-24T23:59:59Z"},
		{"23:00-02:00", berlin, "2026-10-25T01:30:00Z", "2026-10-25T22:00:00Z"},
	} {
		now, _ := time.Parse(time.RFC3339, c.now)
		if got := mustWindow(t, c.window, c.loc).Opens(now).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %v at %s opens at %s, want %s", c.window, c.loc, c.now, got, c.want)
		}
	}
}

func TestWindowEnd(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	now := at("2026-03-01 04:00")
	w := mustWindow(t, "01:00-05:00", time.UTC)
	for _, c := range []struct {
		w    *Window
		n    int64
		want time.Time
	}{
		{nil, 7200, at("2026-03-01 06:00")},
		{w, 1800, at("2026-03-01 04:30")},
		{w, 3600, at("2026-03-01 05:00")},
		{w, 7200, at("2026-03-02 02:00")},
		{w, 3600 * 10, at("2026-03-04 02:00")},
		{mustWindow(t, "22:00-02:00", time.UTC), 3600 * 5, at("2026-03-02 23:00")},
	} {
		if got := c.w.End(now, c.n, 1); !got.Equal(c.want) {
			t.Errorf("%d s in %v end at %v, want %v", c.n, c.w, got, c.want)
		}
	}
	if got := w.End(now, 5, 0); !got.IsZero() {
		t.Errorf("unlimited ends at %v", got)
	}
	if got := w.End(now, 1<<62, 1); got.Sub(now) < 10*365*24*time.Hour {
		t.Errorf("an endless job ends at %v", got)
	}
}

// The background works in its window only, on demand at any time; a bubble begins at midnight UTC.
func TestBackgroundKeepsItsWindow(t *testing.T) {
	const rate = mib
	bubble(t, Config{Rate: rate}, func(t *testing.T, b *bench) {
		b.SetWindow(mustWindow(t, "22:00-01:00", west)) // 03:00-06:00 UTC
		b.q.add(1, blockdev.Extent{Len: 5 * 3600 * rate})
		b.start(t)
		time.Sleep(3*time.Hour - time.Second)
		if n := b.dev.total(); n != 0 {
			t.Fatalf("%d bytes before the window", n)
		}
		if s := b.Stats(); time.Until(s.Opens) != time.Second || s.Window.String() != "22:00-01:00" {
			t.Errorf("%+v", s)
		}
		if n, err := b.Now(t.Context(), 8*blockBytes); n != 8*blockBytes || err != nil {
			t.Errorf("on demand: %d, %v", n, err)
		}
		demand := b.dev.total()
		time.Sleep(3*time.Hour + 2*time.Second)
		within(t, "bytes in the window", float64(b.dev.total()-demand), 3*3600*rate, 0.01)
		done := b.dev.total()
		synctest.Wait()
		if s := b.Stats(); s.Pending != 0 || s.Background+s.Demand != done {
			t.Errorf("at its end not all is reported: %+v of %d", s, done)
		}
		time.Sleep(10 * time.Hour)
		if n := b.dev.total(); n != done {
			t.Errorf("%d bytes after the window", n-done)
		}
		from := time.Since(b.dev.t0)
		b.SetWindow(nil)
		time.Sleep(time.Hour)
		within(t, "bytes without a window", float64(b.dev.total()-done), 3600*rate, 0.01)
		bounded(t, b.dev.log(), from, rate, 0)
	})
}
