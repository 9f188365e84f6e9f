package property

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"slatefs/chain/size"
)

// wanting is a refusal that names the values that are words.
type wanting struct {
	error
	words []string
}

func (w wanting) Unwrap() error { return w.error }

// Wanting makes a parser's refusal one that names the words there are to choose from. Its text stays as it is.
func Wanting(err error, words ...string) error { return wanting{err, words} }

// orElse makes the refusal of a size one of this package, and adds to it what else there may be.
func orElse(err error, what string) error {
	return fmt.Errorf("%s, or %s: %w", strings.TrimSuffix(err.Error(), ": "+size.ErrInvalid.Error()), what, ErrInvalid)
}

// Any takes every value as it is.
func Any(v string, _ Scope) (string, error) { return v, nil }

// OneOf takes a word of a few.
func OneOf(words ...string) Parser {
	return func(v string, _ Scope) (string, error) {
		if slices.Contains(words, v) {
			return v, nil
		}
		return "", Wanting(fmt.Errorf("%q: want %s: %w", v, strings.Join(words, " or "), ErrInvalid), words...)
	}
}

// SizeOr takes a size, kept as a number of bytes, or a word; 0 is none.
func SizeOr(words ...string) Parser {
	return func(v string, _ Scope) (string, error) {
		if slices.Contains(words, v) {
			return v, nil
		}
		n, err := size.Parse(v)
		if err != nil {
			return "", Wanting(orElse(err, strings.Join(words, " or ")), words...)
		}
		if n == 0 {
			return "none", nil
		}
		return strconv.FormatInt(n, 10), nil
	}
}

// Rate takes bytes per second; none and 0 are unlimited, and -50M is 50M, as cstream takes it.
func Rate(v string, _ Scope) (string, error) {
	if v == "none" {
		return "0", nil
	}
	n, err := size.Parse(strings.TrimPrefix(v, "-"))
	if err != nil {
		return "", Wanting(orElse(err, "0 for unlimited (per second, as 50M)"), "0")
	}
	return strconv.FormatInt(n, 10), nil
}

// Percent takes a whole number of a range, with % or without, which is kept without.
func Percent(least, most int) Parser {
	return func(v string, _ Scope) (string, error) {
		n, err := strconv.Atoi(strings.TrimSuffix(v, "%"))
		if err != nil || n < least || n > most {
			return "", fmt.Errorf("%q: want %d to %d: %w", v, least, most, ErrInvalid)
		}
		return strconv.Itoa(n), nil
	}
}

// Share takes a size, or a share of the pool as 10%.
func Share(v string, _ Scope) (string, error) {
	if digits, ok := strings.CutSuffix(v, "%"); ok {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > 100 {
			return "", fmt.Errorf("%q: want 0%% to 100%%: %w", v, ErrInvalid)
		}
		return strconv.Itoa(n) + "%", nil
	}
	n, err := size.Parse(v)
	if err != nil {
		return "", orElse(err, "a share as 10%")
	}
	return strconv.FormatInt(n, 10), nil
}

// ShareOf is the number of bytes that a canonical size or share means of a pool of total bytes.
func ShareOf(val string, total int64) int64 {
	if digits, ok := strings.CutSuffix(val, "%"); ok {
		n, _ := strconv.ParseInt(digits, 10, 64) //nolint:errcheck // canonical
		return total / 100 * n
	}
	n, _ := strconv.ParseInt(val, 10, 64) //nolint:errcheck // canonical
	return n
}

// Delay takes a time as ParseDelay does. It is kept as it was written, but for one of nothing.
func Delay(v string, _ Scope) (string, error) {
	d, err := ParseDelay(v)
	switch {
	case err != nil:
		return "", Wanting(err, "0")
	case d == 0:
		return "0", nil
	}
	return v, nil
}

// Term takes a time as ParseDelay does, or none, which a time of nothing is as well.
func Term(v string, _ Scope) (string, error) {
	d, err := ParseDelay(v)
	switch {
	case err != nil:
		return "", Wanting(err, "none")
	case d == 0:
		return "none", nil
	}
	return v, nil
}

// ParseDelay reads a time as 90s, 30m, 12h, 7d or 0. The error is ErrInvalid.
func ParseDelay(v string) (time.Duration, error) {
	if v == "0" || v == "none" {
		return 0, nil
	}
	var unit time.Duration
	if v != "" {
		unit = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[v[len(v)-1]]
	}
	const most = 100 * 365 * 24 * time.Hour
	n, err := strconv.ParseInt(v[:max(0, len(v)-1)], 10, 64)
	if err != nil || unit == 0 || n < 0 || n > int64(most/unit) {
		return 0, fmt.Errorf("%q: want a time as 90s, 30m, 12h, 7d or 0, at most 100 years: %w", v, ErrInvalid)
	}
	return time.Duration(n) * unit, nil
}

// AbsPath takes an absolute path, or none.
func AbsPath(v string, _ Scope) (string, error) {
	if v == "none" {
		return v, nil
	}
	if !filepath.IsAbs(v) {
		return "", Wanting(fmt.Errorf("%q: want an absolute path, or none: %w", v, ErrInvalid), "none")
	}
	return filepath.Clean(v), nil
}
