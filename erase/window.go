package erase

import (
	"errors"
	"fmt"
	"time"
)

// Window is a time of the day, local time, in which the background works. It may cross midnight.
type Window struct {
	from, to minute
	loc      *time.Location
}

// minute of the day.
type minute int

const dayMinutes = 24 * 60

// ErrWindow is for a text that is no window.
var ErrWindow = errors.New("want a time of the day as 01:00-05:00, or none")

// ParseWindow reads 01:00-05:00, from the first minute up to the second; none is nil: no bound. Days begin at loc's
// midnight.
func ParseWindow(s string, loc *time.Location) (*Window, error) {
	if s == "none" {
		return nil, nil
	}
	var h, m [2]int
	if n, err := fmt.Sscanf(s, "%2d:%2d-%2d:%2d", &h[0], &m[0], &h[1], &m[1]); n != 4 || err != nil {
		return nil, fmt.Errorf("window %q: %w", s, ErrWindow)
	}
	for i := range 2 {
		if h[i] < 0 || h[i] > 23 && (h[i] != 24 || m[i] != 0 || i == 0) || m[i] < 0 || m[i] > 59 {
			return nil, fmt.Errorf("window %q: %w", s, ErrWindow)
		}
	}
	w := &Window{minute(h[0]*60 + m[0]), minute(h[1]*60 + m[1]), loc}
	exact := w.String() == s
	w.to %= dayMinutes // 24:00
	if !exact || w.from == w.to {
		return nil, fmt.Errorf("window %q: %w", s, ErrWindow)
	}
	return w, nil
}

func (m minute) String() string { return fmt.Sprintf("%02d:%02d", int(m)/60, int(m)%60) }

// String is what ParseWindow reads.
func (w *Window) String() string {
	if w == nil {
		return "none"
	}
	return w.from.String() + "-" + w.to.String()
}

// Opens is when the window is open next: now, if it is.
func (w *Window) Opens(now time.Time) time.Time {
	if w == nil || w.holds(now) {
		return now
	}
	return w.next(now, w.from)
}

// Shuts is when the window that is open at now ends.
func (w *Window) Shuts(now time.Time) time.Time { return w.next(now, w.to) }

// holds goes by the clock on the wall, so that a day of 23 or 25 hours needs no care.
func (w *Window) holds(now time.Time) bool {
	at := now.In(w.loc)
	m := minute(at.Hour()*60 + at.Minute())
	if w.from < w.to {
		return w.from <= m && m < w.to
	}
	return m >= w.from || m < w.to
}

// next is the first time after now at which the clock on the wall shows m.
func (w *Window) next(now time.Time, m minute) time.Time {
	at := now.In(w.loc)
	y, mon, d := at.Date()
	for day := 0; ; day++ {
		if t := time.Date(y, mon, d+day, int(m)/60, int(m)%60, 0, 0, w.loc); t.After(now) {
			return t
		}
	}
}

// Open is how long the window is open between two times.
func (w *Window) Open(from, to time.Time) (open time.Duration) {
	if w == nil {
		return max(0, to.Sub(from))
	}
	if far := from.AddDate(0, 0, openDays); to.After(far) { // as much as on a usual day, on each day beyond
		day := time.Duration((w.to-w.from+dayMinutes)%dayMinutes) * time.Minute
		open = time.Duration(to.Sub(far).Hours() / 24 * float64(day))
		to = far
	}
	for at := w.Opens(from); at.Before(to); at = w.Opens(at) {
		shuts := w.Shuts(at)
		if shuts.After(to) {
			shuts = to
		}
		open += shuts.Sub(at)
		at = shuts
	}
	return open
}

// openDays bounds how far ahead Open looks at each day.
const openDays = 60

// End is when n bytes will be done that are erased from now on at so many bytes/s, within the window (nil: always).
// A rate of 0 has no end: the zero time.
func (w *Window) End(now time.Time, n, bytesPerSecond int64) time.Time {
	if bytesPerSecond <= 0 {
		return time.Time{}
	}
	left := time.Duration(min(float64(n)/float64(bytesPerSecond), maxEnd.Seconds()) * float64(time.Second))
	if w == nil {
		return now.Add(left)
	}
	for at := now; ; {
		at = w.Opens(at)
		shuts := w.Shuts(at)
		if open := shuts.Sub(at); left <= open || at.Sub(now) > maxEnd {
			return at.Add(left)
		}
		left -= shuts.Sub(at)
		at = shuts
	}
}

// maxEnd bounds how far ahead End looks.
const maxEnd = 50 * 365 * 24 * time.Hour
