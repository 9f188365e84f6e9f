// Package size reads and prints numbers of bytes as people write them. Units are binary, always: K is 1024. A number that
// would mean two things to two people, as 20GB, is refused. It keeps no state, and is safe for concurrent use.
package size

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// ErrInvalid is what Parse wraps: the text is no size.
var ErrInvalid = errors.New("invalid argument")

// units are the suffixes of sizes, each 1024 times the one before.
const units = "BKMGTPE"

// Parse reads a size in bytes as people write it: 20G, 20g, 20GiB, 1.5T, 21474836480. It is binary always, so
// 20GB, which is not, is refused. The only error is ErrInvalid, with what was
// wrong and what to write instead.
func Parse(s string) (int64, error) {
	bad := func(format string, a ...any) (int64, error) {
		return 0, fmt.Errorf("size %q: %s: %w", s, fmt.Sprintf(format, a...), ErrInvalid)
	}
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	suffix := strings.ToUpper(s[len(digits):])
	n, ok := new(big.Rat).SetString(digits)
	if !ok || digits == "" || strings.ContainsAny(digits, "/_eExX") {
		return bad("want a number and one of K, M, G, T, P, as 20G")
	}
	power := 0
	if suffix != "" {
		power = strings.IndexByte(units, suffix[0])
		switch rest := suffix[1:]; {
		case power > 0 && rest == "B":
			return bad("sizes are binary, use %s%c", digits, units[power])
		case power < 0, rest != "" && (rest != "IB" || power == 0):
			return bad("unknown unit; want one of K, M, G, T, P, as 20G")
		}
	}
	n.Mul(n, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(10*power))))
	switch {
	case n.Sign() < 0:
		return bad("is negative")
	case !n.IsInt():
		return bad("is not a whole number of bytes")
	case !n.Num().IsInt64():
		return bad("is above %s", Format(math.MaxInt64))
	}
	return n.Num().Int64(), nil
}

// Format prints bytes as zfs does: three significant digits, no fraction for a whole number of units. What it prints of a
// whole number of units, Parse reads.
func Format(n int64) string {
	if n < 0 {
		return "-" + Format(-max(n, -math.MaxInt64))
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

// Exact prints bytes for a refusal: with one digit after the point, so that numbers near each other differ more often than
// not.
func Exact(n int64) string {
	if n < 0 {
		return "-" + Exact(-max(n, -math.MaxInt64))
	}
	i, f := 0, float64(n)
	for f >= 1024 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%c", f, units[i])
}
