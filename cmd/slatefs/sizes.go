package main

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// units are the suffixes of sizes, each 1024 times the one before.
const units = "BKMGTPE"

// parseSize reads a size in bytes: 20G, 20g, 20GiB, 1.5T, 21474836480. It is binary always, so 20GB, which is not, is
// refused.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	suffix := strings.ToUpper(s[len(digits):])
	n, ok := new(big.Rat).SetString(digits)
	if !ok || digits == "" || strings.ContainsAny(digits, "/_eExX") {
		return 0, usagef("size %q: want a number and one of K, M, G, T, P, as 20G", s)
	}
	power := 0
	if suffix != "" {
		power = strings.IndexByte(units, suffix[0])
		switch rest := suffix[1:]; {
		case power > 0 && rest == "B":
			return 0, usagef("size %q: use %s%c", s, digits, units[power])
		case power < 0, rest != "" && (rest != "IB" || power == 0):
			return 0, usagef("size %q: unknown unit; want one of K, M, G, T, P, as 20G", s)
		}
	}
	n.Mul(n, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(10*power))))
	switch {
	case n.Sign() < 0:
		return 0, usagef("size %q: is negative", s)
	case !n.IsInt():
		return 0, usagef("size %q: is not a whole number of bytes", s)
	case !n.Num().IsInt64():
		return 0, usagef("size %q: is above %s", s, formatSize(math.MaxInt64))
	}
	return n.Num().Int64(), nil
}

// formatSize prints bytes as zfs does: three significant digits, no fraction for a whole number of units.
func formatSize(n int64) string {
	if n < 0 {
		return "-" + formatSize(-max(n, -math.MaxInt64))
	}
	i := 0
	for m := n; m >= 1024; m /= 1024 {
		i++
	}
	unit := int64(1) << (10 * i)
	if n%unit == 0 {
		return fmt.Sprintf("%d%c", n/unit, units[i])
	}
	for digits := 2; ; digits-- {
		s := strconv.FormatFloat(float64(n)/float64(unit), 'f', digits, 64)
		if len(s) <= 4 || digits == 0 {
			return s + units[i:i+1]
		}
	}
}

// size is a flag that takes a size.
type size struct {
	bytes int64
	set   bool
}

// String is the flag's default for help texts, which has none.
func (s *size) String() string { return "" }

// Type is the flag's word in help texts.
func (s *size) Type() string { return "SIZE" }

// Set parses the flag.
func (s *size) Set(text string) (err error) {
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
