package chain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"slatefs/chain/size"
)

// Scope says what a property can be set on. The pool is the root directory.
type Scope uint8

// The scopes.
const (
	OnPool Scope = 1 << iota
	OnDir
	OnVolume
)

// String names the scopes: "a pool, directory or volume".
func (s Scope) String() string {
	var out []string
	for i, n := range []string{"pool", "directory", "volume"} {
		if s&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	if k := len(out) - 1; k > 0 {
		out = append(out[:k-1], out[k-1]+" or "+out[k])
	}
	return "a " + strings.Join(out, ", ")
}

// Property is one thing that can be set. The table below is the only place that knows which there are.
type Property struct {
	Name     string
	On       Scope
	Inherits Scope  // where it is taken from the directory above, unless set
	Default  string // canonical
	Bytes    bool   // a value that is a number is printed as a size
	// Host: the value says what is run or opened on the host that serves the pool. It is kept on that host, never in a pool,
	// which anybody may have written: a pool takes none, and what one has all the same is passed over.
	Host bool
	// Parse checks a value as people write it and returns the canonical text that is kept. on is one scope.
	Parse func(val string, on Scope) (string, error)
	Help  string // what it does, for help texts, in lines of at most 95 characters
}

var properties = append([]Property{
	{
		Name: propRefreservation, On: OnPool | OnDir | OnVolume, Inherits: OnDir, Default: "none", Bytes: true,
		Parse: func(v string, on Scope) (string, error) {
			if on != OnVolume {
				return oneOf("auto", "none")(v, on)
			}
			return sizeOr("auto", "none")(v, on)
		},
		Help: `space that is promised to a volume itself, its snapshots apart: a size, none, or auto, which is the
volume's size and moves with it. On a directory or pool, auto or none: what new volumes in it get`,
	},
	{
		Name: propReservation, On: OnDir | OnVolume, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `space that is promised to a volume with its snapshots, or to all that is in a directory: a size or none`,
	},
	{
		Name: propQuota, On: OnDir | OnVolume, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `the most that a volume with its snapshots, or all that is in a directory, may use: a size or none`,
	},
	{
		Name: propRefquota, On: OnVolume, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `the most that a volume may refer to, its snapshots apart: a size or none`,
	},
	{
		Name: propPreallocated, On: OnVolume, Default: "off", Parse: oneOf("on", "off"),
		Help: `on: the volume is promised its size because fallocate could not map all of it at once`,
	},
	{
		Name: PropLowSpace, On: OnPool, Default: "10%", Bytes: true, Parse: parseShare,
		Help: `when less than this is available, the log says so and on_low_space runs: a size, a share of the
pool as 10%, or 0 for never`,
	},
	{
		Name: PropOnLowSpace, On: OnPool, Host: true, Parse: func(v string, _ Scope) (string, error) { return v, nil },
		Help: `a command for sh that runs, as who mounted the pool, when space gets low; SLATEFS_POOL,
SLATEFS_MOUNTPOINT, SLATEFS_AVAILABLE and SLATEFS_EVENT (low or short) tell it what happened.
Kept on this host, not in the pool`,
	},
}, slices.Concat(scrubberProperties, eraseProperties[:], growProperties)...)

// The names of properties that this package reads, and some that others do.
const (
	propRefreservation = "refreservation"
	propReservation    = "reservation"
	propQuota          = "quota"
	propRefquota       = "refquota"
	propPreallocated   = "preallocated"

	PropLowSpace   = "low_space"
	PropOnLowSpace = "on_low_space"

	PropAutoThreshold = "autoextend_threshold"
	PropAutoPercent   = "autoextend_percent"
	PropAutoMax       = "autoextend_max"
)

// Properties lists all properties in the order in which people are shown them. The slice is the caller's.
func Properties() []Property { return slices.Clone(properties) }

// PropertyNamed finds a property. ErrInvalid: there is none of that name.
func PropertyNamed(name string) (Property, error) {
	i := slices.IndexFunc(properties, func(d Property) bool { return d.Name == name })
	if i < 0 {
		return Property{}, fmt.Errorf("property %q is unknown: %w", name, ErrInvalid)
	}
	return properties[i], nil
}

// orElse makes the refusal of a size one of this package, and adds to it what else there may be.
func orElse(err error, what string) error {
	return fmt.Errorf("%s, or %s: %w", strings.TrimSuffix(err.Error(), ": "+size.ErrInvalid.Error()), what, ErrInvalid)
}

// oneOf takes a word of a few.
func oneOf(words ...string) func(string, Scope) (string, error) {
	return func(v string, _ Scope) (string, error) {
		if slices.Contains(words, v) {
			return v, nil
		}
		return "", fmt.Errorf("%q: want %s: %w", v, strings.Join(words, " or "), ErrInvalid)
	}
}

// sizeOr takes a size or a word; 0 is none.
func sizeOr(words ...string) func(string, Scope) (string, error) {
	return func(v string, _ Scope) (string, error) {
		if slices.Contains(words, v) {
			return v, nil
		}
		n, err := size.Parse(v)
		if err != nil {
			return "", orElse(err, strings.Join(words, " or "))
		}
		if n == 0 {
			return "none", nil
		}
		return strconv.FormatInt(n, 10), nil
	}
}

// parseRate takes bytes per second; none and 0 are unlimited, and -50M is 50M, as cstream takes it.
func parseRate(v string, _ Scope) (string, error) {
	if v == "none" {
		return "0", nil
	}
	n, err := size.Parse(strings.TrimPrefix(v, "-"))
	if err != nil {
		return "", orElse(err, "0 for unlimited (per second, as 50M)")
	}
	return strconv.FormatInt(n, 10), nil
}

// percent takes a whole number of a range.
func percent(least, most int) func(string, Scope) (string, error) {
	return func(v string, _ Scope) (string, error) {
		n, err := strconv.Atoi(strings.TrimSuffix(v, "%"))
		if err != nil || n < least || n > most {
			return "", fmt.Errorf("%q: want %d to %d: %w", v, least, most, ErrInvalid)
		}
		return strconv.Itoa(n), nil
	}
}

// parseShare takes a size, or a share of the pool as 10%.
func parseShare(v string, _ Scope) (string, error) {
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

// Share is the number of bytes that a canonical size or share means of a pool of total bytes.
func Share(val string, total int64) int64 {
	if digits, ok := strings.CutSuffix(val, "%"); ok {
		n, _ := strconv.ParseInt(digits, 10, 64) //nolint:errcheck // canonical
		return total / 100 * n
	}
	n, _ := strconv.ParseInt(val, 10, 64) //nolint:errcheck // canonical
	return n
}
