package show

import (
	"fmt"
	"strconv"
	"time"
)

// ParseDuration reads a time as Go does, and in days and weeks: 90s, 1h30m, 7d, 2w.
func ParseDuration(s string) (time.Duration, error) {
	if s != "" {
		if unit := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]; unit > 0 {
			const most = 200 * 365 * 24 * time.Hour
			n, err := strconv.ParseFloat(s[:len(s)-1], 64)
			if err != nil || !(n >= 0 && n <= float64(most/unit)) {
				return 0, fmt.Errorf("%q: want a time as 90s, 24h, 7d or 2w", s)
			}
			return time.Duration(n * float64(unit)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q: want a time as 90s, 24h, 7d or 2w", s)
	}
	return d, nil
}

// Span is a flag that takes a time, as ParseDuration does.
type Span time.Duration

// String is the flag's default for help texts, which has none.
func (s *Span) String() string { return "" }

// Type is the flag's word in help texts.
func (s *Span) Type() string { return "TIME" }

// Set parses the flag.
func (s *Span) Set(text string) error {
	d, err := ParseDuration(text)
	*s = Span(d)
	return err
}

// FormatTime prints a time as zfs prints creation, in local time; "-" for none.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("Mon Jan _2 15:04 2006")
}

// ClockTime prints a time of today, where it is now, by layout, and another with its date. Both are shown in local time.
func ClockTime(t, now time.Time, layout string) string {
	t, now = t.Local(), now.Local()
	if t.Year() != now.Year() || t.YearDay() != now.YearDay() {
		layout = "Jan _2 15:04"
	}
	return t.Format(layout)
}

// FormatDuration prints how long something takes in its two largest units: 45s, 2m5s, 3h20m, 4d7h.
func FormatDuration(d time.Duration) string {
	units := []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units[:len(units)-1] {
		if d < u.of {
			continue
		}
		small := units[i+1]
		text := fmt.Sprintf("%d%s", d/u.of, u.name)
		if n := d % u.of / small.of; n > 0 {
			text += fmt.Sprintf("%d%s", n, small.name)
		}
		return text
	}
	return fmt.Sprintf("%ds", (d+time.Second/2)/time.Second)
}
