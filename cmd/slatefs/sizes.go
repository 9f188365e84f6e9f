package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"slatefs/chain/size"
)

// parseSize reads a size in bytes, as size.Parse does; a bad one is a usage error.
func parseSize(s string) (int64, error) {
	n, err := size.Parse(s)
	if err != nil {
		return 0, usagef("%s", strings.TrimSuffix(err.Error(), ": "+size.ErrInvalid.Error()))
	}
	return n, nil
}

// parseDuration reads a time as Go does, and in days and weeks: 90s, 1h30m, 7d, 2w.
func parseDuration(s string) (time.Duration, error) {
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

// span is a flag that takes a time, as parseDuration does.
type span time.Duration

// String is the flag's default for help texts, which has none.
func (s *span) String() string { return "" }

// Type is the flag's word in help texts.
func (s *span) Type() string { return "TIME" }

// Set parses the flag.
func (s *span) Set(text string) error {
	d, err := parseDuration(text)
	*s = span(d)
	return err
}

// formatSize prints bytes as zfs does.
func formatSize(n int64) string { return size.Format(n) }

// sizeFlag is a flag that takes a size.
type sizeFlag struct {
	bytes int64
	set   bool
}

// String is the flag's default for help texts, which has none.
func (s *sizeFlag) String() string { return "" }

// Type is the flag's word in help texts.
func (s *sizeFlag) Type() string { return "SIZE" }

// Set parses the flag.
func (s *sizeFlag) Set(text string) (err error) {
	s.bytes, err = parseSize(text)
	s.set = err == nil
	return err
}

// formatTime prints a time as zfs prints creation.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("Mon Jan _2 15:04 2006")
}
