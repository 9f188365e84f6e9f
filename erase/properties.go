package erase

import (
	"fmt"
	"regexp"
	"strings"

	"slatefs/chain/blockdev"
	"slatefs/chain/property"
)

// The names of the properties by which a pool is erased.
const (
	PropThroughput = "erase_throughput"
	PropReserve    = "erase_reserve"
	PropIdle       = "erase_idle_throughput"
	PropMethod     = "erase_method"
	PropVerify     = "erase_verify"
	PropWindow     = "erase_window"
	PropPaused     = "erase_paused"
)

// Properties are the properties by which a pool is erased. A pool keeps their values; who serves it brings them to an
// Eraser.
var Properties = property.Table{
	{
		Name: PropThroughput, On: property.OnPool, Default: "10485760", Bytes: true, Parse: property.Rate,
		Help: `how fast freed blocks are erased in the background, in bytes per second; an upper bound, 10M by
default, 0 is unlimited`,
	},
	{
		Name: PropReserve, On: property.OnPool, Default: "none", Bytes: true, Parse: property.SizeOr("none"),
		Help: `while fewer bytes than this are clean, erase_idle_throughput is the bound; none, the default: never`,
	},
	{
		Name: PropIdle, On: property.OnPool, Default: "0", Bytes: true, Parse: property.Rate,
		Help: `the bound below erase_reserve, and how far the rate may be raised to keep an erase_deadline, if it is
more than erase_throughput; 0, the default, is unlimited`,
	},
	{
		Name: PropMethod, On: property.OnPool, Default: blockdev.Auto.String(),
		Parse: func(v string, _ property.Scope) (string, error) {
			m, err := blockdev.ParseMethod(v)
			return m.String(), invalid(err, blockdev.MethodWords()...)
		},
		Help: `auto (the default: zeroout if the device is proved to do it, else overwrite), zeroout, unmap or
overwrite; on a pool file also release, which gives space back and erases nothing`,
	},
	{
		Name: PropVerify, On: property.OnPool, Default: blockdev.VerifyOff.String(),
		Parse: func(v string, _ property.Scope) (string, error) {
			d, err := blockdev.ParseVerify(v)
			return d.String(), invalid(err, blockdev.VerifyWords()...)
		},
		Help: `how much of what was erased is read back: off (the default), sample or full`,
	},
	{
		Name: PropWindow, On: property.OnPool, Default: "none", Parse: canonicalWindow,
		Help: `when the background may erase, local time, as 01:00-05:00; none, the default: at any time`,
	},
	{
		Name: PropPaused, On: property.OnPool, Default: "off", Parse: property.OneOf("on", "off"),
		Help: `on: the background rests, as after slatefs erase pause; off, the default`,
	},
}

func invalid(err error, words ...string) error {
	if err != nil {
		return property.Wanting(fmt.Errorf("%w: %w", err, property.ErrInvalid), words...)
	}
	return nil
}

var windowText = regexp.MustCompile(`^(([01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00)$`)

// canonicalWindow takes none, or two different times of the day; 24:00 is kept as 00:00. ParseWindow reads what it returns.
func canonicalWindow(v string, _ property.Scope) (string, error) {
	if v == "none" {
		return v, nil
	}
	m := windowText.FindStringSubmatch(v)
	if m == nil {
		return "", property.Wanting(fmt.Errorf("%q: want a time of the day as 01:00-05:00, or none: %w", v, property.ErrInvalid), "none")
	}
	from, to := m[1], strings.Replace(m[3], "24:", "00:", 1)
	if from == to {
		return "", fmt.Errorf("%q: it begins when it ends; none is at any time: %w", v, property.ErrInvalid)
	}
	return from + "-" + to, nil
}
