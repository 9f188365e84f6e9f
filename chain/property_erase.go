package chain

import (
	"fmt"
	"regexp"
	"strings"

	"slatefs/chain/blockdev"
)

// The names of the properties by which a pool is erased. This package keeps them for those who erase.
const (
	PropThroughput  = "erase_throughput"
	PropReserve     = "erase_reserve"
	PropIdle        = "erase_idle_throughput"
	PropEraseMethod = "erase_method"
	PropVerify      = "erase_verify"
	PropEraseWindow = "erase_window"
	PropPaused      = "erase_paused"
)

var scrubberProperties = []Property{
	{
		Name: PropThroughput, On: OnPool, Default: "10485760", Bytes: true, Parse: parseRate,
		Help: `how fast freed blocks are erased in the background, in bytes per second; an upper bound, 10M by
default, 0 is unlimited`,
	},
	{
		Name: PropReserve, On: OnPool, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `while fewer bytes than this are clean, erase_idle_throughput is the bound; none, the default: never`,
	},
	{
		Name: PropIdle, On: OnPool, Default: "0", Bytes: true, Parse: parseRate,
		Help: `the bound below erase_reserve, if it is more than erase_throughput; 0, the default, is unlimited`,
	},
	{
		Name: PropEraseMethod, On: OnPool, Default: blockdev.Auto.String(),
		Parse: func(v string, _ Scope) (string, error) {
			m, err := blockdev.ParseMethod(v)
			return m.String(), invalid(err)
		},
		Help: `auto (the default: zeroout if the device is proved to do it, else overwrite), zeroout, unmap or
overwrite; on a pool file also release, which gives space back and erases nothing`,
	},
	{
		Name: PropVerify, On: OnPool, Default: blockdev.VerifyOff.String(),
		Parse: func(v string, _ Scope) (string, error) {
			d, err := blockdev.ParseVerify(v)
			return d.String(), invalid(err)
		},
		Help: `how much of what was erased is read back: off (the default), sample or full`,
	},
	{
		Name: PropEraseWindow, On: OnPool, Default: "none", Parse: parseWindow,
		Help: `when the background may erase, local time, as 01:00-05:00; none, the default: at any time`,
	},
	{
		Name: PropPaused, On: OnPool, Default: "off", Parse: oneOf("on", "off"),
		Help: `on: the background rests, as after slatefs erase pause; off, the default`,
	},
}

func invalid(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	return nil
}

var windowText = regexp.MustCompile(`^(([01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00)$`)

// parseWindow takes none, or two different times of the day; 24:00 is kept as 00:00. erase.ParseWindow reads what it
// returns.
func parseWindow(v string, _ Scope) (string, error) {
	if v == "none" {
		return v, nil
	}
	m := windowText.FindStringSubmatch(v)
	if m == nil {
		return "", fmt.Errorf("%q: want a time of the day as 01:00-05:00, or none: %w", v, ErrInvalid)
	}
	from, to := m[1], strings.Replace(m[3], "24:", "00:", 1)
	if from == to {
		return "", fmt.Errorf("%q: it begins when it ends; none is at any time: %w", v, ErrInvalid)
	}
	return from + "-" + to, nil
}
