package control

import (
	"fmt"
	"path/filepath"
	"strings"

	"slatefs/chain/property"
)

// The names of the properties that the daemon itself works by.
const (
	PropLowSpace   = "low_space"
	PropOnLowSpace = "on_low_space"
	PropOnEvent    = "on_event"

	PropAutoThreshold = "autoextend_threshold"
	PropAutoPercent   = "autoextend_percent"
	PropAutoMax       = "autoextend_max"
)

// watchProperties are those of who watches the space of a pool.
var watchProperties = property.Table{
	{
		Name: PropLowSpace, On: property.OnPool, Default: "10%", Bytes: true, Parse: property.Share,
		Help: `when less than this is available, the log says so and on_low_space runs: a size, a share of the
pool as 10%, or 0 for never`,
	},
	{
		Name: PropOnLowSpace, On: property.OnPool, Host: true, Parse: property.Any,
		Help: `a command for sh that runs, as who mounted the pool, when space gets low; SLATEFS_POOL,
SLATEFS_MOUNTPOINT, SLATEFS_AVAILABLE and SLATEFS_EVENT (low or short) tell it what happened.
Kept on this host, not in the pool`,
	},
	{
		Name: PropOnEvent, On: property.OnPool, Host: true, Default: "none", Parse: argumentVector,
		Help: `a program that runs for each event, as who mounted the pool, one at a time, for ten seconds at most: an
absolute path and its arguments, divided by spaces, without a shell; or none. It has the event as a
line of JSON on its input. Kept on this host, not in the pool`,
	},
}

// growProperties are those of a pool that grows by itself, in LVM's words.
var growProperties = property.Table{
	{
		Name: PropAutoThreshold, On: property.OnPool, Default: "100", Parse: property.Percent(1, 100),
		Help: `the pool grows by itself when so many percent of it are used or promised; 100 is never`,
	},
	{
		Name: PropAutoPercent, On: property.OnPool, Default: "20", Parse: property.Percent(1, 1000),
		Help: `by how many percent of its size it grows at a time, or by what there is`,
	},
	{
		Name: PropAutoMax, On: property.OnPool, Default: "none", Bytes: true, Parse: property.SizeOr("none"),
		Help: `the size that it does not grow beyond by itself`,
	},
}

// argumentVector takes the absolute path of a program and its arguments, none of which has a space; or none.
func argumentVector(v string, _ property.Scope) (string, error) {
	words := strings.Fields(v)
	if v == "none" {
		return v, nil
	}
	if len(words) == 0 || !filepath.IsAbs(words[0]) {
		err := fmt.Errorf("%q: want the absolute path of a program, and arguments, or none: %w", v, property.ErrInvalid)
		return "", property.Wanting(err, "none")
	}
	return strings.Join(words, " "), nil
}
